"""Measures the constants that the cost models read."""

from __future__ import annotations

from .._algorithm import Machine
from .._backend import CPU
from .._problem import ConvProblem
from .._timing import median_seconds
from .sample import sample
from .select import bind, candidates

TINY_PROBLEM = ConvProblem.parse("forward 1x1x8 1x1x3 float32")


def measure_machine() -> Machine:
    """The constants of this machine and of the ISA level in use, on one thread; takes about a second.

    Raises
    ------
    ArithmeticError
        If one is not plausible, as when the clock stood still.
    """
    constants = CPU.calibrate(_call_seconds())
    try:
        return Machine.of(constants)
    except ValueError as reason:
        raise ArithmeticError(f"measured {reason}; the constants of the cost models are left as they were") from None


def _call_seconds() -> float:
    """Time of a call of the algorithm that is quickest on a problem with next to no arithmetic."""
    operands = sample(TINY_PROBLEM)
    plans = [bind(TINY_PROBLEM, algorithm, params, 1, "forced") for algorithm, params, _ in candidates(TINY_PROBLEM, 1)]
    return min(median_seconds(CPU.repeated(plan, operands), 200) for plan in plans)
