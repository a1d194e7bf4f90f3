"""What is copied: columns, which hold an element once for each tap, and bands, which hold it once."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import fastconv

from .style import BLUE, FAINT, GREEN, INK, ORANGE, PAPER, arrow, box, canvas, cell, fit, grid, label

SIZE, TAPS = 5, 3


def im2col() -> Figure:
    """The columns that `fastconv.unfold` makes of an image whose elements are their numbers."""
    image = np.arange(1.0, SIZE * SIZE + 1, dtype=np.float32).reshape(1, 1, SIZE, SIZE)
    columns = fastconv.unfold(image, TAPS)[0].astype(int)
    shown = 4
    figure, axes = canvas(6.6, 3.0)
    seen = set(columns[:, shown])
    for (i, j), value in np.ndenumerate(image[0, 0].astype(int)):
        cell(axes, j, 2 + i, ORANGE if value in seen else PAPER, value)
    label(axes, SIZE / 2, SIZE + 2.8, "image 5 x 5")
    left = SIZE + 3
    grid(axes, left, 0, columns)
    for i, value in enumerate(columns[:, shown]):
        cell(axes, left + shown, i, ORANGE, value)
    arrow(axes, (SIZE + 0.4, 4.5), (left - 0.4, 4.5))
    label(axes, left + 4.5, 9.8, "columns: 9 taps x 9 pixels")
    at = left + 11.5
    for i in range(3):
        for j in range(9):
            box(axes, at + j * 0.55, 1 + i, 0.55, 1, facecolor=BLUE, alpha=0.35 + 0.2 * i)
    label(axes, at + 2.4, 4.7, "weights: filters x taps")
    label(axes, at + 2.4, 7, "result = weights @ columns\n(one product by BLAS)", fontsize=9)
    fit(axes, at + 5.5, 10.2)
    return figure


def implicit_gemm() -> Figure:
    """A band, and the two tables by whose sums its elements are found."""
    width, rows = 6, 3
    box_pixels = [(i, j) for i in range(2) for j in range(width - TAPS + 1)]
    entries = [(s, t) for s in range(TAPS) for t in range(TAPS)]
    of_pixel = np.array([i * width + j for i, j in box_pixels])
    of_entry = np.array([s * width + t for s, t in entries])
    figure, axes = canvas(6.6, 3.3)
    for i in range(rows + 1):
        for j in range(width):
            cell(axes, j, 2.5 + i, PAPER, i * width + j)
    box(axes, 0, 2.5, TAPS, TAPS, edgecolor=ORANGE, linewidth=2, facecolor="none")
    label(axes, width / 2, 7.4, "band of the source: all that\n8 pixels read, each once")
    left = width + 4
    for row, offset in enumerate(of_entry):
        cell(axes, left - 1.5, 1.5 + row, GREEN, offset, alpha=0.55)
        for column, more in enumerate(of_pixel):
            cell(axes, left + column, 1.5 + row, "none", offset + more, edgecolor=FAINT)
    for column, offset in enumerate(of_pixel):
        cell(axes, left + column, 0, BLUE, offset, alpha=0.55)
    box(axes, left, 1.5, 1, len(entries), edgecolor=ORANGE, linewidth=2, facecolor="none")
    label(axes, left + 4, 11.2, "the matrix that is never built: place = entry + pixel")
    label(axes, left + 8.4, 0.5, "offsets of pixels", ha="left", color=BLUE)
    label(axes, left + 8.4, 6, "one register tile\nmultiplies a few\nrows and columns\nat a time", ha="left", color=INK)
    label(axes, left - 2.2, 6, "offsets of entries", rotation=90, color=GREEN)
    fit(axes, left + 14, 11.5)
    return figure
