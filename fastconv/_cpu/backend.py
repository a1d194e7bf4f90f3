"""The CPU backend: runs a plan on NumPy arrays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import _config
from .._algorithm import Algorithm, Operands, Params, Resources
from .._arrays import native, writable_in_place
from .._problem import ConvProblem, Epilogue
from . import _channel_sums, _runtime, epilogue, lowering
from ._cast import cast
from ._workspace import give_back, take

SUMMED_PER_THREAD = 2**18
"""Elements that a thread adds up in about the time that it takes to start one."""

ISA = _runtime.select_isa(os.environ.get("FASTCONV_MAX_ISA") or None)
_config.obey(_runtime.thread_limit)


@contextlib.contextmanager
def workspace(size_bytes: int) -> Iterator[np.ndarray | None]:
    """Aligned scratch memory of at least ``size_bytes``, reused between the calls of one thread."""
    if size_bytes == 0:
        yield None
        return
    memory = take(size_bytes)
    yield memory
    give_back(memory)


def accepts(algorithm: Algorithm, problem: ConvProblem) -> bool:
    """Whether the algorithm computes the problem, natively or lowered; it is not asked about empty ones."""
    target = lowering.lowered(problem, algorithm.dtypes)
    return target is not None and (problem.is_empty or algorithm.supports(target))


def workspace_bytes(algorithm: Algorithm, problem: ConvProblem, params: Params, threads: int) -> int:
    """Bytes of scratch memory that the algorithm needs for the problem."""
    if problem.is_empty:
        return 0
    target = lowering.lowered(problem, algorithm.dtypes)
    assert target is not None
    return algorithm.workspace(target, params, threads)


def pack(algorithm: Algorithm, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
    """The algorithm's packed form of a canonical weight; None where it has none for this problem."""
    target = lowering.lowered(problem, algorithm.dtypes)
    assert target is not None
    if target is not problem or problem.is_empty:
        return None
    return algorithm.pack(problem, params, native(weight), threads)


def execute(plan: Any, operands: Operands) -> None:
    """Run ``plan`` on canonical views and write its result array.

    The result may overlap the inputs or have any strides; it is then computed aside and copied.
    """
    from .._registry import find  # the registry imports the algorithms, which import this package

    problem: ConvProblem = plan.problem
    algorithm: Algorithm = plan.algorithm
    role = lowering.RESULT[problem.direction]
    result = getattr(operands, role)
    inputs = {
        name: native(array)
        for name in ("input", "weight", "output", "bias", "add")
        if name != role and (array := getattr(operands, name)) is not None
    }
    target = result
    if not writable_in_place(result, *inputs.values()):
        target = np.empty_like(result, dtype=result.dtype.newbyteorder("="))
    if result.size:
        if "bias" in inputs:
            inputs["bias"] = np.ascontiguousarray(inputs["bias"])
        low_problem = lowering.lowered(problem, algorithm.dtypes)
        assert low_problem is not None
        if algorithm.multiplies_outside and problem.direction == "backward_input" and not _finite(inputs["weight"]):
            algorithm = find("reference")
            low_problem = lowering.lowered(problem, algorithm.dtypes)
            assert low_problem is not None
        low, carry_back = lowering.lower(
            problem, low_problem, Operands(**inputs, **{role: target}, packed=operands.packed), plan.threads
        )
        if problem.is_empty:
            _sum_over_nothing(low_problem, low)
        else:
            with workspace(plan.workspace_bytes) as memory:
                resources = Resources(plan.threads, memory)
                if plan.kernel is not None and algorithm is plan.algorithm and not plan.kernel.may_refuse:
                    plan.kernel.execute(low, resources)
                else:
                    algorithm.execute(low_problem, plan.params, low, resources)
        carry_back()
    if target is not result:
        result[...] = target


def _sum_over_nothing(problem: ConvProblem, operands: Operands) -> None:
    """The result of an empty problem: every sum is 0. Algorithms are never given one."""
    getattr(operands, lowering.RESULT[problem.direction]).fill(0)
    epilogue.apply(problem, operands)


def activation_gradient(activation: Epilogue, dy: np.ndarray, z: np.ndarray, threads: int) -> np.ndarray:
    """``dy`` times the activation's slope at ``z``; computed in float32 for narrower dtypes."""
    wide = np.dtype(np.float32) if dy.dtype.itemsize == 2 else z.dtype
    gradient = epilogue.activation_gradient(activation, cast(dy, wide, threads), cast(z, wide, threads))
    return cast(gradient, z.dtype, threads)


def channel_sums(array: np.ndarray, threads: int) -> np.ndarray:
    """Sums of (N, C, D, H, W) over all but C, in the dtype of ``array``; added up in double precision."""
    if array.dtype.kind == "f" and array.dtype.itemsize in (4, 8):
        return _channel_sums.channel_sums(native(array), sum_threads(array.size, threads))
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return array.sum(axis=(0, 2, 3, 4), dtype=wide).astype(array.dtype.newbyteorder("="))


def sum_threads(size: int, threads: int) -> int:
    """Threads that it pays to add up so many elements on."""
    return max(1, min(threads, size // SUMMED_PER_THREAD))


def _finite(array: np.ndarray) -> bool:
    """Whether no element is NaN or infinite; a sum is non-finite if any element is, and rarely otherwise."""
    if array.dtype.kind not in "fc":
        return bool(np.isfinite(array).all())
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())
