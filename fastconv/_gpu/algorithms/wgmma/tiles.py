"""Tiles: what a block computes, and what it takes of a multiprocessor."""

from __future__ import annotations

from dataclasses import dataclass

from ...._algorithm import Params


@dataclass(frozen=True)
class Tile:
    """Results of a block: bm filters x bn pixels, by way of a ring of so many stages."""

    bm: int
    bn: int
    stages: int
    resident: int
    """Blocks of a multiprocessor, which bounds registers and stages."""
    efficiency: float
    """Of the tensor cores in the steady state, by the model of ``python -m bench gpu-model`` for an H200."""

    @property
    def name(self) -> str:
        """What a plan keeps of it."""
        return f"{self.bm}x{self.bn}"

    @property
    def threads(self) -> int:
        """Of a block: a warpgroup for 64 filters, and the warp that feeds them."""
        return 2 * self.bm + 32

    @property
    def shared_bytes(self) -> int:
        """The ring, which begins at a multiple of 1024 bytes."""
        return self.stages * (self.bm + self.bn) * 128 + 1024

    def defines(self) -> dict[str, int | str]:
        """For the kernels' text."""
        return {"BM": self.bm, "BN": self.bn, "STAGES": self.stages, "RESIDENT": self.resident}


TILES = (Tile(128, 128, 3, 2, 0.9), Tile(128, 256, 4, 1, 0.9), Tile(64, 128, 4, 2, 0.7))


def tile_of(params: Params) -> Tile:
    """The tile that ``params`` name."""
    return next(tile for tile in TILES if tile.name == params["tile"])
