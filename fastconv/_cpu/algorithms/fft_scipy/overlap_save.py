"""A convolution as circular convolutions of overlapping tiles: where tiles lie and how they are multiplied.

On every axis, with ``u = t*dilation = q*stride + r`` for tap t, the input is read as ``stride`` phases
``x_r[j] = x[j*stride + r - before]`` and the kernel as ``w_r[q]``, zeros where no tap lands. Then stride and dilation
are gone, and phases are channels::

    forward          y[o]   = sum over r, q of  x_r[o + q] * w_r[q]
    backward_input   dx_r[j] = sum over q of  dy[j - q] * w_r[q]
    backward_weight  dw_r[q] = sum over o of  x_r[o + q] * dy[o]

All three are circular convolutions of a tile of T elements with a reversed or plain kernel (or a reversed tile of dy),
of which the last elements, those that nothing has wrapped round to, are kept. Axes on which ``w_r`` has one element are
not transformed.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ...._problem import ConvProblem, Sizes
from ...blocks import Box, runs

MAX_POINTS = 2**22
"""Points of the largest transform: 0.1 s, for KeyboardInterrupt's sake."""
ROW_POINTS = 2**14
"""Axes that are not transformed are cut so that a tile has about this many points."""
BLOCK_BYTES = 2**21
"""Tiles of sources and targets that are transformed together."""
MATRIX_BLOCK_BYTES = 2**23
"""The same where products are matrix products, which read all kernels' spectra once per block."""
MIN_BLOCKS, MIN_ROWS = 4, 8
"""Blocks wanted for threads, where that leaves enough rows for a matrix product, and those rows."""
MAX_LANES = 8
SUMS_BYTES = 2**26
"""Partial sums of a weight gradient: how many, and their bytes."""
MIN_MATRIX_CHANNELS = 4
"""With at least this many channels on both sides, products per frequency are matrix products."""


Indices = tuple[Any, ...]
Tile = tuple[int, Sizes]
"""Image and first position of a tile."""


