"""The terminal, if there is one: how wide it is, and lines in its colours where rich is installed."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, TextIO

from . import output

Line = Sequence[tuple[str, str]]
"""Pieces of one line: their text and their style, in rich's words; "" is none."""

MARGIN, MORE = "  ", "..."
USUAL_COLUMNS = 80
"""Of terminals that do not say how wide they are."""


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at what is written, and lines can be drawn again."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def columns(stream: TextIO | None = None) -> int | None:
    """Columns of standard output, or of another stream; None: no terminal, lines may be of any length."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdigit() and 0 < int(asked[:9]):
        return int(asked[:9])
    stream = stream or output.stream()
    if stream is None or not stream.isatty():
        return None
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    return USUAL_COLUMNS


def console(stream: TextIO) -> Any:
    """rich's Console of a terminal; None where rich is not installed, or the stream is no terminal."""
    return _console(stream) if is_terminal(stream) else None


@functools.lru_cache(2)
def _console(stream: TextIO) -> Any:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False, emoji=False)


def plain(line: Line) -> str:
    """The line's text, without blanks at its end."""
    return "".join(text for text, _ in line).rstrip()


def styled(line: Line, stream: TextIO) -> str:
    """The line with the escape sequences of its styles, as far as the stream shows them."""
    found = console(stream)
    if found is None:
        return plain(line)
    from rich.text import Text

    with found.capture() as capture:
        found.print(Text.assemble(*line), end="", soft_wrap=True)
    return str(capture.get()).rstrip()


def say(line: Line) -> None:
    """Print the line."""
    safe = [(output.printable(text), style) for text, style in line]
    stream = output.stream()
    output.put_line(plain(safe) if stream is None else styled(safe, stream))


def say_text(text: str, style: str = "", indent: str = "") -> None:
    """Print words, on several lines where the terminal is too narrow for one; all but the first begin with ``indent``.

    A word that is longer than a line is left whole.
    """
    width = columns() or sys.maxsize
    words = output.printable(text)
    lines = textwrap.wrap(words, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    for line in lines or [""]:
        say([(line, style)])


def marked(text: str, start: int, end: int) -> list[str]:
    """Two lines: the text, or as much around ``text[start:end]`` as the terminal shows, and a line that marks that."""
    room = max((columns(sys.stderr) or USUAL_COLUMNS) - len(MARGIN), 8)
    before, part, after = (output.printable(piece) for piece in (text[:start], text[start:end], text[end:]))
    part = part[: room // 2]
    most = max(room - len(part) - min(len(after), room // 4), 0) - len(MORE)
    if len(before) > most + len(MORE):
        before = MORE + before[len(before) - most :]
    return [MARGIN + (before + part + after)[:room], MARGIN + " " * len(before) + "^" * max(len(part), 1)]
