"""few_filters: few result channels from many, as in the input gradients of first layers; all stride phases at once."""

from __future__ import annotations

import math

import numpy as np

from ...._algorithm import MAX_PHASES, Machine, Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm
from . import loops
from .few_filters_blocking import MIN_ITEMS, blocking_of

FILTERS = range(3, 9)
"""Result channels of a group: with fewer, tiles that slide along the height make better use of what they load."""
EFFICIENCY = 0.95
"""Share of the peak rate that long sums reach."""
START_PRODUCTS = 8
"""Products of a sum that take as long as starting it and adding it to the result."""
WEIGHT_BYTES = 64
"""Bytes that are copied in the time it takes to pack a weight, which lies between those of other phases."""
SINGLE_BYTES = 12
"""The same for storing a result whose neighbours belong to other channels."""
MAX_SCRATCH_BYTES = 2**22
"""Scratch of one thread; wide dilations need more."""


class FewFilters(CompiledAlgorithm):
    """backward_input, and forward with unit strides, with few result channels in a group, in float32 and float64."""

    name = "few_filters"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        if problem.direction == "backward_weight" or (problem.direction == "forward" and max(problem.stride) > 1):
            return False
        if problem.phases > MAX_PHASES:
            return False
        return Correlation.of(problem).filters in FILTERS and blocking_of(problem).thread_bytes <= MAX_SCRATCH_BYTES

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        blocking = blocking_of(problem)
        return blocking.shared_bytes + threads * blocking.thread_bytes

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Arithmetic of the lanes in use, copies of the rows, and the arrays once."""
        itemsize = np.dtype(problem.dtype).itemsize
        blocking, c = blocking_of(problem), Correlation.of(problem)
        pixels = math.prod(blocking.band)
        lane_use = pixels / (blocking.band[0] * blocking.out_slice)
        products = math.prod(c.taps) * blocking.channels
        efficiency = EFFICIENCY * products / (products + START_PRODUCTS)
        rate = machine.multiply_adds_per_second[problem.dtype] * efficiency * lane_use
        items = c.batch * c.groups * math.prod(blocking.bands)
        copied = items * math.prod(blocking.panel) * c.channels + items * math.prod(problem.weight_shape)
        arrays = sum(math.prod(s) for s in (problem.input_shape, problem.output_shape, problem.weight_shape))
        moved = arrays * itemsize + math.prod(problem.weight_shape) * WEIGHT_BYTES
        work = problem.multiply_adds / rate + moved / machine.bytes_per_second
        work += 2 * copied * itemsize / (4 * machine.bytes_per_second)
        if problem.layout == "channels_last":
            results = c.batch * c.groups * c.filters * math.prod(c.pixels) * math.prod(c.phases)
            work += results * SINGLE_BYTES / machine.bytes_per_second
        return machine.call_seconds * 2 + work / min(threads, MIN_ITEMS)

    def bind(self, problem: ConvProblem, params: Params) -> loops.FewFiltersKernel:
        return loops.FewFiltersKernel(problem, blocking_of(problem))
