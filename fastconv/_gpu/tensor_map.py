"""Tensor maps: what the copy unit of sm_90 is told of an array, encoded by the driver for every address."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .launch import Arrays, Derived, Workspace

DRIVER = "libcuda.so.1"
MAP_BYTES = 128
UINT16, NOT_INTERLEAVED, L2_LINES_OF_128_BYTES, ZEROS_OUTSIDE = 1, 0, 2, 0
SWIZZLES = {0: 0, 32: 1, 64: 2, 128: 3}
"""CUtensorMapSwizzle, by the bytes of a row of a box."""
ALIGNED_BYTES = 16
"""Of addresses and of strides."""
MAX_STRIDE_BYTES = 1 << 40
MAX_BOX, MAX_STEP = 256, 8


@dataclass(eq=False)
class TensorMap(Derived):
    """Boxes of an array of 16-bit elements, as an argument that is passed by value; axes from the innermost on."""

    place: str | Workspace
    """The array's role."""
    offset_bytes: int
    """Of its first element."""
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    """In bytes; that of the innermost axis is not given."""
    box: tuple[int, ...]
    """Elements of a copy."""
    steps: tuple[int, ...]
    """From one element of a box to the next one."""
    swizzle: int
    """0, or the bytes of a row, 32, 64 or 128, whose pieces of 16 bytes are exchanged."""
    _last: tuple[int, Any] = field(default=(0, None), init=False, repr=False)

    def of(self, arrays: Arrays) -> Any:
        """For where the array lies; the last one is kept."""
        address = arrays[self._role].data.ptr
        last = self._last
        if last[0] != address:
            self._last = last = address, self.at({self._role: address})
        return last[1]

    @property
    def _role(self) -> str:
        return self.place if isinstance(self.place, str) else "workspace"

    def at(self, addresses: Mapping[str, int]) -> np.ndarray:
        """Where arrays have these addresses, by their roles."""
        address = addresses[self._role] + self.offset_bytes
        if isinstance(self.place, Workspace):
            address += self.place.offset_bytes
        memory = np.zeros(2 * MAP_BYTES, np.uint8)
        aligned = memory[-memory.ctypes.data % MAP_BYTES :][:MAP_BYTES]
        rank, extents = len(self.sizes), [n * step for n, step in zip(self.box, self.steps, strict=True)]
        failed = _encode()(
            aligned.ctypes.data, UINT16, rank, address, (ctypes.c_uint64 * rank)(*self.sizes),
            (ctypes.c_uint64 * (rank - 1))(*self.strides), (ctypes.c_uint32 * rank)(*extents),
            (ctypes.c_uint32 * rank)(*self.steps), NOT_INTERLEAVED, SWIZZLES[self.swizzle], L2_LINES_OF_128_BYTES,
            ZEROS_OUTSIDE,
        )  # fmt: skip
        if failed:
            raise RuntimeError(f"GPU: cuTensorMapEncodeTiled failed with status {failed} for {self}")
        return aligned.copy().view(f"V{MAP_BYTES}")


@functools.cache
def _encode() -> Any:
    encode = ctypes.CDLL(DRIVER).cuTensorMapEncodeTiled
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    encode.argtypes = (pointer, ctypes.c_int, number, *(pointer,) * 5, *(ctypes.c_int,) * 4)
    encode.restype = ctypes.c_int
    return encode


def forget() -> None:
    """Look for the driver again."""
    _encode.cache_clear()
