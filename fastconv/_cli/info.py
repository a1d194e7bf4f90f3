"""``fastconv info``: versions, machine, settings: what a bug report should begin with."""

from __future__ import annotations

import argparse

from .._backend import CPU
from .._choose import tuning_cache
from ..runtime import runtime_facts
from . import output


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("info", help="print versions, machine and settings")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    for name, fact in {**runtime_facts(), **tuning_facts()}.items():
        output.say(f"{name:<16} {fact}")
    return 0


def tuning_facts() -> dict[str, str]:
    """What is known of this machine by measuring, and where that is kept."""
    cache = tuning_cache.current()
    return {
        "tuned choices": f"{len(cache.content.records())} in {cache.path or 'memory: there is no home directory'}",
        "cost models": "calibrated" if cache.content.machine is not None else "default constants",
        "fingerprint": ", ".join(f"{name} {value}" for name, value in CPU.fingerprint().items()),
    }
