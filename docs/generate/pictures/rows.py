"""Register tiles that slide along rows: which row of the source is loaded when, and for which sums."""

from __future__ import annotations

from matplotlib.figure import Figure

from .style import BLUE, COLORS, FAINT, GREEN, ORANGE, PAPER, arrow, box, canvas, cell, fit, label


def direct() -> Figure:
    """Four rows of sums in registers, and the taps that each row of the source meets on its way through."""
    rows, taps = 4, 3  # DIRECT_ROWS of job.h
    figure, axes = canvas(6.2, 2.9)
    lines = rows + taps - 1
    for line in range(lines):
        cell(axes, 2 * line, 0, PAPER, line, edgecolor=FAINT)
        for row in range(rows):
            tap = line - row
            if 0 <= tap < taps:
                cell(axes, 2 * line, 2 + row, COLORS[tap], f"w{tap}", alpha=0.7)
            else:
                cell(axes, 2 * line, 2 + row, "none", edgecolor="#d8dde2")
        arrow(axes, (2 * line + 0.5, 1.1), (2 * line + 0.5, 1.9))
    label(axes, lines * 2 + 0.2, 0.5, "rows of the source, each loaded once", ha="left")
    for row in range(rows):
        label(axes, lines * 2 + 0.2, 2.5 + row, f"sum of result row {row}, in registers", ha="left")
    arrow(axes, (0, 7), (2 * lines - 1, 7))
    label(axes, lines - 0.5, 7.6, "time")
    fit(axes, lines * 2 + 11, 7.8)
    return figure


def depthwise_nchw() -> Figure:
    """A plane whose rows are read where they lie: vectors along the width, the last one begins early."""
    width, lanes, rows, taps = 21, 8, 7, 3
    figure, axes = canvas(6.6, 3.3)
    for i in range(rows + taps - 1):
        for j in range(width):
            cell(axes, j, i, PAPER, edgecolor="#dde2e7")
    starts = [0, 8, width - lanes]
    for number, start in enumerate(starts):
        box(axes, start, 1, lanes, rows, facecolor=COLORS[number], alpha=0.22)
        box(axes, start, 1, lanes, rows, facecolor="none", edgecolor=COLORS[number], linewidth=1.4)
    overlap = starts[1] + lanes - starts[2]
    box(axes, starts[2], 1, overlap, rows, facecolor="none", edgecolor=ORANGE, hatch="///", linewidth=0)
    box(axes, 0, 4, lanes, 1, facecolor=BLUE, alpha=0.6)
    label(axes, 4, 4.5, "one load", color="white")
    for number, row in enumerate((3, 4, 5)):
        arrow(axes, (width + 0.4, 4.5), (width + 2.6, row + 0.5 - 0.5 + 0.5 * (number - 1)))
        label(axes, width + 2.9, row + 0.5 * (number - 1), f"sum of row {row - 1}, tap {2 - number}", ha="left")
    label(axes, 4, -0.7, "8 lanes", color=BLUE)
    label(axes, 12, -0.7, "8 lanes", color=ORANGE)
    label(axes, 18.6, -0.7, "the last, begun early", color=GREEN)
    label(
        axes, width / 2, rows + taps + 0.1, "one channel: 7 rows of results, 21 pixels wide, rows neighbours in memory"
    )
    fit(axes, width + 10, rows + taps + 0.4, 1.1)
    return figure
