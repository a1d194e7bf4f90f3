"""Why a problem is computed the way it is: every algorithm with what speaks for and against it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import _config
from .._algorithm import Algorithm, Machine, Params
from .._backend import CPU
from .._plan import Plan
from .._problem import ConvProblem
from . import tuning_cache
from .select import PRECISION_LIMITS, admitted, machine, plan_for, tuned_record
from .tuning_record import TuningRecord


@dataclass(frozen=True)
class Considered:
    """One algorithm as selection sees it."""

    algorithm: str
    params: Params
    estimate_seconds: float | None
    """Estimate of the cost model; None where the algorithm does not compute the problem."""
    measured_seconds: float | None
    relative_error: float | None
    """The largest error over the largest exact result that it promises on usual data."""
    workspace_bytes: int
    verdict: str


@dataclass(frozen=True)
class Explanation:
    """The choice for one problem and what it was made from; ``str`` of it is a page to read."""

    plan: Plan
    considered: tuple[Considered, ...]
    record: TuningRecord | None
    machine: Machine
    is_calibrated: bool
    isa: str

    def __str__(self) -> str:
        plan, problem = self.plan, self.plan.problem
        lines = [
            str(problem),
            f"  {quantity(problem.multiply_adds)} multiply-adds; input {_shape(problem.input_shape)}, weight "
            f"{_shape(problem.weight_shape)}, output {_shape(problem.output_shape)}",
            f"  computed by {choice_text(plan.algorithm.name, plan.params)} on {plan.threads} threads, "
            f"{quantity(plan.workspace_bytes)}B of workspace: {self._reason()}",
            "",
            f"  {'algorithm':16s}{'estimate':>12s}{'measured':>12s}{'error':>10s}  verdict",
        ]
        for entry in self.considered:
            error = "-" if entry.relative_error is None else f"{entry.relative_error:.1e}"
            lines.append(
                f"  {entry.algorithm:16s}{milliseconds(entry.estimate_seconds):>12s}"
                f"{milliseconds(entry.measured_seconds):>12s}{error:>10s}  {entry.verdict}"
            )
        origin = "calibrated" if self.is_calibrated else "defaults; fastconv autotune --calibrate measures"
        lines += ["", f"  machine ({origin}): {self.isa}, {machine_text(self.machine)}"]
        return "\n".join(lines)

    __repr__ = __str__

    def _reason(self) -> str:
        if self.plan.reason != "tuned":
            return f"chosen by {self.plan.reason}"
        assert self.record is not None
        gain = "" if self.record.gain is None else f", {self.record.gain:.2f} times as fast as im2col"
        return f"measured at {self.record.measured_at} (effort {self.record.effort}){gain}"


def explanation(problem: ConvProblem, threads: int | None = None) -> Explanation:
    """The Explanation of the plan that a call of ``problem`` would get now."""
    plan = plan_for(problem, threads=threads)
    asked = _config.thread_count(threads)
    record = None if _config.get_deterministic() else tuned_record(problem, asked)
    considered = [_considered(algorithm, plan, record) for algorithm in CPU.algorithms]
    considered.sort(key=lambda entry: math.inf if entry.estimate_seconds is None else entry.estimate_seconds)
    calibrated = not _config.get_deterministic() and tuning_cache.current().content.machine is not None
    return Explanation(plan, tuple(considered), record, machine(), calibrated, CPU.level())


def _considered(algorithm: Algorithm, plan: Plan, record: TuningRecord | None) -> Considered:
    problem, threads = plan.problem, plan.threads
    target = CPU.target(algorithm, problem)
    if target is None or not algorithm.supports(target):
        return Considered(algorithm.name, {}, None, None, None, 0, "does not compute this problem")
    limit = _config.get_workspace_limit()
    fitting = algorithm.fitting(target, limit)
    params = algorithm.parameters(target)[0] if fitting is None else fitting
    error = algorithm.error_bound(target).relative
    size = algorithm.workspace(target, params, 1)
    if algorithm is plan.algorithm:
        verdict = "chosen"
    elif not admitted(algorithm, problem):
        most = PRECISION_LIMITS.get(problem.precision)
        allowed = "an elementwise bound" if most is None else f"{most:.0e}"
        verdict = f'precision "{problem.precision}" asks for {allowed}'
    elif size > limit:
        verdict = f"needs {quantity(size)}B of workspace, the limit is {quantity(limit)}B"
    else:
        verdict = ""
    measured = None if record is None else record.best_seconds(algorithm.name)
    estimate = CPU.lowering_seconds(problem, target, threads, machine()) + algorithm.cost(
        target, params, threads, machine()
    )
    return Considered(algorithm.name, params, estimate, measured, error, size, verdict)


def machine_text(machine: Machine) -> str:
    """The constants of the cost models as a few words."""
    rates = ", ".join(f"{name} {quantity(rate).strip()}" for name, rate in machine.multiply_adds_per_second.items())
    return (
        f"multiply-adds per second and thread {rates}, copies {machine.bytes_per_second / 1e9:.1f} GB/s, "
        f"call {machine.call_seconds * 1e6:.1f} us, NumPy call {machine.numpy_call_seconds * 1e6:.2f} us"
    )


def choice_text(algorithm: str, params: Params) -> str:
    """An algorithm with its parameters."""
    settings = ", ".join(f"{name}={value}" for name, value in params.items())
    return f"{algorithm} ({settings})" if settings else algorithm


def milliseconds(seconds: float | None) -> str:
    """A time with three digits, or a dash."""
    return "-" if seconds is None else f"{float(np.format_float_positional(seconds * 1e3, 3, fractional=False)):g} ms"


def quantity(number: float) -> str:
    """A number with a decimal prefix."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g} "


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
