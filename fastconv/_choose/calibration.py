"""Measures the constants that the cost models read."""

from __future__ import annotations

from .._algorithm import Machine
from .._backend import CPU, Backend
from .._problem import ConvProblem
from .._timing import median_seconds
from .sample import sample
from .select import bind, candidates

TINY_PROBLEM = ConvProblem.parse("forward 1x1x8 1x1x3 float32")


def measure_machine(backend: Backend = CPU) -> Machine:
    """The constants of this machine, on one thread at the ISA level in use or on one device; takes about a second.

    Raises
    ------
    ArithmeticError
        If one is not plausible, as when the clock stood still.
    """
    constants = backend.calibrate(_call_seconds(backend))
    try:
        return Machine.of(constants)
    except ValueError as reason:
        raise ArithmeticError(f"measured {reason}; the constants of the cost models are left as they were") from None


def _call_seconds(backend: Backend) -> float:
    """Time of a call of the algorithm that is quickest on a problem with next to no arithmetic."""
    operands, timer = sample(TINY_PROBLEM, backend=backend), backend.timer
    plans = [
        bind(TINY_PROBLEM, algorithm, params, 1, "forced", backend=backend)
        for algorithm, params, _ in candidates(TINY_PROBLEM, 1, backend=backend)
    ]
    backend.load(plans, operands)
    often = timer.repeats_of(0.0)
    return min(median_seconds(backend.repeated(plan, operands), often, timer.seconds_of) for plan in plans)
