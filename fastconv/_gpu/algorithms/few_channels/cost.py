"""What a problem takes on a large device, from what ``python -m bench gpu-model`` predicts."""

from __future__ import annotations

import math

from ...._algorithm import Machine
from ...._problem import ConvProblem
from .phases import Grid
from .tiles import Box, Tile

MULTIPROCESSORS = 132
"""Of a large device."""
HERTZ = 1.83e9
PRODUCT_CYCLES = 6.35 / 4
"""Of a multiprocessor, for a product of 16 x 8 results with eight words."""
WORD_CYCLES = 0.3
"""For a word that is read by 32 lanes, or staged."""
BLOCK_CYCLES = 700
"""Of a block's beginning and end, where others run beside it."""
STORED_CYCLES = 4
"""For a result of each of 32 lanes."""
LAUNCH_CYCLES = 4500


def seconds(problem: ConvProblem, grid: Grid, tile: Tile, box: Box, arithmetic: str,
            machine: Machine | None = None) -> float:  # fmt: skip
    """Of the launch; ``machine``: in the proportion of the rates of arithmetic."""
    depth, height, width = grid.pixels
    blocks = problem.batch * depth * math.prod(box.boxes(height, width))
    blocks *= problem.groups * -(-grid.rows // tile.rows)
    products = tile.rows // 16 * tile.pixels // 8 * box.steps * box.chunks * (3 if arithmetic == "3xtf32" else 1)
    words = box.channel_words * box.chunks * grid.taps[0] * box.positions / 32 * 6
    cycles = products * PRODUCT_CYCLES + words * WORD_CYCLES + tile.rows * tile.pixels / 32 * STORED_CYCLES
    of_device = -(-blocks // MULTIPROCESSORS) * (cycles + BLOCK_CYCLES) + LAUNCH_CYCLES
    hertz = HERTZ if machine is None else machine.multiply_adds_per_second["float32"] / (MULTIPROCESSORS * 128)
    return of_device / hertz
