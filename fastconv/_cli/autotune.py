"""``fastconv autotune``: measure and keep the fastest algorithm of every problem, with a row for each and totals."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field

from .._backend import Backend
from .._choose import calibration, tune, tuning_cache
from .._choose.explain import machine_text
from .._choose.noise import noise_text
from .._choose.select import forget_plans
from .._choose.tuning_record import EFFORTS
from .._normalize import tuning as normalize
from .._normalize.tuning import Job
from .._problem import ConvProblem
from . import against, options, output, plot, report, summary, terminal
from .progress import Progress
from .tuning_table import TuningTable


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
    parser.add_argument("--against", choices=against.NAMES, help="time this library, too (torch: PyTorch)")
    parser.add_argument("--plot", metavar="FILE", help="draw times, rooflines and speed-ups (needs matplotlib)")
    options.add_json(parser)
    parser.set_defaults(run=run)


@dataclass
class Results:
    """What is known so far."""

    records: report.Records = field(default_factory=dict)
    peer: dict[ConvProblem, float | None] = field(default_factory=dict)
    """PyTorch's times; None: it does not compute the problem."""


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    if not arguments.problems and not arguments.calibrate:
        raise ValueError("problems: got none; allowed: one or more suites or problems, or --calibrate")
    jobs, threads, backend = options.jobs_of(arguments), options.threads_of(arguments), options.backend_of(arguments)
    normalize.time_limit_seconds(arguments.time_limit)
    if arguments.effort != "estimate":
        normalize.check_memory(jobs, backend)
    report.check_json(arguments.json)
    plot.check(arguments.plot)
    peer = against.Torch(threads, backend) if arguments.against and arguments.effort != "estimate" else None
    if arguments.calibrate:
        calibrate(backend)
    if not jobs:
        return options.saved_status(backend)
    results = Results()
    try:
        measure(arguments, jobs, backend, peer, results)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what was measured is stored" if options.saved_status(backend) == 0 else "") from None
    finally:
        # Also what an interrupted run has measured.
        if arguments.json:
            report.write_json(arguments.json, jobs, results.records, backend, results.peer)
        if arguments.plot and results.records:
            plot.draw(arguments.plot, jobs, results.records, results.peer, backend)
    if said := noise_text(results.records.values()):
        output.say(said)
    if any(record.seconds is not None for record in results.records.values()):
        output.say("")
        summary.say_summary(summary.totals(jobs, results.records, results.peer), backend.baseline)
    return options.saved_status(backend)


def calibrate(backend: Backend) -> None:
    """Measure the machine's constants and keep them."""
    machine = calibration.measure_machine(backend)
    tuning_cache.current(backend).store_machine(machine)
    forget_plans()
    output.say(f"calibrated: {machine_text(machine, backend)}")


def measure(
    arguments: argparse.Namespace, jobs: list[Job], backend: Backend, peer: against.Torch | None, results: Results
) -> None:
    """Tune the jobs' problems into ``results``, printing a row for each."""
    first_jobs = {job.problem: job for job in reversed(jobs)}
    ordered = [first_jobs[problem] for problem in dict.fromkeys(job.problem for job in jobs)]
    threads, effort = options.threads_of(arguments), arguments.effort
    table = TuningTable(ordered, backend, terminal.columns(), peer is not None)
    start, measured, title = time.monotonic(), 0, ""
    has_sections = len({summary.title_of(job) for job in ordered}) > 1
    say_heading(ordered, backend, threads, effort, table)
    limit = normalize.time_limit_seconds(arguments.time_limit)
    with Progress(len(ordered)) as progress:
        progress.show(table.row_of_next(ordered[0]))
        steps = tune.tune([job.problem for job in ordered], threads, effort, limit, arguments.remeasure, backend)
        for job, step in zip(ordered, steps, strict=False):
            record = results.records[job.problem] = step.record
            is_new = not step.stored and record.seconds is not None
            measured += is_new
            seconds = None if peer is None else peer.seconds(job.problem)
            if peer is not None:
                results.peer[job.problem] = seconds
            progress.advance(is_quick=not is_new)
            if has_sections and summary.title_of(job) != title:
                title = summary.title_of(job)
                progress.say([(title or "problems", "bold cyan")])
            progress.say(table.row(record, job, step.stored, seconds))
            if len(results.records) < len(ordered):
                progress.show(table.row_of_next(ordered[len(results.records)]))
    seconds = time.monotonic() - start
    terminal.say_text(f"measured {measured}, stored already {len(results.records) - measured}, in {seconds:.1f} s")
    if len(results.records) < len(ordered):
        output.complain(f"{len(ordered) - len(results.records)} problems were left at the time limit")


def say_heading(ordered: list[Job], backend: Backend, threads: int, effort: str, table: TuningTable) -> None:
    """What is going to be done, and what the columns are."""
    count = f"{len(ordered)} problem{'s' * (len(ordered) > 1)}"
    terminal.say_text(", ".join(filter(None, [count, table.common, backend.runs_on(threads), f"effort {effort}"])))
    terminal.say_text(table.legend, "bright_black")
    terminal.say(table.header())
