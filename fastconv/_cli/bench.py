"""``fastconv bench``: the time of every algorithm, side by side; nothing is stored."""

from __future__ import annotations

import argparse

from .._backend import Backend
from .._choose import tune
from .._choose.explain import quantity
from .._choose.tuning_record import TuningRecord
from .._normalize.tuning import check_memory
from . import options, output, report, terminal
from .progress import Progress
from .table import Cell, Column, say_table
from .tuning_table import gain_cell, number, title_of_gain

LAYOUTS = (
    ("algorithm", "weights", "ms", "rate", "baseline", "predicted", "outcome", "params"),
    ("algorithm", "weights", "ms", "rate", "baseline", "params"),
    ("algorithm", "weights", "ms", "baseline"),
    ("algorithm", "weights", "ms"),
)
LEAST_PARAMS = 12


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("bench", help="time every algorithm, storing nothing")
    options.add_problems(parser)
    options.add_threads(parser)
    options.add_backend(parser)
    parser.add_argument("--effort", choices=tuple(tune.EFFORTS), default="measure", help="exhaustive: all parameters")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    jobs, threads, backend = options.jobs_of(arguments), options.threads_of(arguments), options.backend_of(arguments)
    check_memory(jobs, backend)
    report.check_json(arguments.json)
    problems = list(dict.fromkeys(job.problem for job in jobs))
    records: report.Records = {}
    try:
        with Progress(len(problems)) as progress:
            for problem in problems:
                progress.show([(str(problem), "")])
                with tune.naming(problem):
                    records[problem] = tune.tune_problem(problem, threads, arguments.effort, None, backend)
                progress.advance()
                progress.clear()
                say_candidates(records[problem], backend, threads, arguments.effort == "exhaustive")
    finally:
        if arguments.json:
            report.write_json(arguments.json, jobs, records, backend)
    return 0


def say_candidates(record: TuningRecord, backend: Backend, threads: int, all_params: bool) -> None:
    """Print every candidate's time, the fastest first; only the best parameters of each unless ``all_params``."""
    terminal.say_text(f"{record.problem}, {backend.runs_on(threads)}", "bold", "  ")
    columns = {
        "algorithm": Column("algorithm"),
        "weights": Column("weights"),
        "ms": Column("ms", is_number=True),
        "rate": Column("madds/s", is_number=True),
        "baseline": Column(title_of_gain(backend.baseline), is_number=True),
        "predicted": Column("predicted", is_number=True),
        "outcome": Column(""),
        "params": Column("parameters", least=LEAST_PARAMS),
    }
    rows: list[dict[str, Cell]] = []
    shown: set[tuple[str, bool]] = set()
    for timing in record.timings:
        seconds, kind = timing.seconds, (timing.algorithm, timing.packed)
        if kind in shown and not all_params:
            continue
        shown.add(kind)
        rows.append(
            {
                "algorithm": timing.algorithm,
                "weights": "packed" if timing.packed else "",
                "ms": number(seconds),
                "rate": quantity(record.problem.multiply_adds / seconds) if seconds else "-",
                "baseline": gain_cell(record.baseline_seconds, seconds),
                "predicted": (number(timing.estimate_seconds), "bright_black"),
                "outcome": ("" if timing.outcome == "measured" else timing.outcome, "bright_black"),
                "params": (" ".join(f"{name}={value}" for name, value in timing.params.items()), "bright_black"),
            }
        )
    say_table(columns, LAYOUTS, rows, "  ")
    output.say("")
