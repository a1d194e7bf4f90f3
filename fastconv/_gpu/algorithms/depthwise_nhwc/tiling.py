"""What one thread and one block of depthwise_nhwc compute: from a problem alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_THREADS = 128
MAX_LANES = 64
UNROLLED_WEIGHTS = 50
"""Weights of a plane of taps, for all channels of a thread, that are held in registers, at most."""
MANY_TAPS = 25
MAX_ROW_WEIGHTS = 64
MAX_SUMS = 32
MAX_SPAN = 48
"""Elements of a row that a unit loads, at most."""
MAX_GRADIENT_SUMS = 50
SHARED_BYTES = 24 << 10
WIDTHS = (4, 7, 8, 5, 6, 3, 2)
"""Columns of a unit of a weight gradient, the best first: they have to divide the row."""
WANTED_UNITS = 2**16


@dataclass(frozen=True)
class Tile:
    """ROWS, COLUMNS, VECTOR, UNROLLED of kernels.cu."""

    rows: int
    columns: int
    vector: int
    unrolled: bool


def narrowed(vector: int, taps: Sequence[int]) -> int:
    """As many channels as there are registers for the weights of a row of taps."""
    while vector > 1 and taps[2] * vector > MAX_ROW_WEIGHTS:
        vector //= 2
    return vector


def tile_for(size: Sequence[int], taps: Sequence[int], span: int, steps: Sequence[int], vector: int, results: int,
             units: int) -> Tile:  # fmt: skip
    """Of results of this ``size``; ``span`` is how many elements more a row of them reads than there are results, and
    ``steps`` is what rows and columns are multiples of. ``units`` are the threads if each had one result."""
    vector = narrowed(vector, taps)
    unrolled = taps[1] * taps[2] * vector <= UNROLLED_WEIGHTS
    results = min(results, max(1, MAX_SUMS // vector))
    while results > 1 and units < results * WANTED_UNITS:
        results //= 2
    columns = min(max(steps[1], results // steps[1] * steps[1]), 4 if steps[1] < 3 else steps[1])
    columns = min(columns, -(-size[2] // steps[1]) * steps[1])
    while columns > steps[1] and columns + span > MAX_SPAN:
        columns -= steps[1]
    rows = max(steps[0], results // columns // steps[0] * steps[0])
    return Tile(min(rows, 8 if steps[0] < 3 else steps[0]), columns, vector, unrolled)


def block_for(vectors: int, shared_bytes_of_lane: int) -> tuple[int, int, int]:
    """Lanes, places and threads of a block, for so many vectors of channels. Lanes are fewer where each needs much
    shared memory."""
    most = min(MAX_LANES, max(1, SHARED_BYTES // max(shared_bytes_of_lane, 1)))
    chunks = -(-vectors // most)
    lanes = -(-vectors // chunks)
    places = max(1, MAX_THREADS // lanes)
    return lanes, places, -(-lanes * places // 32) * 32


def gradient_tile(width: int, taps: Sequence[int], span: int, vector: int) -> tuple[int, int, int]:
    """Columns of a unit of a weight gradient, rows of taps, channels of a thread."""
    while vector > 1 and taps[2] * vector > MAX_GRADIENT_SUMS // min(taps[1], 3):
        vector //= 2
    rows = max((n for n in range(1, taps[1] + 1) if taps[1] % n == 0 and n * taps[2] * vector <= MAX_GRADIENT_SUMS),
               default=1)  # fmt: skip
    columns = next((n for n in WIDTHS if width % n == 0 and n + span <= MAX_SPAN and n * vector <= MAX_SUMS), 1)
    return columns, rows, vector
