"""What a block of few_channels computes: its warps, its box of pixels, and the channels that it stages at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...gemm import padded
from .phases import Grid

SHARED_BYTES = 54 << 10
"""That a block takes where more channels could be staged at a time: several blocks hide each other's latency."""
MAX_SHARED_BYTES = 96 << 10
MAX_WIDTHS = 8
"""Pieces of a row that boxes are tried for."""
BANKS = 32
STAGED = 0.35
"""What staging a word takes, over one that a lane reads for products with 16 rows."""


@dataclass(frozen=True)
class Tile:
    """The warps of a block, and the 16 x 8 tiles of each."""

    warps_m: int
    warps_n: int
    mt: int
    nt: int
    resident: int
    """Blocks of a multiprocessor, which bounds registers."""

    @property
    def rows(self) -> int:
        """Of the result."""
        return 16 * self.mt * self.warps_m

    @property
    def pixels(self) -> int:
        """The most of a box."""
        return 8 * self.nt * self.warps_n

    @property
    def threads(self) -> int:
        """Of a block."""
        return 32 * self.warps_m * self.warps_n

    @property
    def name(self) -> str:
        """What a plan keeps of it."""
        return f"{self.rows}x{self.pixels}"

    def defines(self) -> dict[str, int | str]:
        """For the kernels' text."""
        return {"WARPS_M": self.warps_m, "WARPS_N": self.warps_n, "MT": self.mt, "NT": self.nt,
                "RESIDENT": self.resident}  # fmt: skip


TILES: Mapping[str, tuple[Tile, ...]] = {
    "bf16": (Tile(1, 4, 4, 4, 4), Tile(1, 4, 2, 8, 4), Tile(1, 4, 1, 8, 5), Tile(1, 4, 1, 4, 8)),
    "tf32": (Tile(1, 4, 4, 4, 4), Tile(1, 4, 2, 8, 4), Tile(1, 4, 1, 8, 5), Tile(1, 4, 1, 4, 8)),
    "3xtf32": (Tile(2, 4, 2, 4, 2), Tile(1, 4, 2, 4, 4), Tile(1, 4, 1, 8, 3), Tile(1, 4, 1, 4, 6)),
}
"""By the arithmetic."""


@dataclass(frozen=True)
class Box:
    """A box of pixels and what is staged for it at a time."""

    height: int
    width: int
    vector: int
    """Elements of a row of the source that are loaded at once."""
    shift: int
    """Columns of a patch in front of the first one that is read."""
    part: int
    """Positions of a row of a patch with the same remainder modulo the step."""
    channel_words: int
    chunks: int
    steps: int
    """Of a chunk: products of eight words."""
    positions: int
    """That are staged of a plane."""
    shared_bytes: int

    def boxes(self, height: int, width: int) -> tuple[int, int]:
        """Of a plane, along each axis."""
        return -(-height // self.height), -(-width // self.width)


def run_of(grid: Grid, itemsize: int) -> int:
    """Neighbouring pixels of one lane: two where their phases fill a vector already."""
    return 2 if grid.phases[2] * 4 * itemsize > 16 and grid.phases[2] > 1 else 4


def box_of(grid: Grid, tile: Tile, pieces: int, per_word: int, vector: int) -> Box | None:
    """The box that takes a correlation least time, by a rough count; None: there is no room for one channel."""
    (_, height, width), best, least = grid.pixels, None, math.inf
    for count in range(1, MAX_WIDTHS + 1):
        wide = min(padded(-(-width // count), 8), tile.pixels) if count > 1 else min(padded(width, 4), tile.pixels)
        is_whole = wide >= width or wide * grid.step[2] % vector == 0
        high = min(tile.pixels // wide, height)
        high = -(-height // -(-height // high))
        box = _box(grid, tile, pieces, per_word, vector if is_whole else 1, high, wide)
        if box is None:
            continue
        boxes = math.prod(box.boxes(height, width))
        planes = box.channel_words * box.chunks * grid.taps[0]
        staged = planes * box.positions * STAGED
        cost = boxes * (box.steps * box.chunks * 8 * tile.pixels * tile.rows / 16 + staged * 8)
        if cost < least:
            best, least = box, cost
    return best


def _box(grid: Grid, tile: Tile, pieces: int, per_word: int, vector: int, height: int,
         width: int) -> Box | None:  # fmt: skip
    (kd, kh, kw), (_, sh, sw), (_, dh, dw) = grid.taps, grid.step, grid.delta
    shift = grid.first[2] % vector
    rows, columns = (height - 1) * sh + (kh - 1) * dh + 1, padded(shift + (width - 1) * sw + (kw - 1) * dw + 1, vector)
    part = padded(-(-columns // sw), 4)
    if sw % 2 == 0:  # the remainders' positions in other banks
        part += (BANKS // sw - part) % BANKS if sw <= 8 else 0
    words = -(-grid.channels // per_word)

    def shared_bytes(channel_words: int) -> int:
        used = channel_words * kd * kh * kw
        steps, plane = -(-used // 8), rows * sw * part
        zeros = (height - 1) * sh * sw * part + width if used % 8 else 0
        weights = steps * tile.rows // 16 * pieces * 512
        return weights + steps * 32 + 4 * (channel_words * kd * plane + zeros)

    chunks = 1
    while chunks < words and shared_bytes(-(-words // chunks)) > SHARED_BYTES:
        chunks += 1
    channel_words = -(-words // chunks)
    if shared_bytes(channel_words) > MAX_SHARED_BYTES:
        return None
    used, taken = channel_words * kd * kh * kw, shared_bytes(channel_words)
    return Box(height, width, vector, shift, part, channel_words, -(-words // channel_words), -(-used // 8),
               rows * columns, taken)  # fmt: skip
