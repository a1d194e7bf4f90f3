"""The CPU backend: what ``_backend.Backend`` asks for, on NumPy arrays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _config
from .._algorithm import Algorithm, Machine, Operands, Params, Resources
from .._arrays import is_native, native, writable_in_place
from .._border import Border
from .._problem import ConvProblem, Epilogue
from . import border as borders
from . import calibration, epilogue, lowering
from . import fingerprint as fingerprints
from .elementwise import loops as elementwise
from .elementwise.loops import cast
from .engine import pages, runtime
from .engine.workspace import drop, give_back, take
from .nonfinite import compute_again
from .pieces import Piece, summed_pieces
from .pooling import algorithm as pooling_algorithm
from .prepare import prepare as prepare_convolution
from .registry import ALGORITHMS

SUMMED_PER_THREAD = 2**18
"""Elements that a thread adds up in about the time that it takes to start one."""
GUARD = 0x5A
"""Every byte behind the scratch memory of a guarded run."""

ISA = runtime.select_isa(os.environ.get("FASTCONV_MAX_ISA") or None)
_config.obey(runtime.thread_limit)

name = "cpu"
algorithms = ALGORITHMS
default_machine = Machine(multiply_adds_per_second={"float32": 4e10, "float64": 2e10})
target = lowering.target
lowering_seconds = lowering.seconds
level = runtime.isa
fingerprint = fingerprints.fingerprint
calibrate = calibration.calibrate
empty = pages.empty
prepare = prepare_convolution
pooling: Any = pooling_algorithm


def facts() -> dict[str, str]:
    """What ``show_runtime`` prints of the backend."""
    levels = runtime.isa_levels()
    built = ", ".join(level if usable else f"{level}, which this machine does not run" for level, usable in levels)
    return {
        "isa": f"{runtime.isa()} (built: {built})",
        "openmp": "its limits are obeyed" if runtime.has_openmp() else "not built in: its limits are not seen",
    }


@contextlib.contextmanager
def workspace(size_bytes: int) -> Iterator[np.ndarray | None]:
    """Aligned scratch memory of at least ``size_bytes``, reused between the calls of one thread."""
    if size_bytes == 0:
        yield None
        return
    memory = take(size_bytes)
    # The one kept may be larger; no result may depend on what was computed before.
    yield memory[:size_bytes]
    give_back(memory)


def accepts(algorithm: Algorithm, problem: ConvProblem) -> bool:
    """Whether the algorithm computes the problem, natively or lowered; it is not asked about empty ones."""
    own = target(algorithm, problem)
    return own is not None and (problem.is_empty or algorithm.supports(own))


def workspace_bytes(algorithm: Algorithm, problem: ConvProblem, params: Params, threads: int) -> int:
    """Bytes of scratch memory that the algorithm needs for the problem."""
    if problem.is_empty:
        return 0
    return algorithm.workspace(_lowered(algorithm, problem), params, threads)


def pack(algorithm: Algorithm, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
    """The algorithm's packed form of a canonical weight; None where it has none for this problem."""
    if _lowered(algorithm, problem) is not problem or problem.is_empty:
        return None
    return algorithm.pack(problem, params, native(weight), threads)


