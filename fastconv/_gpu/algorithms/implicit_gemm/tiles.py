"""Tiles: what a block computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...._algorithm import Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...gemm import depth


@dataclass(frozen=True)
class Tile:
    """Results of a block (bm x bn), of a thread (tm x tn), and steps of bk products in buffers in turn."""

    bm: int
    bn: int
    bk: int
    tm: int
    tn: int
    stages: int
    resident: int
    """Blocks of a multiprocessor, which bounds registers."""
    efficiency: float
    """Of the FMA units, with many warps; as all constants of the cost model, fitted to what ``python -m bench
    gpu-model`` predicts for an H200."""
    gradient_efficiency: float
    """Of weight gradients."""

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.bm * self.bn // (self.tm * self.tn)

    @property
    def name(self) -> str:
        """What a plan keeps of it."""
        of_thread = "" if self.tm * self.tn <= 64 else f"-{self.tm}x{self.tn}"
        return f"{self.bm}x{self.bn}x{self.bk}{of_thread}"

    def defines(self) -> dict[str, int | str]:
        """For the kernels' text."""
        return {"BM": self.bm, "BN": self.bn, "BK": self.bk, "TM": self.tm, "TN": self.tn, "STAGES": self.stages,
                "RESIDENT": self.resident}  # fmt: skip


TILES: Mapping[str, tuple[Tile, ...]] = {
    "float32": (
        Tile(128, 128, 16, 8, 8, 2, 2, 0.78, 0.81),
        Tile(64, 128, 16, 8, 8, 2, 4, 0.80, 0.69),
        Tile(64, 64, 16, 8, 8, 2, 8, 0.80, 0.63),
        Tile(128, 128, 8, 8, 8, 3, 2, 0.78, 0.73),
        Tile(64, 64, 8, 8, 8, 2, 7, 0.70, 0.59),
    ),
    "float64": (Tile(64, 64, 8, 8, 4, 2, 3, 0.75, 0.65),),
}
POINTWISE_TILES = (
    Tile(128, 128, 16, 8, 16, 2, 2, 0.0, 0.87),
    Tile(64, 128, 16, 8, 16, 2, 4, 0.0, 0.87),
    Tile(128, 64, 16, 16, 8, 2, 4, 0.0, 0.87),
)
"""Of weight gradients of one tap: with so few other registers a thread has twice the results, and so reads less."""


def tiles_for(problem: ConvProblem) -> tuple[Tile, ...]:
    """Those that a problem may take."""
    is_one = math.prod(problem.kernel_size) == 1 and problem.direction == "backward_weight"
    is_wide = is_one and problem.dtype == "float32" and problem.layout == "channels_first"
    return TILES[problem.dtype] + (POINTWISE_TILES if is_wide else ())


def tile_of(problem: ConvProblem, params: Params) -> Tile:
    """The tile that ``params`` name."""
    return next(tile for tile in tiles_for(problem) if tile.name == params["tile"])


def mean_depth(problem: ConvProblem, tile: Tile) -> float:
    """Steps of the reduction, of all stride phases on average."""
    c = Correlation.of(problem)
    of_phase = math.prod(problem.kernel_size) / max(problem.phases, 1)
    return depth(problem, tile.bk) * (1 if c.is_gradient else of_phase / math.prod(c.taps))
