"""What one thread and one block of depthwise_nhwc compute: from a problem alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_THREADS = 128
MAX_LANES = 64
PIECES = (128, 64, 32)
"""Bytes of a pixel's channels that a block reads: whole lines of the cache, or so many of its sectors."""
EXCESS = 1.1
"""Elements that a patch reads, by those that it computes from alone: where there are more, patches of fewer channels
are larger."""
UNROLLED_WEIGHTS = 50
"""Weights of a plane of taps, for all channels of a thread, that are held in registers, at most."""
MANY_TAPS = 25
MANY_KEPT = 88
"""Sums and weights of a thread, of which a multiprocessor holds fewer blocks."""
MAX_ROW_WEIGHTS = 64
MAX_SUMS = 64
MAX_SPAN = 48
"""Elements of a row that a unit loads, at most."""
MAX_SIDE = 8
"""Rows or columns of a unit."""
LOAD, UNIT = 3, 150
"""Instructions for an element, and for a unit's addresses."""
MAX_GRADIENT_SUMS, MAX_FACTORS = 50, 28
"""Of a unit of a weight gradient: its sums, and elements of the output's gradient."""
SHARED_BYTES = 24 << 10
WANTED_UNITS = 2**16


@dataclass(frozen=True)
class Tile:
    """ROWS, COLUMNS, VECTOR, UNROLLED of kernels.cu."""

    rows: int
    columns: int
    vector: int
    unrolled: bool
    blocks: int = 4


def narrowed(vector: int, taps: Sequence[int]) -> int:
    """As many channels as there are registers for the weights of a row of taps."""
    while vector > 1 and taps[2] * vector > MAX_ROW_WEIGHTS:
        vector //= 2
    return vector


def tile_for(size: Sequence[int], taps: Sequence[int], reach: Sequence[float], steps: Sequence[int], vector: int,
             results: int, units: int, registers: int) -> Tile:  # fmt: skip
    """Of results of this ``size``: the one that takes the fewest instructions. ``reach``: how many rows and columns
    more a unit reads than it computes, at a step of 1; ``steps`` is what rows and columns are multiples of. ``units``
    are the threads if each had one result; ``registers``: of a sum."""
    vector = narrowed(vector, taps)
    unrolled = taps[1] * taps[2] * vector <= UNROLLED_WEIGHTS
    results = min(results, max(1, MAX_SUMS // (vector * registers)))
    while results > 1 and units < results * WANTED_UNITS:
        results //= 2

    def instructions(side: tuple[int, int]) -> float:
        rows, columns = side
        read = (rows + reach[0] if unrolled else rows * taps[1]) * (columns + reach[1])
        of_unit = rows * columns * (taps[1] * taps[2] * vector + LOAD) + LOAD * read + UNIT
        return -(-size[1] // rows) * -(-size[2] // columns) * of_unit

    sides = [
        (rows, columns)
        for rows in range(steps[0], max(steps[0], min(MAX_SIDE, size[1])) + 1, steps[0])
        for columns in range(steps[1], max(steps[1], min(MAX_SIDE, size[2], MAX_SPAN - int(reach[1]))) + 1, steps[1])
        if rows * columns <= max(results, steps[0] * steps[1])
    ]
    rows, columns = min(sides, key=instructions)
    kept = (rows * columns + (taps[1] if unrolled else 1) * taps[2]) * vector * registers
    return Tile(rows, columns, vector, unrolled, 4 if kept <= MANY_KEPT else 3)


@dataclass(frozen=True)
class Block:
    """LANES, PLACES, STRIPS, THREADS of kernels.cu."""

    lanes: int
    places: int
    strips: int

    @property
    def threads(self) -> int:
        return -(-self.lanes * self.places // 32) * 32


def block_for(vectors: int, vector_bytes: int, shared_bytes_of_lane: int, size: Sequence[int], tile: Tile,
              reach: Sequence[float]) -> Block:  # fmt: skip
    """Of so many vectors of channels, whose lanes need so much shared memory each."""
    for piece in PIECES:
        lanes = lanes_for(vectors, min(piece // vector_bytes, SHARED_BYTES // max(shared_bytes_of_lane, 1)))
        places = max(1, MAX_THREADS // lanes)
        strips, excess = patch_for(size, tile, reach, places)
        if excess <= EXCESS:
            break
    return Block(lanes, places, strips)


def lanes_for(vectors: int, most: int) -> int:
    """Of so many vectors of channels, the same in all blocks but the last."""
    return -(-vectors // -(-vectors // max(1, most)))


def patch_for(size: Sequence[int], tile: Tile, reach: Sequence[float], places: int) -> tuple[int, float]:
    """Strips of the band of which a patch of so many units reads the fewest elements, and these by the results."""
    strips, columns = -(-size[1] // tile.rows), -(-size[2] // tile.columns)

    def excess(band: int) -> float:
        bands, parts = -(-strips // band), max(1.0, columns * band / places)
        idle = bands * band / strips
        return idle * (1 + (bands - 1) * reach[0] / size[1]) * (1 + (parts - 1) * reach[1] / size[2])

    bands = {-(-strips // count) for count in range(1, strips + 1)}
    best = min((band for band in bands if band <= places), key=excess, default=1)
    return best, excess(best)


@dataclass(frozen=True)
class GradientTile:
    """ROWS, COLUMNS, VECTOR, TAP_ROWS of kernels.cu."""

    rows: int
    columns: int
    vector: int
    tap_rows: int


def gradient_tile(size: Sequence[int], taps: Sequence[int], steps: Sequence[int], deltas: Sequence[int],
                  vector: int) -> GradientTile:  # fmt: skip
    """The one that takes the fewest instructions for a product; ``vector`` is the most, rows and columns divide the
    results, whose ``size`` this is."""

    def read(axis: int, count: int, of_taps: int) -> int:
        """Elements of the source along an axis."""
        reach = (count - 1) * steps[axis] + (of_taps - 1) * deltas[axis] + 1
        return min(reach, count * of_taps)

    def instructions(tile: GradientTile) -> float:
        results, of_row = tile.rows * tile.columns, read(2, tile.columns, taps[2])
        products = results * tile.tap_rows * taps[2] * tile.vector
        return 1 + (LOAD * (results + read(1, tile.rows, tile.tap_rows) * of_row) + UNIT) / products

    tiles = [
        GradientTile(rows, columns, count, tap_rows)
        for count in (8, 4, 2, 1)
        if count <= vector
        for tap_rows in _divisors(taps[1], taps[1])
        if tap_rows * taps[2] * count <= MAX_GRADIENT_SUMS
        for rows in _divisors(size[1], MAX_SIDE)
        for columns in _divisors(size[2], MAX_SIDE)
        if rows * columns * count <= MAX_FACTORS and read(2, columns, taps[2]) <= MAX_SPAN
    ]
    return min(tiles, key=instructions, default=GradientTile(1, 1, 1, 1))


def _divisors(number: int, most: int) -> list[int]:
    return [count for count in range(1, min(number, most) + 1) if number % count == 0]
