"""Arrays for a problem, and the one call that computes it by a given algorithm."""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Mapping
from dataclasses import replace

import ml_dtypes
import numpy as np

import emulation
import oracle
from fastconv import ConvProblem
from fastconv._algorithm import Algorithm, Operands
from fastconv._backend import find_algorithm
from fastconv._choose.select import plan_for
from fastconv._cpu import backend

RESULT = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}
ALGORITHMS: tuple[Algorithm, ...] = tuple(algorithm for algorithm in backend.algorithms if algorithm.is_available())
THREADS = (1, 2, 3)
if emulation.LIBRARY in os.environ:  # the only one with kernels at the emulated level
    ALGORITHMS = tuple(algorithm for algorithm in ALGORITHMS if algorithm.name == "split_bf16")

MAX_EXACT_INTEGER = {"float32": 2**24, "float64": 2**53, "float16": 2**11, "bfloat16": 2**8, "int8": 2**31 - 1}
"""Integers up to here are exact in a dtype."""
MAX_INTEGER = {"bfloat16": 2, "float16": 2}
"""Largest magnitude of the integers that a dtype is tested with; 3 for the others."""


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of a problem's dtype name; int8 problems take int16 (zero points are already subtracted)."""
    if name == "bfloat16":
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype("int16" if name == "int8" else name)


def result_dtype(name: str) -> np.dtype:
    """The dtype of a result."""
    return np.dtype(np.int32) if name == "int8" else numpy_dtype(name)


def integers(shape: tuple[int, ...], seed: int, most: int = 3) -> np.ndarray:
    """Integers from -most to most without 0, the same on every machine: splitmix64 of position and seed."""
    with np.errstate(over="ignore"):
        z = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(zlib.crc32(str(seed).encode()) << 20)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    magnitude = (z >> np.uint64(8)) % np.uint64(most) + np.uint64(1)
    return np.where(z & np.uint64(1), 1, -1).reshape(shape) * magnitude.astype(np.int64).reshape(shape)


def shapes(problem: ConvProblem) -> dict[str, tuple[int, ...]]:
    """Canonical shapes by role, those of the epilogue too where the problem has them."""
    found = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    if problem.epilogue.bias:
        found["bias"] = (problem.result_channels,)
    if problem.epilogue.add:
        found["add"] = problem.result_shape
    return found


def integer_operands(problem: ConvProblem, seed: int = 0) -> dict[str, np.ndarray]:
    """Small integers for every operand but the result: int64, or complex128 with integer parts."""
    most = MAX_INTEGER.get(problem.dtype, 3)
    made = {}
    for number, (role, shape) in enumerate(shapes(problem).items()):
        if role == RESULT[problem.direction]:
            continue
        made[role] = integers(shape, 16 * seed + number, most)
        if problem.dtype.startswith("complex"):
            made[role] = made[role] + 1j * integers(shape, 16 * seed + number + 8, most)
    return made


def place(problem: ConvProblem, role: str, array: np.ndarray, dtype: np.dtype | None = None) -> np.ndarray:
    """A copy of ``array`` in the problem's dtype, lying in memory as its layouts say."""
    array = array.astype(numpy_dtype(problem.dtype) if dtype is None else dtype)
    axes = memory_axes(problem, role)
    return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes)) if array.ndim == 5 else array


def memory_axes(problem: ConvProblem, role: str) -> tuple[int, ...]:
    """The canonical axes of an operand in the order in which its layout stores them, slowest first."""
    if role == "weight":
        return {"OIDHW": (0, 1, 2, 3, 4), "DHWIO": (2, 3, 4, 1, 0), "ODHWI": (0, 2, 3, 4, 1)}[problem.weight_layout]
    return (0, 2, 3, 4, 1) if problem.layout == "channels_last" else (0, 1, 2, 3, 4)


