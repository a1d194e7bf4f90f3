"""The tuner: times every candidate algorithm for a problem, checks the winner's result, and keeps the choice.

Candidates are timed in turn, round after round, so that a slow moment of the machine meets all of them; their medians
are compared; one that is clearly slower is dropped; the cost model's choice stays unless another is faster by more than
the noise, which is estimated from the samples. After hwy::AutoTune (google/highway), which takes a robust mean where
this takes the median.

Where kernels have to be compiled first, only the candidates that the cost model expects most of are: side by side,
before anything is timed.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from .._accuracy import error_ratio
from .._algorithm import Operands
from .._backend import CPU, Backend
from .._errors import UnusableAlgorithmError
from .._plan import Plan
from .._problem import ConvProblem, Epilogue
from . import tuning_cache
from .noise import MOST_GAIN, needed_gain, noise
from .sample import on_host, sample
from .select import bind, candidates, forget_plans, usable_params
from .tuning_record import Timing, TuningRecord


@dataclass(frozen=True)
class Effort:
    """How thoroughly one problem is measured."""

    rounds: int
    min_seconds: float
    """Rounds go on for at least this long, so that those of a short problem do not all fall into one slow moment."""
    max_seconds: float
    """Time for one problem; at least one run of every candidate that may win is made anyway, unless the caller's own
    limit ends all measuring."""
    all_params: bool


EFFORTS = {
    "measure": Effort(rounds=9, min_seconds=0.2, max_seconds=2.0, all_params=False),
    "exhaustive": Effort(rounds=25, min_seconds=1.0, max_seconds=20.0, all_params=True),
}
MAX_ROUNDS = 100

SKIP_RATIO = 20.0
"""A candidate whose estimate is this many times the best time so far, or the best estimate, is not run at all."""
FIRST_DROP_RATIO = 3.0
"""A candidate that takes this many times the best time in its first two runs is not run again."""
LONG_RUN_SECONDS = 0.2
"""A first run longer than this, and hopeless, is not repeated to see whether it only met a slow moment."""
DROP_RATIO = 1.25
DROP_ROUNDS = 3
"""After so many rounds a candidate that was never below DROP_RATIO times the best median is dropped."""
VARIED_RATIO = 1.5
"""Algorithms whose first sample is within this of the best one are measured with other parameters, too."""
VARIANTS = 3
"""Of each so many, those that the cost model expects most of."""
CHECKED_MULTIPLY_ADDS = 1e7
"""Work of the definition that the check of a winner may take; it decides how many channels are checked."""


@dataclass
class _Candidate:
    backend: Backend
    plan: Plan
    packed: object | None
    estimate: float
    samples: list[float] = field(default_factory=list)
    repeats: int = 1
    outcome: str = "measured"
    """One of OUTCOMES."""

    @property
    def seconds(self) -> float | None:
        return float(np.median(self.samples)) if self.samples else None

    def run(self, operands: Operands) -> float:
        """Seconds of one execution, repeated where it is short."""
        compute = self.backend.repeated(self.plan, replace(operands, packed=self.packed))
        return self.backend.timer.seconds_of(compute, self.repeats)

    def timing(self) -> Timing:
        return Timing(
            self.plan.algorithm.name,
            dict(self.plan.params),
            self.packed is not None,
            self.estimate,
            self.seconds,
            len(self.samples),
            self.outcome,
        )


@dataclass(frozen=True)
class Tuned:
    """One step of ``tune``: a record, and whether it was there already."""

    record: TuningRecord
    stored: bool


def tune(
    problems: Iterable[ConvProblem],
    threads: int,
    effort: str = "measure",
    time_limit: float | None = None,
    remeasure: bool = False,
    backend: Backend = CPU,
) -> Iterator[Tuned]:
    """Measure and store the problems one by one; what is stored already comes as it is, unless ``remeasure``.

    Every record is on disk before the next problem begins. Ends early, after ``time_limit`` seconds: then the problem
    of which not every candidate was run is as if it had not begun.
    """
    deadline = None if time_limit is None else time.monotonic() + time_limit
    threads = backend.parallelism(threads)
    for problem in problems:
        known = tuning_cache.current(backend).content.find(problem, threads)
        if known is not None and not remeasure and _is_enough(known, effort, backend):
            yield Tuned(known, stored=True)
            continue
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return
        with naming(problem):
            try:
                record = tune_problem(problem, threads, effort, left, backend, is_strict=True)
            except _TimeIsUpError:
                return
        if record.seconds is not None:
            tuning_cache.current(backend).store([record])
            forget_plans()
        yield Tuned(record, stored=False)


class _TimeIsUpError(Exception):
    """The caller's time limit has passed before every candidate was run: there is nothing to choose from."""


