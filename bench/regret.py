"""``python -m bench regret``: regret of the choice of algorithm.

    regret = time of the chosen algorithm / time of the fastest one

over lists and suites of layers in all passes, or over random realistic problems that no cost model was fitted to; for
the cost model's choice and for the tuner's. The fastest one is looked for once more, with all parameters by default;
then it and both choices are timed in turn, so that none is judged by the noise that it was chosen by. With ``--json`` a
run goes on where the one before ended. Stored choices are neither read nor written; constants stored by fastconv
autotune --calibrate are used.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from fastconv import ConvProblem, _config
from fastconv._algorithm import Params
from fastconv._backend import CPU, find_algorithm
from fastconv._choose import tune
from fastconv._choose.sample import sample
from fastconv._choose.select import bind, estimated_plan
from fastconv.suites.layers import PASSES

from . import machine
from .costs.realistic import realistic
from .layers import layers
from .results import Results, Row
from .timing import Entrant, contest

SEED = 101
"""Not that of the problems that cost models are fitted to."""
SECONDS = 0.3
"""Of timing the choices of one problem in turn, twice."""
JUDGED = {"model": "the cost model's choice", "tuned": "after autotune"}

Choice = tuple[str, Params]


def percentile(values: list[float], share: float) -> float:
    """The smallest value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("regret", help="judge the choice of algorithms", description=__doc__)
    parser.add_argument("layers", nargs="*", help="lists, suites or problems; default: regret, without --random")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="and N random problems, each of one pass")
    parser.add_argument("--seed", type=int, default=SEED, help="of the random problems; default: %(default)s")
    parser.add_argument("--threads", type=int, help="threads (default: as for every call)")
    parser.add_argument("--effort", choices=tuple(tune.EFFORTS), default="measure", help="of the tuner that is judged")
    parser.add_argument("--best-by", choices=tuple(tune.EFFORTS), default="exhaustive", help="how to find the fastest")
    parser.add_argument("--limit", type=int, help="only the first N problems")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further problem after so many")
    parser.add_argument("--json", metavar="NAME", help="add the rows to bench/results/NAME.json, or to a path with /")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    threads, start = _config.thread_count(arguments.threads), time.monotonic()
    names = arguments.layers or ([] if arguments.random else ["regret"])
    problems = [layer.problem for layer in layers(names, list(PASSES))] if names else []
    problems += realistic(arguments.seed, arguments.random)
    results = Results.opened(arguments.json, machine.facts(()))
    known = {(row["problem"], row["threads"]): row for row in results.rows}
    rows = []
    for problem in problems[: arguments.limit]:
        row = known.get((str(problem), threads))
        if row is None:
            if time.monotonic() - start > arguments.seconds:
                break
            row = judged(problem, threads, arguments.effort, arguments.best_by)
            results.add(row)
            results.save()
            print(line(row), flush=True)
        rows.append(row)
    for name, title in JUDGED.items():
        regrets = [row[name]["regret"] for row in rows]
        print(
            f"{title}: median {statistics.median(regrets):.2f}, 95th percentile {percentile(regrets, 0.95):.2f}, "
            f"max {max(regrets):.2f}, of {len(regrets)} problems, {threads} threads"
        )
    return 0


def judged(problem: ConvProblem, threads: int, effort: str, best_by: str) -> Row:
    """A row: the model's choice and the tuner's, each with its time over the least of all that is known."""
    model = estimated_plan(problem, threads)
    tuned, other = (tune.tune_problem(problem, threads, name) for name in (effort, best_by))
    best = next(timing for timing in other.timings if not timing.packed)
    choices: dict[str, Choice] = {
        "model": (model.algorithm.name, dict(model.params)),
        "tuned": (tuned.algorithm, dict(tuned.params)),
        "best": (best.algorithm, dict(best.params)),
    }
    seconds = seconds_in_turn(problem, threads, list(choices.values()))
    least = min(seconds)
    row: dict[str, Any] = {"problem": str(problem), "threads": threads, "noise": other.noise, "best_seconds": least}
    for (name, (algorithm, params)), its in zip(choices.items(), seconds, strict=True):
        row[name] = {"algorithm": algorithm, "params": params, "regret": its / least}
    return row


def seconds_in_turn(problem: ConvProblem, threads: int, choices: list[Choice]) -> list[float]:
    """The median times of choices, in turn; what is the same is timed once."""
    distinct = [choice for number, choice in enumerate(choices) if choice not in choices[:number]]
    operands = sample(problem)
    calls = [
        CPU.repeated(bind(problem, find_algorithm(name, CPU), params, threads, "forced"), operands)
        for name, params in distinct
    ]
    # The lesser of two medians: a slow moment may last longer than one contest.
    seconds = [min(medians) for medians in zip(*(_medians(calls) for _ in range(2)), strict=True)]
    return [seconds[distinct.index(choice)] for choice in choices]


def _medians(calls: Sequence[Callable[[], object]]) -> list[float]:
    entrants = []
    for call in calls:
        begun = time.perf_counter()
        call()
        entrants.append(Entrant(call, time.perf_counter() - begun))
    contest(entrants, SECONDS)
    return [entrant.seconds for entrant in entrants]


def line(row: Row) -> str:
    """The row to read."""
    cells = [f"{name} {row[name]['algorithm']:14s}{row[name]['regret']:6.2f}" for name in JUDGED]
    return f"{row['problem']:64s} {row['best_seconds'] * 1e3:9.3f} ms  " + "  ".join(cells)