def compute(
    problem: ConvProblem,
    algorithm: str,
    operands: Mapping[str, np.ndarray],
    threads: int = 1,
    result: np.ndarray | None = None,
) -> np.ndarray:
    """The problem's result by one algorithm; the operands are used as they are."""
    role = RESULT[problem.direction]
    if result is None:
        # Not zeros: an algorithm that leaves an element unwritten must not pass by luck.
        result = place(problem, role, np.full(shapes(problem)[role], 77), result_dtype(problem.dtype))
    arrays = {name: array for name, array in operands.items() if name != role}
    plan = plan_for(problem, algorithm, threads)
    if plan.threads != threads:  # small problems are given fewer; here it is the threads that are tested
        size = backend.workspace_bytes(plan.algorithm, problem, plan.params, threads)
        plan = replace(plan, threads=threads, workspace_bytes=size)
    backend.execute(plan, Operands(**arrays, **{role: result}))
    return result


def placed(problem: ConvProblem, operands: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All operands in the problem's dtype and layouts."""
    return {role: place(problem, role, array) for role, array in operands.items()}


@functools.lru_cache(maxsize=512)
def exact_case(problem: ConvProblem, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Operands of small integers in the problem's dtype, and the exact result with its epilogue."""
    operands = integer_operands(problem, seed)
    plain = oracle.convolve(problem, operands)
    alarm_if_weak(problem, plain)
    expected = oracle.finish(problem, plain, operands.get("bias"), operands.get("add"))
    largest = MAX_EXACT_INTEGER.get(problem.dtype, 2**24)
    assert np.abs(expected).max(initial=0) <= largest, f"{problem}: too large for an exact test"
    return placed(problem, operands), expected


def alarm_if_weak(problem: ConvProblem, plain: np.ndarray) -> None:
    """A result that is mostly zeros proves little: only elements that no product reaches may be zero in numbers."""
    numbers = np.count_nonzero(plain)
    if plain.size - numbers <= 0.3 * numbers:
        return  # few zeros, wherever they are; counting the products takes as long as the result itself
    reached = oracle.terms(problem) > 0
    zeros = np.count_nonzero((plain == 0) & reached)
    assert zeros <= max(2, 0.3 * np.count_nonzero(reached)), f"{problem}: {zeros} zeros in {reached.size}: weak test"


def accepted(problem: ConvProblem) -> list[str]:
    """Names of the algorithms that compute the problem."""
    return [algorithm.name for algorithm in ALGORITHMS if backend.accepts(algorithm, problem)]


def repro(problem: ConvProblem, algorithm: str, threads: int = 1, seed: int = 0) -> str:
    """The command that repeats one comparison with the oracle."""
    return (
        f"FASTCONV_MAX_ISA={backend.ISA} python tests/repeat.py "
        f'"{problem}" --algorithm {algorithm} --threads {threads} --seed {seed}'
    )


def check_exact(problem: ConvProblem, algorithm: str, threads: int = 1, seed: int = 0) -> None:
    """AssertionError, with the command that repeats it, unless the algorithm equals integer arithmetic.

    An algorithm that is not ``exact_on_integers`` must be so after rounding.
    """
    operands, expected = exact_case(problem, seed)
    result = compute(problem, algorithm, operands, threads)
    if not find_algorithm(algorithm).exact_on_integers:
        result = rounded(result)
    wanted = expected.astype(result.dtype)
    different = np.argwhere(result != wanted)
    if different.size:
        first = tuple(map(int, different[0]))
        raise AssertionError(
            f"{len(different)} of {result.size} elements differ, the first at {first}: {result[first]} instead of "
            f"{wanted[first]}; repeat with\n    {repro(problem, algorithm, threads, seed)}"
        )


def rounded(result: np.ndarray) -> np.ndarray:
    """The nearest halves, in the same dtype: integers, or what leaky_relu=0.5 makes of them."""
    if result.dtype.kind == "c":
        halves = np.empty_like(result)
        halves.real, halves.imag = np.rint(2 * result.real) / 2, np.rint(2 * result.imag) / 2
        return halves
    return (np.rint(2 * result.astype(np.float64)) / 2).astype(result.dtype)


def embedded(array: np.ndarray, steps: int) -> np.ndarray:
    """The same values in every ``steps``-th element (backwards for a negative one) of a larger array, on each axis."""
    larger = np.full([abs(steps) * size for size in array.shape], 99, array.dtype)
    view = larger[(slice(None, None, steps),) * array.ndim]
    view[...] = array
    return view
