"""``fastconv explain``: why a problem is computed the way it is."""

from __future__ import annotations

import argparse

from .._choose.explain import explanation
from . import options, output


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("explain", help="say which algorithm computes a problem, and why")
    options.add_problems(parser)
    options.add_threads(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    threads, backend = options.threads_of(arguments), options.backend_of(arguments)
    pages = [str(explanation(job.problem, threads, backend)) for job in options.jobs_of(arguments)]
    for line in "\n\n".join(pages).split("\n"):
        output.say(line)
    return 0
