"""Every algorithm that may compute a problem, timed in turn."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fastconv import ConvProblem
from fastconv._algorithm import Algorithm, Params
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
    operands: object,
    best: float | None = None,
) -> list[Measured]:
    entrants: list[tuple[Algorithm, Params, Entrant]] = []
    for algorithm, params in chosen:
        plan = bind(problem, algorithm, params, threads, "forced")
        entrant = Entrant(CPU.repeated(plan, operands))  # type: ignore[arg-type]
        entrant.run()
        start = time.perf_counter()
        entrant.run()
        entrant.first_seconds = time.perf_counter() - start
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


def all_measured(problems: list[ConvProblem], threads: int, seconds: float) -> Iterator[list[Measured]]:
    """Problem by problem, for at most so many seconds."""
    deadline = time.monotonic() + seconds
    for problem in problems:
        if time.monotonic() > deadline:
            return
        yield measured(problem, threads)
