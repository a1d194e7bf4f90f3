"""New arrays in a device's memory, from CuPy's pool.

A graph does not keep the memory that it was recorded with, and nobody else has what lies between the steps of a call:
all that is allocated while a stream records lives as long as the process. A graph is recorded once and launched often.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import cupy

_recorded: dict[int, Any] = {}
"""By their identities."""


def empty(shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """A new array on the current device."""
    return _kept(cupy.module().empty(shape, dtype))


def zeros(shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """A new array of zeros on the current device."""
    return _kept(cupy.module().zeros(shape, dtype))


def concatenate(arrays: tuple[Any, ...], axis: int) -> Any:
    """Arrays joined along an axis, as a new one."""
    return _kept(cupy.module().concatenate(arrays, axis))


def copy(array: Any) -> Any:
    """A copy in C order."""
    return _kept(array.copy())


def upload(values: np.ndarray) -> Any:
    """A copy of a host's array that launches on any stream may read."""
    cupy.forbid_capture("a table that has to be copied to the device")
    module = cupy.module()
    made = module.asarray(values)
    module.cuda.get_current_stream().synchronize()
    return made


def forget_recorded() -> None:
    """Let the memory of all graphs go; none of them may be launched again."""
    _recorded.clear()


def _kept(array: Any) -> Any:
    if cupy.is_capturing():
        _recorded[id(array)] = array
    return array


def let_go(*arrays: Any) -> None:
    """Keep no longer what a call has allocated that does not take place."""
    for array in arrays:
        _recorded.pop(id(array), None)
