"""A problem as transforms and products of spectra: the steps of an operation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...._problem import ACTIVATIONS, RESULT, Sizes
from ...algorithm import Operation
from ...cufft import Transform, pitch
from ...launch import Launch, Workspace, struct
from ...nonfinite import computed_again
from ...source import divider, kernel_source
from .tiling import Tiling

ALIGNED_BYTES = 256
ROWS = 4
"""Channels of a thread."""
THREADS, PRODUCT_THREADS = 256, 128
MAX_GRID_HEIGHT = 65535
TILES = np.dtype(
    [
        *((name, np.int64, 5) for name in ("stride", "add_stride")),
        *((name, np.int64) for name in ("pitch", "plane", "size", "start_at", "first_mark")),
        *((name, np.int32, 3) for name in ("array_size", "count", "used", "before", "apart", "step")),
        *((name, np.int32) for name in ("channels", "first_tile", "units")),
        *((name, np.uint32, 3) for name in ("count_plane", "count_row")),
        *((name, np.uint32, 3) for name in ("image", "tiles_plane", "tiles_row", "runs")),
        ("steps", np.uint32, (3, 3)),
        *((name, np.float64) for name in ("slope", "scale")),
    ]
)
"""fc_tiles of kernels.cu."""
SPECTRA = np.dtype(
    [
        *((name, np.int64, 3) for name in ("a_stride", "b_stride", "c_stride")),
        *((name, np.int32) for name in ("groups", "a", "b", "depth", "frequencies")),
        *((name, np.uint32, 3) for name in ("b_tiles", "ab_tiles")),
        ("units", np.int32),
    ]
)
"""fc_spectra of kernels.cu."""
ELEMENTS = {"float32": "FLOAT32", "float64": "FLOAT64", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}
ZEROS: Sizes = (0, 0, 0)


def slice_tiles(tiling: Tiling, slice_bytes: int) -> int:
    """Tiles that are transformed together: as many as take so many bytes, and at least one."""
    problem = tiling.problem
    itemsize = 16 if problem.dtype == "float64" else 8
    of_tile = (problem.in_channels + problem.out_channels) * tiling.frequencies * itemsize
    return max(min(slice_bytes // of_tile, tiling.tiles), 1)


class Builder:
    """The steps of an operation."""

    def __init__(self, operation: Operation, tiling: Tiling, slice_bytes: int) -> None:
        problem = operation.problem
        self.operation, self.problem, self.tiling = operation, problem, tiling
        self.groups = problem.groups
        self.channels, self.filters = problem.in_channels // self.groups, problem.out_channels // self.groups
        self.real = np.dtype(np.float64 if problem.dtype == "float64" else np.float32)
        self.slice = slice_tiles(tiling, slice_bytes)
        self.row = pitch(tiling.transformed)
        self.size = 2 * tiling.frequencies
        """Real numbers of a tile."""
        self.used_bytes = 0
        self.steps: list[Launch | Transform] = []

    def build(self) -> tuple[Launch | Transform, ...]:
        """All of them."""
        problem = self.problem
        is_weight, backward = problem.direction == "backward_weight", problem.direction == "backward_input"
        starts = range(0, self.tiling.tiles, self.slice)
        blocks = self._store_blocks(problem.out_channels if is_weight else self.slice)
        marks = self._take(blocks if is_weight else blocks * len(starts))
        kernels = self._take_tiles(problem.out_channels * self.channels)
        inputs = self._take_tiles(self.slice * problem.in_channels)
        outputs = self._take_tiles(self.slice * problem.out_channels)
        self.work = Workspace(self.used_bytes)
        if not is_weight:
            self._load_weights(kernels, backward)
        for first in starts:
            count = min(self.slice, self.tiling.tiles - first)
            if not backward:
                self._load("input", inputs, first, count)
            if problem.direction != "forward":
                self._load("output", outputs, first, count)
            self._multiply(inputs, outputs, kernels, count, first > 0)
            if not is_weight:
                self._store(inputs if backward else outputs, marks, first, count)
        if is_weight:
            self._store_weights(kernels, marks)
        blocks = sum(
            math.prod(step.grid) for step in self.steps if isinstance(step, Launch) and step.kernel == "fft_store"
        )
        steps = [*self.steps, *computed_again(self.operation, marks, blocks)]
        size = self.work.offset_bytes
        return tuple(replace(step, workspace_bytes=size) if isinstance(step, Launch) else step for step in steps)

    def _take(self, size: int) -> Workspace:
        place = Workspace(self.used_bytes)
        self.used_bytes += -(-size // ALIGNED_BYTES) * ALIGNED_BYTES
        return place

    def _take_tiles(self, count: int) -> Workspace:
        return self._take(count * self.size * self.real.itemsize)

    # -- tiles and arrays
    def _load(self, role: str, place: Workspace, first: int, count: int) -> None:
        """Tiles of the input, or of the output, and their spectra."""
        tiling, problem = self.tiling, self.problem
        before = [problem.padding[axis][0] for axis in tiling.order]
        used, channels, sizes = tiling.lengths, problem.in_channels, problem.input_size
        if role == "output":
            channels, sizes = problem.out_channels, problem.output_size
            if problem.direction == "backward_weight":
                before, used = [0, 0, 0], tiling.valid
            else:
                before = [extent - pad for extent, pad in zip(tiling.extents, before, strict=True)]
        c = self._struct(role, sizes, tiling.lengths, channels, count, first)
        c["used"], c["before"], c["apart"] = used, before, tiling.valid
        self._start("fft_load", "LOAD", role, c, (role, place))
        self._transform(place, count * channels, inverse=False)

    def _load_weights(self, place: Workspace, reverse: bool) -> None:
        """Spectra of the kernels, whose taps lie a dilation apart; from the last tap to the first where ``reverse``."""
        tiling, problem = self.tiling, self.problem
        count = [extent + 1 for extent in tiling.extents]
        c = self._struct("weight", problem.kernel_size, tiling.lengths, self.channels, problem.out_channels, 0)
        c["used"], c["step"] = count, [problem.dilation[axis] for axis in tiling.order]
        if reverse:
            taps = [problem.kernel_size[axis] for axis in tiling.order]
            c["start_at"] = sum((n - 1) * step for n, step in zip(taps, c["stride"][0, 2:].tolist(), strict=True))
            c["stride"][0, 2:] *= -1
        self._start("fft_load", "LOAD", "weight", c, ("weight", place))
        self._transform(place, problem.out_channels * self.channels, inverse=False)

    def _store(self, place: Workspace, marks: Workspace, first: int, count: int) -> None:
        """Results of tiles, transformed back."""
        tiling, problem = self.tiling, self.problem
        role = RESULT[problem.direction]
        sizes = problem.input_size if role == "input" else problem.output_size
        self._transform(place, count * problem.result_channels, inverse=True)
        c = self._struct(role, sizes, tiling.valid, problem.result_channels, count, first)
        c["apart"], c["slope"] = tiling.valid, problem.epilogue.slope
        c["first_mark"] = first // self.slice * self._store_blocks(self.slice)
        bias, add = ("bias" if problem.epilogue.bias else None), ("add" if problem.epilogue.add else None)
        if add:
            c["add_stride"] = self._strides("add")
        self._start("fft_store", "STORE", role, c, (place, role, bias, add, marks))

    def _store_weights(self, place: Workspace, marks: Workspace) -> None:
        tiling, problem = self.tiling, self.problem
        self._transform(place, problem.out_channels * self.channels, inverse=True)
        taps = [problem.kernel_size[axis] for axis in tiling.order]
        c = self._struct("weight", problem.kernel_size, taps, self.channels, problem.out_channels, 0)
        c["step"] = [problem.dilation[axis] for axis in tiling.order]
        self._start("fft_store", "STORE", "weight", c, (place, "weight", None, None, marks))

    def _strides(self, role: str) -> list[int]:
        first, second, *axes = self.operation.layouts[role].strides
        return [first, second, *(axes[axis] for axis in self.tiling.order)]

    def _struct(
        self, role: str, sizes: Sizes, count: Sequence[int], channels: int, tiles: int, first: int
    ) -> np.ndarray:
        """Of tiles, or of the weights' filters, which are tiles of one each."""
        tiling, runs = self.tiling, -(-channels // ROWS)
        counts = (1, 1, 1) if role == "weight" else tiling.counts
        return struct(
            TILES, stride=self._strides(role), pitch=self.row, plane=self.row * tiling.lengths[1], size=self.size,
            array_size=[sizes[axis] for axis in tiling.order], count=count, step=(1, 1, 1), channels=channels,
            first_tile=first, units=tiles * runs, count_plane=divider(count[1] * count[2]), count_row=divider(count[2]),
            image=divider(math.prod(counts)), tiles_plane=divider(counts[1] * counts[2]), tiles_row=divider(counts[2]),
            runs=divider(runs), scale=1 / math.prod(tiling.transformed),
        )  # fmt: skip

    def _start(self, kernel: str, name: str, role: str, c: np.ndarray, arguments: tuple[object, ...]) -> None:
        c["steps"] = [[divider(int(step)) for step in c["step"][0]]]
        activation = self.problem.epilogue.activation if name == "STORE" else None
        defines: dict[str, int | str] = {
            "KERNEL": name, "ELEMENT": ELEMENTS[self.operation.layouts[role].dtype.name], "ROWS": ROWS,
            "ACTIVATION": 0 if activation is None else 1 + ACTIVATIONS.index(activation),
        }  # fmt: skip
        grid = (-(-math.prod(c["count"][0].tolist()) // THREADS), min(int(c["units"][0]), MAX_GRID_HEIGHT), 1)
        text = kernel_source("fft", defines, "vectors.cuh")
        self.steps.append(Launch(kernel, text, grid, (THREADS, 1, 1), (*arguments, c)))

    def _store_blocks(self, tiles: int) -> int:
        """Of a launch that stores the results of so many tiles, or of filters."""
        results, channels = self.tiling.valid, self.problem.result_channels
        if self.problem.direction == "backward_weight":
            results, channels = self.problem.kernel_size, self.channels
        return -(-math.prod(results) // THREADS) * min(tiles * -(-channels // ROWS), MAX_GRID_HEIGHT)

    # -- spectra
    def _transform(self, place: Workspace, count: int, inverse: bool) -> None:
        self.steps.append(Transform(place, self.real, self.tiling.transformed, count, inverse, self.work))

    def _multiply(self, inputs: Workspace, outputs: Workspace, kernels: Workspace, tiles: int, adds: bool) -> None:
        s, channels, filters, problem = self.tiling.frequencies, self.channels, self.filters, self.problem
        of_input = (channels * s, problem.in_channels * s, s)  # from a group, a tile, and a channel to the next one
        of_output = (filters * s, problem.out_channels * s, s)
        of_kernel = (filters * channels * s, channels * s, s)  # a group, a filter, a channel
        group, filter_, channel = of_kernel
        if problem.direction == "forward":
            places, strides = (inputs, kernels, outputs), (of_input, of_kernel, of_output)
            sizes = tiles, filters, channels
        elif problem.direction == "backward_input":
            places, strides = (outputs, kernels, inputs), (of_output, (group, channel, filter_), of_input)
            sizes = tiles, channels, filters
        else:
            places = inputs, outputs, kernels
            strides = (of_input[0], s, of_input[1]), (of_output[0], s, of_output[1]), (group, channel, filter_)
            sizes = channels, filters, tiles
        a, b, depth = sizes
        tile_a, tile_b = (4 if size > 2 else size for size in (a, b))
        tiles_b = -(-b // tile_b)
        of_group = -(-a // tile_a) * tiles_b
        c = struct(
            SPECTRA, a_stride=strides[0], b_stride=strides[1], c_stride=strides[2], groups=self.groups, a=a, b=b,
            depth=depth, frequencies=s, b_tiles=divider(tiles_b), ab_tiles=divider(of_group),
            units=self.groups * of_group,
        )  # fmt: skip
        defines: dict[str, int | str] = {"KERNEL": "MULTIPLY", "TA": tile_a, "TB": tile_b,
                                         "ELEMENT": ELEMENTS[self.real.name]}  # fmt: skip
        grid = (-(-s // PRODUCT_THREADS), min(self.groups * of_group, MAX_GRID_HEIGHT), 1)
        text = kernel_source("fft", defines, "vectors.cuh")
        accumulates = np.int32(adds and problem.direction == "backward_weight")
        self.steps.append(Launch("fft_multiply", text, grid, (PRODUCT_THREADS, 1, 1), (*places, accumulates, c)))
