"""The sums of the definition: what a result reads, forward and in the stride phases of an input gradient."""

from __future__ import annotations

from matplotlib.figure import Figure

from fastconv import ConvProblem
from fastconv._correlation import Axis

from .style import BLUE, COLORS, FAINT, ORANGE, PAPER, arrow, canvas, cell, fit, label


def reference() -> Figure:
    """The elements that one result reads, of a problem with padding, stride and dilation."""
    problem = ConvProblem.parse("forward 1x1x7x7 1x1x3x3 s2 p2 d2")
    axis = Axis.of(problem, 1)
    figure, axes = canvas(6.4, 3.0)
    shown = (1, 2)
    read = {
        (i * axis.step + s * axis.delta - axis.before, j * axis.step + t * axis.delta - axis.before): (s, t)
        for i, j in [shown]
        for s in range(axis.kernel)
        for t in range(axis.kernel)
    }
    pad = axis.before
    for i in range(-pad, axis.source_size + pad):
        for j in range(-pad, axis.source_size + pad):
            inside = 0 <= i < axis.source_size and 0 <= j < axis.source_size
            color = ORANGE if (i, j) in read else (PAPER if inside else "none")
            text = "" if inside else "0"
            cell(axes, j + pad, i + pad, color, text, edgecolor=FAINT if not inside else "#5b6673")
    width = axis.source_size + 2 * pad
    for i in range(axis.size):
        for j in range(axis.size):
            cell(axes, width + 4 + j, 3.5 + i, BLUE if (i, j) == shown else PAPER)
    arrow(axes, (width + 0.5, width / 2), (width + 3.5, width / 2))
    label(axes, width + 2, width / 2 - 1.3, "9 products,\none sum")
    label(axes, width / 2, width + 0.8, "source, zeros around it; dilation 2")
    label(axes, width + 4 + axis.size / 2, width + 0.8, "result; stride 2")
    fit(axes, width + 4 + axis.size + 1, width + 1.2)
    return figure


def few_filters() -> Figure:
    """The stride phases of an input gradient: which elements share their taps."""
    problem = ConvProblem.parse("backward_input 1x1x8x8 1x1x3x3 s2 p1")
    axis = Axis.of(problem, 1)
    phases = [axis.phase(index) for index in range(axis.phases)]
    figure, axes = canvas(6.4, 3.3)
    source = axis.source_size
    for i in range(source):
        for j in range(source):
            cell(axes, j, 2 + i, PAPER)
    label(axes, source / 2, source + 2.8, "gradient of the result,\ncopied once")
    left = source + 3
    for number, (row, column) in enumerate((r, c) for r in phases for c in phases):
        color = COLORS[number]
        for i in range(row.pixels):
            for j in range(column.pixels):
                cell(axes, left + column.begin + 2 * j, row.begin + 2 * i, color, alpha=0.75)
        top = 0.3 + 2.1 * number
        taps = f"{row.taps} x {column.taps} tap{'s' * (row.taps * column.taps > 1)}"
        cell(axes, left + axis.size + 2, top, color, alpha=0.75)
        label(axes, left + axis.size + 3.5, top + 0.5, taps, ha="left")
    arrow(axes, (source + 0.4, 4), (left - 0.4, 4))
    label(axes, left + axis.size / 2, axis.size + 0.7, "gradient of the source, stride 2, 3 x 3 taps")
    fit(axes, left + axis.size + 8, axis.size + 1.2)
    return figure
