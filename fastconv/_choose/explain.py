"""Why a problem is computed the way it is: every algorithm with what speaks for and against it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import _config
from .._algorithm import Algorithm, Machine, Params
from .._backend import CPU, Backend, find_backend
from .._plan import Plan
from .._problem import ConvProblem
from . import tuning_cache
from .select import PRECISION_LIMITS, admitted, estimated_plan, machine, plan_for, tuned_record
from .tuning_record import TuningRecord

TITLES = ("algorithm", "predicted", "measured", "slower", "error", "")
"""Of the columns of ``Explanation.rows``."""


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
    """The ISA level, or the GPU's architecture."""
    missing: str | None = None
    """What this machine lacks to compute the plan; estimates are then those of the backend's default machine."""

    def __str__(self) -> str:
        rows = [TITLES, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for name, *numbers, verdict in rows:
            cells = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
            lines.append("  ".join(["", name.ljust(widths[0]), *cells, verdict]).rstrip())
        problem, *facts = self.head()
        return "\n".join([problem, *(f"  {fact}" for fact in facts), "", *lines, "", *(f"  {f}" for f in self.foot())])

    def head(self) -> list[str]:
        """The problem, its size, how it is computed and why."""
        plan, problem, backend = self.plan, self.plan.problem, find_backend(self.plan.backend)
        where = backend.runs_on(plan.threads) if self.missing is None else f"the default {backend.worker}"
        output = problem.output_shape[:2] + problem.output_shape[7 - str(problem).split()[1].count("x") - 1 :]
        return [
            str(problem),
            f"{quantity(problem.multiply_adds)} multiply-adds, output {_shape(output)}",
            f"computed by {choice_text(plan.algorithm.name, plan.params)} on {where}, "
            f"{quantity(plan.workspace_bytes)}B of workspace",
            f"why: {self._reason()}",
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """The algorithms that apply, as texts under ``TITLES``: the chosen one first, then by the time that counts."""
        applying = [entry for entry in self.considered if entry.estimate_seconds is not None]
        chosen = self._chosen_seconds()

        def place(entry: Considered) -> tuple[bool, bool, float]:
            seconds = self._seconds(entry)
            return entry.algorithm != self.plan.algorithm.name, seconds is None, seconds or entry.estimate_seconds or 0

        applying.sort(key=place)
        return [
            (
                entry.algorithm,
                milliseconds(entry.estimate_seconds),
                milliseconds(entry.measured_seconds),
                _ratio(self._seconds(entry), chosen),
                f"{entry.relative_error:.1e}",
                entry.verdict,
            )
            for entry in applying
        ]

    def foot(self) -> list[str]:
        """What does not apply, and the machine that the predictions are for."""
        backend = find_backend(self.plan.backend)
        others = [entry.algorithm for entry in self.considered if entry.estimate_seconds is None]
        level = f"{self.isa}, " if self.isa else ""
        lines = [f"do not apply: {', '.join(others)}"] * bool(others)
        lines.append(f"machine ({self._origin(backend)}): {level}{machine_text(self.machine, backend)}")
        return lines if self.missing is None else [*lines, self.missing]

    def _seconds(self, entry: Considered) -> float | None:
        """The time by which the choice was made."""
        return entry.measured_seconds if self.plan.reason == "tuned" else entry.estimate_seconds

    def _chosen_seconds(self) -> float | None:
        return next((self._seconds(e) for e in self.considered if e.algorithm == self.plan.algorithm.name), None)

    __repr__ = __str__

    def _origin(self, backend: Backend) -> str:
        if self.missing is not None:
            return f"the default one, since there is no {backend.worker} here"
        option = "" if backend is CPU else f" --backend {backend.name}"
        return "calibrated" if self.is_calibrated else f"defaults; fastconv autotune --calibrate{option} measures"

    def _reason(self) -> str:
        others = [
            (seconds, entry.algorithm)
            for entry in self.considered
            if entry.algorithm != self.plan.algorithm.name
            and not entry.verdict
            and (seconds := self._seconds(entry)) is not None
        ]
        chosen = self._chosen_seconds()
        second, name = min(others, default=(None, ""))
        behind = f"{_ratio(second, chosen, ' times')} as long" if second and chosen else ""
        if self.plan.reason != "tuned":
            expected = f"; {name}, the next, is expected to take {behind}" if behind else ""
            return f"chosen by {self.plan.reason}{expected}"
        if behind:
            behind = f"{name}, the next, takes {behind}"
        assert self.record is not None
        gain = "" if self.record.gain is None else f"{self.record.gain:.2f} times as fast as {self.record.baseline}"
        by_model = self.record.default
        kept = (
            "the cost model would choose it, too"
            if by_model == self.plan.algorithm.name
            else f"the cost model would choose {by_model}"
        )
        measured = f"measured at {self.record.measured_at} (effort {self.record.effort})"
        return "; ".join(filter(None, [f"{measured}, {gain}" if gain else measured, behind, kept]))


def explanation(problem: ConvProblem, threads: int | None = None, backend: Backend = CPU) -> Explanation:
    """The Explanation of the plan that a call of ``problem`` would get now.

    Where this machine lacks what the backend computes on, that of the cost model for the backend's default machine.
    """
    asked, missing = backend.parallelism(_config.thread_count(threads)), backend.missing()
    if missing is not None:
        constants = backend.default_machine()
        plan = estimated_plan(problem, asked, backend, constants)
        return Explanation(plan, _all_considered(plan, None, constants), None, constants, False, "", missing)
    plan, constants = plan_for(problem, threads=threads, backend=backend, effort="estimate"), machine(backend)
    deterministic = _config.get_deterministic()
    record = None if deterministic else tuned_record(problem, asked, backend)
    calibrated = not deterministic and tuning_cache.current(backend).content.machine is not None
    considered = _all_considered(plan, record, constants)
    return Explanation(plan, considered, record, constants, calibrated, backend.level())


def _all_considered(plan: Plan, record: TuningRecord | None, constants: Machine) -> tuple[Considered, ...]:
    """Every algorithm, cheapest first."""
    algorithms = find_backend(plan.backend).algorithms
    considered = [_considered(algorithm, plan, record, constants) for algorithm in algorithms]
    considered.sort(key=lambda entry: math.inf if entry.estimate_seconds is None else entry.estimate_seconds)
    return tuple(considered)


def _considered(algorithm: Algorithm, plan: Plan, record: TuningRecord | None, constants: Machine) -> Considered:
    problem, threads, backend = plan.problem, plan.threads, find_backend(plan.backend)
    target = backend.target(algorithm, problem)
    if target is None or not algorithm.supports(target):
        return Considered(algorithm.name, {}, None, None, None, 0, "does not apply")
    limit = _config.get_workspace_limit()
    fitting = algorithm.fitting(target, limit)
    params = algorithm.parameters(target)[0] if fitting is None else fitting
    error = algorithm.error_bound(target).relative
    size = algorithm.workspace(target, params, 1)
    if algorithm is plan.algorithm:
        verdict = "chosen"
    elif not backend.is_usable(algorithm):
        verdict = f"does not work on this {backend.worker}"
    elif not admitted(algorithm, problem):
        most = PRECISION_LIMITS.get(problem.precision)
        allowed = "an elementwise bound" if most is None else f"{most:.0e}"
        verdict = f'precision "{problem.precision}" asks for {allowed}'
    elif size > limit:
        verdict = f"needs {quantity(size)}B of workspace, the limit is {quantity(limit)}B"
    else:
        verdict = ""
    measured = None if record is None else record.best_seconds(algorithm.name)
    casts = backend.lowering_seconds(problem, target, threads, constants)
    estimate = casts + algorithm.cost(target, params, threads, constants)
    return Considered(algorithm.name, params, estimate, measured, error, size, verdict)


def machine_text(machine: Machine, backend: Backend = CPU) -> str:
    """The constants of the cost models as a few words."""
    rates = ", ".join(f"{name} {quantity(rate).strip()}" for name, rate in machine.multiply_adds_per_second.items())
    return (
        f"multiply-adds per second and {backend.worker} {rates}, copies {machine.bytes_per_second / 1e9:.1f} GB/s, "
        f"call {machine.call_seconds * 1e6:.1f} us, {backend.library} call {machine.numpy_call_seconds * 1e6:.2f} us"
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


def _ratio(seconds: float | None, chosen: float | None, unit: str = "x") -> str:
    """How many times as long as the chosen algorithm another one takes; a dash where it is not known."""
    return "-" if seconds is None or not chosen else f"{seconds / chosen:.3g}{unit}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
