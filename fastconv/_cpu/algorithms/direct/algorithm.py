"""direct: sums in registers over rows copied into scratch; for depthwise convolutions and few channels per group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...._algorithm import MAX_PHASES, Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm
from ...cost.counts import ITEM_BYTES, count
from . import loops
from .blocking import MAX_LISTED_TAPS, SCRATCH_BYTES, blocking_of, reaches_little

MAX_CHANNELS = 8
"""Channels or filters of a group; with more of both, a matrix product makes better use of what it loads."""
MAX_SCRATCH_BYTES = 2**23
"""Scratch of one thread; wide dilations and very long kernels need more, and other algorithms waste less on them."""


class Direct(CompiledAlgorithm):
    """Groups with few channels or few filters in float32 and float64."""

    name = "direct"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
        if min(channels, filters) > MAX_CHANNELS or problem.phases > MAX_PHASES:
            return False
        return reaches_little(problem) or any(self.is_able(problem, params) for params in self.choices(problem))

    def choices(self, problem: ConvProblem) -> Sequence[Params]:
        return [{"lanes": "width"}, {"lanes": "channels"}]

    def is_able(self, problem: ConvProblem, params: Params) -> bool:
        return blocking_of(problem, params["lanes"]).thread_bytes <= MAX_SCRATCH_BYTES

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        blocking = blocking_of(problem, params["lanes"])
        return blocking.partial_bytes + threads * blocking.thread_bytes

    def loop(self, problem: ConvProblem, params: Params) -> str:
        return f"{self.name} {params['lanes']}"

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """Products by filters that share what is loaded; sums of few pixels; rows that several bands copy."""
        c, item = Correlation.of(problem), ITEM_BYTES[problem.dtype]
        by_width = count(problem, "width_products")
        slots = min(problem.stride[2], problem.kernel_size[2])
        row_bytes = (max(c.pixels[2], 1) * c.step[2] + c.reach[2]) * item
        rows_of_band = SCRATCH_BYTES / (row_bytes * slots * max(c.channels, 1))
        again = min(max(c.taps[1] - 1, 0) / max(rows_of_band, 1), c.taps[1])
        return {
            "shared_by_2_products": by_width if c.filters >= 2 else 0,
            "shared_by_4_products": by_width if c.filters >= 4 else 0,
            "unlisted_products": by_width if c.channels * math.prod(c.taps) > MAX_LISTED_TAPS else 0,
            "cramped_products": by_width if rows_of_band < loops.ROWS else 0,
            "again_bytes": count(problem, "source_row_steps") * row_bytes * again,
        }

    def bind(self, problem: ConvProblem, params: Params) -> loops.DirectKernel:
        return loops.DirectKernel(problem, blocking_of(problem, params["lanes"]))
