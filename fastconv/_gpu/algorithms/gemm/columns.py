"""Launches of the room's kernels: images as columns, columns as images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...._problem import ACTIVATIONS, ConvProblem, Epilogue
from ...cublas import Matrices
from ...launch import Launch, Workspace
from ...source import divider, kernel_source

THREADS = 256
MAX_ROWS = 8
"""Elements of a thread that are handled at a time, at most."""
MAX_GRID_HEIGHT = 65535
COLUMNS = np.dtype(
    [
        *((name, np.int64) for name in ("image_at", "add_at", "column_at")),
        *((f"{name}_stride", np.int64, 5) for name in ("image", "add", "column")),
        *((name, np.int32, 3) for name in ("image_size", "pixels", "taps", "step", "delta", "before")),
        *((name, np.int32) for name in ("rows", "columns", "units")),
        *((name, np.uint32, 3) for name in ("image", "plane", "row")),
        *((name, np.uint32, 3) for name in ("channels", "tap_count", "tap_plane", "tap_row")),
        ("steps", np.uint32, (3, 3)),
        ("runs", np.uint32, 3),
        ("slope", np.float64),
    ]
)
"""fc_columns of kernels.cu."""


@dataclass(frozen=True)
class Image:
    """Some images of an array as the kernels see it: (n, channel, d, h, w)."""

    role: str
    dtype: np.dtype
    strides: tuple[int, ...]
    sizes: tuple[int, ...]
    """Of its last three axes."""
    count: int
    first: int = 0
    """The first image."""

    @property
    def at(self) -> int:
        """Of its first element, in elements."""
        return self.first * self.strides[0]

    @property
    def size(self) -> int:
        """Elements of a channel of an image."""
        return math.prod(self.sizes)


@dataclass(frozen=True)
class Columns:
    """Where columns lie: distances in elements."""

    place: str | Workspace
    dtype: np.dtype
    groups: int
    channels: int
    """Of a group."""
    taps: int
    image: int
    group: int
    channel: int
    tap: int
    pixel: int
    offset: int = 0
    """Of the first element."""

    @property
    def row(self) -> int:
        """From a row of the matrix to the next: rows are channels and taps, or one of them."""
        return self.tap if self.channels == 1 or (1 < self.taps and self.tap < self.channel) else self.channel

    def matrices(self) -> Matrices:
        """A matrix of rows and pixels for each image, of the first group."""
        return Matrices(self.place, self.dtype, self.row, self.pixel, self.image, self.offset)

    def transposed(self) -> Matrices:
        """A matrix of pixels and rows for each image, of the first group."""
        return Matrices(self.place, self.dtype, self.pixel, self.row, self.image, self.offset)


@dataclass(frozen=True)
class Windows:
    """What pixels read of an image, by axis; of one tap and no padding: a copy."""

    pixels: tuple[int, ...]
    taps: tuple[int, ...] = (1, 1, 1)
    step: tuple[int, ...] = (1, 1, 1)
    delta: tuple[int, ...] = (1, 1, 1)
    before: tuple[int, ...] = (0, 0, 0)

    @classmethod
    def of(cls, problem: ConvProblem) -> Windows:
        """Those of a convolution."""
        before = tuple(pair[0] for pair in problem.padding)
        return cls(problem.output_size, problem.kernel_size, problem.stride, problem.dilation, before)


@dataclass(frozen=True)
class Finish:
    """What is done to a sum before it is stored."""

    epilogue: Epilogue = field(default_factory=Epilogue)
    add: Image | None = None


def unfold(image: Image, columns: Columns, windows: Windows) -> Launch:
    """Launch that writes the columns of some images."""
    size = image.count * math.prod(windows.pixels)
    c = _struct(image, columns, windows, windows.pixels, columns.taps, size)
    c["rows"] = columns.groups * columns.channels * columns.taps
    row = _tap_runs(c)
    of_thread = -(-row // -(-row // MAX_ROWS)) if row else MAX_ROWS
    defines: dict[str, int | str] = {"KERNEL": "UNFOLD", "ROWS": of_thread, "TAP_RUNS": row}
    assert columns.pixel == 1 or columns.image == math.prod(windows.pixels) * columns.pixel or image.count == 1
    return _launch("gemm_unfold", image.dtype, defines, columns.pixel == 1, c, (image.role, columns.place))


def rows_of_fold(channels: int) -> int:
    """Channels of a group that a thread sums up, where pixels lie side by side."""
    return min(1 << max(channels - 1, 0).bit_length(), MAX_ROWS)


def elements_of(launch: Launch) -> int:
    """That a launch of ``unfold`` or ``fold`` writes; whole planes of taps take as long as some more."""
    c = launch.arguments[-1]
    elements = int(c["rows"][0]) * int(c["columns"][0])
    if launch.kernel == "gemm_unfold" and _tap_runs(c):
        elements += elements // int(c["tap_plane"][0, 0]) * MAX_ROWS
    return elements


def fold(columns: Columns, image: Image, windows: Windows | None, finish: Finish) -> Launch:
    """Launch that sums columns up to some images; without windows, an image's elements are its pixels."""
    size = image.count * image.size
    shown = windows or Windows(image.sizes)
    c = _struct(image, columns, shown, image.sizes, columns.taps, size)
    c["rows"] = columns.groups * columns.channels
    bias, add = ("bias" if finish.epilogue.bias else None), None
    if finish.add is not None:
        add, c["add_stride"], c["add_at"] = finish.add.role, finish.add.strides, finish.add.at
    c["slope"] = finish.epilogue.slope
    activation = finish.epilogue.activation
    along = image.strides[1] != 1 or columns.groups * columns.channels == 1
    defines: dict[str, int | str] = {
        "KERNEL": "FOLD" if windows else "FINISH",
        "ROWS": rows_of_fold(columns.channels) if along else MAX_ROWS if windows is None else 2,
        "ACTIVATION": 0 if activation is None else 1 + ACTIVATIONS.index(activation),
    }
    roles = (columns.place, image.role, bias, add)
    return _launch("gemm_fold", image.dtype, defines, along, c, roles)


