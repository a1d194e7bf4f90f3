"""Random operands on the device, lying in memory as a problem's layout says."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._problem import DATA_AXES, RESULT, WEIGHT_AXES, numpy_dtype

from ..case import Case, rank_of

NOISE_ELEMENTS = 2**22


class Noise:
    """Normal data, drawn once on the host; arrays are filled with pieces of it from random places."""

    def __init__(self, cp: Any, seed: int = 0) -> None:
        self._cp, self._random = cp, np.random.default_rng(seed)
        self._values = cp.asarray(self._random.standard_normal(NOISE_ELEMENTS, np.float32))

    def array(self, elements: int, dtype: np.dtype) -> Any:
        """A new flat array of them."""
        made, piece = self._cp.empty(elements, dtype), len(self._values) // 2
        for begin in range(0, elements, piece):
            size = min(piece, elements - begin)
            start = int(self._random.integers(0, len(self._values) - size + 1))
            made[begin : begin + size] = self._values[start : start + size].astype(dtype)
        return made

    def case(self, problem: ConvProblem) -> Case:
        """The problem with operands of its own; the result's array holds NaN."""
        shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
        dtype, result = numpy_dtype(problem.dtype), RESULT[problem.direction]
        arrays: dict[str, Any] = {}
        for role, shape in shapes.items():
            axes = WEIGHT_AXES[problem.weight_layout] if role == "weight" else DATA_AXES[problem.layout]
            flat = self.array(int(np.prod(shape)), dtype)
            if role == result:
                flat.fill(np.nan)
            arrays[role] = flat.reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes).tolist())
        if problem.epilogue.bias:
            arrays["bias"] = self.array(problem.result_channels, dtype)
        return Case(problem, 1, Operands(**arrays), rank_of(problem))


def bytes_of(problem: ConvProblem) -> int:
    """Of both operands and the result, each once."""
    shapes = (problem.input_shape, problem.weight_shape, problem.output_shape)
    return sum(int(np.prod(shape)) for shape in shapes) * numpy_dtype(problem.dtype).itemsize
