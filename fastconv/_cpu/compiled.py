"""What all algorithms that compute by a kernel have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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


def beside_weight(problem: ConvProblem, weight: np.ndarray, dtype: npt.DTypeLike | None = None) -> Operands:
    """Operands to pack a weight of: nothing else is read, the data arrays only have to have their shapes."""
    blank: np.ndarray = np.zeros(1, dtype or problem.dtype)
    data, output = (
        np.lib.stride_tricks.as_strided(blank, shape, (0,) * 5, writeable=True)
        for shape in (problem.input_shape, problem.output_shape)
    )
    return Operands(data, weight, output)
