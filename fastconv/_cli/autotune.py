"""``fastconv autotune``: measure and keep the fastest algorithm of every problem, with a line for each and a total."""

from __future__ import annotations

import argparse
import time

from .._backend import Backend
from .._choose import calibration, tune, tuning_cache
from .._choose.explain import machine_text, milliseconds
from .._choose.noise import noise_text
from .._choose.select import forget_plans
from .._choose.tuning_record import EFFORTS, TuningRecord
from .._normalize import tuning as normalize
from .._normalize.tuning import Job
from .._problem import ConvProblem
from . import options, output, report
from .progress import Progress


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("autotune", help="measure which algorithm is fastest, and keep the choices")
    options.add_problems(parser, "*")
    options.add_threads(parser)
    options.add_backend(parser)
    parser.add_argument(
        "--effort", choices=EFFORTS, default="measure", help="estimate: measure nothing; exhaustive: all parameters too"
    )
    parser.add_argument("--time-limit", type=float, metavar="S", help="begin no further problem after S seconds")
    parser.add_argument("--remeasure", action="store_true", help="measure again what is stored already")
    parser.add_argument("--calibrate", action="store_true", help="measure the constants of the cost models first")
    parser.add_argument("--plot", metavar="FILE", help="draw times and gains (needs matplotlib)")
    parser.add_argument("--json", metavar="FILE", help="write all times as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    if not arguments.problems and not arguments.calibrate:
        raise ValueError("problems: got none; allowed: one or more suites or problems, or --calibrate")
    jobs, threads, backend = options.jobs_of(arguments), options.threads_of(arguments), options.backend_of(arguments)
    limit = normalize.time_limit_seconds(arguments.time_limit)
    if arguments.effort != "estimate":
        normalize.check_memory(jobs, backend)
    report.check_files(arguments.json, arguments.plot)
    if arguments.calibrate:
        calibrate(backend)
    if not jobs:
        return options.saved_status(backend)
    records: dict[ConvProblem, TuningRecord] = {}
    try:
        measure(jobs, threads, arguments.effort, limit, arguments.remeasure, records, backend)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what was measured is stored" if options.saved_status(backend) == 0 else "") from None
    finally:
        # Also what an interrupted run has measured.
        if arguments.json:
            report.write_json(arguments.json, jobs, records, backend)
        if arguments.plot and records:
            report.plot(arguments.plot, jobs, records)
    print_totals(jobs, records)
    if said := noise_text(records.values()):
        output.say(said)
    return options.saved_status(backend)


def calibrate(backend: Backend) -> None:
    """Measure the machine's constants and keep them."""
    machine = calibration.measure_machine(backend)
    tuning_cache.current(backend).store_machine(machine)
    forget_plans()
    output.say(f"calibrated: {machine_text(machine, backend)}")


def measure(
    jobs: list[Job],
    threads: int,
    effort: str,
    time_limit: float | None,
    remeasure: bool,
    records: dict[ConvProblem, TuningRecord],
    backend: Backend,
) -> None:
    """Tune the jobs' problems into ``records``, printing a line for each."""
    first_jobs = {job.problem: job for job in reversed(jobs)}
    problems = list(dict.fromkeys(job.problem for job in jobs))
    width = max(len(str(problem)) for problem in problems)
    start, measured = time.monotonic(), 0
    output.say(f"{len(problems)} problems, {backend.runs_on(threads)}, effort {effort}")
    with Progress(len(problems)) as progress:
        progress.show(str(problems[0]))
        steps = tune.tune(problems, threads, effort, time_limit, remeasure, backend)
        for number, step in enumerate(steps, 1):
            record, job = step.record, first_jobs[step.record.problem]
            records[record.problem] = record
            measured += not step.stored and record.seconds is not None
            progress.advance()
            progress.say(
                f"[{number:{len(str(len(problems)))}}/{len(problems)}] {line(record, job, step.stored, width)}"
            )
            if number < len(problems):
                progress.show(str(problems[number]))
    output.say(f"measured {measured}, stored already {len(records) - measured}, in {time.monotonic() - start:.1f} s")
    if len(records) < len(problems):
        output.complain(f"{len(problems) - len(records)} problems were left at the time limit")


def line(record: TuningRecord, job: Job, stored: bool, width: int) -> str:
    """One problem: the winner and its time, its gain, the others, the layer."""
    if record.seconds is None:
        estimates = [f"{t.label()} {milliseconds(t.estimate_seconds)}" for t in record.timings[:1]]
        parts = [f"{record.problem!s:{width}}", f"{record.algorithm:14s} estimated", ", ".join(estimates)]
        return "  ".join(parts)
    gain = "-" if record.gain is None else f"{record.gain:.2f}x"
    others = []
    for name in dict.fromkeys(timing.algorithm for timing in record.timings if timing.algorithm != record.algorithm):
        seconds = record.best_seconds(name)
        outcome = next(t.outcome for t in record.timings if t.algorithm == name)
        others.append(f"{name} {outcome if seconds is None or outcome == 'wrong' else milliseconds(seconds)}")
    packed = record.best_packed()
    if packed is not None:
        others.append(f"{packed.algorithm} on packed weights {milliseconds(packed.seconds)}")
    where = f"  {job.layer} x{job.count}" if job.layer else ""
    return (
        f"{record.problem!s:{width}}  {record.algorithm:14s}{milliseconds(record.seconds):>9s} {gain:>6s} "
        f"{record.baseline}  ({', '.join(others) or 'no other'}){where}{'  stored' if stored else ''}"
    )


def print_totals(jobs: list[Job], records: dict[ConvProblem, TuningRecord]) -> None:
    """Per suite and pass, and over everything: the sum over the layers with their counts, and the gain."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        if job.problem in records and records[job.problem].seconds is not None:
            title = " ".join(filter(None, [job.suite, job.pass_name])) or "problems"
            groups.setdefault(title, []).append(job)
    if len(groups) > 1:
        groups["all"] = [job for group in list(groups.values()) for job in group]
    for title, group in groups.items():
        output.say(f"total {title}: {report.total(group, records)}")
