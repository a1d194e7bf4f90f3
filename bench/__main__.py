"""``python -m bench``, from the root of the repository."""

from __future__ import annotations

import argparse
import sys

from . import bundle, calls, comparison, errors, peak, regret, report
from .compat import command as compat
from .costs import command as fit
from .fuzz import command as fuzz
from .gpu import command as gpu
from .gpu_model import command as gpu_model
from .networks import command as networks


def main(words: list[str] | None = None) -> int:
    """Run a subcommand; what the user got wrong is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements of fastconv.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (
        comparison,
        calls,
        report,
        errors,
        peak,
        fit,
        regret,
        bundle,
        fuzz,
        gpu,
        gpu_model,
        networks,
        compat,
    ):
        module.add_to(subparsers)
    arguments = parser.parse_args(words)
    try:
        return int(arguments.run(arguments))
    except (ValueError, OSError) as wrong:
        print(f"bench: {wrong}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
