"""few_filters: few result channels from many, as in the input gradients of first layers; all stride phases at once."""

from __future__ import annotations

from ...._algorithm import MAX_PHASES, Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm
from . import loops
from .blocking import reaches_little
from .few_filters_blocking import blocking_of

FILTERS = range(3, 9)
"""Result channels of a group: with fewer, tiles that slide along the height make better use of what they load."""
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
        if problem.phases > MAX_PHASES or Correlation.of(problem).filters not in FILTERS:
            return False
        return reaches_little(problem) or blocking_of(problem).thread_bytes <= MAX_SCRATCH_BYTES

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        blocking = blocking_of(problem)
        return blocking.shared_bytes + threads * blocking.thread_bytes

    def bind(self, problem: ConvProblem, params: Params) -> loops.FewFiltersKernel:
        return loops.FewFiltersKernel(problem, blocking_of(problem))
