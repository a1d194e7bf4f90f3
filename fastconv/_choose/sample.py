"""Random operands for a problem, lying in memory as its layouts say: what the tuner times and ``verify`` checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .._algorithm import ROLES, Operands
from .._backend import CPU, Backend
from .._late import late
from .._problem import DATA_AXES, RESULT, WEIGHT_AXES, ConvProblem, numpy_dtype

MAX_INTEGER = {"bfloat16": 1, "float16": 1}
"""Largest magnitude of integer samples; 3 for the other dtypes."""
EXACT_BITS = {"float32": 24, "float64": 53, "complex64": 24, "complex128": 53, "int8": 31, "float16": 11, "bfloat16": 8}
"""Integers up to two to this power are exact in results of the dtype."""

ITEM_BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "complex64": 8, "complex128": 16, "int8": 2}
"""Bytes of an element; of int8 about that, since results are int32."""


def sample(problem: ConvProblem, seed: int = 0, integers: bool = False, backend: Backend = CPU) -> Operands:
    """Operands of normal data, or of small integers other than 0; the result's array holds NaN, or 77 for int8.

    The same data in the arrays of any backend.
    """
    rng = late("numpy.random").default_rng(seed)  # an import in the midst of which NumPy would swallow Ctrl-C
    dtype = numpy_dtype(problem.dtype)
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    result = RESULT[problem.direction]
    arrays = {}
    for role, shape in shapes.items():
        if role == result:
            filled = np.full(shape, 77, np.int32) if problem.dtype == "int8" else np.full(shape, np.nan).astype(dtype)
            arrays[role] = _placed(problem, role, filled, backend)
        else:
            arrays[role] = _placed(problem, role, _values(rng, shape, problem.dtype, integers).astype(dtype), backend)
    bias = add = None
    if problem.epilogue.bias:
        bias = backend.from_host(_values(rng, (problem.result_channels,), problem.dtype, integers).astype(dtype))
    if problem.epilogue.add:
        values = _values(rng, problem.result_shape, problem.dtype, integers).astype(dtype)
        add = _placed(problem, "output", values, backend)
    return Operands(**arrays, bias=bias, add=add)


def on_host(operands: Operands, backend: Backend) -> Operands:
    """The operands as arrays of NumPy's."""
    arrays = {role: array for role in ROLES if (array := getattr(operands, role)) is not None}
    return Operands(**{role: backend.to_host(array) for role, array in arrays.items()})  # type: ignore[arg-type]


def array_bytes(problem: ConvProblem) -> int:
    """Size of the problem's three arrays."""
    shapes = problem.input_shape, problem.weight_shape, problem.output_shape
    return sum(math.prod(shape) for shape in shapes) * ITEM_BYTES[problem.dtype]


def integers_are_exact(problem: ConvProblem) -> bool:
    """Whether every sum of integer samples can be represented in the problem's dtype."""
    terms = problem.reduction * (2 if problem.dtype.startswith("complex") else 1)
    return terms * MAX_INTEGER.get(problem.dtype, 3) ** 2 <= 2 ** EXACT_BITS[problem.dtype]


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, integers: bool) -> np.ndarray:
    if dtype.startswith("complex"):
        real, imaginary = (_values(rng, shape, "float64", integers) for _ in range(2))
        return real + 1j * imaginary
    if integers or dtype == "int8":
        most = MAX_INTEGER.get(dtype, 3)
        magnitude = rng.integers(1, most + 1, shape, np.int8)
        return np.where(rng.integers(0, 2, shape, np.int8), magnitude, -magnitude)
    return rng.standard_normal(shape, np.float64 if dtype == "float64" else np.float32)


def _placed(problem: ConvProblem, role: str, array: np.ndarray, backend: Backend) -> np.ndarray:
    """A canonical view of ``array``, contiguous in the order of the problem's layout."""
    axes: Sequence[int] = WEIGHT_AXES[problem.weight_layout] if role == "weight" else DATA_AXES[problem.layout]
    if math.prod(array.shape) == 0:
        axes = range(array.ndim)
    there = backend.from_host(np.ascontiguousarray(array.transpose(axes)))
    canonical: np.ndarray = there.transpose(tuple(int(axis) for axis in np.argsort(axes)))
    return canonical
