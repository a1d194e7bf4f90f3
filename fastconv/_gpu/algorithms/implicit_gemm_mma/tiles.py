"""Tiles: what a block computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...._algorithm import Params

UNIT_BYTES = 16
"""Of shared memory: neighbouring channels of one position."""


@dataclass(frozen=True)
class Tile:
    """A block's warps, the 16 x 8 tiles of each, the channels of a step, and buffers of weights in turn. Warps of seven
    tiles fit maps of 7, 14, 28, 56 rows."""

    warps_m: int
    warps_n: int
    mt: int
    nt: int
    bk: int
    stages: int
    resident: int
    """Blocks of a multiprocessor, which bounds registers."""
    cycles: float
    """Of a tap of forward problems, without fetching pixels, where so many blocks run; by the model of ``python -m
    bench gpu-model``."""
    alone: float
    """What a step takes where but one block runs, over that."""
    shared: float = 0.0
    """Cycles of a tap whose pixels are read with those of the taps above and below it."""
    pointwise: tuple[float, float] | None = None
    """Cycles of a step and of the rest of a block, of one tap on planes in one piece; None: threads do not copy whole
    rows of such tiles."""
    is_pointwise: bool = False
    """For kernels of one tap alone."""

    @property
    def bm(self) -> int:
        """Channels of the result."""
        return 16 * self.mt * self.warps_m

    @property
    def bn(self) -> int:
        """Pixels."""
        return 8 * self.nt * self.warps_n

    @property
    def threads(self) -> int:
        """Of a block."""
        return 32 * self.warps_m * self.warps_n

    @property
    def name(self) -> str:
        """What a plan keeps of it."""
        return f"{self.bm}x{self.bn}x{self.bk}"

    def defines(self) -> dict[str, int | str]:
        """For the kernels' text."""
        return {"WARPS_M": self.warps_m, "WARPS_N": self.warps_n, "MT": self.mt, "NT": self.nt, "BK": self.bk,
                "STAGES": self.stages, "RESIDENT": self.resident}  # fmt: skip


TILES: Mapping[str, tuple[Tile, ...]] = {
    "bf16": (
        Tile(2, 2, 4, 7, 32, 3, 2, 500, 1.5, 354),
        Tile(2, 2, 4, 8, 32, 3, 2, 380, 1.5, 454, (560, 2520)),
        Tile(1, 4, 4, 7, 32, 3, 2, 450, 1.5, 383),
        Tile(2, 2, 2, 4, 32, 3, 4, 140, 2.0, 110, (200, 670)),
        Tile(2, 2, 4, 4, 32, 3, 4, 230, 2.4, 230, (288, 1040), is_pointwise=True),
    ),
    "tf32": (Tile(2, 2, 4, 7, 16, 3, 2, 545, 1.4, 474), Tile(2, 2, 2, 4, 16, 3, 4, 240, 3.0, 210)),
    "3xtf32": (Tile(2, 2, 2, 7, 16, 3, 2, 745, 1.2), Tile(2, 2, 2, 4, 16, 3, 3, 340, 2.0)),
    "int8": (
        Tile(2, 2, 4, 7, 64, 3, 2, 360, 1.5, 320),
        Tile(2, 2, 2, 7, 64, 3, 2, 180, 1.5, 180),
        Tile(2, 2, 2, 4, 64, 3, 3, 140, 1.5, 140),
        Tile(2, 2, 2, 4, 32, 3, 4, 70, 2.0, 60),
    ),
}
"""Of forward problems and input gradients, by the arithmetic."""
GRADIENT_TILES: Mapping[str, tuple[Tile, ...]] = {
    "bf16": (
        Tile(2, 2, 4, 8, 32, 3, 2, 528, 1.7, pointwise=(680, 2520)),
        Tile(1, 4, 4, 8, 32, 3, 2, 570, 1.7, pointwise=(645, 2070)),
        Tile(2, 2, 2, 4, 32, 3, 4, 285, 3.2, pointwise=(250, 620)),
    ),
    "tf32": (Tile(2, 2, 4, 8, 16, 3, 2, 645, 1.4), Tile(2, 2, 2, 4, 16, 3, 4, 285, 3.0)),
    "3xtf32": (Tile(2, 2, 2, 8, 16, 3, 2, 900, 1.2), Tile(2, 2, 2, 4, 16, 3, 3, 393, 2.0)),
}
"""Of weight gradients."""


def tiles_for(arithmetic: str, direction: str) -> tuple[Tile, ...]:
    """Those that problems of a direction may take."""
    return (GRADIENT_TILES if direction == "backward_weight" else TILES)[arithmetic]


def tile_of(arithmetic: str, direction: str, params: Params) -> Tile:
    """The tile that ``params`` name."""
    return next(tile for tile in tiles_for(arithmetic, direction) if tile.name == params["tile"])
