"""reference: the definition as plain C loops. Slow, always right, accepts every problem of every dtype."""

from __future__ import annotations

import math

from ...._algorithm import Algorithm, Machine, Operands, Params, Resources
from ...._problem import ConvProblem
from ... import epilogue
from . import loops

LOOP_MULTIPLY_ADDS_PER_SECOND = 2e8


class Reference(Algorithm):
    """The oracle inside the library, and what remains when nothing else fits."""

    name = "reference"
    dtypes = frozenset({"float32", "float64", "complex64", "complex128", "int8"})

    def supports(self, problem: ConvProblem) -> bool:
        return True

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Every element of the result looks at all taps, also where the stride lets few of them reach it."""
        looked_at = problem.multiply_adds
        if problem.direction == "backward_input":
            looked_at = problem.batch * math.prod(problem.input_size) * math.prod(problem.weight_shape)
        return machine.call_seconds + looked_at / (LOOP_MULTIPLY_ADDS_PER_SECOND * threads)

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        loops.execute(problem, operands, resources.threads)
        epilogue.apply(problem, operands)
