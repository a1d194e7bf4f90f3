"""Every algorithm that may compute a problem, timed in turn."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from fastconv import ConvProblem
from fastconv._algorithm import Algorithm, Operands, Params
from fastconv._backend import CPU
from fastconv._choose.sample import sample
from fastconv._choose.select import bind, candidates

from ..timing import Entrant, contest
from .table import Measured

FAR, FAR_SECONDS = 40.0, 0.5
"""What is estimated to take this many times the least, or so many more seconds, is not measured."""
SLOW = 5.0
"""An algorithm that takes this many times the best one's time on its first run is not timed on."""
NEAR = 1.6
"""Other parameters are tried of algorithms within this factor of the best one."""
CONTEST_SECONDS = 0.012
"""For each candidate."""
PATIENCE_SECONDS = 1.0
"""A run that takes longer is broken off, and counts as this long, where another one was faster."""


class _TooLongError(Exception):
    """The run was broken off."""


def measured(problem: ConvProblem, threads: int) -> list[Measured]:
    """The time of every candidate with default parameters that has a chance, and of those near the best one with all
    others."""
    operands = sample(problem)
    found = candidates(problem, threads)
    least = found[0][2]
    near = [one[:2] for one in found if one[2] <= min(FAR * least, least + FAR_SECONDS)]
    first = _timed(problem, near, threads, operands)
    best = min(row.seconds for row in first)
    close = {row.algorithm for row in first if row.seconds <= NEAR * best}
    taken = [(row.algorithm, dict(row.params)) for row in first]
    others = [
        (algorithm, params)
        for algorithm, params, _ in candidates(problem, threads, all_params=True)
        if algorithm.name in close and (algorithm.name, dict(params)) not in taken
    ]
    return first + (_timed(problem, others, threads, operands, best) if others else [])


def _timed(
    problem: ConvProblem,
    chosen: list[tuple[Algorithm, Params]],
    threads: int,
    operands: Operands,
    best: float | None = None,
) -> list[Measured]:
    entrants: list[tuple[Algorithm, Params, Entrant]] = []
    for algorithm, params in chosen:
        plan = bind(problem, algorithm, params, threads, "forced")
        entrant = Entrant(CPU.repeated(plan, operands))
        entrant.first_seconds = _first_seconds(entrant, None if best is None else max(PATIENCE_SECONDS, SLOW * best))
        entrants.append((algorithm, params, entrant))
        best = min(entrant.first_seconds, best or entrant.first_seconds)
    assert best is not None
    contending = [entrant for _, _, entrant in entrants if entrant.first_seconds <= SLOW * best]
    if contending:
        contest(contending, CONTEST_SECONDS * len(contending))
    return [
        Measured(
            threads, problem, algorithm.name, params, entrant.seconds if entrant.samples else entrant.first_seconds
        )
        for algorithm, params, entrant in entrants
    ]


def _first_seconds(entrant: Entrant, patience: float | None) -> float:
    """The time of the second run; ``patience`` where that or the first one takes longer."""

    def give_up(number: int, frame: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, give_up)
    try:
        signal.setitimer(signal.ITIMER_REAL, patience or 0.0)
        entrant.run()
        signal.setitimer(signal.ITIMER_REAL, patience or 0.0)
        start = time.perf_counter()
        entrant.run()
        return time.perf_counter() - start
    except _TooLongError:
        return patience or 0.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def all_measured(problems: list[ConvProblem], threads: int, seconds: float) -> Iterator[list[Measured]]:
    """Problem by problem, for at most so many seconds."""
    deadline = time.monotonic() + seconds
    for problem in problems:
        if time.monotonic() > deadline:
            return
        yield measured(problem, threads)
