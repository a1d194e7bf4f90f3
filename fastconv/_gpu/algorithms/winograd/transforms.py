"""Minimal filtering as steps: transforms of arrays, and cuBLAS's products of points between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...._minimal_filtering import matrices
from ...._problem import ACTIVATIONS, RESULT, ConvProblem, Epilogue
from ... import cublas
from ...algorithm import Operation
from ...cublas import Matrices, Product
from ...gemm import ALIGNED_BYTES, padded
from ...launch import Launch, Step, Workspace, struct
from ...layout import vector_elements
from ...nonfinite import computed_again
from ...source import DIVIDER, SHARED, divider, source_of

THREADS = 128
TAPS = 3
OFFSET_LIMIT = 2**31
"""Offsets inside a tile are 64-bit where they reach so far, in elements."""
MAX_CHAIN = 352
"""Products of a weight gradient that are summed one after the other: sums of more tiles are those of several parts."""
WANTED_BLOCKS = 264
"""Two for each multiprocessor of a large device: so many parts are multiplied side by side."""
MAX_MARKS = 4096
"""Of a group: blocks that store results take some rounds where they would be more."""
VECTOR = 4
"""Tiles of a matrix are a multiple of it, so that rows are aligned."""
ITEM_BYTES = 4
POINTS_TO_RESULTS, TAPS_TO_POINTS, SOURCE_TO_POINTS = 0, 1, 2
"""Which of an axis's matrices."""
TILES = np.dtype(
    [
        *((f"{name}stride", np.int64, 5) for name in ("", "add_")),
        *((name, np.int64) for name in ("at", "group_stride", "add_group_stride")),
        *((f"{name}_stride", np.int64) for name in ("point", "part", "matrix", "tile", "channel")),
        *((name, np.int32, 2) for name in ("size", "before")),
        *((name, np.int32) for name in ("channels", "first", "tiles", "threads", "parts", "rounds", "reserved")),
        *((name, DIVIDER) for name in ("inner", "part", "image", "plane", "row")),
        ("slope", np.float64),
    ]
)
"""fc_tiles of transforms.cu."""


