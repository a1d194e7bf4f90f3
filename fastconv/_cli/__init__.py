"""The command ``fastconv``: one module per subcommand, each with ``add_to(subparsers)`` and ``run(arguments)``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .._errors import ProblemTextError, UnavailableError
from .._version import __version__
from . import autotune, bench, cache, completion, explain, info, output, terminal, verify

FAILURE = 1
"""Exit status where something went wrong that the arguments are not to blame for."""
USAGE = 2
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows what the user wrote without obeying it, and says where its help got lost."""

    def error(self, message: str) -> NoReturn:
        super().error(output.printable(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stderr:
            super()._print_message(message, file)
        else:
            output.put(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 where all went well."""
    name, marks = "fastconv", list[str]()
    try:
        with output.warnings_as_lines():
            arguments = _parsed(argv)
            output.lines_to_stderr(getattr(arguments, "json", None) == output.STANDARD_OUTPUT)
            output.put("")  # closed output is found out before anything is measured
            name = f"fastconv {arguments.command}"
            status: int = arguments.run(arguments)
            return status
    except output.ClosedPipeError:
        return FAILURE
    except (ValueError, TypeError) as error:
        status, message = USAGE, str(error)
        if isinstance(error, ProblemTextError):
            marks = terminal.marked(error.text, error.start, error.end)
    except (output.OutputError, UnavailableError, OSError, ArithmeticError, ImportError) as error:
        status, message = FAILURE, str(error)
    except MemoryError as error:
        status, message = FAILURE, f"out of memory; {error}".removesuffix("; ")
    except KeyboardInterrupt as interrupt:
        status, message = INTERRUPTED, f"interrupted; {interrupt}".removesuffix("; ")
    output.complain(f"{name}: {message}")
    for line in marks:
        output.complain(line)
    return status


def run_process() -> int:
    """``main`` for a process that ends with it: Ctrl-C does no more than end it at once, from then on."""
    try:
        return main()
    except KeyboardInterrupt:  # a second one, while the first was being dealt with
        return INTERRUPTED
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; SystemExit where they are wrong, or ask for no more than a text."""
    parser = Parser(
        prog="fastconv", description="Tune, explain, time and check the convolutions of the fastconv library."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (autotune, explain, bench, verify, info, cache):
        module.add_to(subparsers)
    completion.add_to(subparsers, parser)
    return parser.parse_args(argv)
