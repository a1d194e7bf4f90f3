"""Fourier transforms of real arrays by cuFFT, as steps among launches; the one module that calls it.

Its functions are called in the library that CuPy is linked with: CuPy's plans keep a work area of their own, which
transforms on several streams would share. Here it is the end of the call's scratch memory.
"""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import cupy
from .launch import Arrays, Workspace
from .linked import INT, POINTER, Prototypes, are_available, check
from .linked import functions as linked

R2C, C2R, D2Z, Z2D = 0x2A, 0x2C, 0x6A, 0x6C
FUNCTIONS: Prototypes = {
    "cufftCreate": (POINTER,),
    "cufftDestroy": (INT,),
    "cufftSetAutoAllocation": (INT, INT),
    "cufftMakePlanMany": (
        *(INT, INT, POINTER),  # plan, rank, lengths
        *(POINTER, INT, INT),  # sizes of what is read, distance of its elements and of its arrays
        *(POINTER, INT, INT),  # of what is written
        *(INT, INT, POINTER),  # type, arrays, bytes of the work area
    ),
    "cufftSetStream": (INT, POINTER),
    "cufftSetWorkArea": (INT, POINTER),
    **{f"cufftExec{name}": (INT, POINTER, POINTER) for name in ("R2C", "C2R", "D2Z", "Z2D")},
}
NAMES = {R2C: "R2C", C2R: "C2R", D2Z: "D2Z", Z2D: "Z2D"}
FACTORS = (2, 3, 5, 7)


def is_available() -> bool:
    """Whether CuPy finds cuFFT."""
    return are_available("cufft", FUNCTIONS)


def good_length(least: int) -> int:
    """The next length that cuFFT has fast code for, even."""
    length = least + least % 2
    while True:
        rest = length
        for factor in FACTORS:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 2


def pitch(lengths: tuple[int, ...]) -> int:
    """Real numbers from a row to the next one, where spectra take the place of what they are of."""
    return 2 * (lengths[-1] // 2 + 1)


class _Plan:
    """A plan of cuFFT on a device."""

    def __init__(self, lengths: tuple[int, ...], kind: int, batch: int) -> None:
        cupy.forbid_capture("a plan of cuFFT that has to be made")
        self.functions, self.lock, self.kind = linked("cufft", FUNCTIONS), threading.Lock(), kind
        handle, size = ctypes.c_int(), ctypes.c_size_t()
        self._call("cufftCreate", ctypes.addressof(handle))
        self.handle = handle.value
        self._call("cufftSetAutoAllocation", self.handle, 0)
        sizes = ((*lengths[:-1], pitch(lengths)), (*lengths[:-1], lengths[-1] // 2 + 1))
        real, spectrum = ((ctypes.c_int * len(lengths))(*one) for one in sizes)
        source, result = (real, spectrum) if kind in (R2C, D2Z) else (spectrum, real)
        self._call("cufftMakePlanMany", self.handle, len(lengths), (ctypes.c_int * len(lengths))(*lengths), source, 1,
                   math.prod(source), result, 1, math.prod(result), kind, batch,
                   ctypes.addressof(size))  # fmt: skip
        self.work_bytes = size.value

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.functions["cufftDestroy"](self.handle)

    def _call(self, name: str, *arguments: Any) -> None:
        check(self.functions[name](*arguments), name)

    def start(self, place: int, work: int) -> None:
        """Transform what lies there, on the current stream."""
        with self.lock:
            self._call("cufftSetStream", self.handle, cupy.module().cuda.get_current_stream().ptr)
            self._call("cufftSetWorkArea", self.handle, work)
            self._call(f"cufftExec{NAMES[self.kind]}", self.handle, place, place)


_plans: weakref.WeakValueDictionary[tuple[Any, ...], _Plan] = weakref.WeakValueDictionary()
_planning = threading.Lock()
_recorded: list[_Plan] = []
"""Graphs do not keep plans, whose tables they read."""


def _plan(lengths: tuple[int, ...], kind: int, batch: int) -> _Plan:
    """The plan of the current device and library; it lives as long as somebody has it."""
    key = cupy.current_device(), id(linked("cufft", FUNCTIONS)), lengths, kind, batch
    with _planning:
        found = _plans.get(key)
        if found is None:
            found = _plans[key] = _Plan(lengths, kind, batch)
        return found


@dataclass(frozen=True)
class Transform:
    """Real arrays of some lengths, one behind the other, into their spectra in the same place; or back, not divided.

    Rows of real numbers are ``pitch`` apart.
    """

    place: Workspace
    dtype: np.dtype
    lengths: tuple[int, ...]
    batch: int
    inverse: bool
    work: Workspace
    """From here on, scratch memory is cuFFT's."""

    @property
    def workspace_bytes(self) -> int:
        """With the work area, for which cuFFT is asked."""
        return self.work.offset_bytes + self._plan().work_bytes

    def bind(self) -> Callable[[Arrays], None]:
        """The transform on the current device and stream."""
        plan = self._plan()

        def start(arrays: Arrays) -> None:
            if cupy.is_capturing():
                _recorded.append(plan)
            scratch = int(arrays["workspace"].data.ptr)
            plan.start(scratch + self.place.offset_bytes, scratch + self.work.offset_bytes)

        return start

    def _plan(self) -> _Plan:
        double = self.dtype == np.float64
        kind = (Z2D if double else C2R) if self.inverse else (D2Z if double else R2C)
        return _plan(self.lengths, kind, self.batch)
