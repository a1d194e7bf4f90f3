"""A float32 as three bfloat16 pieces, and the products of pieces that each precision adds up."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import BLUE, COLORS, FAINT, GREEN, ORANGE, box, canvas, cell, fit, label

PRODUCTS = {(0, 0): 1, (0, 1): 3, (1, 0): 3, (1, 1): 6, (0, 2): 6, (2, 0): 6}
"""The least number of products that has the product of pieces (x, w); job.h."""


def split(value: float) -> list[float]:
    """Three pieces of 8 bits, each what the one before has left, rounded to nearest, ties away from zero."""
    pieces = []
    for _ in range(3):
        exponent = math.frexp(value)[1] - 8
        piece = math.copysign(math.floor(abs(value) * 2.0**-exponent + 0.5), value) * 2.0**exponent
        pieces.append(piece)
        value -= piece
    return pieces


def split_bf16() -> Figure:
    """The pieces of pi, and which products of pieces belong to 1, 3 and 6."""
    value = 13176795 * 2.0**-22  # the float32 next to pi
    pieces = split(value)
    assert sum(pieces) == value
    figure, axes = canvas(7, 4.4)
    label(axes, -0.5, 0.5, "x", ha="right")
    for place, bit in enumerate(f"{13176795:024b}"):
        cell(axes, place, 0, "#eef1f4", bit, edgecolor=FAINT)
    for number, piece in enumerate(pieces):
        top = 1.6 + 1.4 * number
        units = abs(round(piece * 2**22))
        digits = f"{units:b}"[:8]
        label(axes, -0.5, top + 0.5, f"x{number}", ha="right")
        for place, bit in enumerate(digits):
            cell(axes, 24 - units.bit_length() + place, top, COLORS[number], bit, alpha=0.55)
        label(axes, 25, top + 0.5, f"{'-' if piece < 0 else '+'} {abs(piece):.3g}", ha="left")
    label(axes, 12, 6.6, "the float32 next to $\\pi$: its 24 bits, as a sum of pieces of 8 bits, each rounded")
    products(axes, 6, 9.2)
    fit(axes, 29, 17.4)
    return figure


def products(axes: Axes, left: float, top: float) -> None:
    """The products of three pieces with three, coloured by the least number of products that has them."""
    shades = {1: BLUE, 3: ORANGE, 6: GREEN}
    side = 2.4
    for i in range(3):
        label(axes, left - 0.9, top + side * (i + 0.5), f"x{i}")
        label(axes, left + side * (i + 0.5), top - 0.8, f"w{i}")
        for j in range(3):
            count = PRODUCTS.get((i, j))
            color = shades[count] if count else "none"
            box(axes, left + side * j, top + side * i, side, side, facecolor=color, alpha=0.65 if count else 1)
            size = f"$2^{{-{8 * (i + j)}}}$" if i + j else "1"
            label(axes, left + side * (j + 0.5), top + side * (i + 0.5), size)
    for number, (count, color) in enumerate(shades.items()):
        cell(axes, left + 9, top + 0.3 + 1.6 * number, color, alpha=0.65)
        words = {1: 'one product: "medium"', 3: '+ two, three in all: "high"', 6: "+ three, six in all"}[count]
        label(axes, left + 10.5, top + 0.8 + 1.6 * number, words, ha="left")
    label(axes, left + 9, top + 5.8, "sizes of the products;\nwhite ones are left out", ha="left")
