"""What all algorithms have in common that compute by a kernel."""

from __future__ import annotations

from .._algorithm import Algorithm, Operands, Params, Resources
from .._problem import ConvProblem
from .engine.correlation import Kernel
from .nonfinite import compute_again


class CompiledAlgorithm(Algorithm):
    """One whose ``bind`` makes a kernel of every problem that it supports."""

    def bind(self, problem: ConvProblem, params: Params) -> Kernel:
        """The kernel."""
        raise NotImplementedError

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        """Compute by the kernel, and again what that has spoiled."""
        spoiled = self.bind(problem, params).execute(operands, resources)
        if spoiled is None or spoiled:
            compute_again(problem, operands, resources, spoiled)
