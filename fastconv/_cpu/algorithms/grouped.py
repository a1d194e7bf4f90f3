"""grouped: few channels in every group, filters of several groups as lanes."""

from __future__ import annotations

import math

import numpy as np

from ..._algorithm import Algorithm, Machine, Operands, Params, Resources
from ..._problem import ConvProblem
from .. import _depthwise, _runtime, epilogue
from ..recompute import recompute
from .depthwise import LEAST_ITEMS, all_pixels_reach, parts_of, splits_of

EFFICIENCY = 0.9
"""Share of the peak rate; taps around the source are left out."""
TURN_PRODUCTS = 8
"""Multiply-adds in the time that it takes to turn an element."""
BAND_BYTES = 2**15
"""Of the rows of the source that are copied for one vector of filters: what a first-level cache holds."""


class Grouped(Algorithm):
    """Small groups, in float32 and float64; depthwise ones where rows are neighbours in memory."""

    name = "grouped"
    dtypes = frozenset({"float32", "float64"})
    multiplies_outside = True

    def supports(self, problem: ConvProblem) -> bool:
        """Where the channels that a vector of filters needs are one vector or its groups fill vectors."""
        if problem.groups == 1:
            return False
        channels, filters = _group_sizes(problem)
        if problem.layout == "channels_last":
            if filters == 1:
                return False
        elif problem.direction == "backward_input" and problem.stride[0] > 1:
            return False  # whose rows are written one by one
        if problem.direction == "backward_weight" and not all_pixels_reach(problem):
            return False
        lanes, _, _ = _runtime.tile_sizes(problem.dtype)
        if channels > _depthwise.MOST_CHANNELS:
            return False
        if filters % lanes == 0:
            return True
        return lanes % filters == 0 and channels <= filters and problem.groups * channels >= lanes

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        kernel = self.bind(problem, params)
        return kernel.shared_bytes + threads * kernel.thread_bytes

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Multiply-adds and the arrays once, which are turned where channels are not neighbours in memory."""
        shapes = problem.input_shape, problem.output_shape, problem.weight_shape
        data_seconds = sum(map(math.prod, shapes)) * np.dtype(problem.dtype).itemsize / machine.bytes_per_second
        phases = math.prod(problem.stride) if problem.direction == "backward_input" else 1
        products = problem.multiply_adds / EFFICIENCY
        if problem.layout != "channels_last":
            products += TURN_PRODUCTS * (math.prod(problem.input_shape) + math.prod(problem.output_shape))
        work = products / machine.multiply_adds_per_second[problem.dtype] + data_seconds
        return machine.call_seconds * 2 * phases + work / min(threads, LEAST_ITEMS)

    def bind(self, problem: ConvProblem, params: Params) -> _depthwise.GroupedKernel | _depthwise.GroupedGradient:
        if problem.direction == "backward_weight":
            return _depthwise.GroupedGradient(problem, splits_of(problem), parts_of(problem), _band_rows(problem))
        return _depthwise.GroupedKernel(problem, _band_rows(problem), _parts(problem))

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        if self.bind(problem, params).execute(operands, resources):
            recompute(problem, operands, resources.threads)
            if problem.direction != "backward_weight":
                epilogue.apply(problem, operands)


def _group_sizes(problem: ConvProblem) -> tuple[int, int]:
    """(channels of the source, channels of the result) of one group."""
    sizes = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    return sizes[::-1] if problem.direction == "backward_input" else sizes


def _band_rows(problem: ConvProblem) -> int:
    """Rows of the result that are computed from one copy of what they read."""
    lanes, _, _ = _runtime.tile_sizes(problem.dtype)
    channels, filters = _group_sizes(problem)
    vectors = -(-channels // lanes) if filters % lanes == 0 else 1
    row_bytes = vectors * lanes * np.dtype(problem.dtype).itemsize * problem.kernel_size[0]
    if problem.direction == "backward_input":
        rows, step = -(-problem.input_size[1] // problem.stride[1]), 1
        row_bytes *= problem.output_size[2] + problem.kernel_size[2]
    else:
        rows, step = problem.output_size[1], problem.stride[1]
        row_bytes *= problem.input_size[2] + problem.kernel_size[2]
    around = (problem.kernel_size[1] - 1) * problem.dilation[1]
    most = max((BAND_BYTES // row_bytes - around) // step, around // step, 1)
    return -(-rows // max(-(-rows // most), 1)) or 1


def _parts(problem: ConvProblem) -> int:
    """Parts of the filters, where images and bands are few."""
    lanes, _, _ = _runtime.tile_sizes(problem.dtype)
    _, filters = _group_sizes(problem)
    if problem.groups * filters % lanes:
        return 1
    stride = problem.stride if problem.direction == "backward_input" else (1, 1, 1)
    sizes = problem.input_size if problem.direction == "backward_input" else problem.output_size
    planes, rows = (-(-size // step) for size, step in zip(sizes[:2], stride[:2], strict=True))
    items = max(problem.batch * planes * -(-rows // _band_rows(problem)), 1)
    return min(-(-LEAST_ITEMS // items), problem.groups * filters // lanes)
