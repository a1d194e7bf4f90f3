"""What an array in device memory is: its memory, its shape, and copies from it and to it."""

from __future__ import annotations

import ctypes
import operator
from typing import Any, Self

import numpy as np

from .cuda import memory
from .cuda.device import Device
from .cuda.memory import MemoryPointer
from .cuda.stream import Stream, forbid_synchronization, get_current_stream
from .system import require_device


def checked_dtype(dtype: Any) -> np.dtype:
    """The dtype; ValueError for one that no device has: objects, strings, structures, the other byte order."""
    made = np.dtype(dtype)
    if (made.kind in "biufc" and made.isnative and made.name not in ("longdouble", "clongdouble", "float128")) or (
        made.name == "bfloat16"
    ):
        return made
    raise ValueError(f"Unsupported dtype {made}")


class Flags:
    """How an array lies in memory: CuPy's arrays say no more."""

    def __init__(self, c_contiguous: bool, f_contiguous: bool, owndata: bool) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = c_contiguous, f_contiguous, owndata

    def __getitem__(self, name: str) -> bool:
        if name not in ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA"):
            raise KeyError(f"{name} is not defined for cupy.ndarray.flags")
        return bool(getattr(self, name.lower()))

    @property
    def forc(self) -> bool:
        """C- or Fortran-contiguous."""
        return self.c_contiguous or self.f_contiguous

    @property
    def fnc(self) -> bool:
        """Fortran- and not C-contiguous."""
        return self.f_contiguous and not self.c_contiguous


class ArrayBase:
    """The part of an array that computes nothing."""

    data: MemoryPointer
    base: ArrayBase | None
    _host: np.ndarray
    """The same memory as NumPy has it."""

    def __init__(
        self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C"
    ) -> None:
        require_device()
        shape = (operator.index(shape),) if np.ndim(shape) == 0 else tuple(operator.index(size) for size in shape)
        if any(size < 0 for size in shape):
            raise ValueError("Negative dimensions are not allowed")
        dtype = checked_dtype(dtype)
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self.data = memory.alloc(size) if memptr is None else memptr
        self.base = None
        self._host = _view_of_memory(self.data, shape, dtype, strides, order)

    @classmethod
    def _view(cls, host: np.ndarray, base: ArrayBase) -> Self:
        """``host`` as it is, which lies in the memory of ``base``."""
        made = object.__new__(cls)
        offset = host.__array_interface__["data"][0] - base.data.mem.ptr if host.size else 0
        made.data, made._host = MemoryPointer(base.data.mem, offset), host
        made.base = base if base.base is None else base.base
        return made

    @classmethod
    def _like(cls, host: np.ndarray) -> Self:
        """New device memory for an array of that shape and of the same order of its axes."""
        strides = np.empty_like(host, order="K", subok=False).strides
        return cls(host.shape, host.dtype, strides=strides)

    # -- what it is
    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        view = self._host.view()
        view.shape = shape
        self._host = view

    strides = property(lambda self: self._host.strides)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    ndim = property(lambda self: self._host.ndim)
    device = property(lambda self: Device(self.data.device_id))

    @property
    def flags(self) -> Flags:
        return Flags(self._host.flags.c_contiguous, self._host.flags.f_contiguous, self.base is None)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        described = self._host.__array_interface__
        return {
            "shape": self.shape,
            "typestr": described["typestr"],
            "descr": described["descr"],
            "data": (self.data.ptr, False),
            "strides": None if self.flags.c_contiguous else self.strides,
            "version": 3,
            "stream": get_current_stream().ptr or 1,
        }

    def __repr__(self) -> str:
        return f"emulated {self._host!r}"

    # -- the host's: what waits for the device
    def get(self, stream: Stream | None = None, order: str = "C", out: np.ndarray | None = None,
            blocking: bool = True) -> np.ndarray:  # fmt: skip
        """A copy on the host."""
        require_device()
        forbid_synchronization(stream or get_current_stream(), "host_copy")
        if out is None:
            return np.array(self._host, order=order)  # type: ignore[call-overload, no-any-return]
        if (out.shape, out.dtype) != (self.shape, self.dtype):
            raise ValueError(f"Shape or dtype mismatch. Expected {self.shape, self.dtype}")
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Stream | None = None) -> None:
        """Copy an array of the host into this one."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if (arr.shape, arr.dtype) != (self.shape, self.dtype):
            raise ValueError(f"Shape or dtype mismatch. Expected {self.shape, self.dtype}")
        require_device()
        forbid_synchronization(stream or get_current_stream(), "host_copy")
        self._host[...] = arr

    def item(self, *args: Any) -> Any:
        """An element, as Python has it."""
        return self.get().item(*args)

    def tolist(self) -> Any:
        """Its elements, as lists."""
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __index__(self) -> int:
        return operator.index(self.get())

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )


def _view_of_memory(pointer: MemoryPointer, shape: Any, dtype: np.dtype, strides: Any, order: str) -> np.ndarray:
    owner = pointer.mem
    buffer: Any = (ctypes.c_char * owner.size).from_address(owner.ptr) if owner.size else b""
    if owner.size == 0:
        return np.ndarray(shape, dtype)
    layout = None if strides is None else tuple(strides)
    host = np.ndarray(shape, dtype, buffer, pointer.ptr - owner.ptr, layout, None if layout else order)  # type: ignore[arg-type]
    return host