@contextlib.contextmanager
def naming(problem: ConvProblem) -> Iterator[None]:
    """A MemoryError inside the ``with`` block says which problem it is about."""
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"{problem}: {error}".removesuffix(": ")) from None


def tune_problem(
    problem: ConvProblem,
    threads: int,
    effort: str = "measure",
    seconds: float | None = None,
    backend: Backend = CPU,
    is_strict: bool = False,
) -> TuningRecord:
    """Choose the algorithm for one problem, by measuring unless ``effort`` is "estimate"; nothing is stored.

    ``seconds`` shortens the time that the effort allows; if ``is_strict``, also before every candidate was run once.
    """
    if effort == "estimate":
        found = _candidates(problem, threads, True, backend)
        for candidate in found:
            candidate.outcome = "estimated"
        return _record(problem, threads, effort, found[0], found, found[0])
    settings = EFFORTS[effort]
    # The epilogue costs every algorithm the same, and the check of the result is that of the bare sum.
    bare = problem.replace(epilogue=Epilogue())
    operands = sample(bare, backend=backend)
    found = _measured(bare, threads, settings, backend)
    default = found[0]
    max_seconds = settings.max_seconds if seconds is None else min(seconds, settings.max_seconds)
    backend.load([candidate.plan for candidate in found if not _is_far(candidate, default)], operands)
    start = time.monotonic()
    deadline = start + max_seconds
    end = start + seconds if is_strict and seconds is not None else math.inf
    _first_runs(found, operands, deadline, end)
    if not settings.all_params and backend.max_candidates is None and time.monotonic() < deadline:
        variants = _variants(found, bare, threads)
        _first_runs(variants, operands, deadline, end, default)
        found += variants
    contenders = [candidate for candidate in found if candidate.outcome == "measured"]
    packed = _packed(contenders, bare, operands, threads) if seconds is None or time.monotonic() < deadline else []
    _rounds(contenders, operands, settings, deadline)
    returned = _returned(found, contenders)
    if returned:
        contenders += returned
        _rounds(contenders, operands, settings, deadline)
    _rounds(packed, operands, settings, deadline)
    winner = _verified_winner(contenders, found, default, bare)
    return _record(problem, threads, effort, winner, found + packed, default)


def _is_enough(known: TuningRecord, wanted: str, backend: Backend) -> bool:
    """Whether a stored choice was measured as thoroughly as is wanted, and applies here and now."""
    is_thorough = known.effort in (wanted, "exhaustive") or wanted == "estimate"
    return is_thorough and usable_params(known.algorithm, known.params, known.problem, backend) is not None


def _candidates(problem: ConvProblem, threads: int, all_params: bool, backend: Backend) -> list[_Candidate]:
    """Every algorithm that may be chosen with its parameters, cheapest by the cost model first."""
    return [
        _Candidate(backend, bind(problem, algorithm, params, threads, "forced", (), backend), None, estimate)
        for algorithm, params, estimate in candidates(problem, threads, all_params, backend)
    ]


