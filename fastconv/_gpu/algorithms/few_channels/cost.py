"""What a problem takes on a large device, fitted to what ``python -m bench gpu-model`` predicts for many layers."""

from __future__ import annotations

import math

from ...._algorithm import Machine
from ...._problem import ConvProblem
from .phases import Grid
from .tiles import Box, Tile

MULTIPROCESSORS = 132
"""Of a large device."""
HERTZ = 1.83e9
PRODUCT_CYCLES = 1.5
"""Of a multiprocessor, for a product of 16 x 8 results with eight words."""
READ_CYCLES = 0.83
"""For 128 bytes that a warp reads of shared memory."""
CONFLICTS = 1.4
"""Reads for a word of each of 32 lanes."""
STAGED_CYCLES, STAGED_SINGLY_CYCLES = 5.6, 10.4
"""For 32 words."""
STORED_CYCLES, STORED_SINGLY_CYCLES = 1.7, 13.0
"""For 32 results."""
CHUNK_CYCLES = 13
"""Of each warp."""
L2_BYTES_PER_CYCLE = 64
LAUNCH_CYCLES = 4500


def seconds(problem: ConvProblem, grid: Grid, tile: Tile, box: Box, arithmetic: str,
            machine: Machine | None = None) -> float:  # fmt: skip
    """Of the launch; ``machine``: in the proportion of the rates of arithmetic."""
    depth, height, width = grid.pixels
    blocks = problem.batch * depth * math.prod(box.boxes(height, width))
    blocks *= problem.groups * -(-grid.rows // tile.rows)
    steps, warps = box.steps * box.chunks, tile.warps_m * tile.warps_n
    products = steps * tile.rows // 16 * tile.pixels // 8 * (3 if arithmetic == "3xtf32" else 1)
    pieces = 2 if arithmetic == "3xtf32" else 1
    reads = steps * warps * (2 * tile.nt * CONFLICTS + 4 * tile.mt * pieces + 2)
    staged = box.channel_words * box.chunks * grid.taps[0] * box.positions / 32
    stored = min(grid.rows, tile.rows) * tile.pixels / 32
    is_whole = problem.layout == "channels_first" and problem.result_shape[4] % (4 * grid.phases[2]) == 0
    cycles = products * PRODUCT_CYCLES + reads * READ_CYCLES + box.chunks * warps * CHUNK_CYCLES
    cycles += staged * (STAGED_CYCLES if box.vector > 1 else STAGED_SINGLY_CYCLES)
    cycles += stored * (STORED_CYCLES if is_whole else STORED_SINGLY_CYCLES)
    if box.chunks > 1:  # weights of every chunk, for every box
        cycles += steps * tile.rows / 16 * pieces * 512 / L2_BYTES_PER_CYCLE
    hertz = HERTZ if machine is None else machine.multiply_adds_per_second["float32"] / (MULTIPROCESSORS * 128)
    return (max(blocks / MULTIPROCESSORS, 1) * cycles + LAUNCH_CYCLES) / hertz
