"""depthwise_nchw: depthwise convolutions of images whose rows are neighbours in memory, read where they lie."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from ...._algorithm import Params
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm
from ...engine import runtime
from ..direct.blocking import MAX_MULTIPLY_ADDS, MAX_PARTIALS, MIN_ITEMS, MIN_MULTIPLY_ADDS
from . import loops

HEIGHTS = (3, 5, 7)
"""Kernel heights there is code for."""
MAX_WIDTH = 8
"""Kernel widths, at most."""
BAND_BYTES = 2**16
"""A band of the source, at most."""
ITEM_BYTES = 2**16
"""What an item reads, where channels are put together in one."""
SUM_BYTES = 2**14
"""Sums of the channels of an item of a weight gradient."""


@dataclass(frozen=True)
class Blocking:
    """The fields of nchw_job_t that do not name arrays, and the bytes of scratch that they amount to."""

    sides: int
    block: int
    band: int
    partials: int
    starts: tuple[int, ...]
    """Bytes at which masks, their columns, factors, copies of the source and of the gradient, and sums start."""
    thread_bytes: int
    partial_bytes: int
    before: int
    after: int
    pitch: int
    gradient_pitch: int


@functools.lru_cache(maxsize=1024)
def blocking_of(problem: ConvProblem) -> Blocking:
    """The blocking of a problem that the algorithm supports; follows from the problem and the vector length alone."""
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    itemsize = np.dtype(problem.dtype).itemsize
    (_, height, taps), (_, step, _) = problem.kernel_size, problem.stride
    is_gradient = problem.direction == "backward_weight"
    pixels, source, sides = problem.output_size[1:], problem.input_size[1:], 1
    if problem.direction == "backward_input":
        pixels, source = (-(-source[0] // step), -(-source[1] // step)), pixels
        sides, step = step, 1
    before, after = _reach(problem, max(pixels[1], lanes), source[1])
    pitch, gradient_pitch = (
        _apart(before + source[1] + after, itemsize),
        _apart(max(pixels[1] * sides, lanes), itemsize),
    )
    most = max(BAND_BYTES // (pitch * step * itemsize * loops.ROWS), 1) * loops.ROWS
    band = min(most, pixels[0])
    positions = problem.batch * -(-pixels[0] // band)
    sum_bytes = height * taps * lanes * itemsize
    block = max(ITEM_BYTES // (band * step * source[1] * itemsize), 1)
    if is_gradient:
        block = min(block, SUM_BYTES // sum_bytes, problem.groups // MIN_ITEMS)
    block = min(max(block, 1), max(positions * problem.groups // MIN_ITEMS, 1))
    partials, partial_bytes = 1, 0
    if is_gradient:
        blocks = -(-problem.groups // block)
        wanted = max(-(-MIN_ITEMS // blocks), problem.multiply_adds // blocks // MAX_MULTIPLY_ADDS)
        partials = max(min(wanted, positions, problem.multiply_adds // MIN_MULTIPLY_ADDS, MAX_PARTIALS), 1)
        partial_bytes = _lines(partials * math.prod(problem.weight_shape) * itemsize) if partials > 1 else 0
    vectors = -(-pixels[1] // lanes)
    sizes = [
        pitch * itemsize,
        sides * vectors * (taps + 1) * lanes * itemsize,
        sides * vectors * 8,
        height * taps * itemsize,
        ((band - 1) * step + height) * pitch * itemsize,
        band * gradient_pitch * itemsize,
        block * sum_bytes if is_gradient else 0,
    ]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + _lines(size))
    widths = {"before": before, "after": after, "pitch": pitch, "gradient_pitch": gradient_pitch}
    return Blocking(sides, block, band, partials, tuple(starts[1:-1]), starts[-1], partial_bytes, **widths)


def _reach(problem: ConvProblem, pixels: int, source: int) -> tuple[int, int]:
    """Columns that are read before and after those of the source, at most, for whole vectors of ``pixels``."""
    taps, step, before = problem.kernel_size[2], problem.stride[2], problem.padding[2][0]
    if problem.direction == "backward_input":
        return max(taps - 1 - before, 0), max(pixels + max(before, 0) + 1 - source, 0)
    return max(before, 0), max(pixels * step + taps + step - 2 - before - source, 0)


def _apart(columns: int, itemsize: int) -> int:
    """A row length at which the rows of a tile do not share sets of a first-level cache."""
    return next(size for size in range(columns, columns + 64) if size * itemsize % 1024 >= 128 or size < 32)


def _lines(size: int) -> int:
    return -(-size // 64) * 64


class DepthwiseNchw(CompiledAlgorithm):
    """Depthwise kernels of 3, 5 or 7 rows at stride 1 or 2, in float32 and float64."""

    name = "depthwise_nchw"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        depth, height, width = problem.kernel_size
        stride = problem.stride[1:]
        return (
            problem.groups == problem.in_channels == problem.out_channels
            and problem.layout != "channels_last"
            and problem.input_size[0] == problem.output_size[0] == depth == 1
            and problem.padding[0] == (0, 0)
            and height in HEIGHTS
            and width <= MAX_WIDTH
            and stride in ((1, 1), (2, 2))
            and problem.dilation[1:] == (1, 1)
            and min(problem.input_size[1:]) >= max(stride)
            and not problem.is_empty
            and width >= max(stride)
        )

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        blocking = blocking_of(problem)
        return blocking.partial_bytes + threads * blocking.thread_bytes

    def bind(self, problem: ConvProblem, params: Params) -> loops.NchwKernel:
        return loops.NchwKernel(problem, blocking_of(problem))