def _measured(problem: ConvProblem, threads: int, effort: Effort, backend: Backend) -> list[_Candidate]:
    """What is to be measured: every algorithm, with its default parameters or with all.

    Where a backend has too many to measure: of every algorithm its cheapest parameters by the cost model, then the
    cheapest of all others; algorithms that are left over are skipped.
    """
    most = backend.max_candidates
    if effort.all_params or most is None:
        return _candidates(problem, threads, effort.all_params, backend)
    found, first = _candidates(problem, threads, True, backend), dict[str, _Candidate]()
    for candidate in found:
        first.setdefault(candidate.plan.algorithm.name, candidate)
    near = [candidate for candidate in found if not _is_far(candidate, found[0])]
    near.sort(key=lambda one: one is not first[one.plan.algorithm.name])
    for candidate in found:
        if not any(candidate is one for one in near[:most]):
            candidate.outcome = "skipped"
    return [one for one in found if one.outcome != "skipped" or one is first[one.plan.algorithm.name]]


def _is_far(candidate: _Candidate, default: _Candidate) -> bool:
    """Whether its estimate leaves a candidate no hope, and it is not what gains are quoted against."""
    is_baseline = candidate.plan.algorithm.name == candidate.backend.baseline
    return candidate.estimate > SKIP_RATIO * default.estimate and not is_baseline


def _packed(contenders: list[_Candidate], problem: ConvProblem, operands: Operands, threads: int) -> list[_Candidate]:
    """The contenders once more, on weights packed beforehand, where their algorithm packs any."""
    if problem.direction == "backward_weight":
        return []
    found = []
    for candidate in contenders:
        plan = candidate.plan
        packed = candidate.backend.pack(plan.algorithm, problem, plan.params, operands.weight, threads)
        if packed is not None:
            twin = _Candidate(candidate.backend, plan, packed, candidate.estimate, repeats=candidate.repeats)
            twin.run(operands)
            found.append(twin)
    return found


def _variants(found: list[_Candidate], problem: ConvProblem, threads: int) -> list[_Candidate]:
    """The algorithms that may be the fastest, with other parameters than those that the cost model prefers."""
    sampled = [candidate for candidate in found if candidate.samples]
    best = min((candidate.samples[0] for candidate in sampled), default=0.0)
    known = {
        candidate.plan.algorithm.name: candidate for candidate in sampled if candidate.samples[0] <= VARIED_RATIO * best
    }
    variants: dict[str, list[_Candidate]] = {}
    for candidate in _candidates(problem, threads, True, found[0].backend):
        name = candidate.plan.algorithm.name
        if name in known and candidate.plan.params != known[name].plan.params:
            variants.setdefault(name, []).append(candidate)
    return [one for listed in variants.values() for one in listed[:VARIANTS]]


def _first_runs(
    found: list[_Candidate], operands: Operands, deadline: float, end: float, known: _Candidate | None = None
) -> None:
    """A warming run of each, and a first sample of those it leaves a chance; the baseline gets both in any case.

    Behind ``deadline`` the warming run is the sample; at ``end`` everything ends. ``known`` was run before.
    """
    first = known or found[0]
    best, least = first.samples[0] if first.samples else None, first.estimate
    for candidate in found:
        if candidate.outcome == "skipped":
            continue
        is_baseline = candidate.plan.algorithm.name == candidate.backend.baseline
        hopeless = best is not None and candidate.estimate > SKIP_RATIO * min(best, least)
        if hopeless and not is_baseline:
            candidate.outcome = "skipped"
            continue
        if time.monotonic() >= end:
            raise _TimeIsUpError
        try:
            cold = candidate.run(operands)
        except MemoryError:
            candidate.outcome = "out of memory"
            continue
        except UnusableAlgorithmError:
            candidate.outcome = "does not compile"
            continue
        candidate.repeats = candidate.backend.timer.repeats_of(cold)
        is_far = best is not None and cold > max(SKIP_RATIO * best, LONG_RUN_SECONDS)
        candidate.samples.append(cold if is_far or time.monotonic() > deadline else candidate.run(operands))
        if best is not None and min(cold, candidate.samples[0]) > FIRST_DROP_RATIO * best:
            candidate.outcome = "slower"
        best = min(candidate.samples[0], best or candidate.samples[0])


