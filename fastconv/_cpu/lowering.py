"""Problems of other dtypes as real ones: half floats widened, complex split into channels, int8 in exact floats.

A lowered problem is computed by any algorithm for float32 or float64 and its result carried back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._algorithm import Algorithm, Machine, Operands
from .._problem import RESULT, ConvProblem, Epilogue
from . import epilogue
from .elementwise.loops import cast, cast_into

WIDENED = {"float16": "float32", "bfloat16": "float32"}
REAL_OF = {"complex64": "float32", "complex128": "float64"}
CAST_BYTES = {"float16": 6, "bfloat16": 6, "complex64": 16, "complex128": 32, "int8": 9}
"""Read and written for an element that is lowered."""


def target(algorithm: Algorithm, problem: ConvProblem) -> ConvProblem | None:
    """The problem, of one of the algorithm's dtypes, that is computed in place of ``problem``; None: there is none."""
    dtypes = algorithm.dtypes
    if problem.dtype in dtypes:
        return problem
    if problem.dtype in WIDENED:
        wide = WIDENED[problem.dtype]
        return problem.replace(dtype=wide) if wide in dtypes else None
    if problem.dtype in REAL_OF:
        real = REAL_OF[problem.dtype]
        if real not in dtypes:
            return None
        return problem.replace(
            dtype=real,
            in_channels=2 * problem.in_channels,
            out_channels=2 * problem.out_channels,
            epilogue=Epilogue(),
        )
    if problem.dtype == "int8" and "float64" in dtypes:
        return problem.replace(dtype="float64")
    return None


def lower(
    problem: ConvProblem, target: ConvProblem, operands: Operands, threads: int
) -> tuple[Operands, Callable[[], None]]:
    """The operands of the lowered problem, and what carries its result back into ``operands``."""
    if target is problem:
        return operands, lambda: None
    if problem.dtype in REAL_OF:
        return _lower_complex(problem, target, operands)
    return _lower_cast(problem, target, operands, threads)


def seconds(problem: ConvProblem, target: ConvProblem, threads: int, machine: Machine) -> float:
    """Estimated time of the casts to ``target`` and back, as copies."""
    if target is problem:
        return 0.0
    elements = sum(math.prod(shape) for shape in (problem.input_shape, problem.weight_shape, problem.output_shape))
    return elements * CAST_BYTES[problem.dtype] / (threads * machine.bytes_per_second)


def _lower_cast(
    problem: ConvProblem, target: ConvProblem, operands: Operands, threads: int
) -> tuple[Operands, Callable[[], None]]:
    dtype = np.dtype(target.dtype)
    role = RESULT[problem.direction]
    result = getattr(operands, role)
    fields = {
        name: getattr(operands, name)
        for name in ("input", "weight", "output", "bias", "add")
        if name != role and getattr(operands, name) is not None
    }
    fields = {name: cast(array, dtype, threads) for name, array in fields.items()}
    fields[role] = np.empty_like(result, dtype=dtype)
    low = Operands(**fields, packed=operands.packed)

    def carry_back() -> None:
        value = fields[role]
        if problem.dtype == "int8":
            # Sums are exact in float64, those of an FFT up to far less than half a unit; int32 results wrap
            # as int32 accumulators do.
            result[...] = np.rint(value, out=value).astype(np.int64)
            return
        cast_into(value, result, threads)

    return low, carry_back


def _lower_complex(
    problem: ConvProblem, target: ConvProblem, operands: Operands
) -> tuple[Operands, Callable[[], None]]:
    """(a + bi)(c + di) through real channels: x becomes [a, b] per group, w becomes [[c, -d], [d, c]].

    The transpose of that real map multiplies by conj(w), so backward_input is given conj(w) to multiply by w; the
    weight gradient is put together from the four blocks of products of parts.
    """
    dtype = np.dtype(target.dtype)
    groups = problem.groups
    forward = problem.direction == "forward"
    role = RESULT[problem.direction]
    low: dict[str, np.ndarray] = {}
    for name in ("input", "output"):
        shape = target.input_shape if name == "input" else target.output_shape
        low[name] = np.empty(shape, dtype) if name == role else _split(getattr(operands, name), groups, dtype)
    if role == "weight":
        low["weight"] = np.empty(target.weight_shape, dtype)
    else:
        weight = operands.weight if forward else operands.weight.conj()
        low["weight"] = expand_weight(weight, groups, dtype)

    def carry_back() -> None:
        result = getattr(operands, role)
        if role == "weight":
            _merge_weight(low["weight"], result, groups)
        else:
            _merge(low[role], result, groups)
            epilogue.apply(problem, operands)

    return Operands(low["input"], low["weight"], low["output"]), carry_back


def expand_weight(weight: np.ndarray, groups: int, dtype: np.dtype) -> np.ndarray:
    """(K, C/g, ...) complex to (2K, 2C/g, ...) real, blocks [[re, -im], [im, re]] inside every group."""
    filters, channels, *kernel = weight.shape
    blocks = np.empty((groups, 2, filters // groups, 2, channels, *kernel), dtype)
    grouped = weight.reshape(groups, filters // groups, channels, *kernel)
    blocks[:, 0, :, 0] = blocks[:, 1, :, 1] = grouped.real
    blocks[:, 1, :, 0] = grouped.imag
    # NumPy's negative reads the wrong elements where both arrays are strided (2.4.6, steps of 16 bytes).
    np.multiply(grouped.imag, -1, out=blocks[:, 0, :, 1])
    return blocks.reshape(2 * filters, 2 * channels, *kernel)


def _split(array: np.ndarray, groups: int, dtype: np.dtype) -> np.ndarray:
    """(N, C, ...) complex to (N, 2C, ...) real, inside every group first the real parts, then the imaginary ones."""
    batch, channels, *sizes = array.shape
    parts = np.empty((batch, groups, 2, channels // groups, *sizes), dtype)
    grouped = array.reshape(batch, groups, channels // groups, *sizes)
    parts[:, :, 0] = grouped.real
    parts[:, :, 1] = grouped.imag
    return parts.reshape(batch, 2 * channels, *sizes)


def _merge(parts: np.ndarray, result: np.ndarray, groups: int) -> None:
    batch, channels, *sizes = result.shape
    halves = parts.reshape(batch, groups, 2, channels // groups, *sizes)
    result.real = halves[:, :, 0].reshape(result.shape)
    result.imag = halves[:, :, 1].reshape(result.shape)


def _merge_weight(parts: np.ndarray, result: np.ndarray, groups: int) -> None:
    """re = re*re - im*im, im = im*re + re*im; the blocks are (part of y, part of x)."""
    filters, channels, *kernel = result.shape
    blocks = parts.reshape(groups, 2, filters // groups, 2, channels, *kernel)
    result.real = (blocks[:, 0, :, 0] - blocks[:, 1, :, 1]).reshape(result.shape)
    result.imag = (blocks[:, 1, :, 0] + blocks[:, 0, :, 1]).reshape(result.shape)
