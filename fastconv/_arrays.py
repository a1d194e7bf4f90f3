"""Facts about arrays, and the views that kernels get: canonical axes, native bytes, no overlap."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ._errors import bad_type, unfit

WITHOUT_MASK = "an array without a mask, as its .filled(value) is"


def as_array(argument: str, value: Any) -> Any:
    """``value`` as an ndarray of numbers, without a copy where it is one already; an array of CuPy's as it is."""
    if type(value) is np.ndarray:
        array = value
    elif is_cupys(value):
        if not is_aligned(value):
            raise unfit(
                argument, f"strides {value.strides} at address {value.data.ptr:#x}", "elements that are aligned"
            )
        return value
    else:
        if hasattr(value, "__cuda_array_interface__"):
            raise bad_type(
                argument,
                f"a GPU array ({type(value).__name__})",
                "a NumPy or a CuPy array; cupy.asarray makes one of it without a copy",
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


def is_cupys(value: object) -> bool:
    """Whether ``value`` is an array of CuPy's, or of a type derived from it; CuPy is not imported."""
    kind = type(value)
    return kind is not np.ndarray and _derives_from_cupys(kind)  # type: ignore[arg-type]


@functools.lru_cache(256)
def _derives_from_cupys(kind: type) -> bool:
    return any(base.__name__ == "ndarray" and base.__module__ == "cupy" for base in kind.__mro__)


def _is_masked(value: Any) -> bool:
    """Whether there is a masked array in nested lists that NumPy has made an array of."""
    if isinstance(value, (list, tuple)):
        return any(_is_masked(item) for item in value if type(item) is not float)
    return isinstance(value, np.ma.MaskedArray)


@functools.cache
def dtype_name(dtype: np.dtype) -> str:
    """``dtype.name``, kept: NumPy composes it anew each time."""
    return dtype.name


def is_aligned(array: Any) -> bool:
    """Whether an array of CuPy's has its elements at multiples of their size, as GPUs need it."""
    itemsize = array.itemsize
    return not (array.data.ptr % itemsize or any(stride % itemsize for stride in array.strides))


def is_native(array: np.ndarray) -> bool:
    """Whether the bytes are in the machine's order, aligned and at strides of whole elements."""
    itemsize = array.dtype.itemsize
    return array.dtype.isnative and array.flags.aligned and not any(stride % itemsize for stride in array.strides)


def native(array: np.ndarray) -> np.ndarray:
    """The array itself, or a copy where its bytes are swapped, misaligned or at odd strides."""
    return array if is_native(array) else array.astype(array.dtype.newbyteorder("="), order="K")


def writable_in_place(out: np.ndarray, *inputs: np.ndarray | None) -> bool:
    """Whether kernels may write straight into ``out``: native, free of overlap with itself and with the inputs."""
    if not is_native(out):
        return False
    if overlaps_itself(out):
        return False
    return not any(array is not None and np.may_share_memory(out, array) for array in inputs)


def overlaps_itself(array: Any) -> bool:
    """Whether two elements may share memory: an axis steps over less than the axes of smaller steps reach."""
    reach = array.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True)):
        if size > 1:
            if stride < reach:
                return True
            reach += stride * (size - 1)
    return False
