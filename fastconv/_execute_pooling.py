"""Runs a normalised pooling: result arrays, backend, and the results as the user sees them."""

from __future__ import annotations

import numpy as np

from ._config import thread_count
from ._cpu import pooling as backend
from ._normalize.pooling import PoolCall


def maximum(call: PoolCall, return_indices: bool, threads: int | None) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The maxima, with ``return_indices`` also their places."""
    assert call.input is not None
    result = _result(call)
    indices = np.empty(call.result_shape, np.int64) if return_indices else None
    frame = call.frame
    where = None if indices is None else frame.data(indices)
    backend.maximum(call.windows, frame.data(call.input), frame.data(result), where, thread_count(threads))
    return result if indices is None else (result, indices)


def average(call: PoolCall, threads: int | None) -> np.ndarray:
    """The averages."""
    assert call.input is not None
    result = _result(call)
    backend.average(call.windows, call.frame.data(call.input), call.frame.data(result), thread_count(threads))
    return result


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
    return _rounded(dx, dy)


def average_gradient(call: PoolCall, threads: int | None) -> np.ndarray:
    """The gradient for the input of ``average``."""
    dy = call.output_gradient
    assert dy is not None
    dx = np.zeros(call.input_shape, backend.computing_dtype(dy.dtype))
    backend.average_gradient(call.windows, call.frame.data(dy), call.frame.data(dx), thread_count(threads))
    return _rounded(dx, dy)


def _result(call: PoolCall) -> np.ndarray:
    assert call.input is not None
    return call.out if call.out is not None else np.empty(call.result_shape, call.input.dtype.newbyteorder("="))


def _rounded(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """``dx`` in the native dtype of ``dy``."""
    with np.errstate(over="ignore"):
        return dx.astype(dy.dtype.newbyteorder("="), copy=False)
