"""``python -m bench regret``: regret of the choice of algorithm.

    regret = time of the chosen algorithm / time of the fastest one

over lists and suites of layers in all passes, and over random realistic problems that no cost model was fitted to; for
the cost model's choice and for the tuner's. Each is measured twice: the first time to tune, the second to judge both
choices, so that the tuner is not judged by the noise it chose by. Stored choices are neither read nor written;
constants stored by fastconv autotune --calibrate are used.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastconv import _config
from fastconv._choose import tune
from fastconv._choose.select import estimated_plan
from fastconv._choose.tuning_record import TuningRecord
from fastconv._cpu import fingerprint
from fastconv.suites.layers import PASSES

from .costs.realistic import realistic
from .layers import layers

SEED = 101
"""Not that of the problems that cost models are fitted to."""


def seconds_of(record: TuningRecord, algorithm: str, params: Mapping[str, object]) -> float:
    """The time of one candidate on weights as they are; infinite where it was not worth measuring."""
    for timing in record.timings:
        if (timing.algorithm, dict(timing.params), timing.packed) == (algorithm, dict(params), False):
            return float("inf") if timing.seconds is None else timing.seconds
    return float("inf")


def percentile(values: list[float], share: float) -> float:
    """The smallest value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("regret", help="judge the choice of algorithms", description=__doc__)
    parser.add_argument("layers", nargs="*", help="lists, suites or problems; default: regret")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="and N random problems, each of one pass")
    parser.add_argument("--seed", type=int, default=SEED, help="of the random problems; default: %(default)s")
    parser.add_argument("--threads", type=int, help="threads (default: as for every call)")
    parser.add_argument("--effort", choices=tuple(tune.EFFORTS), default="measure")
    parser.add_argument("--limit", type=int, help="only the first N problems")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    threads = _config.thread_count(arguments.threads)
    rows: list[dict[str, Any]] = []
    problems = [layer.problem for layer in layers(arguments.layers or ["regret"], list(PASSES))]
    problems += realistic(arguments.seed, arguments.random)
    for problem in problems[: arguments.limit]:
        choice = estimated_plan(problem, threads)
        algorithm, params = choice.algorithm, choice.params
        tuned, judge = (tune.tune_problem(problem, threads, arguments.effort) for _ in range(2))
        best = min(timing.seconds for timing in judge.timings if timing.seconds is not None and not timing.packed)
        row = {
            "problem": str(problem),
            "model": algorithm.name,
            "model_regret": seconds_of(judge, algorithm.name, params) / best,
            "tuned": tuned.algorithm,
            "tuned_regret": seconds_of(judge, tuned.algorithm, tuned.params) / best,
            "best_seconds": best,
        }
        rows.append(row)
        print(
            f"{row['problem']:64s} {best * 1e3:9.3f} ms  model {row['model']:14s}{row['model_regret']:6.2f}  "
            f"tuned {row['tuned']:14s}{row['tuned_regret']:6.2f}",
            flush=True,
        )
    for name in ("model", "tuned"):
        regrets = [row[f"{name}_regret"] for row in rows]
        print(
            f"{name}: median {statistics.median(regrets):.2f}, 95th percentile {percentile(regrets, 0.95):.2f}, "
            f"max {max(regrets):.2f}, of {len(regrets)} problems, {threads} threads"
        )
    if arguments.json:
        result = {"fingerprint": fingerprint.fingerprint(), "threads": threads, "problems": rows}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0