def execute(
    plan: Any,
    operands: Operands,
    border: Border | None = None,
    conjugated: str | None = None,
    subtracted: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Run ``plan`` on canonical views and write its result array.

    The arrays may have any strides and byte order, and the result may overlap the inputs: what algorithms cannot take
    or write is copied, piece by piece where all copies together would be over the plan's limit. The input is without
    the padding that ``border`` gives it, the ``conjugated`` operand is not conjugated yet, and nothing of 8-bit ones is
    ``subtracted`` yet.
    """
    given = ((name, getattr(operands, name)) for name in ("input", "weight", "output", "bias", "add"))
    arrays = {name: array for name, array in given if array is not None}
    call = Piece(plan.problem, arrays, border, conjugated, subtracted or {})
    role, result = call.role, call.result
    overlaps = any(np.may_share_memory(result, array) for array in call.inputs.values())
    if overlaps:
        call.arrays[role] = np.empty_like(result, dtype=result.dtype.newbyteorder("="), subok=False)
    target = _lowered(plan.algorithm, plan.problem)
    element_bytes = call.element_bytes(target)
    if not element_bytes or plan.workspace_bytes + call.copy_bytes(element_bytes) <= plan.limit_bytes:
        limit = plan.limit_bytes - call.copy_bytes(element_bytes)
        means = _Means(plan.algorithm, plan.params, plan.threads, plan.workspace_bytes, limit)
        _compute(call, means, operands.packed)
    else:
        _compute_in_pieces(call, plan, element_bytes)
    if overlaps:
        result[...] = call.result


def _compute_in_pieces(call: Piece, plan: Any, element_bytes: dict[str, int]) -> None:
    """Copies get what the plan's workspace leaves of the limit, or half of it where pieces can do with less."""
    target, limit = _lowered(plan.algorithm, plan.problem), plan.limit_bytes
    room = limit - plan.workspace_bytes
    if room < limit // 2:
        room = max(room, limit // (4 if plan.algorithm.fitting(target, limit // 2) is None else 2))
    # A sum of parts of 16-bit results would be rounded part by part.
    sums_in_parts = call.result.dtype.itemsize > 2 or target is not plan.problem
    for pieces in summed_pieces(call, element_bytes, room, sums_in_parts):
        if len(pieces) == 1:
            _compute(pieces[0], _means(pieces[0], plan, limit - room))
            continue
        result = pieces[0].result
        dtype = np.dtype(np.float32) if result.dtype.itemsize == 2 else result.dtype.newbyteorder("=")
        total, part = np.zeros_like(result, dtype=dtype), np.empty_like(result, dtype=dtype)
        for piece in pieces:
            piece.arrays["weight"] = part
            _compute(piece, _means(piece, plan, limit - room))
            total += part
        result[...] = total


@dataclass(frozen=True)
class _Means:
    """What computes a problem."""

    algorithm: Algorithm
    params: Params
    threads: int
    workspace_bytes: int
    limit_bytes: int
    """Scratch memory that may be used, without the copies that are made already."""


def _means(piece: Piece, plan: Any, limit: int) -> _Means:
    """The plan's algorithm where it accepts the piece, its parameters where the piece is a part of the batch, and as
    many of its threads as there is room for; else im2col, which accepts everything."""
    algorithm, problem, params, threads = plan.algorithm, piece.problem, plan.params, plan.threads
    if problem.is_empty:
        return _Means(algorithm, params, threads, 0, limit)
    is_alike = problem.replace(batch=plan.problem.batch) == plan.problem
    if not accepts(algorithm, problem):
        algorithm, is_alike = IM2COL, False
    target = _lowered(algorithm, problem)
    if not is_alike or algorithm.workspace(target, params, 1) > limit:
        fitting = algorithm.fitting(target, limit)
        params = algorithm.parameters(target)[0] if fitting is None else fitting
    size = algorithm.workspace(target, params, threads)
    while threads > 1 and size > limit:
        threads -= 1
        size = algorithm.workspace(target, params, threads)
    return _Means(algorithm, params, threads, size, limit)


def _compute(piece: Piece, means: _Means, packed: object = None) -> None:
    """Compute a problem at once."""
    problem, algorithm, role, result = piece.problem, means.algorithm, piece.role, piece.result
    inputs = {name: piece.operand(name) for name in piece.inputs}
    is_folded = piece.border is not None and problem.direction == "backward_input"
    target = result
    if is_folded:
        target = np.empty_like(result, dtype=result.dtype.newbyteorder("="), shape=problem.input_shape)
    elif not writable_in_place(result):
        target = np.empty_like(result, dtype=result.dtype.newbyteorder("="))
    if target.size:
        if "bias" in inputs:
            inputs["bias"] = np.ascontiguousarray(inputs["bias"])
        is_backward = problem.direction == "backward_input"
        keeps_finite = algorithm.reads_padding and is_backward and not _finite(inputs["weight"])
        low_problem = _lowered(algorithm, problem)
        low, carry_back = lowering.lower(
            problem, low_problem, Operands(**inputs, **{role: target}, packed=packed), means.threads
        )
        if problem.is_empty:
            _sum_over_nothing(low_problem, low)
        else:
            with workspace(means.workspace_bytes) as memory:
                resources = Resources(means.threads, memory, means.limit_bytes)
                if keeps_finite:
                    compute_again(low_problem, low, resources, None)
                else:
                    algorithm.execute(low_problem, means.params, low, resources)
        carry_back()
    if is_folded:
        assert piece.border is not None
        borders.add_back(piece.border, target, result)
    elif target is not result:
        result[...] = target


def _lowered(algorithm: Algorithm, problem: ConvProblem) -> ConvProblem:
    own = target(algorithm, problem)
    assert own is not None
    return own


IM2COL = next(algorithm for algorithm in algorithms if algorithm.name == "im2col")
"""What computes pieces that the plan's algorithm does not accept: it accepts all."""


def _sum_over_nothing(problem: ConvProblem, operands: Operands) -> None:
    """The result of an empty problem: every sum is 0, or of products with the zeros of padding. Algorithms are never
    given one."""
    with np.errstate(invalid="ignore"):
        if problem.direction == "forward":
            operands.output[...] = (operands.weight * 0).sum(axis=(1, 2, 3, 4)).reshape(-1, 1, 1, 1)
        elif problem.direction == "backward_weight":
            operands.weight[...] = (operands.output * 0).sum(axis=(0, 2, 3, 4)).reshape(-1, 1, 1, 1, 1)
        else:
            operands.input.fill(0)
    epilogue.apply(problem, operands)


def guarded(size_bytes: int, guard_bytes: int, run: Callable[[], None]) -> bool:
    """Call ``run``; whether nothing was written behind the ``size_bytes`` of scratch memory that it takes."""
    # What a thread gives back it is given again, for a smaller demand, too.
    drop()
    memory = take(size_bytes + guard_bytes)
    memory[size_bytes:] = GUARD
    give_back(memory)
    run()
    drop()
    return bool((memory[size_bytes:] == GUARD).all())


def activation_gradient(activation: Epilogue, dy: np.ndarray, z: np.ndarray, threads: int) -> np.ndarray:
    """``dy`` times the activation's slope at ``z``, in the place of z; computed in float32 for narrower dtypes."""
    wide = np.dtype(np.float32) if dy.dtype.itemsize == 2 else z.dtype
    for box in epilogue.blocks(z):
        gradient = epilogue.activation_gradient(activation, cast(dy[box], wide, threads), cast(z[box], wide, threads))
        z[box] = cast(gradient, z.dtype, threads)
    return z


def channel_sums(array: np.ndarray, threads: int) -> np.ndarray:
    """Sums of (N, C, D, H, W) over all but C, in the dtype of ``array``; added up in double precision."""
    # NumPy takes an empty array for aligned wherever it lies.
    if array.size and array.dtype.kind == "f" and array.dtype.itemsize in (4, 8) and is_native(array):
        return elementwise.channel_sums(array, sum_threads(array.size, threads))
    wide = np.complex128 if array.dtype.kind == "c" else np.float64
    return array.sum(axis=(0, 2, 3, 4), dtype=wide).astype(array.dtype.newbyteorder("="))


def prepare_sums(place: int, axes: tuple[int, ...], dy: np.ndarray, threads: int) -> elementwise.SumsCall:
    """What computes ``channel_sums`` of the array at a place among those of a call, for all arrays like ``dy``."""
    return elementwise.SumsCall(place, axes, dy.dtype, sum_threads(dy.size, threads))


def sum_threads(size: int, threads: int) -> int:
    """Threads that it pays to add up so many elements on."""
    return max(1, min(threads, size // SUMMED_PER_THREAD))


def _finite(array: np.ndarray) -> bool:
    """Whether no element is NaN or infinite; a sum is non-finite if any element is, and rarely otherwise."""
    if array.dtype.kind not in "fc":
        return bool(np.isfinite(array).all())
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())
