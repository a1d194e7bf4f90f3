"""Patches: what a block reads of the source at a time, and the boxes of pixels whose taps share one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...source import DIVIDER, divider
from .tiles import UNIT_BYTES, Tile

_DIVIDERS = ("width", "image_tiles", "plane_tiles", "row_tiles", "pitch", "part", "step", "row_taps")
BOX = np.dtype(
    [*((name, DIVIDER) for name in _DIVIDERS), ("height", np.int32), ("pixels", np.int32, 2), ("taps", np.int32, 2)]
)
"""fc_box of kernels.cu."""
MAX_POSITIONS = 1024
"""Of a patch."""
FETCHED = 0.8
"""What fetching a position takes, over its products with a tile's rows."""


@dataclass(frozen=True)
class Box:
    """A tile of pixels of one plane, and the patch of the source that all its taps read."""

    height: int
    width: int
    rows: int
    """Of the patch."""
    part: int
    """Columns of the patch with the same remainder modulo the step."""
    step: int

    @property
    def pitch(self) -> int:
        """Positions of a row of the patch."""
        return self.step * self.part

    @property
    def positions(self) -> int:
        """Of the patch."""
        return self.rows * self.pitch

    def tiles(self, height: int, width: int) -> int:
        """Of a plane."""
        return -(-height // self.height) * -(-width // self.width)


def box_of(c: np.ndarray, pixels: int, limit: int) -> Box | None:
    """The box of at most so many pixels that takes a correlation least time, by a rough count of products and of
    positions that are read, at most ``limit``; None: taps had better read one by one."""
    (_, height, width), (_, th, tw) = c["pixels"].tolist(), c["taps"].tolist()
    if th * tw <= 1 or height * width == 0:
        return None
    (_, sh, sw), (_, dh, dw) = c["step"].tolist(), c["delta"].tolist()
    planes = int(c["batch"]) * int(c["pixels"][0])
    best, least = None, planes * height * width / pixels * th * tw * (pixels + FETCHED * pixels)
    for wide in sorted({min(width, pixels), *(-(-width // n) for n in range(1, 9)), 8, 16, 32, 64}):
        if not 0 < wide <= pixels:
            continue
        high = min(pixels // wide, height)
        high = -(-height // -(-height // high))
        part = -(-((wide - 1) * sw + (tw - 1) * dw + 1) // sw)
        box = Box(high, wide, (high - 1) * sh + (th - 1) * dh + 1, part, sw)
        count = planes * box.tiles(height, width) * (th * tw * pixels + FETCHED * box.positions)
        if box.positions <= limit and count < least:
            best, least = box, count
    return best


def box_struct(c: np.ndarray, box: Box | None) -> np.ndarray:
    """fc_box of a correlation; where there is none, one that a single tap shares."""
    made, (depth, height, width) = np.zeros((), BOX), c["pixels"].tolist()
    made["taps"] = 1
    if box is None:
        return made
    rows, columns = -(-height // box.height), -(-width // box.width)
    values = (box.width, rows * columns * depth, rows * columns, columns, box.pitch, box.part, box.step,
              int(c["taps"][2]))  # fmt: skip
    for name, value in zip(_DIVIDERS, values, strict=True):
        made[name] = divider(value)
    made["height"], made["pixels"], made["taps"] = box.height, (height, width), c["taps"][1:]
    return made


@dataclass(frozen=True)
class Patch:
    """How a block reads its source: ``positions`` of a box, or of pixels in a row."""

    box: Box | None
    positions: int
    along: str
    """CHANNELS: whole units are copied; PIXELS: they are put together of single elements."""
    held: int
    """Positions of a thread."""
    parts: int
    """Units of 16 bytes that a thread fetches in a step."""
    buffers: int

    @classmethod
    def of(cls, tile: Tile, box: Box | None, taps: int, along: str, itemsize: int) -> Patch:
        """Of so many taps that share it, over whose steps fetching the next one is spread."""
        chunks, positions = tile.bk * itemsize // UNIT_BYTES, box.positions if box else tile.bn
        is_copied = along == "CHANNELS"
        held = -(-positions * (chunks if is_copied else 1) // tile.threads)
        units, buffers, steps = held if is_copied else held * chunks, 2, taps
        if is_copied:  # copies have STAGES - 1 steps to arrive
            buffers, steps = (2, taps - tile.stages + 2) if taps >= tile.stages else (tile.stages, taps)
        return cls(box, positions, along, held, -(-units // steps), buffers)

    def defines(self) -> dict[str, int | str]:
        """For the kernels' text."""
        return {"BOX": int(self.box is not None), "POSITIONS": self.positions, "PARTS": self.parts,
                "PATCHES": self.buffers, "ALONG": self.along}  # fmt: skip
