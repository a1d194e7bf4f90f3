"""``cupy.cuda.cufft``: Fourier transforms of real arrays, by SciPy's.

As CuPy's it is linked with a library, whose path ``__file__`` is: what looks there for cuFFT's own functions finds
those here.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.fft

from . import runtime
from .linked import INT, POINTER, library
from .memory import POISON, holds
from .stream import get_current_stream, submit

CUFFT_R2C, CUFFT_C2R, CUFFT_D2Z, CUFFT_Z2D = 0x2A, 0x2C, 0x6A, 0x6C
_INVALID_PLAN, _INVALID_VALUE, _INVALID_SIZE = 1, 4, 8
_WORK_BYTES_PER_BYTE = 1
"""What a plan's work area has of the bytes that it transforms."""


@dataclass
class _Plan:
    """What a plan has been told."""

    device: int
    kind: int = 0
    lengths: tuple[int, ...] = ()
    layouts: tuple[tuple[tuple[int, ...], int], ...] = ()
    """Sizes and distances of the arrays that are read, and of those that are written."""
    batch: int = 0
    work_bytes: int = 0
    allocates: bool = True
    stream: int = -1
    work: int = 0


_plans: dict[int, _Plan] = {}
_numbers = itertools.count(1)


def _create(address: int) -> int:
    number = next(_numbers)
    _plans[number] = _Plan(runtime.getDevice())
    ctypes.c_int.from_address(address).value = number
    return 0


def _destroy(number: int) -> int:
    return 0 if _plans.pop(number, None) else _INVALID_PLAN


def _of_plan(function: Callable[..., int]) -> Callable[..., int]:
    def called(number: int, *arguments: Any) -> int:
        plan = _plans.get(number)
        if plan is None or plan.device != runtime.getDevice():
            return _INVALID_PLAN
        return function(plan, *arguments)

    return called


def _set_auto_allocation(plan: _Plan, allocates: int) -> int:
    plan.allocates = bool(allocates)
    return 0


def _make_plan_many(plan: _Plan, rank: int, lengths: int, source: int, source_step: int, source_distance: int,
                    result: int, result_step: int, result_distance: int, kind: int, batch: int,
                    size: int) -> int:  # fmt: skip
    def ints(address: int) -> tuple[int, ...]:
        return tuple((ctypes.c_int * rank).from_address(address))

    if not (1 <= rank <= 3 and batch > 0 and source_step == result_step == 1 and source and result):
        return _INVALID_SIZE
    plan.kind, plan.lengths, plan.batch = kind, ints(lengths), batch
    plan.layouts = (ints(source), source_distance), (ints(result), result_distance)
    real, spectrum = plan.layouts if kind in (CUFFT_R2C, CUFFT_D2Z) else plan.layouts[::-1]
    last = plan.lengths[-1]
    if real[0][:-1] != plan.lengths[:-1] or real[0][-1] < last or spectrum[0] != (*plan.lengths[:-1], last // 2 + 1):
        return _INVALID_SIZE
    plan.work_bytes = batch * spectrum[1] * (16 if kind in (CUFFT_D2Z, CUFFT_Z2D) else 8) * _WORK_BYTES_PER_BYTE
    ctypes.c_size_t.from_address(size).value = plan.work_bytes
    return 0


def _set_stream(plan: _Plan, stream: int) -> int:
    plan.stream = stream
    return 0


def _set_work_area(plan: _Plan, work: int) -> int:
    if not holds(plan.device, work, plan.work_bytes) or work % 16:
        return _INVALID_VALUE
    plan.work = work
    return 0


def _view(address: int, sizes: tuple[int, ...], distance: int, batch: int, dtype: np.dtype) -> np.ndarray:
    size = ((batch - 1) * distance + math.prod(sizes)) * dtype.itemsize
    if not holds(runtime.getDevice(), address, size):
        raise runtime.CUDARuntimeError(700)
    buffer: Any = (ctypes.c_char * size).from_address(address)
    inner = [math.prod(sizes[i + 1 :]) * dtype.itemsize for i in range(len(sizes))]
    return np.ndarray((batch, *sizes), dtype, buffer, 0, (distance * dtype.itemsize, *inner))


def _execute(kind: int) -> Callable[..., int]:
    forward, double = kind in (CUFFT_R2C, CUFFT_D2Z), kind in (CUFFT_D2Z, CUFFT_Z2D)
    real, spectral = (np.dtype(f"f{8 if double else 4}"), np.dtype(f"c{16 if double else 8}"))

    def execute(plan: _Plan, source: int, result: int) -> int:
        if plan.kind != kind or plan.allocates or not plan.work or plan.stream != get_current_stream().ptr:
            return _INVALID_VALUE
        lengths, batch, work, work_bytes = plan.lengths, plan.batch, plan.work, plan.work_bytes
        (read, read_distance), (written, written_distance) = plan.layouts
        axes = tuple(range(1, 1 + len(lengths)))

        def transform() -> None:
            given = _view(source, read, read_distance, batch, real if forward else spectral)
            to = _view(result, written, written_distance, batch, spectral if forward else real)
            with np.errstate(all="ignore"):
                if forward:
                    made = scipy.fft.rfftn(given[..., : lengths[-1]].copy(), axes=axes)
                else:
                    made = scipy.fft.irfftn(given.copy(), lengths, axes) * math.prod(lengths)
            ctypes.memset(work, POISON, work_bytes)
            to[...] = np.nan  # rows are padded
            to[..., : made.shape[-1]] = made

        submit(transform, [])
        return 0

    return execute


_FUNCTIONS = {
    "cufftCreate": (_create, (POINTER,)),
    "cufftDestroy": (_destroy, (INT,)),
    "cufftSetAutoAllocation": (_of_plan(_set_auto_allocation), (INT, INT)),
    "cufftMakePlanMany": (
        _of_plan(_make_plan_many),
        (INT, INT, POINTER, POINTER, INT, INT, POINTER, INT, INT, INT, INT, POINTER),
    ),
    "cufftSetStream": (_of_plan(_set_stream), (INT, POINTER)),
    "cufftSetWorkArea": (_of_plan(_set_work_area), (INT, POINTER)),
    "cufftExecR2C": (_of_plan(_execute(CUFFT_R2C)), (INT, POINTER, POINTER)),
    "cufftExecC2R": (_of_plan(_execute(CUFFT_C2R)), (INT, POINTER, POINTER)),
    "cufftExecD2Z": (_of_plan(_execute(CUFFT_D2Z)), (INT, POINTER, POINTER)),
    "cufftExecZ2D": (_of_plan(_execute(CUFFT_Z2D)), (INT, POINTER, POINTER)),
}
_path = cache(lambda: library(_FUNCTIONS))
del __file__


def __getattr__(name: str) -> str:
    if name == "__file__":
        return _path()
    raise AttributeError(f"the stand-in for cupy.cuda.cufft has no {name}")
