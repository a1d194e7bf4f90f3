"""How far a command is: lines at the bottom of the terminal that stderr is; nothing where it is none."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from . import output, terminal
from .table import shortened
from .terminal import Line

BAR_CHARACTERS = 24


class Progress:
    """Shows done and total, the time left, and what is going on; ``say`` prints a line above.

    It is drawn between two measurements and never during one, whose time it would take.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._quick = 0
        self._quick_seconds = 0.0
        self._last = self._start = time.monotonic()
        self._drawn = 0
        self._visible = terminal.is_terminal(sys.stderr)

    def __enter__(self) -> Progress:
        output.before_complaints(self.clear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        output.before_complaints(None)

    def show(self, line: Line) -> None:
        """Draw how far it is, and what is going on."""
        if not self._visible:
            return
        width = (terminal.columns(sys.stderr) or terminal.USUAL_COLUMNS) - 1
        console = terminal.console(sys.stderr)
        rows: list[Line] = [[("#" * self._filled() + "." * (BAR_CHARACTERS - self._filled()), "")]]
        counts = f"{self._done}/{self._total}{self._left()}"
        if console is None:
            rows = [[(f"[{terminal.plain(rows[0])}] {counts}  ", ""), *line]]
        else:
            full, empty = ("#", ".") if console.options.ascii_only else ("━", "━")
            bar = (full * self._filled(), "green"), (empty * (BAR_CHARACTERS - self._filled()), "bright_black")
            rows = [line, [*bar, (f"  {counts}", "")]]
        safe = [[(output.printable(text), style) for text, style in row] for row in rows]
        self._draw([terminal.styled(shortened(row, width), sys.stderr) for row in safe])

    def advance(self, is_quick: bool = False) -> None:
        """Count one more as done; quick ones are no measure of the time that is left."""
        now = time.monotonic()
        self._done += 1
        if is_quick:
            self._quick += 1
            self._quick_seconds += now - self._last
        self._last = now

    def say(self, line: Line | str) -> None:
        """Print a line to stdout, above what is drawn."""
        self.clear()
        terminal.say([(line, "")] if isinstance(line, str) else line)

    def clear(self) -> None:
        """Make room for lines of others."""
        if self._drawn:
            self._draw([])

    def _filled(self) -> int:
        return BAR_CHARACTERS * self._done // max(self._total, 1)

    def _left(self) -> str:
        slow = self._done - self._quick
        if not slow:
            return ""
        each = (self._last - self._start - self._quick_seconds) / slow
        seconds = round(each * (self._total - self._done))
        return f"  {seconds // 60}:{seconds % 60:02} left"

    def _draw(self, lines: list[str]) -> None:
        erase = "\r\x1b[K" + "\x1b[1A\r\x1b[K" * (self._drawn - 1)
        self._drawn = len(lines)
        try:
            sys.stderr.write(output.encodable(erase + "\n".join(lines), sys.stderr))
            sys.stderr.flush()
        except (OSError, ValueError):  # the terminal is gone
            self._visible, self._drawn = False, 0
