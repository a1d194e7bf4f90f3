"""reference: the definition as plain C loops. Slow, always right, accepts every problem of every dtype."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...._algorithm import Operands, Params, Resources
from ...._problem import ConvProblem
from ... import epilogue
from ...cost.fitted import Fitted
from . import loops


class Reference(Fitted):
    """The oracle inside the library, and what remains when nothing else fits."""

    name = "reference"
    dtypes = frozenset({"float32", "float64", "complex64", "complex128", "int8"})

    def supports(self, problem: ConvProblem) -> bool:
        return True

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """Every element of the result looks at all taps, also where the stride lets few of them reach it."""
        looked_at = problem.multiply_adds
        if problem.direction == "backward_input":
            looked_at = problem.batch * math.prod(problem.input_size) * math.prod(problem.weight_shape)
        return {"looked_at_products": looked_at}

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        loops.execute(problem, operands, resources.threads)
        epilogue.apply(problem, operands)
