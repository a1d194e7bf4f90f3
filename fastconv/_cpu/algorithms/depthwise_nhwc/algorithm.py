"""depthwise_nhwc: one channel and one filter in every group, channels last, read and written where they lie."""

from __future__ import annotations

import math

import numpy as np

from ...._algorithm import MAX_PHASES, Params
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm, beside_weight
from ...engine import runtime
from ...engine.filter_lanes import PhasesKernel
from . import loops

MIN_ITEMS = 32
"""Work items wanted, so that threads find work; never decided by their number."""
PHASE_ROWS = 2
"""Rows of an item in each phase of a strided gradient, so that the lines all phases write stay in cache."""
SPLIT_MULTIPLY_ADDS = 2**19
"""Arithmetic at least of a part of a weight gradient's rows."""


class DepthwiseNhwc(CompiledAlgorithm):
    """Depthwise convolutions of channels-last arrays, in float32 and float64."""

    name = "depthwise_nhwc"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        is_depthwise = problem.groups == problem.in_channels == problem.out_channels
        if not is_depthwise or problem.layout != "channels_last" or problem.phases > MAX_PHASES:
            return False
        return problem.direction != "backward_weight" or all_pixels_reach(problem)

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        kernel = self.bind(problem, params)
        return kernel.shared_bytes + threads * kernel.thread_bytes

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        kernel = self.bind(problem, params)
        return kernel.pack(beside_weight(problem, weight)) if isinstance(kernel, PhasesKernel) else None

    def bind(self, problem: ConvProblem, params: Params) -> loops.NhwcKernel | loops.NhwcGradient:
        if problem.direction == "backward_weight":
            return loops.NhwcGradient(problem, splits_of(problem), parts_of(problem))
        return loops.NhwcKernel(problem, band_rows(problem))


def band_rows(problem: ConvProblem) -> int:
    """Rows of the result that make one work item."""
    sizes = problem.output_size if problem.direction == "forward" else problem.input_size
    strides = problem.stride if problem.direction == "backward_input" else (1, 1, 1)
    planes, rows = (-(-size // stride) for size, stride in zip(sizes[:2], strides[:2], strict=True))
    band = -(-rows // -(-MIN_ITEMS // max(problem.batch * planes, 1)))
    if strides != (1, 1, 1):
        band = min(band, PHASE_ROWS)
    return max(band + band % 2, 1)


def splits_of(problem: ConvProblem) -> int:
    """Parts of the rows that a weight gradient is summed in: as many as have work, and as few as cost little."""
    rows = problem.batch * math.prod(problem.output_size[:2])
    arrays = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    enough = min(problem.multiply_adds // SPLIT_MULTIPLY_ADDS, arrays // (8 * math.prod(problem.weight_shape)))
    return max(1, min(MIN_ITEMS, rows, enough))


def parts_of(problem: ConvProblem) -> int:
    """Parts of the filters, where the splits of the rows are few."""
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    return min(-(-MIN_ITEMS // splits_of(problem)), -(-problem.out_channels // lanes))


def all_pixels_reach(problem: ConvProblem) -> bool:
    """Whether every pixel of the output has a tap inside the input; not sure of wide dilations."""
    axes = zip(
        problem.kernel_size,
        problem.stride,
        problem.dilation,
        problem.padding,
        problem.input_size,
        problem.output_size,
        strict=True,
    )
    return all(
        before <= (taps - 1) * dilation and (pixels - 1) * stride - before < size and (dilation <= size or before <= 0)
        for taps, stride, dilation, (before, _), size, pixels in axes
    )
