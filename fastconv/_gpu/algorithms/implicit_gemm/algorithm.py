"""implicit_gemm in strict float32 and float64: a block computes a tile of (channels, pixels) on the FMA units."""

from __future__ import annotations

import math

import numpy as np

from ...._algorithm import MAX_PHASES, Algorithm, Machine, Params
from ...._problem import ConvProblem
from .launches import MAX_GRID_HEIGHT, packed_bytes, partial_bytes
from .parts import UNLIMITED
from .tiles import TILES, Tile, depth, matrix

WAVE = 132 * 4
"""Tiles of 64 x 128 that are computed at a time on a large device. Part of the choice of splits, and so of the
result's bits, which must not depend on the device at hand."""
MIN_STEPS_OF_SPLIT = 16
MAX_SPLITS = 64
PARTIAL_BYTES = 2**28
SHARE_OF_PEAK = 0.75
"""Multiply-adds of full tiles, of what the units can do."""
OUTSIDE_STEPS = 12
"""Steps that take as long as what a tile does before the first and after the last one."""


def _splits(problem: ConvProblem, tile: Tile) -> int:
    """Parts of the reduction, so that there are tiles for all multiprocessors."""
    rows, columns = matrix(problem)
    tiles = problem.groups * -(-rows // tile.bm) * -(-columns // tile.bn) * tile.bm * tile.bn / (64 * 128)
    wanted = math.ceil((2 if problem.direction == "backward_weight" else 1) * WAVE / max(tiles, 1))
    size = max(problem.groups * rows * columns * np.dtype(problem.dtype).itemsize, 1)
    return max(1, min(wanted, depth(problem, tile) // MIN_STEPS_OF_SPLIT, MAX_SPLITS, PARTIAL_BYTES // size))


class ImplicitGemm(Algorithm):
    """Any problem in float32 and float64 without too many stride phases and groups."""

    name = "implicit_gemm"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        channels, filters = (size // problem.groups for size in (problem.in_channels, problem.out_channels))
        return (
            problem.phases <= MAX_PHASES
            and problem.groups <= MAX_GRID_HEIGHT
            and max(channels, filters) < MAX_GRID_HEIGHT * 8
            and math.prod(problem.weight_shape) < UNLIMITED.elements
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        found: list[tuple[float, int, Params]] = []
        for tile in TILES[problem.dtype]:
            best = _splits(problem, tile)
            for splits in dict.fromkeys((best, max(best // 2, 1), 1)):
                params = {"tile": tile.name, "splits": splits}
                found.append((self._cycles(problem, tile, splits), len(found), params))
        return [params for _, _, params in sorted(found, key=lambda one: one[:2])]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        packed = 0 if problem.direction == "backward_weight" else packed_bytes(problem, params)
        return packed + partial_bytes(problem, params)

    def _cycles(self, problem: ConvProblem, tile: Tile, splits: int) -> float:
        """Multiply-adds that one of WAVE places does, one after the other."""
        rows, columns = matrix(problem)
        tiles = problem.groups * -(-rows // tile.bm) * -(-columns // tile.bn) * splits
        steps = -(-depth(problem, tile) // splits) + OUTSIDE_STEPS
        places = WAVE * 64 * 128 / (tile.bm * tile.bn)
        rounds = math.ceil(tiles / places * 4) / 4 if tiles > places else 1
        return problem.phases * rounds * steps * tile.bm * tile.bn * tile.bk

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Rounds of tiles at the device's rate, the arrays' bytes, the launches."""
        tile = next(tile for tile in TILES[problem.dtype] if tile.name == params["tile"])
        splits, itemsize = params["splits"], np.dtype(problem.dtype).itemsize
        rate = machine.multiply_adds_per_second[problem.dtype] * SHARE_OF_PEAK
        products = self._cycles(problem, tile, splits) * WAVE * 64 * 128 / (tile.bm * tile.bn)
        shapes = (problem.input_shape, problem.weight_shape, problem.output_shape)
        moved = sum(map(math.prod, shapes)) * itemsize + 2 * partial_bytes(problem, params)
        launches = problem.phases * (2 if splits > 1 else 1) + (problem.direction != "backward_weight")
        return max(products / rate, moved / machine.bytes_per_second) + launches * machine.call_seconds
