"""``fastconv info``: versions, machine, settings: what a bug report should begin with."""

from __future__ import annotations

import argparse

from .._backend import Backend, algorithm_names, find_backend
from .._choose import tuning_cache
from ..runtime import runtime_facts
from . import options, terminal

NAME_CHARACTERS = 16


def add_to(subparsers: argparse._SubParsersAction) -> None:
    """The subcommand's options."""
    parser = subparsers.add_parser("info", help="print versions, machine and settings")
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The subcommand."""
    backend = options.backend_of(arguments)
    for name, fact in {**runtime_facts(), **gpu_facts(), **tuning_facts(backend)}.items():
        terminal.say_text(f"{name:<{NAME_CHARACTERS}} {fact}", indent=" " * (NAME_CHARACTERS + 1))
    return 0


def gpu_facts() -> dict[str, str]:
    """The GPU, or what is missing for one."""
    gpu = find_backend("gpu")
    missing = gpu.missing()
    facts = gpu.facts() if missing is None else {"gpu": f"none; {missing.removeprefix('GPU: ')}"}
    return {**facts, "gpu algorithms": ", ".join(algorithm_names(gpu))}


def tuning_facts(backend: Backend) -> dict[str, str]:
    """What is known of this machine, or of its GPU, by measuring, and where that is kept."""
    cache = tuning_cache.current(backend)
    return {
        "tuned choices": f"{len(cache.content.records())} in {cache.path or 'memory: there is no home directory'}",
        "cost models": "calibrated" if cache.content.machine is not None else "default constants",
        "fingerprint": ", ".join(f"{name} {value}" for name, value in backend.fingerprint().items()),
    }
