"""Measures the constants that the cost models read, on the current device."""

from __future__ import annotations

import time

import numpy as np

from .._algorithm import UNIT_ROUNDOFF
from .._timing import CLOCK_SECONDS, median_seconds
from . import device, memory
from .launch import THREADS, Launch
from .source import C_TYPES, source_of
from .timing import seconds_of

COPIED_PER_CACHE = 4
"""Copies are so many times as large as the second-level cache."""
BLOCKS_PER_MULTIPROCESSOR = 8
MULTIPLY_ADDS_PER_ROUND = 8 * 16
"""Of a thread of csrc/multiply_adds.cu: CHAINS * UNROLLED."""
LEAST_SECONDS = 2e-3
"""Work is doubled until it takes so long."""
HOST_CALLS = 200


def calibrate(call_seconds: float) -> dict[str, object]:
    """The constants of the current device; takes under a second.

    ``call_seconds`` is that of the algorithm that is quickest on a problem with next to no arithmetic.
    """
    return {
        "multiply_adds_per_second": {dtype: _multiply_add_rate(dtype) for dtype in UNIT_ROUNDOFF},
        "bytes_per_second": _copy_bandwidth(),
        "call_seconds": call_seconds,
        "numpy_call_seconds": _host_seconds(),
    }


def _copy_bandwidth() -> float:
    size = COPIED_PER_CACHE * device.current().l2_bytes
    source, target = memory.zeros((size,), np.dtype(np.uint8)), memory.empty((size,), np.dtype(np.uint8))

    def copy() -> None:
        target.data.copy_from_device_async(source.data, size)

    return 2 * size / max(median_seconds(copy, 1, seconds_of), CLOCK_SECONDS)


def multiply_adds_source(dtype: str) -> str:
    """The text of the kernel that does nothing else."""
    return source_of("csrc/multiply_adds.cu", {"REAL": C_TYPES[dtype]})


def _multiply_add_rate(dtype: str) -> float:
    blocks, kind = device.current().multiprocessors * BLOCKS_PER_MULTIPROCESSOR, np.dtype(dtype)
    result, rounds = memory.empty((blocks * THREADS,), kind), 1
    while True:
        numbers = kind.type(0.5), kind.type(1), np.int32(rounds)
        start = Launch("multiply_adds", multiply_adds_source(dtype), (blocks,), (THREADS,), ("result", *numbers)).bind()
        seconds = seconds_of(lambda start=start: start({"result": result}), 1)  # type: ignore[misc]
        if seconds >= LEAST_SECONDS or rounds >= 2**30:
            return blocks * THREADS * MULTIPLY_ADDS_PER_ROUND * rounds / max(seconds, CLOCK_SECONDS)
        rounds *= 2


def _host_seconds() -> float:
    """Of the host, to start next to nothing."""
    result = memory.empty((THREADS,), np.dtype(np.float32))
    numbers = np.float32(0.5), np.float32(1), np.int32(0)
    start = Launch("multiply_adds", multiply_adds_source("float32"), (1,), (THREADS,), ("result", *numbers)).bind()
    seconds_of(lambda: start({"result": result}), 1)
    began = time.perf_counter()
    for _ in range(HOST_CALLS):
        start({"result": result})
    return (time.perf_counter() - began) / HOST_CALLS
