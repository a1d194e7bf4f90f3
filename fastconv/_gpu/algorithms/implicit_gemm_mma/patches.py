"""Patches: what a block reads of the source at a time, and the boxes of pixels whose taps share one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...gemm import padded
from ...source import DIVIDER, divider
from .tiles import UNIT_BYTES, Tile

_DIVIDERS = ("columns", "column_boxes", "width", "depth", "pitch", "part", "reach", "step", "row_taps")
BOX = np.dtype(
    [
        *((name, DIVIDER) for name in _DIVIDERS),
        *((name, np.int32) for name in ("height", "positions", "planes", "rows", "turns")),
    ]
)
"""fc_box of kernels.cu."""
EIGHT = 8
"""Pixels of a tile of one product, side by side in a box."""
MAX_POSITIONS = 576
"""Of a patch, so that a multiprocessor has room for two blocks."""
MAX_TAPS = 3
"""Below each other that a step multiplies."""
SHARED_TEXT = 64
"""Positions are rounded up to its multiples, and units of a step to powers of two, so that layers share kernels."""
FETCHED = 0.8
"""What fetching a position takes, over its products with a tile's rows."""
LINE = 24
"""Positions that are read in vain beside every row of a patch: memory comes in sectors."""
ALONE = 1.25
"""What a product takes where every tap reads its pixels anew, over one where those below each other share them."""


def max_taps(arithmetic: str) -> int:
    """Of a step; sums of two tf32 have no registers for more than one."""
    return 1 if arithmetic == "3xtf32" else MAX_TAPS


@dataclass(frozen=True)
class Box:
    """Pixels of a block, and the patch of the source that all their taps read. Its columns run on from a plane to the
    next one."""

    height: int
    columns: int
    """Tiles of eight pixels side by side."""
    taps: int
    """Of a step, below each other."""
    turns: int
    """Steps of a patch."""
    rows: int
    """Of the patch."""
    part: int
    """Columns of the patch with the same remainder modulo the step."""
    reach: int
    """Those of one plane."""
    step: int

    @property
    def width(self) -> int:
        """In pixels."""
        return EIGHT * self.columns

    @property
    def pitch(self) -> int:
        """Positions of a row of the patch."""
        return self.step * self.part

    @property
    def positions(self) -> int:
        """Of the patch."""
        return self.rows * self.pitch

    def boxes(self, planes: int, height: int, width: int) -> int:
        """Of so many planes of so many pixels."""
        return -(-planes * width // self.width) * -(-height // self.height)


def _box(c: np.ndarray, tile: Tile, taps: int, columns: int) -> Box:
    """With so many taps to a step, and so many tiles side by side."""
    (_, sh, sw), (_, dh, dw), (_, th, tw) = (c[name].tolist() for name in ("step", "delta", "taps"))
    width, planes, wide = int(c["pixels"][2]), int(c["batch"]) * int(c["pixels"][0]), EIGHT * columns
    high, beyond = tile.bn // wide, (tw - 1) * dw // sw
    passed = min((width - math.gcd(width, wide) + wide - 1) // width, planes - 1)  # to next planes, in a box
    part = wide + beyond * (passed + 1)
    return Box(high, columns, taps, th * tw // taps, (high - 1) * sh + (th - 1) * dh + 1, part, width + beyond, sw)


def box_of(c: np.ndarray, tile: Tile, limit: int, max_taps: int = MAX_TAPS) -> Box | None:
    """The box of the tile's pixels that takes a correlation least time, by a rough count of products and of positions
    that are read, at most ``limit``; None: taps had better read one by one. Steps have ``max_taps`` at most."""
    (_, height, width), (_, th, tw) = c["pixels"].tolist(), c["taps"].tolist()
    if th * tw <= 1 or height * width == 0:
        return None
    planes = int(c["batch"]) * int(c["pixels"][0])
    best, least = None, planes * height * width * th * tw * (ALONE + FETCHED)
    shares = 1 < th <= max_taps and int(c["step"][1]) == int(c["delta"][1]) == 1
    for taps in (1, th) if shares else (1,):
        tiles = tile.warps_n * (tile.nt if taps == 1 else 1)
        for columns in (n for n in range(1, tiles + 1) if tiles % n == 0):
            box = _box(c, tile, taps, columns)
            products = th * tw * tile.bn * (ALONE if taps == 1 else 1)
            read = FETCHED * (box.positions + LINE * box.rows)
            count = box.boxes(planes, height, width) * (products + read)
            if box.positions <= limit and count < least:
                best, least = box, count
    return best


def box_struct(c: np.ndarray, box: Box | None) -> np.ndarray:
    """fc_box of a correlation; where there is none, one that a single tap shares."""
    made, (depth, height, width) = np.zeros((), BOX), c["pixels"].tolist()
    made["turns"] = 1
    if box is None:
        return made
    planes = int(c["batch"]) * depth
    values = (box.columns, -(-planes * width // box.width), width, depth, box.pitch, box.part, box.reach, box.step,
              int(c["taps"][2]))  # fmt: skip
    for name, value in zip(_DIVIDERS, values, strict=True):
        made[name] = divider(value)
    made["height"], made["positions"], made["turns"] = box.height, box.positions, box.turns
    made["planes"], made["rows"] = planes, height
    return made


@dataclass(frozen=True)
class Patch:
    """How a block reads its source: ``positions`` of a box, or of pixels in a row."""

    box: Box | None
    positions: int
    along: str
    """CHANNELS: whole units are copied; PIXELS: they are put together of single elements."""
    units: int
    """Of 16 bytes, that a thread fetches."""
    held: int
    """Positions of a thread."""
    parts: int
    """Units that a thread fetches in a step."""
    buffers: int
    stages: int
    """Of weights."""
    lane_columns: int
    """Results of a lane side by side."""

    @classmethod
    def of(cls, tile: Tile, box: Box | None, along: str, itemsize: int) -> Patch:
        """While one is multiplied, the next one is fetched."""
        chunks, positions = tile.bk * itemsize // UNIT_BYTES, padded(box.positions, SHARED_TEXT) if box else tile.bn
        is_copied = along == "CHANNELS"
        units = -(-positions * chunks // tile.threads)
        held = units if box or is_copied or positions % tile.threads else units // chunks
        taps, turns = (box.taps, box.turns) if box else (1, 1)
        stages = tile.stages if taps == 1 else 2
        buffers, steps = 2, turns
        if is_copied:  # copies have stages - 1 steps to arrive
            buffers, steps = (2, turns - stages + 2) if turns >= stages else (stages, turns)
        parts = min(1 << (-(-units // steps) - 1).bit_length(), units)
        return cls(box, positions, along, units, held, parts, buffers, stages, 2 if box or tile.nt % 2 else 4)

    @property
    def taps(self) -> int:
        """Of a step."""
        return self.box.taps if self.box else 1

    def defines(self) -> dict[str, int | str]:
        """For the kernels' text."""
        return {"BOX": int(self.box is not None), "TAPS": self.taps, "POSITIONS": self.positions, "PARTS": self.parts,
                "PATCHES": self.buffers, "STAGES": self.stages, "LANE_COLUMNS": self.lane_columns,
                "ALONG": self.along}  # fmt: skip
