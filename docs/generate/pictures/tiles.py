"""Winograd's minimal filtering with the library's own matrices, and what its tile sizes cost in accuracy."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from fastconv import _minimal_filtering as filtering

from .style import COLORS, FAINT, INK, bare

TILE, TAPS = 6, 3


def winograd() -> Figure:
    """One tile on its way: 6 x 6 elements and 3 x 3 taps to 4 x 4 results, by 36 products instead of 144."""
    rng = np.random.default_rng(5)
    to_result, of_taps, of_source = filtering.matrices(TILE, TAPS)
    y, x = np.mgrid[:TILE, :TILE]
    source = np.sin(x / 1.6 + y / 2.3) + 0.25 * rng.standard_normal((TILE, TILE))
    taps = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    points, weights = of_source @ source @ of_source.T, of_taps @ taps @ of_taps.T
    products = points * weights
    result = to_result @ products @ to_result.T
    direct = np.array([[(source[i : i + 3, j : j + 3] * taps).sum() for j in range(4)] for i in range(4)])
    assert np.allclose(result, direct)
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    panels = figure.subplots(2, 4, width_ratios=[1, 1, 1, 1])
    shown = {
        (0, 0): (source, "source tile d, 6 x 6"),
        (0, 1): (points, "$B^T d\\, B$"),
        (1, 0): (taps, "weights g, 3 x 3"),
        (1, 1): (weights, "$G\\, g\\, G^T$"),
        (0, 2): (products, "36 products, summed\nover channels"),
        (0, 3): (result, "$A^T s\\, A$:\nresults, 4 x 4"),
    }
    for place, axes in np.ndenumerate(panels):
        axes.set_axis_off()
        if place in shown:
            values, title = shown[place]
            most = np.abs(values).max()
            axes.pcolormesh(values, cmap="RdBu_r", vmin=-most, vmax=most, edgecolors="white", linewidth=0.6)
            bare(axes)
            axes.set_title(title)
            axes.set_xlim(0, TILE)
            axes.set_ylim(TILE, 0)
    panels[1, 2].text(
        0, 0.5, "the same 16 results by\nthe definition: 144 products", fontsize=9, transform=panels[1, 2].transAxes
    )
    return figure


def errors() -> Figure:
    """Products for a result of two axes, and the error that each tile size usually has."""
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.subplots()
    reduction = 256
    for number, taps in enumerate((2, 3, 4, 5)):
        found = sorted(tile for tile, has in filtering.ROUNDOFFS if has == taps and tile < 8)
        saved = [(taps / (tile / (tile - taps + 1))) ** 2 for tile in found]
        error = [filtering.usual_roundoffs(tile, taps, reduction) * 2.0**-24 for tile in found]
        axes.plot(saved, error, "o-", color=COLORS[number], label=f"{taps} x {taps} taps")
        for x, y, tile in zip(saved, error, found, strict=True):
            axes.annotate(
                f"F({tile - taps + 1},{taps})",
                (x, y),
                (4, 6 if taps == 4 else -10),
                textcoords="offset points",
                fontsize=7,
            )
    axes.axhline(filtering.HIGH_LIMIT, color=INK, linewidth=0.8, linestyle="--")
    axes.text(axes.get_xlim()[0], filtering.HIGH_LIMIT * 1.05, ' "high" admits what lies below', fontsize=7.5)
    axes.set_yscale("log")
    axes.set_xlabel("fewer multiplications than the definition, by this factor")
    axes.set_ylabel(f"usual error, {reduction} channels")
    axes.legend(frameon=False, fontsize=8)
    axes.grid(color=FAINT, alpha=0.3)
    return figure
