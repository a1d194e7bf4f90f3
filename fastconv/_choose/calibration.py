"""Measures the constants that the cost models read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from .._algorithm import UNIT_ROUNDOFF, Machine
from .._cpu import backend
from .._cpu.engine import runtime
from .._problem import ConvProblem
from .sample import sample
from .select import bind, candidates

COPIED_BYTES = 2**26
"""Larger than the caches that one core can fill."""
ROUNDS = 7
CLOCK_SECONDS = 1e-9
"""What the clock can tell apart at best."""
TINY_PROBLEM = ConvProblem.parse("forward 1x1x8 1x1x3 float32")


def measure_machine() -> Machine:
    """The constants of this machine and of the ISA level in use, on one thread; takes about a second.

    Raises
    ------
    ArithmeticError
        If one is not plausible, as when the clock stood still.
    """
    constants = {
        "multiply_adds_per_second": {dtype: runtime.multiply_add_rate(dtype, 50) for dtype in UNIT_ROUNDOFF},
        "bytes_per_second": _copy_bandwidth(),
        "call_seconds": _call_seconds(),
        "numpy_call_seconds": _numpy_call_seconds(),
    }
    try:
        return Machine.of(constants)
    except ValueError as reason:
        raise ArithmeticError(f"measured {reason}; the constants of the cost models are left as they were") from None


def _seconds(call: Callable[[], object], repeats: int) -> float:
    """Median time of one call."""
    samples = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        samples.append((time.perf_counter() - start) / repeats)
    return statistics.median(samples)


def _copy_bandwidth() -> float:
    source, target = np.ones(COPIED_BYTES, np.uint8), np.ones(COPIED_BYTES, np.uint8)
    return 2 * COPIED_BYTES / max(_seconds(lambda: np.copyto(target, source), 1), CLOCK_SECONDS)


def _call_seconds() -> float:
    """Of the algorithm that is quickest on a problem with next to no arithmetic."""
    operands = sample(TINY_PROBLEM)
    plans = [bind(TINY_PROBLEM, algorithm, params, 1, "forced") for algorithm, params, _ in candidates(TINY_PROBLEM, 1)]
    return min(_seconds(lambda plan=plan: backend.execute(plan, operands), 200) for plan in plans)  # type: ignore[misc]


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
    return statistics.mean(_seconds(call, 2000) for call in calls)
