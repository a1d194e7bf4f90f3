"""Regret of the choice of algorithm: python bench/regret.py [--threads N] [--limit N] [--json FILE].

    regret = time of the chosen algorithm / time of the fastest one

over the problems of bench/shapes/regret.txt in all passes, for the cost model's choice and for the tuner's. Each is
measured twice: the first time to tune, the second to judge both choices, so that the tuner is not judged by the noise
it chose by. Stored choices are neither read nor written; constants stored by fastconv autotune --calibrate are used.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path

from fastconv import ConvProblem, _config, _fingerprint, _tune
from fastconv._select import candidates
from fastconv._tuning_record import TuningRecord
from fastconv.suites.layers import PASSES, problem_of_pass

SHAPES = Path(__file__).parent / "shapes" / "regret.txt"


def problems() -> list[ConvProblem]:
    """The fixed list, in all passes."""
    lines = [line for line in SHAPES.read_text().splitlines() if line and not line.startswith("#")]
    return [problem_of_pass(ConvProblem.parse(line), name) for name in PASSES for line in lines]


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Regret of the cost model's and of the tuner's choices.")
    parser.add_argument("--threads", type=int, help="threads (default: as for every call)")
    parser.add_argument("--effort", choices=tuple(_tune.EFFORTS), default="measure")
    parser.add_argument("--limit", type=int, help="only the first N problems")
    parser.add_argument("--json", type=Path, help="write all figures")
    arguments = parser.parse_args()
    threads = _config.thread_count(arguments.threads)
    rows = []
    for problem in problems()[: arguments.limit]:
        algorithm, params, _ = candidates(problem, threads)[0]
        tuned, judge = (_tune.tune_problem(problem, threads, arguments.effort) for _ in range(2))
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
        result = {"fingerprint": _fingerprint.fingerprint(), "threads": threads, "problems": rows}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
