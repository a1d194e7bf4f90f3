"""few_channels on tensor cores, by mma.sync: 16-bit floats, and float32 as tf32 or as sums of two of them."""

from __future__ import annotations

import math
from typing import Any

from ...._algorithm import Machine, Params
from ...._problem import ConvProblem, numpy_dtype
from ...algorithm import Operation, places_fit
from ...gemm import MAX_GRID_HEIGHT
from ...launch import MAX_BLOCKS, MAX_THREADS, Launch
from ..implicit_gemm_mma.algorithm import TensorCoreGemm
from .cost import seconds
from .launches import PER_WORD, PIECES, Correlations
from .phases import MAX_PHASES, Grid, grid_of
from .tiles import TILES, Box, Tile, box_of

MAX_CHANNELS = 16
"""Of the source or of the result, in a group."""
MAX_TAPS = 512


class FewChannels(TensorCoreGemm):
    """Forward problems and input gradients with few channels or few filters in a group."""

    def supports(self, problem: ConvProblem) -> bool:
        if problem.direction == "backward_weight" or problem.is_empty or not places_fit(problem):
            return False
        grid = grid_of(problem)
        return (
            min(grid.channels, grid.filters) <= MAX_CHANNELS
            and max(grid.phases) <= MAX_PHASES
            and math.prod(grid.taps) <= MAX_TAPS
            and grid.channels * math.prod(grid.taps) * problem.groups * (grid.rows + 64) < MAX_THREADS // 8
            and problem.groups * (grid.rows + 64) < MAX_GRID_HEIGHT
            and problem.batch * math.prod(grid.pixels) < MAX_BLOCKS
            and bool(self.parameters(problem))
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """The tiles that there is room for, the best one first."""
        grid, found = grid_of(problem), []
        for tile in TILES[self.arithmetic]:
            box = self._box(grid, tile, self._vector(problem))
            if box is not None and self._box(grid, tile, 1) is not None:
                found.append((seconds(problem, grid, tile, box, self.arithmetic), {"tile": tile.name}))
        return [params for _, params in sorted(found, key=lambda one: one[0])]

    def _box(self, grid: Grid, tile: Tile, vector: int) -> Box | None:
        return box_of(grid, tile, PIECES[self.arithmetic], PER_WORD[self.arithmetic], vector)

    @staticmethod
    def _vector(problem: ConvProblem) -> int:
        """Elements that are loaded at once of arrays without gaps."""
        size = problem.output_size if problem.direction == "backward_input" else problem.input_size
        most = 16 // numpy_dtype(problem.dtype).itemsize
        return most if problem.layout == "channels_first" and size[2] % most == 0 else 1

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        grid = grid_of(problem)
        tile = next(tile for tile in TILES[self.arithmetic] if tile.name == params["tile"])
        box = self._box(grid, tile, self._vector(problem))
        assert box is not None  # as in parameters()
        shapes = (problem.input_shape, problem.weight_shape, problem.output_shape)
        moved = sum(map(math.prod, shapes)) * numpy_dtype(problem.dtype).itemsize
        computed = seconds(problem, grid, tile, box, self.arithmetic, machine)
        marked = self.arithmetic == "3xtf32" or problem.direction == "backward_input"
        return max(computed, moved / machine.bytes_per_second) + (1 + marked) * machine.call_seconds

    def pack(self, problem: ConvProblem, params: Params, weight: Any, threads: int) -> None:
        """Nothing: how weights lie depends on the box, and with it on more than plans that share weights agree on."""

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        return Correlations(operation, params, self.arithmetic).launches()