@dataclass(frozen=True)
class Tiling:
    """Tiles of one problem. Axes are in ``order``, the transformed ones last."""

    problem: ConvProblem
    order: tuple[int, ...]
    rank: int
    """Number of transformed axes."""
    taps: Sizes
    """Elements of ``w_r``."""
    stride: Sizes
    before: Sizes
    first: Sizes
    """The first position, of an output or of ``j``."""
    positions: Sizes
    tile: Sizes
    """Elements T of a tile on each axis."""

    @property
    def valid(self) -> Sizes:
        """Positions that one tile computes (backward_weight: that it sums over)."""
        return sizes_of(tile - taps + 1 for tile, taps in zip(self.tile, self.taps, strict=True))

    @functools.cached_property
    def phases(self) -> list[Sizes]:
        """The (r, r, r) that have taps."""
        dilation, kernel = self._permuted(self.problem.dilation), self._permuted(self.problem.kernel_size)
        axes = [
            sorted({tap * spacing % stride for tap in range(size)})
            for size, spacing, stride in zip(kernel, dilation, self.stride, strict=True)
        ]
        return [sizes_of(phase) for phase in itertools.product(*axes)]

    def phase_channels(self, number: int) -> slice:
        """Channels of a phase on the side of x."""
        channels = self.problem.in_channels // self.problem.groups
        return slice(number * channels, (number + 1) * channels)

    @property
    def sources(self) -> int:
        """Channels of a group that a tile is read from: those of x with their phases, or of dy."""
        if self.problem.direction == "backward_input":
            return self.problem.out_channels // self.problem.groups
        return self.problem.in_channels // self.problem.groups * len(self.phases)

    @property
    def targets(self) -> int:
        """Channels of a group on the other side of the kernel."""
        if self.problem.direction == "backward_input":
            return self.problem.in_channels // self.problem.groups * len(self.phases)
        return self.problem.out_channels // self.problem.groups

    @property
    def by_matrices(self) -> bool:
        """Whether spectra are multiplied as matrices, channels innermost in memory, or plane by plane."""
        return min(self.sources, self.targets) >= MIN_MATRIX_CHANNELS

    @property
    def spectrum(self) -> Sizes:
        """Sizes of a tile's spectrum; untransformed axes as they are."""
        if self.problem.dtype.startswith("complex"):
            return self.tile
        return (*self.tile[:2], self.tile[2] // 2 + 1)

    @property
    def kernel_tile(self) -> Sizes:
        """Sizes of a kernel that is to be transformed like a tile."""
        return sizes_of((1,) * (3 - self.rank) + self.tile[3 - self.rank :])

    @property
    def kernel_spectrum(self) -> Sizes:
        """Sizes of a kernel's spectrum."""
        return sizes_of((1,) * (3 - self.rank) + self.spectrum[3 - self.rank :])

    @property
    def kernel_spectra(self) -> int:
        """Elements of the spectra of all kernels."""
        return self.problem.groups * self.sources * self.targets * math.prod(self.kernel_spectrum)

    @property
    def rows(self) -> int:
        """Elements of a tile along the untransformed axes."""
        return math.prod(self.tile[: 3 - self.rank])

    @property
    def tile_count(self) -> int:
        """Tiles of all images."""
        counts = (-(-size // step) for size, step in zip(self.positions, self.valid, strict=True))
        return self.problem.batch * math.prod(counts)

    def tiles(self) -> list[Tile]:
        """(image, first position) of every tile."""
        starts = [
            range(first, first + size, step)
            for first, size, step in zip(self.first, self.positions, self.valid, strict=True)
        ]
        return [(n, sizes_of(start)) for n in range(self.problem.batch) for start in itertools.product(*starts)]

    def _permuted(self, sizes: Sizes) -> Sizes:
        return sizes_of(sizes[axis] for axis in self.order)

    def data(self, array: np.ndarray) -> np.ndarray:
        """(n, group, channel, axes in order) view of a canonical input or output."""
        batch, channels, *sizes = array.shape
        groups = self.problem.groups
        grouped = array.reshape(batch, groups, channels // groups, *sizes)
        return grouped.transpose(0, 1, 2, *(3 + axis for axis in self.order))

    def weights(self, array: np.ndarray) -> np.ndarray:
        """(group, source, target, taps in order) view of a canonical weight; sources and targets without phases."""
        filters, channels, *sizes = array.shape
        groups = self.problem.groups
        grouped = array.reshape(groups, filters // groups, channels, *sizes)
        sides = (1, 2) if self.problem.direction == "backward_input" else (2, 1)
        return grouped.transpose(0, *sides, *(3 + axis for axis in self.order))

    def kernel_places(self, phase: Sizes, reverse: bool = False) -> tuple[Indices, Indices]:
        """Indices of the taps of a phase in the weight, and of their elements in ``w_r``, plain or reversed."""
        taps, places = [], []
        dilation, kernel = self._permuted(self.problem.dilation), self._permuted(self.problem.kernel_size)
        for size, spacing, stride, r, last in zip(kernel, dilation, self.stride, phase, self.taps, strict=True):
            of_phase = [tap for tap in range(size) if tap * spacing % stride == r]
            taps.append(of_phase)
            places.append(
                [last - 1 - tap * spacing // stride if reverse else tap * spacing // stride for tap in of_phase]
            )
        return (..., *np.ix_(*taps)), (..., *np.ix_(*places))

    def input_window(self, start: Sizes, phase: Sizes, length: Sizes) -> tuple[Box, Box] | None:
        """Which of ``length`` positions from ``start`` have an input element of the phase, and where it is."""
        offset = sizes_of(r - before for r, before in zip(phase, self.before, strict=True))
        return _window(start, self.stride, offset, self._permuted(self.problem.input_size), length)

    def output_window(self, start: Sizes, length: Sizes) -> tuple[Box, Box] | None:
        """Which of ``length`` positions from ``start`` are outputs, and where."""
        return _window(start, (1, 1, 1), (0, 0, 0), self._permuted(self.problem.output_size), length)


@dataclass(frozen=True)
class Blocking:
    """How tiles are put into blocks that are transformed together."""

    tiling: Tiling
    max_tiles: int
    max_groups: int
    lanes: int
    """Partial sums of backward_weight; lane l adds up the blocks l, l + lanes..."""

    @property
    def block_count(self) -> int:
        """Blocks of tiles."""
        return -(-self.tiling.tile_count // self.max_tiles)

    @property
    def task_count(self) -> int:
        """Length of ``tasks``, without making the list."""
        blocks = self.lanes if self.tiling.problem.direction == "backward_weight" else self.block_count
        return blocks * -(-self.tiling.problem.groups // self.max_groups)

    def tasks(self) -> list[tuple[list[slice], slice, int]]:
        """What runs in parallel: (blocks of tiles, groups, lane)."""
        blocks = runs(self.tiling.tile_count, self.max_tiles)
        groups = runs(self.tiling.problem.groups, self.max_groups)
        if self.tiling.problem.direction == "backward_weight":
            return [(blocks[lane :: self.lanes], part, lane) for part in groups for lane in range(self.lanes)]
        return [([block], part, 0) for block in blocks for part in groups]

    def scratch_sizes(self) -> tuple[int, int, int, int]:
        """Elements of the kernels' spectra (or partial sums of them), and per thread of tiles, products, addends."""
        t, tiles = self.tiling, self.max_tiles * self.max_groups
        gathered, products = t.sources * tiles * math.prod(t.tile), t.targets * tiles * math.prod(t.spectrum)
        if t.problem.direction == "backward_weight":
            gathered += t.targets * tiles * math.prod(t.tile)
            addends = t.kernel_spectra if t.by_matrices else t.targets * self.max_groups * math.prod(t.spectrum)
            return t.kernel_spectra * self.lanes, gathered, 0, addends
        return t.kernel_spectra, gathered, products, 0 if t.by_matrices else products


@functools.lru_cache(maxsize=1024)
def blocking(problem: ConvProblem, tile: int, block_bytes: int | None = None) -> Blocking:
    """Blocks of at most ``block_bytes`` of the tiling with tiles of about ``tile`` elements per transformed axis."""
    sums_bytes = SUMS_BYTES if block_bytes is None else min(SUMS_BYTES, MAX_LANES * block_bytes)
    block_bytes = block_bytes or MATRIX_BLOCK_BYTES
    t = tiling(problem, tile)
    itemsize = np.dtype(problem.dtype).itemsize
    tile_bytes = (t.sources + t.targets) * math.prod(t.tile) * itemsize
    if t.by_matrices:
        groups = problem.groups
        most = block_bytes // (tile_bytes * groups)
        tiles = max(1, min(most, max(-(-t.tile_count // MIN_BLOCKS), MIN_ROWS), t.tile_count))
    else:
        most = min(BLOCK_BYTES, block_bytes)
        groups = max(1, min(most // tile_bytes, problem.groups))
        tiles = max(1, min(most // (tile_bytes * groups), t.tile_count))
    lanes = 1
    if problem.direction == "backward_weight":
        room = sums_bytes // (2 * itemsize * t.kernel_spectra)
        lanes = max(1, min(-(-t.tile_count // tiles), -(-MAX_LANES * groups // problem.groups), room))
    return Blocking(t, tiles, groups, lanes)


def sizes_of(sizes: Iterable[int]) -> Sizes:
    return cast(Sizes, tuple(sizes))


def _window(start: Sizes, step: Sizes, offset: Sizes, size: Sizes, length: Sizes) -> tuple[Box, Box] | None:
    """The v in range(length) for which (start + v)*step + offset lies in range(size), and those elements."""
    places, elements = [], []
    for a, s, b, most, count in zip(start, step, offset, size, length, strict=True):
        begin, end = max(0, -(b // s) - a), min(count, -((b - most) // s) - a)
        if begin >= end:
            return None
        places.append(slice(begin, end))
        elements.append(slice((a + begin) * s + b, (a + end - 1) * s + b + 1, s))
    return tuple(places), tuple(elements)


def _phase_taps(problem: ConvProblem) -> list[int]:
    """Elements of ``w_r`` per axis."""
    return [
        (dilation * (kernel - 1)) // stride + 1
        for kernel, dilation, stride in zip(problem.kernel_size, problem.dilation, problem.stride, strict=True)
    ]


def is_transformable(problem: ConvProblem) -> bool:
    """Whether there is something to sum, an axis to transform, and a smallest tile that is not too large."""
    taps = [size for size in _phase_taps(problem) if size > 1]
    return bool(taps) and problem.multiply_adds > 0 and math.prod(taps) <= MAX_POINTS // 2 ** len(taps)


@functools.lru_cache(maxsize=1024)
def tiling(problem: ConvProblem, side: int) -> Tiling:
    """The tiling with tiles of about ``side`` elements per transformed axis, at least twice the kernel."""
    taps = _phase_taps(problem)
    order = tuple(sorted(range(3), key=lambda axis: taps[axis] > 1))
    rank = sum(size > 1 for size in taps)
    first, positions = [0, 0, 0], list(problem.output_size)
    if problem.direction == "backward_input":
        for axis in range(3):
            before, stride = problem.padding[axis][0], problem.stride[axis]
            first[axis] = before // stride
            positions[axis] = (problem.input_size[axis] - 1 + before) // stride - first[axis] + 1
    tile = [1, 1, 1]
    for axis in order[3 - rank :]:
        tile[axis] = _even_tile(positions[axis], taps[axis], side)
    for axis in reversed(order[: 3 - rank]):
        tile[axis] = max(1, min(positions[axis], ROW_POINTS // math.prod(tile)))

    def ordered(values: list[int]) -> Sizes:
        return sizes_of(values[axis] for axis in order)

    return Tiling(
        problem,
        order,
        rank,
        taps=ordered(taps),
        stride=ordered(list(problem.stride)),
        before=ordered([pair[0] for pair in problem.padding]),
        first=ordered(first),
        positions=ordered(positions),
        tile=ordered(tile),
    )


def _even_tile(positions: int, taps: int, side: int) -> int:
    """A fast transform length near ``side``, no larger than needed for the number of tiles that it gives."""
    length = fast_length(max(side, 2 * taps))
    count = max(1, -(-positions // (length - taps + 1)))
    return min(length, fast_length(-(-positions // count) + taps - 1))


@functools.cache
def fast_length(least: int) -> int:
    """The smallest even 2^a * 3^b * 5^c of ``least`` or more."""
    best = 2 << max(0, least - 1).bit_length()
    for threes_fives in (3**b * 5**c for b in range(13) for c in range(9)):
        if threes_fives <= best:
            rest = -(-least // threes_fives)
            best = min(best, threes_fives << max(1, (rest - 1).bit_length()))
    return best
