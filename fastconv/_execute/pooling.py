"""Runs a normalised pooling: result arrays, backend, and the results as the user sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._backend import CompiledCall, PythonCall
from .._config import thread_count
from .._normalize.arrays import check_out
from .._normalize.pooling import PoolCall, boolean
from .entry import entry

Normalise = Callable[..., PoolCall]
Arguments = tuple[Any, ...]
How = tuple[Any, ...]
MakeCall = Callable[[], CompiledCall | None]
Arrays = tuple[Any, ...]
Result = np.ndarray | tuple[np.ndarray, np.ndarray]
INDEX = np.dtype(np.int64)


def _first_maximum(
    normalise: Normalise, arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[Result, MakeCall]:
    call = normalise(*arguments, *arrays, out)
    returns_indices, threads = boolean("return_indices", how[0]), thread_count(how[1])
    assert call.input is not None
    result = _result(call)
    indices = call.backend.empty(call.result_shape, INDEX) if returns_indices else None
    frame = call.frame
    where = None if indices is None else frame.data(indices)
    call.backend.pooling.maximum(call.windows, frame.data(call.input), frame.data(result), where, threads)
    make = partial(_placed, "maximum", call, arrays, threads, returns_indices)
    shown = _as_user_sees_it(call, result, out)
    return shown if indices is None else (shown, indices), make


maximum = entry(_first_maximum)
"""``maximum(normalise, arguments, (return_indices, threads), (x,), out)``: the maxima, and if asked their places."""


def _first_average(
    normalise: Normalise, arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[np.ndarray, MakeCall]:
    call = normalise(*arguments, *arrays, out)
    threads = thread_count(how[0])
    assert call.input is not None
    result = _result(call)
    call.backend.pooling.average(call.windows, call.frame.data(call.input), call.frame.data(result), threads)
    return _as_user_sees_it(call, result, out), partial(_placed, "average", call, arrays, threads)


average = entry(_first_average)
"""``average(normalise, arguments, (threads,), (x,), out)``: the averages."""


def _as_user_sees_it(call: PoolCall, result: np.ndarray, out: Any) -> np.ndarray:
    if out is not None:
        given: np.ndarray = out
        return given
    return result if call.user_shape is None else result.reshape(call.user_shape)


def _placed(
    kind: str, call: PoolCall, arrays: Arrays, threads: int, returns_indices: bool = False
) -> CompiledCall | None:
    """What does the same for other arrays like these; None where kernels do not read the user's own array."""
    x, backend = call.input, call.backend.pooling
    if (
        x is None
        or x is not arrays[0]
        or not x.size
        or not math.prod(call.result_shape)
        or not backend.has_kernels(x.dtype)
    ):
        return None
    axes = result_axes = call.frame.axes["input"]
    shape = call.result_shape
    if call.user_shape is not None:
        shape = call.user_shape
        # Windows of whole images: only batch and channels have a size.
        result_axes = (0, len(shape) - 1 if call.frame.channels_last else 1, -1, -1, -1)
    count = backend.pool_threads(call.windows, math.prod(shape), threads)
    made = backend.prepare(call.windows, x.dtype, kind, returns_indices, axes, result_axes, shape, count)
    return made if made is None or isinstance(made, CompiledCall) else PythonCall(made)


def _first_maximum_gradient(
    normalise: Normalise, arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[np.ndarray, MakeCall]:
    call = normalise(*arguments, *arrays)
    threads, frame, backend = thread_count(how[0]), call.frame, call.backend
    given, shape = call.input, call.result_shape

    forward = None if given is None else _placed("maximum", call, (given,), threads, True)

    def places_in(x: np.ndarray) -> np.ndarray:
        found = None if forward is None else forward((x,))
        if found is not None:
            places: np.ndarray = found[1]
            return places
        indices = backend.empty(shape, INDEX)
        values = backend.empty(shape, x.dtype.newbyteorder("="))
        backend.pooling.maximum(call.windows, frame.data(x), frame.data(values), frame.data(indices), threads)
        return indices

    def compute(dy: np.ndarray, x: np.ndarray | None, indices: np.ndarray | None) -> np.ndarray:
        are_given = indices is not None
        if indices is None:
            assert x is not None
            indices = places_in(x)
        dx = _new_gradient(call, dy.dtype)
        arrays = (frame.data(array) for array in (dy, indices, dx))
        backend.pooling.maximum_gradient(call.windows, *arrays, threads, any_strays=are_given)
        return _gradient(call, dx, dy.dtype, threads)

    def again(arrays: Arrays, out: Any) -> np.ndarray | None:
        _check_gradient_out(call, out)
        dy, x, indices = (*arrays, None)[:3]
        x = None if given is None else x.reshape(given.shape)
        if indices is not None and not call.has(indices):
            return None
        return _written(out, compute(dy.reshape(shape), x, indices))

    assert call.output_gradient is not None
    _check_gradient_out(call, out)
    return _written(out, compute(call.output_gradient, given, call.indices)), lambda: PythonCall(again)


maximum_gradient = entry(_first_maximum_gradient)
"""``maximum_gradient(normalise, arguments, (threads,), (dy, x, indices))``: the gradient for the input of ``maximum``,
whose places are found again where they are not given."""


def _first_average_gradient(
    normalise: Normalise, arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[np.ndarray, MakeCall]:
    call = normalise(*arguments, *arrays)
    threads, frame, backend = thread_count(how[0]), call.frame, call.backend

    def compute(dy: np.ndarray) -> np.ndarray:
        dx = _new_gradient(call, dy.dtype)
        backend.pooling.average_gradient(call.windows, frame.data(dy), frame.data(dx), threads)
        return _gradient(call, dx, dy.dtype, threads)

    def again(arrays: Arrays, out: Any) -> np.ndarray:
        _check_gradient_out(call, out)
        return _written(out, compute(arrays[0].reshape(call.result_shape)))

    assert call.output_gradient is not None
    _check_gradient_out(call, out)
    return _written(out, compute(call.output_gradient)), lambda: PythonCall(again)


average_gradient = entry(_first_average_gradient)
"""``average_gradient(normalise, arguments, (threads,), (dy, x))``: the gradient for the input of ``average``."""


def _check_gradient_out(call: PoolCall, out: Any) -> None:
    if out is not None:
        dy = call.output_gradient
        assert dy is not None
        check_out(out, call.gradient_shape or call.input_shape, dy.dtype, dy)


def _written(out: Any, dx: np.ndarray) -> np.ndarray:
    if out is None:
        return dx
    out[...] = dx
    written: np.ndarray = out
    return written


def _new_gradient(call: PoolCall, dtype: np.dtype) -> np.ndarray:
    """Zeros, which gradients are added to, or what a backend fills without them."""
    backend = call.backend
    new = backend.empty if backend.pooling.FILLS_GRADIENTS else backend.zeros
    return new(call.input_shape, backend.pooling.computing_dtype(dtype))


def _gradient(call: PoolCall, dx: np.ndarray, dtype: np.dtype, threads: int) -> np.ndarray:
    """A gradient as the user sees it."""
    result: np.ndarray = call.backend.cast(dx, dtype.newbyteorder("="), threads)
    return result if call.gradient_shape is None else result.reshape(call.gradient_shape)


def _result(call: PoolCall) -> np.ndarray:
    assert call.input is not None
    return (
        call.out if call.out is not None else call.backend.empty(call.result_shape, call.input.dtype.newbyteorder("="))
    )
