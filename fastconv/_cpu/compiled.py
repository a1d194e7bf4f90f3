"""What all algorithms that compute by a kernel have in common."""

from __future__ import annotations

from .._algorithm import Operands, Params, Resources
from .._problem import ConvProblem
from .cost.fitted import Fitted
from .engine.correlation import Kernel
from .nonfinite import compute_again


class CompiledAlgorithm(Fitted):
    """An algorithm whose ``bind`` makes a kernel for every problem that it supports."""

    def bind(self, problem: ConvProblem, params: Params) -> Kernel:
        """The kernel."""
        raise NotImplementedError

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        """Compute by the kernel, then compute again what non-finite data have spoiled."""
        spoiled = self.bind(problem, params).execute(operands, resources)
        if spoiled is None or spoiled:
            compute_again(problem, operands, resources, spoiled)
