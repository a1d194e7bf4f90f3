"""``fastconv bench``: the time of every algorithm, side by side; nothing is stored."""

from __future__ import annotations

import argparse

from .._choose import tune
from .._choose.explain import milliseconds, quantity
from .._normalize.tuning import check_memory
from . import options, report
from .progress import Progress


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("bench", help="time every algorithm, storing nothing")
    options.add_problems(parser)
    options.add_threads(parser)
    options.add_backend(parser)
    parser.add_argument("--effort", choices=tuple(tune.EFFORTS), default="measure", help="exhaustive: all parameters")
    parser.add_argument("--json", metavar="FILE", help="write all times as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    jobs, threads, backend = options.jobs_of(arguments), options.threads_of(arguments), options.backend_of(arguments)
    check_memory(jobs, backend)
    report.check_files(arguments.json)
    problems = list(dict.fromkeys(job.problem for job in jobs))
    records: report.Records = {}
    with Progress(len(problems)) as progress:
        for problem in problems:
            progress.show(str(problem))
            with tune.naming(problem):
                record = records[problem] = tune.tune_problem(problem, threads, arguments.effort, None, backend)
            progress.advance()
            progress.say(f"{problem}, {backend.runs_on(threads)}")
            baseline = record.baseline_seconds
            for timing in record.timings:
                if timing.seconds is None:
                    progress.say(f"  {timing.label():44s} {timing.outcome}")
                    continue
                rate = quantity(problem.multiply_adds / timing.seconds)
                gain = "-" if baseline is None else f"{baseline / timing.seconds:.2f}x"
                time_and_rate = f"{milliseconds(timing.seconds):>10s} {rate:>8s}multiply-adds/s"
                progress.say(f"  {timing.label():44s} {time_and_rate} {gain:>8s} {record.baseline}  {timing.outcome}")
    if arguments.json:
        report.write_json(arguments.json, jobs, records, backend)
    return 0
