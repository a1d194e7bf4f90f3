"""Computes calls: at once by what was prepared for them, or in pieces where all copies together would take too much.

Kernels read and write most arrays where they lie. Copies are made of those of other byte orders or odd alignment, and
of results that share memory with operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .._algorithm import ROLES, Algorithm, Operands
from .._arrays import is_native, native, writable_in_place
from .._plan import Plan
from .._problem import RESULT, ConvProblem
from . import epilogue, lowering
from .algorithms.im2col.algorithm import Im2col
from .engine import pages
from .engine.convolution_call import ConvolutionCall
from .pieces import Piece, summed_pieces
from .prepare import canonical, passes_of, prepare, prepared, result_dtype

IM2COL = Im2col()
"""What computes pieces that the plan's algorithm does not accept: it accepts all."""
UNLIMITED = 2**63 - 1


def compute(plan: Plan, call: Any, compiled: ConvolutionCall | None) -> np.ndarray:
    """The result of a user's call, by what ``prepare`` made of it, if anything."""
    arrays = {role: array for role in ROLES if (array := getattr(call, role)) is not None}
    if compiled is not None:
        result = _at_once(compiled, arrays, call.out, call.packed, plan.limit_bytes)
        if result is not None:
            return result
    result = call.out if call.out is not None else pages.empty(call.result_shape, result_dtype(plan.problem, call))
    arrays[RESULT[plan.problem.direction]] = result
    views = {role: canonical(call.frame.axes, role, array) for role, array in arrays.items()}
    _compute(plan, Piece(plan.problem, views, call.border, call.conjugated, call.subtracted), call.packed)
    return result


def execute(plan: Plan, operands: Operands) -> None:
    """Compute the result of canonical views in their place; the result may overlap the operands."""
    _compute(plan, _piece(plan, operands), operands.packed)


def repeated(plan: Plan, operands: Operands) -> Callable[[], None]:
    """What computes the result of canonical views again and again, as calls do that were prepared."""
    piece = _piece(plan, operands)
    compiled = prepare(plan, piece)
    if compiled is None:
        return lambda: execute(plan, operands)
    compiled.at({role: place for place, role in enumerate(piece.inputs)})
    arrays, result = tuple(piece.inputs.values()), piece.result

    def compute() -> None:
        if compiled(arrays, result, operands.packed) is None:
            execute(plan, operands)

    return compute


def accepts(algorithm: Algorithm, problem: ConvProblem) -> bool:
    """Whether the algorithm computes the problem, natively or lowered; it is not asked about empty ones."""
    own = lowering.target(algorithm, problem)
    return own is not None and (problem.is_empty or algorithm.supports(own))


def _piece(plan: Plan, operands: Operands) -> Piece:
    return Piece(plan.problem, {role: array for role in ROLES if (array := getattr(operands, role)) is not None})


def _compute(plan: Plan, call: Piece, packed: object) -> None:
    """Compute a whole call, piece by piece where all copies together would be over the plan's limit."""
    role, result = call.role, call.result
    if call.problem.is_empty:
        _sum_over_nothing(call)
        return
    overlaps = any(np.may_share_memory(result, array) for array in call.inputs.values())
    if overlaps:
        call.arrays[role] = np.empty_like(result, dtype=result.dtype.newbyteorder("="), subok=False)
    element_bytes = call.element_bytes(plan.target)
    copy_bytes = call.copy_bytes(element_bytes)
    if not element_bytes or plan.workspace_bytes + copy_bytes <= plan.limit_bytes:
        _compute_piece(call, replace(plan, limit_bytes=plan.limit_bytes - copy_bytes), packed)
    else:
        _compute_in_pieces(call, plan, element_bytes)
    if overlaps:
        result[...] = call.result


