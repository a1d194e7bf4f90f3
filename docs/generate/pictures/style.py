"""How the pictures look: colours, grids of cells, arrows."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

INK, FAINT, PAPER = "#1c2733", "#9aa5b1", "#f4f6f8"
BLUE, ORANGE, GREEN, RED, PURPLE = "#2d7fb8", "#e08a2c", "#3c9d6b", "#c8453b", "#7a5fb0"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED)

matplotlib.rcParams.update(
    {
        "svg.hashsalt": "fastconv",
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titlecolor": INK,
        "axes.edgecolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
    }
)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure in inches, with one pair of axes on which y runs down and a unit is a unit."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    bare(axes)
    return figure, axes


def bare(axes: Axes) -> None:
    """Without ticks and frame, y running down."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.invert_yaxis()


def cell(axes: Axes, x: float, y: float, color: str = "none", text: object = "", **more: object) -> None:
    """A square of one unit whose upper left corner is (x, y)."""
    box(axes, x, y, 1, 1, facecolor=color, **more)
    if text != "":
        axes.text(x + 0.5, y + 0.5, str(text), ha="center", va="center", fontsize=7)


def box(axes: Axes, x: float, y: float, width: float, height: float, **more: object) -> None:
    """A rectangle."""
    axes.add_patch(Rectangle((x, y), width, height, **{"edgecolor": INK, "linewidth": 0.6, **more}))


def grid(axes: Axes, x: float, y: float, values: np.ndarray, color: str = "none") -> None:
    """A cell for each element of a matrix, the element written in it."""
    for (i, j), value in np.ndenumerate(values):
        cell(axes, x + j, y + i, color, value)


def label(axes: Axes, x: float, y: float, text: str, **more: object) -> None:
    """Text whose middle is at (x, y)."""
    axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 8.5, **more})


def arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float], **more: object) -> None:
    """An arrow between two points."""
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "color": INK, "linewidth": 0.9, **more}
    axes.add_patch(FancyArrowPatch(begin, end, **style))


def fit(axes: Axes, width: float, height: float, margin: float = 0.3) -> None:
    """Show (0, 0) to (width, height)."""
    axes.set_xlim(-margin, width + margin)
    axes.set_ylim(height + margin, -margin)
