"""Normalizations and activations of arrays as they come: dtypes, strides and overlaps; then the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import native, overlaps_itself
from ..elementwise.loops import cast, cast_into
from ..engine.pages import empty
from . import loops

ELEMENTS_PER_THREAD = 2**15
"""Elements that are normalized in about the time that it takes to start a thread."""

Array = np.ndarray


def normalize(call: Any, threads: int) -> tuple[Array, Array, Array]:
    """The result, and the statistics by which it was normalized, in the dtype that was computed in."""
    wide, threads = _wide(call.x.dtype), _threads(call.x.size, threads)
    x = _source(call, call.x, wide, threads)
    add = None if call.add is None else _source(call, call.add, wide, threads)
    affine = _affine(call, wide)
    if call.mean is None:
        # Of no elements there is no mean.
        mean, variance = (np.full(call.sets.statistics_shape, np.nan, wide) for _ in range(2))
    else:
        mean, variance = (_small(each, wide) for each in (call.mean, call.variance))
    result, target = _target(call, wide, x, add, mean, variance, *affine[:2])
    activation = call.activation
    loops.normalize(
        *(x, mean, variance, affine, call.eps, activation.activation, activation.slope),
        *(call.mean is None, add, target, threads),
    )
    _stored(call, target, result, threads)
    return result, mean, variance


def gradient(call: Any, threads: int) -> tuple[Array | None, Array, Array]:
    """The gradients for x (None where it is not needed), weight and bias."""
    wide, threads = _wide(call.x.dtype), _threads(call.x.size, threads)
    x, dy = (_source(call, array, wide, threads) for array in (call.x, call.dy))
    affine = _affine(call, wide)
    mean, variance = (_small(each, wide) for each in (call.mean, call.variance))
    result = target = None
    if call.needs[0]:
        result, target = _target(call, wide, x, dy, mean, variance, *affine[:2])
    activation = call.activation
    sums = loops.normalize_gradient(
        *(dy, x, mean, variance, affine, call.eps, activation.activation, activation.slope),
        *(call.uses_own, target, threads),
    )
    if target is not None:
        _stored(call, target, result, threads)
    bias, weight = (call.sets.gathered(each).astype(wide) for each in sums)
    return result, weight, bias


def activate(call: Any, threads: int) -> Array:
    """The activation of a whole array, to which ``add`` was added."""
    return _elementwise(call, call.add, threads)


def activate_gradient(call: Any, threads: int) -> Array:
    """``dy`` times the activation's slope."""
    return _elementwise(call, call.dy, threads)


def _elementwise(call: Any, other: Array | None, threads: int) -> Array:
    wide, threads = _wide(call.x.dtype), _threads(call.x.size, threads)
    x = cast(native(call.x), wide, threads)
    given = None if other is None else cast(native(other), wide, threads)
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    if not x.transpose(order).flags.c_contiguous:
        order = list(range(x.ndim))
    flat = np.ascontiguousarray(x.transpose(order)).reshape(-1)
    beside = None if given is None else np.ascontiguousarray(given.transpose(order)).reshape(-1)
    result = call.out
    if result is None:
        result = empty(tuple(x.shape[axis] for axis in order), call.x.dtype.newbyteorder("="))
        result = result.transpose(np.argsort(order))
    stored = result.transpose(order)
    if stored.flags.c_contiguous and _takes(result, wide, stored.reshape(-1), flat, beside):
        target = stored.reshape(-1)
    else:
        target = np.empty(x.size, wide)
    name, slope = call.activation.activation, call.activation.slope
    if call.dy is None or beside is None:
        loops.activate(flat, beside, name, slope, target, threads)
    else:
        loops.activate_gradient(beside, flat, name, slope, target, threads)
    if not np.may_share_memory(target, result):
        cast_into(target.reshape(stored.shape), stored, threads)
    return result


def _wide(dtype: np.dtype) -> np.dtype:
    """What arrays of ``dtype`` are computed in."""
    return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)


def _threads(size: int, threads: int) -> int:
    return max(1, min(threads, size // ELEMENTS_PER_THREAD))


def _small(array: Array | None, wide: np.dtype) -> Any:
    """A weight or a statistic as kernels read it."""
    return None if array is None else np.ascontiguousarray(array, wide)


def _affine(call: Any, wide: np.dtype) -> Any:
    return (_small(call.weight, wide), _small(call.bias, wide), *call.sets.layout)


def _are_neighbours(sets: Array) -> bool:
    return sets.shape[2] <= 1 or sets.strides[2] == sets.itemsize


def _source(call: Any, array: Array, wide: np.dtype, threads: int) -> Array:
    """An array as (sets, rows, neighbours) that kernels read."""
    sets: Array = call.sets.of(cast(native(array), wide, threads))
    return sets if _are_neighbours(sets) else np.ascontiguousarray(sets)


def _target(call: Any, wide: np.dtype, *sources: Array | None) -> tuple[Array, Array]:
    """The result for the user, and where it is written as (sets, rows, neighbours): its own memory or, where that
    cannot be, memory aside."""
    result = call.out
    if result is None:
        result = empty(call.sets.shape, call.x.dtype.newbyteorder("="))
    target = call.sets.of(result)
    if _are_neighbours(target) and np.may_share_memory(target, result) and _takes(result, wide, target, *sources):
        return result, target
    return result, np.empty(target.shape, wide)


def _takes(result: Array, wide: np.dtype, target: Array, *sources: Array | None) -> bool:
    """Whether kernels may write ``target``, a view of the result: what it shares with a source is the same elements."""
    if result.dtype != wide or native(result) is not result or overlaps_itself(result):
        return False
    return all(
        source is None or not np.may_share_memory(source, target) or _is_same(source, target) for source in sources
    )


def _is_same(one: Array, other: Array) -> bool:
    return (one.ctypes.data, one.shape, one.strides) == (other.ctypes.data, other.shape, other.strides)


def _stored(call: Any, target: Array, result: Any, threads: int) -> None:
    """Bring what was written aside into the result."""
    if math.prod(result.shape) and not np.may_share_memory(target, result):
        cast_into(np.ascontiguousarray(call.sets.back(target)), result, threads)
