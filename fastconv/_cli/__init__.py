"""The command ``fastconv``: one module per subcommand, each with ``add_to(subparsers)`` and ``run(arguments)``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .._version import __version__
from . import autotune, bench, cache, explain, info, verify

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 where all went well."""
    parser = argparse.ArgumentParser(
        prog="fastconv", description="Tune, explain, time and check the convolutions of the fastconv library."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (autotune, explain, bench, verify, info, cache):
        module.add_to(subparsers)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except (ValueError, TypeError) as error:
        print(f"fastconv {arguments.command}: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (``| head``); nothing more can be said, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