def _tap_runs(c: np.ndarray) -> int:
    """Taps of a row, where channels are so few that a thread unfolds all of a plane's taps; else 0."""
    is_along, row = c["column_stride"][0, 4] == 1, int(c["tap_row"][0, 0])
    return row if is_along and row > 1 and c["channels"][0, 0] < MAX_ROWS else 0


def _struct(
    image: Image, columns: Columns, windows: Windows, decoded: Sequence[int], taps: int, size: int
) -> np.ndarray:
    c = np.zeros(1, COLUMNS)
    c["image_at"], c["image_stride"], c["image_size"] = image.at, image.strides, image.sizes
    c["column_at"] = columns.offset
    c["column_stride"] = (columns.image, columns.group, columns.channel, columns.tap, columns.pixel)
    for name in ("pixels", "taps", "step", "delta", "before"):
        c[name] = getattr(windows, name)
    c["columns"] = size
    _, height, width = decoded
    c["image"], c["plane"], c["row"] = (divider(max(n, 1)) for n in (math.prod(decoded), height * width, width))
    c["channels"], c["tap_count"] = divider(columns.channels), divider(taps)
    c["tap_plane"], c["tap_row"] = (divider(n) for n in (windows.taps[1] * windows.taps[2], windows.taps[2]))
    c["steps"] = [divider(step) for step in windows.step]
    return c


def _launch(kernel: str, dtype: np.dtype, defines: dict[str, int | str], along_pixels: bool, c: np.ndarray,
            roles: tuple[str | Workspace | None, ...]) -> Launch:  # fmt: skip
    rows, columns, of_thread = int(c["rows"][0]), int(c["columns"][0]), int(defines["ROWS"])
    channels, runs = int(c["channels"][0, 0]), -(-columns // of_thread)
    if along_pixels:
        c["runs"] = divider(-(-channels // of_thread))
        runs = rows // channels * -(-channels // of_thread)
        if defines.get("TAP_RUNS"):
            runs = rows // int(c["tap_plane"][0, 0])
            c["runs"] = divider(runs // (rows // int(c["tap_count"][0, 0])))
    c["units"] = runs
    element = {"float32": "FLOAT32", "float64": "FLOAT64", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}[dtype.name]
    text = kernel_source("gemm", {"ELEMENT": element, "ALONG": "PIXELS" if along_pixels else "CHANNELS", **defines},
                         "vectors.cuh")  # fmt: skip
    grid = (-(-(columns if along_pixels else rows) // THREADS), min(runs, MAX_GRID_HEIGHT), 1)
    return Launch(kernel, text, grid, (THREADS, 1, 1), (*roles, c))
