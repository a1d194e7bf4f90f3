"""The functions of ``cupy`` itself: arrays made, joined, looked at; NumPy's arithmetic on device arrays."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .array import matmul, ndarray, on_device
from .cuda import memory
from .cuda.memory import MemoryPointer, UnownedMemory
from .cuda.stream import forbid_synchronization, get_current_stream
from .system import require_device


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """An array whose elements are whatever the memory holds: here, NaN."""
    return ndarray(shape, dtype, order=order)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """An array of zeros."""
    return full(shape, 0, dtype, order)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """An array of ones."""
    return full(shape, 1, dtype, order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    """An array of one value."""
    made = ndarray(shape, np.array(fill_value).dtype if dtype is None else dtype, order=order)
    made.fill(fill_value)
    return made


def empty_like(
    prototype: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None
) -> ndarray:
    """``empty`` of an array's shape, dtype and order of axes."""
    if order != "K" or shape is not None:
        return ndarray(prototype.shape if shape is None else shape, dtype or prototype.dtype,
                       order="F" if order == "F" else "C")  # fmt: skip
    return ndarray._like(prototype._host if dtype is None else np.empty_like(prototype._host, dtype))


def zeros_like(a: ndarray, dtype: Any = None, order: str = "K", subok: Any = None, shape: Any = None) -> ndarray:
    """``zeros`` of an array's shape, dtype and order of axes."""
    made = empty_like(a, dtype, order, subok, shape)
    made.fill(0)
    return made


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    """Evenly spaced numbers."""
    limits = (0, start) if stop is None else (start, stop)
    return on_device(np.arange, (*limits, step), {"dtype": dtype})  # type: ignore[no-any-return]


def array(obj: Any, dtype: Any = None, copy: bool = True, order: str = "K", subok: bool = False, ndmin: int = 0, *,
          blocking: bool = False) -> ndarray:  # fmt: skip
    """A copy on the current device of an array of the host, or of the device."""
    if isinstance(obj, ndarray):
        made = obj if not copy and obj.device.id == memory.runtime.getDevice() else obj.copy("K")
        return made.astype(obj.dtype if dtype is None else dtype, copy=False)
    if hasattr(obj, "__cuda_array_interface__"):
        view = _foreign(obj)
        return view.astype(view.dtype if dtype is None else dtype, copy=copy)
    require_device()
    host = np.array(obj, dtype=dtype, order=order, ndmin=ndmin)  # type: ignore[call-overload]
    made = ndarray._like(host)
    forbid_synchronization(get_current_stream(), "host_copy")
    made._host[...] = host
    return made


def asarray(a: Any, dtype: Any = None, order: str | None = None, *, copy: bool | None = None,
            blocking: bool = False) -> ndarray:  # fmt: skip
    """The array itself if it is one of the device, or else a copy on it."""
    made = array(a, dtype, copy=bool(copy), order="K" if order is None else order)
    return ascontiguousarray(made) if order == "C" else made


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """The array itself if it is C-contiguous, or else a copy that is."""
    given = asarray(a, dtype)
    return given if given.flags.c_contiguous else given.copy("C")


def _foreign(obj: Any) -> ndarray:
    """A view of another library's array on the device."""
    described = obj.__cuda_array_interface__
    pointer, dtype = described["data"][0], np.dtype(described["typestr"])
    device = memory.device_of(pointer)
    begin, end = next((b, e) for b, e in memory.live_ranges(device) if b <= pointer <= e)
    held = UnownedMemory(begin, end - begin, obj, device)
    return ndarray(described["shape"], dtype, MemoryPointer(held, pointer - begin), described.get("strides"))


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True) -> np.ndarray:
    """A copy on the host; an array of the host itself."""
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a, order=order)  # type: ignore[call-overload, no-any-return]


def get_array_module(*args: Any) -> Any:
    """This module if one of the arguments is a device array, else NumPy."""
    return sys.modules[__package__] if any(isinstance(arg, ndarray) for arg in args) else np


def may_share_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    """Whether the addresses overlap from first to last."""
    return bool(np.may_share_memory(a._host, b._host)) and a.size > 0 and b.size > 0


def shares_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    """Whether an element of the one is one of the other."""
    return bool(np.shares_memory(a._host, b._host))


def get_default_memory_pool() -> memory.MemoryPool:
    """The pool that CuPy allocates from."""
    return memory.default_pool


def _served(function: Any) -> Any:
    def served(*args: Any, **kwargs: Any) -> Any:
        return on_device(function, args, kwargs)

    served.__name__ = function.__name__
    return served


_UFUNCS = (
    *("add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "remainder", "power", "negative", "conj"),
    *(
        "conjugate",
        "absolute",
        "abs",
        "maximum",
        "minimum",
        "fmax",
        "fmin",
        "exp",
        "log",
        "log1p",
        "sqrt",
        "square",
        "sign",
    ),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isnan", "isinf", "isfinite", "tanh"),
    *(
        "hypot",
        "arctan2",
        "logical_and",
        "logical_or",
        "logical_not",
        "bitwise_and",
        "bitwise_or",
        "rint",
        "floor",
        "ceil",
        "reciprocal",
    ),
)
_FUNCTIONS = (
    *("concatenate", "stack", "moveaxis", "swapaxes", "transpose", "expand_dims", "squeeze", "broadcast_to", "flip"),
    *(
        "take",
        "where",
        "clip",
        "real",
        "imag",
        "sum",
        "prod",
        "max",
        "min",
        "amax",
        "amin",
        "mean",
        "all",
        "any",
        "pad",
    ),
    *("einsum", "tensordot", "dot", "reshape", "ravel", "copyto", "array_equal", "repeat", "tile", "roll", "split"),
    *("take_along_axis", "put_along_axis"),
    *("angle", "quantile", "argmax", "argmin", "atleast_1d", "diff", "cumsum", "outer"),
)
SERVED = {name: _served(getattr(np, name)) for name in (*_UFUNCS, *_FUNCTIONS)} | {"matmul": matmul}
"""NumPy's functions on device arrays."""
TYPES = {
    name: getattr(np, name)
    for name in (
        *("bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"),
        *("float64", "complex64", "complex128", "dtype", "newaxis", "pi", "inf", "nan", "iinfo", "finfo"),
        *("result_type", "promote_types", "can_cast", "broadcast_shapes", "issubdtype", "integer", "floating"),
        *("complexfloating", "inexact", "generic", "number"),
    )
}
"""What CuPy has of NumPy as it is."""
