"""What the command prints and the files it writes: whatever is in a text, and whatever becomes of the output."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

STANDARD_OUTPUT = "-"
"""As the name of a file."""


class OutputError(Exception):
    """Something could not be written; the message says what and why."""


class ClosedPipeError(OutputError):
    """The reader of standard output went away, as ``head`` does: nothing to complain of."""


def printable(text: str) -> str:
    """``text`` as one line that shows as itself: what moves the cursor or reverses the writing is escaped."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def lines_to_stderr(is_wanted: bool) -> None:
    """Whether lines are printed to stderr, since standard output is for something else."""
    global _lines_to_stderr
    _lines_to_stderr = is_wanted


_lines_to_stderr = False


def stream() -> TextIO | None:
    """Where lines are printed."""
    return sys.stderr if _lines_to_stderr else sys.stdout


def say(line: str) -> None:
    """Print a line, whatever is in it."""
    put_line(printable(line))


def put_line(line: str) -> None:
    """Print a line of the command's own."""
    if not _lines_to_stderr:
        put(line + "\n")
    elif sys.stderr is not None:
        with contextlib.suppress(OSError):
            _write(sys.stderr, line + "\n")


def put(text: str) -> None:
    """Print text of the command's own; OutputError where it does not get through."""
    if sys.stdout is None:
        raise OutputError(f"standard output: {os.strerror(errno.EBADF)}")
    try:
        _write(sys.stdout, text)
    except OSError as error:
        # What is left in the buffer would be tried again, and complained of, at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise ClosedPipeError from None
        raise OutputError(f"standard output: {error.strerror}") from None


def complain(line: str) -> None:
    """Print a line to stderr, if there is one."""
    _clear()
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            _write(sys.stderr, printable(line) + "\n")


def before_complaints(clear: Callable[[], None] | None) -> None:
    """Have what is drawn on the terminal cleared before a line is printed there; None: nothing is drawn any more."""
    global _clear
    _clear = clear or _nothing


def _nothing() -> None:
    """What there is to be cleared as long as nothing is drawn."""


_clear: Callable[[], None] = _nothing


def encodable(text: str, stream: TextIO) -> str:
    """``text`` with what the stream cannot encode escaped."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _write(stream: TextIO, text: str) -> None:
    stream.write(encodable(text, stream))
    stream.flush()


def write(path: str, text: str) -> None:
    """Put ``text`` into the file."""
    if path == STANDARD_OUTPUT:
        put(text)
        return
    with writing_to(path):
        Path(path).write_text(text)


@contextlib.contextmanager
def writing_to(path: str) -> Iterator[None]:
    """Any OSError inside the ``with`` block becomes an OutputError that names the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path!r}: {error.strerror or error}") from None


def check_can_write(option: str, path: str) -> None:
    """ValueError where the file cannot be opened for writing; its content stays, and no new file is left."""
    existed = os.path.exists(path)
    if existed and not os.path.isfile(path) and not os.path.isdir(path):
        return  # a pipe or a device, which might wait for its reader
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        if not existed:
            os.unlink(os.path.realpath(path))
    except OSError as error:
        raise ValueError(f"{option}: got {path!r}, which cannot be written ({error.strerror})") from None


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show warnings as lines of the command's own, without a place in the source."""

    def show(message: Warning | str, *_: object) -> None:
        complain(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield
