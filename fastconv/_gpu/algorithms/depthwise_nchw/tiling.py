"""What one thread of the depthwise kernels computes, and which code there is for it: from a problem alone."""

from __future__ import annotations

from dataclasses import dataclass

from ...._problem import Sizes

UNROLLED_TAPS = 49
"""Taps of a plane that are held in registers, at most."""
MAX_SPAN = 48
"""Elements of a row that a unit of several columns loads, at most."""
MAX_SOURCE_ROWS = 32
"""Rows that a unit with all taps in registers loads, at most."""
MANY_TAPS = 25
WANTED_UNITS = {"forward": 2**15, "backward_input": 2**15, "backward_weight": 2**14}
"""Threads that keep a large device busy; with fewer, units are made smaller. By ``python -m bench gpu-model`` for an
H200, as ``wanted_results``."""


@dataclass(frozen=True)
class Tile:
    """ROWS, COLUMNS, UNROLLED of kernels.cu."""

    rows: int
    columns: int
    unrolled: bool


def span(columns: int, taps: int, step: int, delta: int) -> int:
    """Elements of a row that so many columns read, at most, from a vector's start on."""
    return 2 * columns - 1 + (columns - 1) * (step - 1) + (taps - 1) * delta


def columns_for(wanted: int, taps: int, step: int, delta: int) -> int:
    """As many columns as are wanted, unless they would load too many elements."""
    while wanted > 1 and span(wanted, taps, step, delta) > MAX_SPAN:
        wanted //= 2
    return wanted


def wanted_results(problem_results: int, taps: int, direction: str, itemsize: int, is_strided_gradient: bool) -> int:
    """Results of a unit: more where each needs many taps, if registers suffice, fewer where units would be too few."""
    if taps > UNROLLED_TAPS:
        results = 8
    elif direction == "backward_weight":
        results = 32 if itemsize < 8 else 16
    elif taps < MANY_TAPS:
        results = 16 if itemsize > 2 or is_strided_gradient else 32
    else:  # addresses for the exact sums of an input gradient take registers, too
        results = 16 if direction == "backward_input" and taps > MANY_TAPS and itemsize > 2 else 32
    while results > 4 and problem_results < results * WANTED_UNITS[direction]:
        results //= 2
    return results


def tile_for(pixels: Sizes, taps: Sizes, step: Sizes, delta: Sizes, columns: int, results: int) -> Tile:
    """The tile of a correlation; ``columns`` and ``results`` are the most."""
    columns = columns_for(columns, taps[2], step[2], delta[2])
    unrolled = taps[1] * taps[2] <= UNROLLED_TAPS and (taps[1] - 1) * delta[1] < MAX_SOURCE_ROWS // 2
    rows = max(1, results // columns)
    while rows > 1 and unrolled and (rows - 1) * step[1] + (taps[1] - 1) * delta[1] >= MAX_SOURCE_ROWS:
        rows -= 1
    strips = -(-pixels[1] // rows)
    return Tile(-(-pixels[1] // strips), columns, unrolled)


def strided_rows(pixels: int, stride: int, before: int, rows: int) -> int:
    """Rows of a unit of an input gradient of all stride phases, ``rows`` at most: a multiple of the stride."""
    most, size = max(stride, rows // stride * stride), pixels + before % stride
    strips = -(-size // most)
    return -(-size // (strips * stride)) * stride
