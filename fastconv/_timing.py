"""The time of short calls, by the clock of the process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

ROUNDS = 7
SAMPLE_SECONDS = 5e-4
"""Short calls are repeated to this length for one sample."""
MAX_REPEATS = 100
CLOCK_SECONDS = 1e-9
"""The shortest time that the clock can tell apart."""


def repeats_of(seconds: float) -> int:
    """How often a call that takes so long is made for one sample."""
    return max(1, min(MAX_REPEATS, int(SAMPLE_SECONDS / max(seconds, CLOCK_SECONDS))))


def seconds_of(call: Callable[[], object], repeats: int) -> float:
    """Time of one call, the mean of so many in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def median_seconds(
    call: Callable[[], object], repeats: int, measure: Callable[[Callable[[], object], int], float] = seconds_of
) -> float:
    """Median time of one call."""
    return statistics.median(measure(call, repeats) for _ in range(ROUNDS))
