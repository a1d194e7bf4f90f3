"""Complex problems by algorithms of real numbers: four real results of real and imaginary parts, put together.

Parts are read where they lie, as arrays with gaps. The sums are those of the plain formula,
``(a + ib)(c + id) = (ac - bd) + i(ad + bc)``, each of the four rounded once before they are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._algorithm import Params
from .._problem import RESULT, ConvProblem, Epilogue
from .algorithm import GpuAlgorithm, Operation
from .elementwise.algorithm import put_together
from .launch import Arrays, Step, Workspace
from .layout import Layout

REAL = {"complex64": "float32", "complex128": "float64"}
"""By dtype, that of its parts."""
PRODUCTS = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Of the two operands, each the number of its part: those of the real part of the result, and of its imaginary one."""
ALIGNED_BYTES = 256


def real_problem(problem: ConvProblem) -> ConvProblem | None:
    """The problem that is computed for each product of parts; None for one that is not complex."""
    real = REAL.get(problem.dtype)
    return None if real is None else problem.replace(dtype=real, epilogue=Epilogue())


def result_bytes(problem: ConvProblem) -> int:
    """Scratch memory of the four results."""
    return len(PRODUCTS) * _result_bytes(problem)


def _result_bytes(problem: ConvProblem) -> int:
    size = math.prod(problem.result_shape) * np.dtype(problem.dtype).itemsize // 2
    return -(-size // ALIGNED_BYTES) * ALIGNED_BYTES


def launches(algorithm: GpuAlgorithm, operation: Operation, params: Params) -> tuple[Step, ...]:
    """What computes a complex operation by an algorithm of real numbers."""
    problem, result = operation.problem, RESULT[operation.problem.direction]
    real = real_problem(problem)
    assert real is not None
    one, other = (role for role in ("input", "weight", "output") if role != result)
    size, steps = _result_bytes(problem), []
    for number, parts in enumerate(PRODUCTS):
        part_of = dict(zip((one, other), parts, strict=True))
        layouts = {role: _part(operation.layouts[role], part) for role, part in part_of.items()}
        layouts[result] = Layout.packed(np.dtype(real.dtype), problem.result_shape)
        for step in algorithm.launches(Operation(real, layouts), params):
            steps.append(_OnParts(step, part_of, result, number * size, len(PRODUCTS) * size))
    signs = [-1 if operation.conjugated == role else 1 for role in (one, other)]
    factors = -signs[0] * signs[1], signs[1], signs[0]
    return (*steps, *put_together(operation, Workspace(0), size, factors))


def _part(layout: Layout, part: int) -> Layout:
    """Of the real parts (0) or imaginary ones of an array."""
    itemsize = layout.dtype.itemsize // 2
    strides, dtype = tuple(2 * stride for stride in layout.strides), np.dtype(f"f{itemsize}")
    return Layout(dtype, strides, min(layout.alignment, itemsize) if part else layout.alignment)


@dataclass(frozen=True)
class _OnParts:
    """A step of a product: on parts of the operands, with its result in scratch memory, and its own behind that."""

    step: Step
    part_of: dict[str, int]
    result: str
    result_at: int
    scratch_at: int

    @property
    def workspace_bytes(self) -> int:
        return self.scratch_at + self.step.workspace_bytes

    def bind(self) -> Callable[[Arrays], None]:
        start, part_of, result = self.step.bind(), tuple(self.part_of.items()), self.result
        result_at, scratch_at = self.result_at, self.scratch_at

        def run(arrays: Arrays) -> None:
            scratch = arrays["workspace"]
            given: dict[str, Any] = {role: (arrays[role].real, arrays[role].imag)[part] for role, part in part_of}
            start({**given, result: scratch[result_at:], "workspace": scratch[scratch_at:]})

        return run
