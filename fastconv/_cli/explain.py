"""``fastconv explain``: why a problem is computed the way it is."""

from __future__ import annotations

import argparse
from typing import Any

from .._choose.explain import TITLES, Explanation, explanation
from . import options, output, report, terminal
from .table import Cell, Column, say_table

LAYOUTS = (TITLES, TITLES[:4] + TITLES[5:], TITLES[:4], TITLES[:3])
LEAST_VERDICT = 6


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("explain", help="say which algorithm computes a problem, and why")
    options.add_problems(parser)
    options.add_threads(parser)
    options.add_backend(parser)
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    threads, backend = options.threads_of(arguments), options.backend_of(arguments)
    jobs = options.jobs_of(arguments)
    report.check_json(arguments.json)
    found = []
    for number, job in enumerate(jobs):
        found.append(explanation(job.problem, threads, backend))
        if number:
            output.say("")
        say_page(found[-1])
    if arguments.json:
        report.write(arguments.json, {"problems": [plain(one) for one in found]})
    return 0


def say_page(found: Explanation) -> None:
    """Print the page that ``str`` of it is, fitted to the terminal."""
    problem, *facts = found.head()
    terminal.say_text(problem, "bold", "  ")
    for fact in facts:
        terminal.say_text(f"  {fact}", indent="  ")
    output.say("")
    columns = {title: Column(title, is_number=title not in (TITLES[0], TITLES[-1])) for title in TITLES}
    columns[TITLES[-1]] = Column("", least=LEAST_VERDICT)
    rows: list[dict[str, Cell]] = [dict(zip(TITLES, row, strict=True)) for row in found.rows()]
    rows[0][TITLES[0]] = (found.plan.algorithm.name, "bold green")
    say_table(columns, LAYOUTS, rows, "  ")
    output.say("")
    for fact in found.foot():
        terminal.say_text(f"  {fact}", "bright_black", "  ")


def plain(found: Explanation) -> dict[str, Any]:
    """The explanation as plain values."""
    return {
        "problem": str(found.plan.problem),
        "algorithm": found.plan.algorithm.name,
        "params": dict(found.plan.params),
        "threads": found.plan.threads,
        "workspace_bytes": found.plan.workspace_bytes,
        "reason": found.plan.reason,
        "considered": [
            {
                "algorithm": entry.algorithm,
                "params": dict(entry.params),
                "estimate_seconds": entry.estimate_seconds,
                "measured_seconds": entry.measured_seconds,
                "relative_error": entry.relative_error,
                "workspace_bytes": entry.workspace_bytes,
                "verdict": entry.verdict,
            }
            for entry in found.considered
        ],
    }
