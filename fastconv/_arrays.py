"""Facts about arrays, and the views that kernels get: canonical axes, native bytes, no overlap."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._errors import bad_type, unfit

WITHOUT_MASK = "an array without a mask, as its .filled(value) is"


def as_array(argument: str, value: Any) -> np.ndarray:
    """``value`` as an ndarray of numbers, without a copy where it is one already."""
    if type(value) is np.ndarray:
        array = value
    else:
        if hasattr(value, "__cuda_array_interface__"):
            raise bad_type(
                argument, f"a GPU array ({type(value).__name__})", "a NumPy array; no GPU backend is installed"
            )
        if value is None or isinstance(value, (str, bytes, dict, set)):
            raise bad_type(argument, value, "an array")
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise bad_type(argument, type(value).__name__, f"an array ({error})") from None
        if _is_masked(value):
            raise bad_type(argument, "a masked array", WITHOUT_MASK)
    if array.dtype.hasobject or array.dtype.names is not None:
        raise bad_type(argument, f"an array of dtype {array.dtype}", "an array of numbers")
    return array


def _is_masked(value: Any) -> bool:
    """Whether there is a masked array in nested lists that NumPy has made an array of."""
    if isinstance(value, (list, tuple)):
        return any(_is_masked(item) for item in value if type(item) is not float)
    return isinstance(value, np.ma.MaskedArray)


@functools.cache
def dtype_name(dtype: np.dtype) -> str:
    """``dtype.name``, kept: NumPy composes it anew each time."""
    return dtype.name


def is_native(array: np.ndarray) -> bool:
    """Whether the bytes are in the machine's order, aligned and at strides of whole elements."""
    itemsize = array.dtype.itemsize
    return array.dtype.isnative and array.flags.aligned and not any(stride % itemsize for stride in array.strides)


def native(array: np.ndarray) -> np.ndarray:
    """The array itself, or a copy where its bytes are swapped, misaligned or at odd strides."""
    return array if is_native(array) else array.astype(array.dtype.newbyteorder("="), order="K")


def check_out(out: Any, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """``out`` if a result of ``shape`` and ``dtype`` can be written to it."""
    if not isinstance(out, np.ndarray):
        raise bad_type("out", type(out).__name__, "a NumPy array")
    if isinstance(out, np.ma.MaskedArray):
        raise bad_type("out", "a masked array", WITHOUT_MASK)
    if out.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise bad_type("out", f"dtype {out.dtype}", f"dtype {dtype}")
    if out.shape != tuple(shape):
        raise unfit("out", f"shape {out.shape}", f"shape {tuple(shape)}")
    if not out.flags.writeable:
        raise unfit("out", "a read-only array", "a writable array")
    return out


def writable_in_place(out: np.ndarray, *inputs: np.ndarray | None) -> bool:
    """Whether kernels may write straight into ``out``: native, free of overlap with itself and with the inputs."""
    if not is_native(out):
        return False
    if any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True)):
        return False
    extents = sorted((abs(stride), size) for stride, size in zip(out.strides, out.shape, strict=True) if size > 1)
    reach = out.dtype.itemsize
    for stride, size in extents:
        if stride < reach:
            return False
        reach = stride * (size - 1) + reach
    return not any(array is not None and np.may_share_memory(out, array) for array in inputs)
