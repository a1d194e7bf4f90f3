"""Channels and filters as lanes of a vector."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from .style import COLORS, FAINT, INK, PAPER, arrow, box, canvas, cell, fit, label

LANES = 8


def depthwise_nhwc() -> Figure:
    """Memory of a channels-last image: vectors of channels, the same lanes for every tap."""
    channels, pixels, taps = 12, 5, 3
    figure, axes = canvas(6.6, 2.6)
    for pixel in range(pixels):
        for channel in range(channels):
            cell(axes, channel, pixel, PAPER, edgecolor=FAINT)
        label(axes, -1.2, pixel + 0.5, f"pixel {pixel}", ha="right")
    for tap in range(taps):
        box(axes, 0, 1 + tap, LANES, 1, facecolor=COLORS[0], alpha=0.25 + 0.2 * tap)
        box(axes, channels - LANES, 1 + tap, LANES, 1, facecolor="none", edgecolor=COLORS[1], linewidth=1.6)
        label(axes, LANES / 4, 1.5 + tap, f"x w{tap}", color="white" if tap else INK)
        arrow(axes, (channels + 0.3, 1.5 + tap), (channels + 2.7, 2.5), color=COLORS[0])
    for channel in range(LANES):
        cell(axes, channels + 3 + channel, 2, COLORS[0], alpha=0.7)
    label(axes, channels + 3 + LANES / 2, 3.7, "result of pixel 2, channels 0 to 7")
    label(axes, 2, 5.7, "first vector of channels", color=COLORS[0])
    label(axes, 9.8, 5.7, "the last begins early", color=COLORS[1])
    label(axes, channels / 2, -0.7, "12 channels, neighbours in memory")
    axes.set_xlim(-5, channels + 3 + LANES + 1)
    axes.set_ylim(6.2, -1.2)
    return figure


def small_groups() -> Figure:
    """A permutation spreads channel j of each group over the lanes of its filters; taps and channels add up."""
    channels, filters = 2, 2  # of a group
    groups = LANES // filters
    source = np.arange(groups * channels)
    figure, axes = canvas(6.4, 3.3)
    for number in source:
        cell(axes, 2 * number, 0, COLORS[number // channels], f"c{number}", alpha=0.6)
    for j in range(channels):
        top = 3.4 + 3.2 * j
        for lane in range(LANES):
            group = lane // filters
            channel = group * channels + j
            cell(axes, 2 * lane, top, COLORS[group], f"c{channel}", alpha=0.6)
            if j == 0:
                arrow(axes, (2 * channel + 0.5, 1.05), (2 * lane + 0.5, top - 0.05), color=COLORS[group])
            cell(axes, 2 * lane, top + 1.05, "none", f"w{lane},{j}", edgecolor=FAINT)
        label(axes, 16, top + 0.5, f"channel {j} of each group", ha="left")
        label(axes, 16, top + 1.5, "times the weights of 8 filters", ha="left")
    for lane in range(LANES):
        cell(axes, 2 * lane, 10, COLORS[lane // filters], f"y{lane}")
    label(axes, 16, 0.5, "one vector of the source: 4 groups", ha="left")
    label(axes, 16, 10.5, "sum over channels and taps", ha="left")
    fit(axes, 27, 11)
    return figure
