"""Tables that fit the terminal: of several layouts, from wide to narrow, the first one that does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from . import output, terminal
from .terminal import Line

SQUEEZES = ("  ", False), (" ", False), (" ", True)
"""How each layout is tried: what is between columns, and whether some may be cut."""
CUT = ".."
"""The end of a text that was too long."""

Cell = str | tuple[str, str]
"""A text, or a text and its style."""


@dataclass(frozen=True)
class Column:
    """What stands above a column, and its width; numbers are aligned to the right."""

    title: str
    width: int = 0
    is_number: bool = False
    least: int | None = None
    """The width that its texts may be cut to for a layout to fit; None: they may not."""


class Table:
    """Rows of cells by the names of their columns; a layout is the list of those that are shown.

    All widths are known before the first row is: rows are printed as they come. The last layout is taken where none
    fits the ``width``, and its rows are cut; None: any width will do.
    """

    def __init__(self, columns: Mapping[str, Column], layouts: Sequence[Sequence[str]], width: int | None) -> None:
        self._columns = columns
        self._width = width
        room = math.inf if width is None else width
        for self.shown, self._gap, may_cut in ((shown, *how) for shown in layouts for how in SQUEEZES):
            self._widths = {name: max(len(columns[name].title), columns[name].width) for name in self.shown}
            if may_cut:
                self._cut(room)
            if self._total() <= room:
                break

    def _total(self) -> int:
        return sum(self._widths.values()) + len(self._gap) * (len(self._widths) - 1)

    def _cut(self, room: float) -> None:
        """Make columns narrower, the last ones first, as far as they may be and the table is too wide."""
        for name in reversed(self.shown):
            least = self._columns[name].least
            if least is not None and self._total() > room:
                self._widths[name] = max(least, int(self._widths[name] - (self._total() - room)))

    def header(self) -> Line:
        """The titles."""
        return self.row({name: (self._columns[name].title, "bold") for name in self.shown})

    def row(self, cells: Mapping[str, Cell]) -> Line:
        """The cells that are shown; those that are not given are empty."""
        line: list[tuple[str, str]] = []
        for name in self.shown:
            cell = cells.get(name, "")
            text, style = cell if isinstance(cell, tuple) else (cell, "")
            text, width = output.printable(text), self._widths[name]
            if len(text) > width and self._width is not None:
                text = text[: max(width - len(CUT), 0)] + CUT
            padding = " " * (width - len(text))
            text = padding + text if self._columns[name].is_number else text + padding
            line += [(text, style), (self._gap, "")]
        return shortened(line[:-1], self._width)


def shortened(line: Line, width: int | None) -> Line:
    """The line, cut where it is wider than the terminal."""
    if width is None or sum(len(text) for text, _ in line) <= width:
        return line
    kept: list[tuple[str, str]] = []
    for text, style in line:
        kept.append((text[:width], style))
        width -= len(kept[-1][0])
    return kept


def say_table(
    columns: Mapping[str, Column],
    layouts: Sequence[Sequence[str]],
    rows: Iterable[Mapping[str, Cell]],
    indent: str = "",
) -> None:
    """Print a table whose rows are all there: as wide as its widest cells, with ``indent`` in front."""
    listed = list(rows)

    def widest(name: str) -> int:
        cells = (row.get(name, "") for row in listed)
        return max((len(cell[0] if isinstance(cell, tuple) else cell) for cell in cells), default=0)

    fixed = {name: replace(column, width=max(column.width, widest(name))) for name, column in columns.items()}
    width = terminal.columns()
    table = Table(fixed, layouts, None if width is None else width - len(indent))
    for line in (table.header(), *map(table.row, listed)):
        terminal.say([(indent, ""), *line])
