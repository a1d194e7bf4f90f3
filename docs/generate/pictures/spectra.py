"""Overlapping tiles of the two Fourier algorithms, where the library itself puts them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from fastconv import ConvProblem
from fastconv._cpu.algorithms.fft_fused import blocking
from fastconv._cpu.algorithms.fft_scipy import overlap_save

from .style import BLUE, COLORS, FAINT, INK, PAPER, RED, box


def fft_fused() -> Figure:
    """A signal cut into tiles: of each circular correlation the last results have wrapped round and are dropped."""
    problem = ConvProblem.parse("forward 1x1x180 1x1x17")
    points = 64
    (_, results), (_, tiles) = blocking.tiling(problem, 1, points)
    rng = np.random.default_rng(3)
    signal = np.cumsum(rng.standard_normal(tiles * results + points)) / 5
    weight = np.hanning(17) / np.hanning(17).sum()
    exact = np.correlate(signal, weight, "valid")
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    top.plot(signal[:180], color=INK, linewidth=0.9)
    top.set_title(f"signal, cut into tiles of {points} points that overlap by {points - results}", loc="left")
    low, high = signal[:180].min(), signal[:180].max()
    bottom.plot(exact[:164], color=FAINT, linewidth=3.5, label="the definition")
    for tile in range(tiles):
        begin = tile * results
        color = COLORS[tile]
        part = signal[begin : begin + points]
        spectrum = np.fft.rfft(part) * np.conj(np.fft.rfft(weight, points))
        circular = np.fft.irfft(spectrum, points)
        assert np.allclose(circular[:results], exact[begin : begin + results])
        height = (high - low) * 0.08
        box(top, begin, low - height * (1.6 + 1.3 * (tile % 2)), points, height, facecolor=color, alpha=0.6)
        places = np.arange(begin, begin + points)
        bottom.plot(places[:results], circular[:results], color=color, linewidth=1.2)
        bottom.plot(places[results:], circular[results:], color=color, linewidth=0.9, linestyle=":")
    bottom.set_title("inverse of the product of spectra; dotted: wrapped round, dropped", loc="left")
    bottom.legend(frameon=False, fontsize=8, loc="upper right")
    for axes in (top, bottom):
        axes.set_xlim(0, 180)
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
    return figure


def fft_scipy() -> Figure:
    """Tiles of an image, and its stride phases, which are channels once stride and dilation are gone."""
    problem = ConvProblem.parse("forward 1x1x96x128 1x1x15x15 p7 s2")
    tiling = overlap_save.tiling(problem, 32)
    height, width = problem.output_size[1:]
    figure = Figure(figsize=(7, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    stride = problem.stride[2]
    image = np.add.outer(np.arange(8) % stride * stride, np.arange(8) % stride)
    for (i, j), phase in np.ndenumerate(image):
        box(left, j, i, 1, 1, facecolor=COLORS[phase], alpha=0.65, edgecolor="white")
    left.set_xlim(0, 8)
    left.set_ylim(8, 0)
    left.set_aspect("equal")
    left.set_axis_off()
    left.set_title(f"stride 2: {len(tiling.phases)} phases of the source,\neach read as a channel", loc="left")
    box(right, 0, 0, width, height, facecolor=PAPER, edgecolor=INK)
    starts = tiling.tiles()
    for number, (_, (_, i, j)) in enumerate(starts):
        color = COLORS[number % 2]
        box(right, j, i, tiling.tile[2], tiling.tile[1], facecolor=color, alpha=0.12, edgecolor=color, linewidth=0.8)
    _, (_, i, j) = starts[1]
    box(right, j, i, tiling.valid[2], tiling.valid[1], facecolor=BLUE, alpha=0.75)
    box(right, j, i, tiling.tile[2], tiling.tile[1], facecolor="none", edgecolor=RED, linewidth=1.8)
    right.set_xlim(-1, max(width, max(s[2] for _, s in starts) + tiling.tile[2]) + 1)
    right.set_ylim(max(height, max(s[1] for _, s in starts) + tiling.tile[1]) + 1, -1)
    right.set_aspect("equal")
    right.set_axis_off()
    right.set_title(
        f"tiles of {tiling.tile[1]} x {tiling.tile[2]} points (red) of a phase give\n"
        f"{tiling.valid[1]} x {tiling.valid[2]} results (blue); 15 x 15 taps",
        loc="left",
    )
    return figure