def _compute_in_pieces(call: Piece, plan: Plan, element_bytes: dict[str, int]) -> None:
    """Copies get what the plan's workspace leaves of the limit, or half of it where pieces can do with less."""
    limit = plan.limit_bytes
    room = limit - plan.workspace_bytes
    if room < limit // 2:
        room = max(room, limit // (4 if plan.algorithm.fitting(plan.target, limit // 2) is None else 2))
    # A sum of parts of 16-bit results would be rounded part by part.
    sums_in_parts = call.result.dtype.itemsize > 2 or plan.target is not plan.problem
    for pieces in summed_pieces(call, element_bytes, room, sums_in_parts):
        if len(pieces) == 1:
            _compute_piece(pieces[0], _plan_of(pieces[0], plan, limit - room))
            continue
        result = pieces[0].result
        is_wide = result.dtype.itemsize == 2
        dtype = np.dtype(np.float32) if is_wide else result.dtype.newbyteorder("=")
        total, part = np.zeros_like(result, dtype=dtype), np.empty_like(result, dtype=dtype)
        for piece in pieces:
            piece.arrays["weight"] = part
            _compute_piece(piece, _plan_of(piece, plan, limit - room), is_wide=is_wide)
            total += part
        result[...] = total


def _plan_of(piece: Piece, plan: Plan, limit: int) -> Plan:
    """The plan's algorithm where it accepts the piece, its parameters where the piece is a part of the batch, and as
    many of its threads as there is room for; else im2col, which accepts everything."""
    algorithm, problem, params, threads = plan.algorithm, piece.problem, plan.params, plan.threads
    is_alike = problem.replace(batch=plan.problem.batch) == plan.problem
    if not accepts(algorithm, problem):
        algorithm, is_alike = IM2COL, False
    target = lowering.target(algorithm, problem)
    assert target is not None
    if not is_alike or algorithm.workspace(target, params, 1) > limit:
        fitting = algorithm.fitting(target, limit)
        params = algorithm.parameters(target)[0] if fitting is None else fitting
    size = algorithm.workspace(target, params, threads)
    while threads > 1 and size > limit:
        threads -= 1
        size = algorithm.workspace(target, params, threads)
    lowered = None if target is problem else target
    return Plan(problem, algorithm, params, threads, size, plan.reason, limit, lowered=lowered)


def _compute_piece(piece: Piece, plan: Plan, packed: object = None, is_wide: bool = False) -> None:
    """Compute a problem at once. The plan's limit is that of scratch memory without copies; it is not kept where what
    cannot be cut any more needs more."""
    if not piece.result.size:
        return
    passes = passes_of(piece.problem, plan.target, piece, is_wide)
    limit = max(plan.limit_bytes, plan.workspace_bytes) + passes.bytes
    compiled = prepared(replace(plan, limit_bytes=limit), piece, passes)
    result = _at_once(compiled, piece.inputs, piece.result, packed, UNLIMITED)
    assert result is not None


def _at_once(
    compiled: ConvolutionCall, arrays: Mapping[str, np.ndarray], out: np.ndarray | None, packed: object, limit: int
) -> np.ndarray | None:
    """The result of arrays, of which those that kernels cannot read are copied, and aside where they cannot write to
    ``out``; None where copies would be over the limit."""
    copied = [role for role, array in arrays.items() if not _is_readable(role, array)]
    fits = out is None or (type(out) is np.ndarray and writable_in_place(out, *arrays.values()))
    size = sum([arrays[role].nbytes for role in copied]) + (0 if fits or out is None else out.nbytes)
    if size and size + compiled.bytes > limit:
        return None
    compiled.at({role: place for place, role in enumerate(arrays)})
    given = tuple(_copy(role, array) if role in copied else array for role, array in arrays.items())
    result: np.ndarray | None = compiled(given, out if fits else None, packed)
    if result is None or fits or out is None:
        return result
    out[...] = result
    return out


def _is_readable(role: str, array: np.ndarray) -> bool:
    """Whether kernels can read the array where it lies."""
    return is_native(array) and (role != "bias" or array.flags.c_contiguous)


def _copy(role: str, array: np.ndarray) -> np.ndarray:
    """One that kernels can read, in the same order in memory."""
    return np.ascontiguousarray(native(array)) if role == "bias" else native(array)


def _sum_over_nothing(call: Piece) -> None:
    """The result of an empty problem: every sum is 0, or of products with the zeros of padding. Algorithms are never
    given one."""
    problem, role, result = call.problem, call.role, call.result
    dtype = np.dtype(np.float32) if result.dtype.itemsize == 2 else result.dtype.newbyteorder("=")
    total = np.zeros(result.shape, dtype)
    inputs = {name: array.astype(dtype) for name, array in call.inputs.items()}
    with np.errstate(invalid="ignore"):
        if role == "output":
            total[...] = (inputs["weight"] * 0).sum(axis=(1, 2, 3, 4)).reshape(-1, 1, 1, 1)
        elif role == "weight":
            total[...] = (inputs["output"] * 0).sum(axis=(0, 2, 3, 4)).reshape(-1, 1, 1, 1, 1)
    if role != "weight":
        epilogue.apply(problem, Operands(**inputs, **{role: total}))
    result[...] = total
