"""A progress bar on stderr, where stderr is a terminal; nothing otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType

from . import output

BAR_CHARACTERS = 24


class Progress:
    """Shows done and total, the time left, and a word on what is going on; ``say`` prints a line above the bar."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = time.monotonic()
        self._visible = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def show(self, text: str) -> None:
        """Draw the bar with ``text`` behind it."""
        if not self._visible:
            return
        filled = BAR_CHARACTERS * self._done // max(self._total, 1)
        bar = "#" * filled + "." * (BAR_CHARACTERS - filled)
        left = ""
        if self._done:
            seconds = (time.monotonic() - self._start) / self._done * (self._total - self._done)
            left = f" {seconds // 60:.0f}:{seconds % 60:02.0f} left"
        line = f"[{bar}] {self._done}/{self._total}{left}  {text}"
        self._draw(output.printable(line)[: shutil.get_terminal_size().columns - 1])

    def advance(self) -> None:
        """Count one more as done."""
        self._done += 1

    def say(self, line: str) -> None:
        """Print a line to stdout, above the bar."""
        self._clear()
        output.say(line)

    def _clear(self) -> None:
        if self._visible:
            self._draw("")

    def _draw(self, line: str) -> None:
        try:
            sys.stderr.write("\r\x1b[K" + line)
            sys.stderr.flush()
        except OSError:  # the terminal is gone
            self._visible = False
