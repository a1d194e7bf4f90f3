"""Runs a normalised pooling: result arrays, backend, and the results as the user sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._choose.select import repeats
from .._config import thread_count
from .._cpu.elementwise.loops import cast
from .._cpu.engine import pages
from .._cpu.engine.call_cache import Dispatcher
from .._cpu.engine.compiled_call import Launch
from .._cpu.pooling import algorithm as backend
from .._cpu.pooling.loops import PoolLaunch
from .._normalize.pooling import PoolCall, boolean

Normalise = Callable[..., PoolCall]
Arguments = tuple[Any, ...]
How = tuple[Any, ...]
MakeLaunch = Callable[[], Launch | None]
Arrays = tuple[Any, ...]
Result = np.ndarray | tuple[np.ndarray, np.ndarray]


def _first_maximum(
    normalise: Normalise, arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[Result, MakeLaunch]:
    call = normalise(*arguments, *arrays, out)
    returns_indices, threads = boolean("return_indices", how[0]), thread_count(how[1])
    assert call.input is not None
    result = _result(call)
    indices = np.empty(call.result_shape, np.int64) if returns_indices else None
    frame = call.frame
    where = None if indices is None else frame.data(indices)
    backend.maximum(call.windows, frame.data(call.input), frame.data(result), where, threads)
    launch = partial(_launch, "maximum", call, arrays, threads, returns_indices)
    shown = _as_user_sees_it(call, result, out)
    return shown if indices is None else (shown, indices), launch


maximum = Dispatcher(repeats, _first_maximum).call
"""``maximum(normalise, arguments, (return_indices, threads), (x,), out)``: the maxima, and if asked their places."""


def _first_average(
    normalise: Normalise, arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[np.ndarray, MakeLaunch]:
    call = normalise(*arguments, *arrays, out)
    threads = thread_count(how[0])
    assert call.input is not None
    result = _result(call)
    backend.average(call.windows, call.frame.data(call.input), call.frame.data(result), threads)
    return _as_user_sees_it(call, result, out), partial(_launch, "average", call, arrays, threads)


average = Dispatcher(repeats, _first_average).call
"""``average(normalise, arguments, (threads,), (x,), out)``: the averages."""


def _as_user_sees_it(call: PoolCall, result: np.ndarray, out: Any) -> np.ndarray:
    if out is not None:
        given: np.ndarray = out
        return given
    return result if call.user_shape is None else result.reshape(call.user_shape)


def _launch(
    kind: str, call: PoolCall, arrays: Arrays, threads: int, returns_indices: bool = False
) -> PoolLaunch | None:
    """What does the same for other arrays like these; None where kernels read another array than the user's."""
    x = call.input
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
        # Of whole images: batch and channels are all that has a size.
        result_axes = (0, len(shape) - 1 if call.frame.channels_last else 1, -1, -1, -1)
    count = backend.pool_threads(call.windows, math.prod(shape), threads)
    return PoolLaunch(call.windows, x.dtype, kind, returns_indices, axes, result_axes, shape, count)


def maximum_gradient(call: PoolCall, threads: int | None) -> np.ndarray:
    """The gradient for the input of ``maximum``, whose places are found again where they are not given."""
    dy, indices, frame = call.output_gradient, call.indices, call.frame
    assert dy is not None
    if indices is None:
        assert call.input is not None
        indices = np.empty(call.result_shape, np.int64)
        values = np.empty(call.result_shape, call.input.dtype.newbyteorder("="))
        source, places = frame.data(call.input), frame.data(indices)
        backend.maximum(call.windows, source, frame.data(values), places, thread_count(threads))
    dx = np.zeros(call.input_shape, backend.computing_dtype(dy.dtype))
    backend.maximum_gradient(call.windows, frame.data(dy), frame.data(indices), frame.data(dx), thread_count(threads))
    return cast(dx, dy.dtype.newbyteorder("="), thread_count(threads))


def average_gradient(call: PoolCall, threads: int | None) -> np.ndarray:
    """The gradient for the input of ``average``."""
    dy = call.output_gradient
    assert dy is not None
    dx = np.zeros(call.input_shape, backend.computing_dtype(dy.dtype))
    backend.average_gradient(call.windows, call.frame.data(dy), call.frame.data(dx), thread_count(threads))
    return cast(dx, dy.dtype.newbyteorder("="), thread_count(threads))


def _result(call: PoolCall) -> np.ndarray:
    assert call.input is not None
    return call.out if call.out is not None else pages.empty(call.result_shape, call.input.dtype.newbyteorder("="))
