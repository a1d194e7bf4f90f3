"""Measures the constants that the cost models read."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

from .._algorithm import UNIT_ROUNDOFF
from .._timing import CLOCK_SECONDS, median_seconds
from .engine import runtime

COPIED_BYTES = 2**26
"""Larger than the caches that one core can fill."""


def calibrate(call_seconds: float) -> dict[str, object]:
    """The constants of this machine and of the ISA level in use, on one thread; takes about a second.

    ``call_seconds`` is that of the algorithm that is quickest on a problem with next to no arithmetic.
    """
    return {
        "multiply_adds_per_second": {dtype: runtime.multiply_add_rate(dtype, 50) for dtype in UNIT_ROUNDOFF},
        "bytes_per_second": _copy_bandwidth(),
        "call_seconds": call_seconds,
        "numpy_call_seconds": _numpy_call_seconds(),
    }


def _copy_bandwidth() -> float:
    source, target = np.ones(COPIED_BYTES, np.uint8), np.ones(COPIED_BYTES, np.uint8)
    return 2 * COPIED_BYTES / max(median_seconds(lambda: np.copyto(target, source), 1), CLOCK_SECONDS)


def _numpy_call_seconds() -> float:
    """Mean of the calls that algorithms written in NumPy are made of."""
    a, b, out = np.ones((4, 4), np.float32), np.ones((4, 4), np.float32), np.ones((4, 4), np.float32)
    view = np.ones((8, 8), np.float32)[::2, ::2]
    calls: list[Callable[[], object]] = [
        lambda: np.matmul(a, b, out=out),
        lambda: np.add(a, b, out=out),
        lambda: np.copyto(out, view),
        lambda: a.reshape(2, 8),
    ]
    return statistics.mean(median_seconds(call, 2000) for call in calls)
