"""Minimal filtering F(m, r): m results of r taps by the m + r - 1 products of a tile; its matrices, and its errors.

Winograd, Arithmetic Complexity of Computations, SIAM 1980; the points of tiles of 6: Barabasz et al., ACM TOMS 46
(2020).
"""

from __future__ import annotations

import functools
import math

import numpy as np

PAIRS = {4: (1.0,), 5: (0.375, 1.25), 6: (0.5**0.5, 2**0.5), 8: (0.5, 1.0, 2.0)}
"""By tile size, the points of interpolation with both signs; with them infinity and, for even sizes, 0."""

ROUNDOFFS = {
    (4, 2): (7.0, 1.4),
    (5, 2): (8.0, 3.0),
    (6, 2): (16.0, 7.4),
    (4, 3): (5.0, 1.0),
    (5, 3): (8.0, 3.0),
    (6, 3): (10.0, 4.6),
    (6, 4): (10.0, 4.6),
    (6, 5): (10.0, 4.6),
    (8, 6): (12.0, 5.5),
    (8, 7): (12.0, 5.5),
}
"""By (tile size, taps): the usual error is a + b sqrt(reduction) roundoffs; measured, with a factor of 1.5 to spare."""

HIGH_LIMIT = 1e-5
"""The usual error that "high" admits."""


@functools.cache
def matrices(tile_size: int, taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T, G and B^T: results of taps g and elements d are A^T ((G g) * (B^T d)). Of one point: all are 1."""
    if tile_size == 1:
        return np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1))
    signed = [sign * point for point in PAIRS[tile_size] for sign in (1, -1)]
    finite = np.array(signed if tile_size % 2 else [0.0, *signed])
    results = tile_size - taps + 1
    to_result, of_taps = np.zeros((results, tile_size)), np.zeros((tile_size, taps))
    of_source = np.zeros((tile_size, tile_size))
    to_result[:, :-1] = finite ** np.arange(results)[:, None]
    for j, point in enumerate(finite):
        others = np.delete(finite, j)
        of_taps[j] = point ** np.arange(taps) / np.prod(point - others)
        of_source[j, :-1] = np.poly(others)[::-1]
    to_result[-1, -1] = of_taps[-1, -1] = 1  # infinity
    of_source[-1] = np.poly(finite)[::-1]
    return to_result, of_taps, of_source


@functools.cache
def amplification(tile_size: int, taps: int) -> float:
    """How much larger than the definition's the terms of one axis may be: the largest over results i of the sum over
    points j of |A_ij| |G_j| |B_j|, with the 2-norms of rows."""
    to_result, of_taps, of_source = matrices(tile_size, taps)
    norms = np.linalg.norm(of_taps, axis=1) * np.linalg.norm(of_source, axis=1)
    return float((np.abs(to_result) @ norms).max())


def normwise_roundoffs(tile_size: int, taps: int, axes: int, reduction: int) -> float:
    """Of a bound for any data: sums over the reduction and the points, amplified once per axis."""
    return (reduction + 8 * tile_size + 8) * amplification(tile_size, taps) ** axes


def usual_roundoffs(tile_size: int, taps: int, chain: int) -> float:
    """Of the largest result, on usual data; ``chain``: how many products are summed one after the other."""
    constant, slope = ROUNDOFFS[tile_size, taps]
    return constant + slope * math.sqrt(chain)