@dataclass(frozen=True)
class Axis:
    """One of h and w: so many elements of the source, taps, and results make a tile."""

    points: int
    taps: int
    results: int

    @classmethod
    def of(cls, size: int, tile_size: int) -> Axis:
        """Of kernels of so many taps."""
        return cls(tile_size, TAPS, tile_size - TAPS + 1) if size == TAPS else cls(1, 1, 1)

    def matrices(self, is_gradient: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """From points to results, from taps to points, from elements of the source to points.

        Of a weight gradient, the taps are its results, and elements of the output's gradient are what it has for taps.
        """
        return matrices(self.points, self.results if is_gradient else self.taps)


@dataclass(frozen=True)
class Points:
    """Matrices of (tile, channel), for every part, point and group."""

    place: str | Workspace
    tiles: int
    channels: int
    along_tiles: bool
    """Whether tiles, rather than channels, lie side by side."""
    points: int
    groups: int
    parts: int = 1

    @property
    def strides(self) -> tuple[int, int]:
        """From a tile and from a channel to the next one."""
        return (1, self.tiles) if self.along_tiles else (self.channels, 1)

    @property
    def matrix(self) -> int:
        """Elements of one."""
        return self.tiles * self.channels

    def by_tiles(self) -> Matrices:
        """Rows are tiles."""
        return Matrices(self.place, np.dtype(np.float32), *self.strides, self.matrix)

    def by_channels(self) -> Matrices:
        """Rows are channels."""
        return Matrices(self.place, np.dtype(np.float32), *self.strides[::-1], self.matrix)


@dataclass(frozen=True)
class Image:
    """An array as tiles: data, or weights, of which every filter is one tile. Strides of n, channel, d, h, w."""

    role: str
    strides: tuple[int, ...]
    at: int
    group_stride: int
    channels: int
    size: tuple[int, ...]
    before: tuple[int, ...]
    step: tuple[int, ...]
    """From a tile to the next one."""
    counts: tuple[int, int, int]
    tiles: int

    @property
    def along_tiles(self) -> bool:
        """Whether tiles lie closer together than channels."""
        of_tile = self.strides[0] if math.prod(self.counts) == 1 else self.strides[4] * self.step[1]
        return self.channels == 1 or not abs(self.strides[1]) < abs(of_tile)


def axes_of(problem: ConvProblem, tile_size: int) -> tuple[Axis, Axis]:
    """Those of h and w."""
    h, w = (Axis.of(size, tile_size) for size in problem.kernel_size[1:])
    return h, w


def tile_counts(problem: ConvProblem, tile_size: int) -> tuple[int, int, int]:
    """Of an image, on every axis: of the result, or of the output's gradient."""
    depth, *sizes = problem.input_size if RESULT[problem.direction] == "input" else problem.output_size
    h, w = (-(-size // axis.results) for size, axis in zip(sizes, axes_of(problem, tile_size), strict=True))
    return depth, h, w


class Builder:
    """The steps of an operation. Tiles are taken in slices, whose points are in scratch memory at a time."""

    def __init__(self, operation: Operation, tile_size: int, slice_bytes: int) -> None:
        problem = self.problem = operation.problem
        self.operation, self.layouts = operation, operation.layouts
        self.is_gradient = problem.direction == "backward_weight"
        self.is_input_gradient = problem.direction == "backward_input"
        self.axes, self.counts = axes_of(problem, tile_size), tile_counts(problem, tile_size)
        self.points, self.groups = math.prod(axis.points for axis in self.axes), problem.groups
        self.tiles = problem.batch * math.prod(self.counts)
        sides = problem.in_channels // self.groups, problem.out_channels // self.groups
        self.channels, self.filters = sides[::-1] if self.is_input_gradient else sides
        self.slice, self.parts = self._slices(slice_bytes)
        self.slices = range(0, self.tiles, self.slice)
        """The first tile of each."""
        self.used_bytes = self.mark_count = 0

    def _slices(self, slice_bytes: int) -> tuple[int, int]:
        """Tiles of a slice, and how many parts of it are summed apart."""
        of_tile = 4 * self.points * self.groups * (self.channels + self.filters)
        most, parts = max(slice_bytes // of_tile, 1), 1
        if self.is_gradient:
            chain = min(MAX_CHAIN, most)
            blocks = self.points * self.groups * -(-self.filters // 128) * -(-self.channels // 128)
            parts = min(-(-WANTED_BLOCKS // blocks), -(-self.tiles // chain), most // chain)
            most = parts * chain
        slices = -(-self.tiles // most)
        return parts * padded(-(-self.tiles // (slices * parts)), VECTOR), parts

    def build(self, slices: int | None = None) -> tuple[Step, ...]:
        """All of them, or what there would be with the first slices alone."""
        starts = self.slices[:slices]
        steps = self._gradient(starts) if self.is_gradient else self._correlation(starts)
        marks = computed_again(self.operation, Workspace(0), self.mark_count)
        return tuple(replace(step, workspace_bytes=self.used_bytes) for step in (*steps, *marks))

    def _correlation(self, starts: range) -> list[Launch | Product]:
        """Forward, and input gradients."""
        source, weight, result = self._source(), self._weight(), self._result()
        largest, last = (padded(min(self.slice, self.tiles - first), VECTOR) for first in (0, self.slices[-1]))
        of_largest = (len(self.slices) - 1) * self._blocks(result, largest)
        self._take(of_largest + self._blocks(result, last))
        steps: list[Launch | Product] = []
        of_weight = self._points(weight, weight.tiles, 1, "packed" if self.operation.is_packed else None)
        if not self.operation.is_packed:
            steps.append(self._points_from(weight, of_weight, TAPS_TO_POINTS))
        scratch, begin = self._scratch(), self.used_bytes
        for first in starts:
            self.used_bytes = begin  # slices follow each other
            count = last if first == self.slices[-1] else largest
            of_source, of_result = self._points(source, count), self._points(result, count)
            steps.append(self._points_from(source, of_source, SOURCE_TO_POINTS, first))
            sizes = self.filters, count, self.channels
            a, b, c = of_weight.by_tiles(), of_source.by_channels(), of_result.by_channels()
            steps.append(Product(a, b, c, *sizes, self.points * self.groups, scratch=scratch[0],
                                 scratch_bytes=scratch[1]))  # fmt: skip
            steps.append(self._tiles_from(of_result, result, first, self.problem.epilogue))
        self.used_bytes = begin + sum(
            padded(self._points_bytes(image, largest), ALIGNED_BYTES) for image in (source, result)
        )
        return steps

    def _gradient(self, starts: range) -> list[Launch | Product]:
        source, gradient, weight = self._source(), self._result(), self._weight()
        self._take(self._blocks(weight, weight.tiles))
        sums = self._points(weight, self.parts * weight.tiles, self.parts)
        scratch = self._scratch()
        of_source, of_gradient = (self._points(image, self.slice, self.parts) for image in (source, gradient))
        steps: list[Launch | Product] = []
        for first in starts:
            steps.append(self._points_from(source, of_source, SOURCE_TO_POINTS, first))
            steps.append(self._points_from(gradient, of_gradient, TAPS_TO_POINTS, first))
            sizes = self.filters, self.channels, of_source.tiles
            a, b, c = of_gradient.by_channels(), of_source.by_tiles(), sums.by_tiles()
            steps.append(Product(a, b, c, *sizes, self.parts * self.points * self.groups, first > 0,
                                 scratch=scratch[0], scratch_bytes=scratch[1]))  # fmt: skip
        return [*steps, self._tiles_from(sums, weight, 0, None)]

    def moved_bytes(self) -> int:
        """Of all transforms: points, and every element of the arrays once."""
        results, taps = (math.prod(getattr(axis, name) for axis in self.axes) for name in ("results", "taps"))
        of_data = (self.points + results) * self.tiles * (self.channels + self.filters)
        of_weight = (self.points * self.parts + taps) * self.channels * self.filters
        return self.groups * (of_data + of_weight) * ITEM_BYTES

    # -- memory
    def _take(self, size_bytes: int) -> Workspace:
        place = Workspace(self.used_bytes)
        self.used_bytes += padded(size_bytes, ALIGNED_BYTES)
        return place

    def _scratch(self) -> tuple[Workspace, int]:
        size = cublas.scratch_bytes(math.prod(self.problem.result_shape) * ITEM_BYTES)
        return self._take(size), size

    def _points_bytes(self, image: Image, tiles: int) -> int:
        return tiles * image.channels * self.points * self.groups * ITEM_BYTES

    def _points(self, image: Image, tiles: int, parts: int = 1, place: str | None = None) -> Points:
        """Of so many tiles, those of all parts. How packed weights lie does not depend on how weights do."""
        taken = place or self._take(self._points_bytes(image, tiles))
        along_tiles = self.is_input_gradient if place else image.along_tiles
        return Points(taken, tiles // parts, image.channels, along_tiles, self.points, self.groups, parts)

    # -- arrays
    def _data(self, role: str, channels: int, size: tuple[int, ...], before: tuple[int, ...]) -> Image:
        strides = self.layouts[role].strides
        return Image(role, strides, 0, channels * strides[1], channels, size, before,
                     tuple(axis.results for axis in self.axes), self.counts, self.tiles)  # fmt: skip

    def _source(self) -> Image:
        """What pixels of the results, or of the output's gradient, read through the taps."""
        problem, before = self.problem, tuple(pair[0] for pair in self.problem.padding[1:])
        if self.is_input_gradient:
            before = tuple(axis.taps - 1 - pad for axis, pad in zip(self.axes, before, strict=True))
            return self._data("output", self.channels, problem.output_size[1:], before)
        return self._data("input", self.channels, problem.input_size[1:], before)

    def _weight(self) -> Image:
        """Filters. An input gradient reads the taps from the last to the first."""
        k, c, d, h, w = self.layouts["weight"].strides
        group, at = self.problem.out_channels // self.groups * k, 0
        taps = tuple(axis.taps for axis in self.axes)
        if self.is_input_gradient:
            k, c, h, w, at = c, k, -h, -w, (taps[0] - 1) * h + (taps[1] - 1) * w
        return Image("weight", (k, c, d, h, w), at, group, self.channels, taps, (0, 0), taps, (1, 1, 1), self.filters)

    def _result(self) -> Image:
        """Pixels of the results, or of the output's gradient."""
        role = "input" if self.is_input_gradient else "output"
        size = self.problem.input_size if self.is_input_gradient else self.problem.output_size
        return self._data(role, self.filters, size[1:], (0, 0))

    # -- launches
    def pack(self) -> Launch:
        """What transforms the weights into the array "packed"."""
        image = self._weight()
        return self._points_from(image, self._points(image, image.tiles, 1, "packed"), TAPS_TO_POINTS)

    def packed_bytes(self) -> int:
        """Of transformed weights."""
        return self._points_bytes(self._weight(), self.filters)

    def _blocks(self, image: Image, tiles: int) -> int:
        """Of the launch that stores results, each with a mark."""
        blocks = -(-tiles * image.channels // THREADS)
        return -(-blocks // -(-blocks // MAX_MARKS)) * self.groups

    def _points_from(self, image: Image, points: Points, which: int, first: int = 0) -> Launch:
        c, defines = self._described(image, points, which, points.tiles * points.parts, first)
        blocks = -(-int(c["threads"][0]) // THREADS)
        return self._launch("points_from_tiles", defines, (image.role, points.place, c), blocks)

    def _tiles_from(self, points: Points, image: Image, first: int, epilogue: Epilogue | None) -> Launch:
        c, defines = self._described(image, points, POINTS_TO_RESULTS, points.tiles, first)
        marks, shown = Workspace(self.mark_count), (self.layouts[image.role],)
        blocks = self._blocks(image, points.tiles)
        self.mark_count += blocks
        c["rounds"] = -(-int(c["threads"][0]) // (THREADS * (blocks // self.groups)))
        if epilogue is not None:
            c["slope"] = epilogue.slope
            defines["ACTIVATION"] = 0 if epilogue.activation is None else 1 + ACTIVATIONS.index(epilogue.activation)
            if epilogue.add:
                added = self.layouts["add"]
                c["add_stride"], c["add_group_stride"] = added.strides, image.channels * added.strides[1]
        wide = int(defines["TO_W"])
        is_whole = wide in (2, 4) and vector_elements((image.size[1],), shown, wide) == wide
        defines["PARTS"], defines["VECTORS"] = int(points.parts > 1), int(is_whole and image.along_tiles)
        has_bias, has_add = (epilogue.bias, epilogue.add) if epilogue else (False, False)
        arguments = points.place, image.role, "bias" if has_bias else None, "add" if has_add else None, marks, c
        return self._launch("tiles_from_points", defines, arguments, blocks // self.groups)

    def _described(self, image: Image, points: Points, which: int, tiles: int, first: int
                   ) -> tuple[np.ndarray, dict[str, int | str]]:  # fmt: skip
        """The struct and the #defines of a transform of so many tiles."""
        left, right = (axis.matrices(self.is_gradient)[which] for axis in self.axes)
        tile, channel = points.strides
        c = struct(
            TILES, stride=image.strides, at=image.at, group_stride=image.group_stride, size=image.size,
            before=image.before, channels=image.channels, first=first, tiles=image.tiles,
            point_stride=points.groups * points.matrix, matrix_stride=points.matrix,
            part_stride=points.points * points.groups * points.matrix, tile_stride=tile, channel_stride=channel,
            threads=tiles * image.channels, parts=points.parts, part=divider(points.tiles),
            inner=divider(tiles if image.along_tiles else image.channels), image=divider(math.prod(image.counts)),
            plane=divider(image.counts[1] * image.counts[2]), row=divider(image.counts[2]),
        )  # fmt: skip
        return c, {
            "LANES": "TILES" if image.along_tiles else "CHANNELS", "STEP_H": image.step[0], "STEP_W": image.step[1],
            "TO_H": left.shape[0], "TO_W": right.shape[0], "FROM_H": left.shape[1], "FROM_W": right.shape[1],
            "LEFT": _text(left), "RIGHT": _text(right), "CONTIGUOUS": int(image.strides[4] == 1),
            "PARTS": 0, "VECTORS": 0, "WIDE": int(8 * sum(map(abs, image.strides[3:])) >= OFFSET_LIMIT),
        }  # fmt: skip

    def _launch(self, kernel: str, defines: dict[str, int | str], arguments: tuple[object, ...],
                blocks: int) -> Launch:  # fmt: skip
        text = source_of("algorithms/winograd/transforms.cu", {"KERNEL": kernel.upper(), **defines}, *SHARED)
        return Launch(kernel, text, (blocks, self.groups, 1), (THREADS, 1, 1), arguments)


def _text(matrix: np.ndarray) -> str:
    """As an initializer in C."""
    rows = (", ".join(f"{value}f" for value in row.astype(np.float32).tolist()) for row in matrix)
    return "{" + ", ".join(f"{{{row}}}" for row in rows) + "}"