def _rounds(group: list[_Candidate], operands: Operands, settings: Effort, deadline: float) -> None:
    """Sample the candidates in turn; every other round backwards, so that none always follows the same one."""
    alive, start = list(group), time.monotonic()
    for number in range(MAX_ROUNDS):
        is_long = number >= settings.rounds and time.monotonic() - start > settings.min_seconds
        if number >= settings.rounds and (len(alive) < 2 or (is_long and not _is_restless(alive))):
            return
        for candidate in alive if number % 2 == 0 else alive[::-1]:
            if time.monotonic() > deadline and candidate.samples:
                return
            candidate.samples.append(candidate.run(operands))
        if number + 1 >= DROP_ROUNDS and alive:
            limit = DROP_RATIO * min(candidate.seconds or 0.0 for candidate in alive)
            for candidate in alive:
                if min(candidate.samples) > limit:
                    candidate.outcome = "slower"
            alive = [candidate for candidate in alive if candidate.outcome == "measured"]


def _is_restless(alive: list[_Candidate]) -> bool:
    """Whether the noise hides even gains of MOST_GAIN, so that more samples are worth the time."""
    fewest = min(len(candidate.samples) for candidate in alive)
    return needed_gain(noise(candidate.samples for candidate in alive), fewest) >= MOST_GAIN


def _returned(found: list[_Candidate], contenders: list[_Candidate]) -> list[_Candidate]:
    """Candidates dropped as slower that once were faster than the best turned out to be: it had met a fast moment."""
    best = min((candidate.seconds or 0.0 for candidate in contenders), default=0.0)
    returned = [c for c in found if c not in contenders and c.samples and min(c.samples) < best]
    for candidate in returned:
        candidate.outcome = "measured"
    return returned


def _verified_winner(
    contenders: list[_Candidate], found: list[_Candidate], default: _Candidate, problem: ConvProblem
) -> _Candidate:
    """The fastest whose result is right; the default where that is not faster by what the noise asks for."""
    ranking = sorted(contenders, key=lambda candidate: candidate.seconds or 0.0)
    if default in ranking:
        fewest = min(len(default.samples), len(ranking[0].samples))
        gain = needed_gain(noise(candidate.samples for candidate in contenders), fewest)
        if (default.seconds or 0.0) <= gain * (ranking[0].seconds or 0.0):
            ranking.remove(default)
            ranking.insert(0, default)
    # An algorithm that was not measured is still better than one that is wrong; the last is the definition itself.
    failed = "out of memory", "does not compile"
    rest = [candidate for candidate in found if candidate not in ranking and candidate.outcome not in failed]
    for candidate in ranking + rest:
        try:
            if _is_right(candidate, problem):
                return candidate
            candidate.outcome = "wrong"
        except UnusableAlgorithmError:
            candidate.outcome = "does not compile"
    raise ArithmeticError(f"no algorithm computed {problem} within its error bound")


def _is_right(candidate: _Candidate, problem: ConvProblem) -> bool:
    plan, backend = candidate.plan, candidate.backend
    operands = sample(problem, seed=1, backend=backend)
    backend.execute(plan, operands)
    work = CHECKED_MULTIPLY_ADDS * plan.threads
    return error_ratio(plan.algorithm, problem, on_host(operands, backend), work, backend) <= 1


def _record(
    problem: ConvProblem,
    threads: int,
    effort: str,
    winner: _Candidate,
    found: list[_Candidate],
    default: _Candidate,
) -> TuningRecord:
    timings = [candidate.timing() for candidate in found]
    timings.sort(key=lambda timing: (timing.seconds is None, timing.seconds or timing.estimate_seconds))
    return TuningRecord(
        problem,
        threads,
        effort,
        winner.plan.algorithm.name,
        dict(winner.plan.params),
        winner.seconds,
        default.plan.algorithm.name,
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        tuple(timings),
        winner.backend.name,
        noise(candidate.samples for candidate in found),
        dict(default.plan.params),
    )
