"""direct: sums in registers over rows copied into scratch; for depthwise convolutions and few channels per group."""

from __future__ import annotations

import math

import numpy as np

from ...._algorithm import MAX_PHASES, Machine, Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm
from ...engine import runtime
from . import loops
from .blocking import MIN_ITEMS, blocking_of

MAX_CHANNELS = 8
"""Channels or filters of a group; with more of both, a matrix product makes better use of what it loads."""
MAX_SCRATCH_BYTES = 2**23
"""Scratch of one thread; wide dilations and very long kernels need more, and other algorithms waste less on them."""
START_PRODUCTS = 8
"""Products of a sum that take as long as starting and storing it; half as many where filters share the start."""
SINGLE_BYTES = 12
"""Bytes that are copied in the time it takes to move a single element whose neighbours belong to other channels."""


class Direct(CompiledAlgorithm):
    """Groups with few channels or few filters in float32 and float64."""

    name = "direct"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
        if min(channels, filters) > MAX_CHANNELS or problem.phases > MAX_PHASES:
            return False
        return blocking_of(problem, self._lanes_along(problem)).thread_bytes <= MAX_SCRATCH_BYTES

    @staticmethod
    def _lanes_along(problem: ConvProblem) -> str:
        """Along the channels where they are neighbours in memory, or where rows fill few vectors."""
        c = Correlation.of(problem)
        lanes, _, _ = runtime.tile_sizes(problem.dtype)
        if problem.layout == "channels_last":
            return "channels" if c.filters <= 2 and c.groups * c.filters >= lanes else "width"
        narrow = c.pixels[2] <= (4 if c.is_gradient else 1.5) * lanes
        is_plain = c.channels == c.filters == 1 and c.groups >= lanes and max(problem.stride) == 1
        return "channels" if narrow and is_plain else "width"

    def parameters(self, problem: ConvProblem) -> list[Params]:
        first = self._lanes_along(problem)
        found = [first]
        other = "width" if first == "channels" else "channels"
        if blocking_of(problem, other).thread_bytes <= MAX_SCRATCH_BYTES:
            found.append(other)
        return [{"lanes": name} for name in found]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        blocking = blocking_of(problem, params["lanes"])
        return blocking.partial_bytes + threads * blocking.thread_bytes

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Arithmetic of the lanes in use, copies of the rows, and the arrays once."""
        lanes, _, _ = runtime.tile_sizes(problem.dtype)
        itemsize = np.dtype(problem.dtype).itemsize
        blocking, c = blocking_of(problem, params["lanes"]), Correlation.of(problem)
        along = max(blocking.band[2], 1) if blocking.unit == 1 else max(c.groups * c.filters, 1)
        wide = lanes if blocking.unit == 1 else blocking.unit
        lane_use = along / (-(-along // wide) * wide)
        products = math.prod(c.taps) * c.channels
        if c.filters > 2:
            efficiency = 0.85 if c.is_gradient else 0.95 * products / (products + START_PRODUCTS / 2)
        else:
            efficiency = 0.6 if c.is_gradient else 0.85 * products / (products + START_PRODUCTS)
        rate = machine.multiply_adds_per_second[problem.dtype] * efficiency * lane_use
        panel_items = max(-(-math.prod(c.pixels) // math.prod(blocking.band)), 1) * problem.batch
        copied = panel_items * math.prod(blocking.panel) * blocking.slots * c.channels
        copied *= math.prod(c.phases) * (c.groups if blocking.unit == 1 else c.groups * c.filters)
        if c.is_gradient and blocking.unit == 1:
            copied = copied * -(-c.filters // blocking.block) + math.prod(problem.output_shape)
        arrays = sum(math.prod(s) for s in (problem.input_shape, problem.output_shape, problem.weight_shape))
        work = problem.multiply_adds / rate + arrays * itemsize / machine.bytes_per_second
        work += 2 * copied * itemsize / (4 * machine.bytes_per_second)
        if problem.layout == "channels_last" and blocking.unit == 1:
            source, result = problem.in_channels, problem.out_channels
            results = c.batch * math.prod(c.pixels) * math.prod(c.phases) * c.groups * c.filters
            if problem.direction == "backward_input":
                source, result = result, source
            singly = (copied if source > 1 else 0) + (results if result > 1 else 0)
            work += singly * SINGLE_BYTES / machine.bytes_per_second
        return machine.call_seconds * math.prod(c.phases) + work / min(threads, MIN_ITEMS)

    def bind(self, problem: ConvProblem, params: Params) -> loops.DirectKernel:
        return loops.DirectKernel(problem, blocking_of(problem, params["lanes"]))
