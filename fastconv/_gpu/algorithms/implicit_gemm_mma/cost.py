"""What a problem takes on a large device, from what ``python -m bench gpu-model`` predicts for steps of its kernels."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

from ...._algorithm import Machine
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...algorithm import Operation
from ...gemm import depth, matrix
from ...machine import LARGE, GpuMachine, with_units
from ...phases import phases_of
from .builder import ITEM_BYTES
from .patches import MAX_POSITIONS, Patch, box_of, max_taps
from .ring import MIN_VECTOR, RingTile, correlation_of
from .tiles import Tile

PRODUCTS = {"int8": 0.5, "bf16": 1, "tf32": 2, "3xtf32": 6}
"""Of a multiply-add, in those of 16-bit floats."""
LAUNCH_CYCLES = 4500
OUTSIDE_CYCLES = 3500
OUTSIDE_AREA = 128 * 112
"""What a block of so many results does before its first step and after its last one."""
LOAD_CYCLES = 15
"""What a load of every thread adds to a step."""
COPY_CYCLES = 20
"""What an asynchronous copy of every thread adds."""
SPREAD_LOADS = 0.87
"""What is left of loads and copies that are spread over the steps of a patch."""
RING_OUTSIDE_CYCLES = 5000
"""Of gradients whose taps share a ring of rows."""
SCATTERED = 2.5
"""What a step of theirs takes where neighbouring columns are apart in memory, by what it takes otherwise."""
MIN_STEPS_OF_SPLIT = 8
PARTIAL_BYTES = 2**28


def may_split(problem: ConvProblem, tile: Tile, splits: int) -> bool:
    """Whether so many splits have enough steps, and not too large sums."""
    rows, columns = matrix(problem)
    size = splits * problem.groups * rows * columns * 4
    return depth(problem, tile.bk) >= splits * MIN_STEPS_OF_SPLIT and size <= PARTIAL_BYTES


def seconds(problem: ConvProblem, tile: Tile, splits: int, arithmetic: str, machine: Machine = LARGE) -> float:
    """Of all launches but the packing of weights. The choice of splits, and so the result's bits, is that of a large
    device on all."""
    here = with_units(machine)
    here_tile = replace(tile, cycles=max(tile.cycles, _product_cycles(tile, arithmetic, here)))
    is_gradient = problem.direction == "backward_weight"
    if is_gradient:
        return _gradient(problem, here_tile, splits, here) / here.hertz
    return _correlations(problem, here_tile, splits, arithmetic, here) / here.hertz


def is_pointwise(problem: ConvProblem, tile: Tile) -> bool:
    """Whether rows of arrays without gaps are copied as they lie."""
    return bool(
        tile.pointwise
        and problem.layout == "channels_first"
        and math.prod((*problem.kernel_size, *problem.stride)) == 1
        and not any(map(any, problem.padding))
        and math.prod(problem.output_size) % 2 == 0
        and (problem.direction == "backward_weight" or problem.in_channels // problem.groups % 2 == 0)
    )


def _product_cycles(tile: Tile, arithmetic: str, machine: GpuMachine) -> float:
    """What the tensor cores take for a step."""
    return tile.bm * tile.bn * tile.bk * PRODUCTS[arithmetic] / machine.tensor_products


def _rounds(tile: Tile, blocks: int, of_block: float, machine: GpuMachine) -> float:
    """Cycles of so many blocks, each of which takes ``of_block`` where as many run as a multiprocessor holds."""
    whole, last = divmod(-(-blocks // machine.multiprocessors), tile.resident)
    missing = (tile.resident - last) / max(tile.resident - 1, 1)  # few warps hide less of each other's latency
    return of_block * (whole * tile.resident + last * (1 + (tile.alone - 1) * missing))


def _unit_cycles(problem: ConvProblem, chunk: int) -> int:
    """Of 16 bytes."""
    return COPY_CYCLES if problem.layout == "channels_last" else LOAD_CYCLES * chunk


def _sum_of_splits(problem: ConvProblem, splits: int, machine: GpuMachine) -> float:
    rows, columns = matrix(problem)
    moved = (splits + 1) * problem.groups * rows * columns * 4
    return moved / machine.bytes_per_cycle + LAUNCH_CYCLES if splits > 1 else 0.0


def _correlations(problem: ConvProblem, tile: Tile, splits: int, arithmetic: str, machine: GpuMachine) -> float:
    operation, total = Operation.contiguous(problem), 0.0
    itemsize = ITEM_BYTES[arithmetic]
    along = "CHANNELS" if problem.layout == "channels_last" else "PIXELS"
    phases = list(phases_of(problem, operation.layouts))
    for phase in phases[:: max(len(phases) // 4, 1)]:
        c = phase.packed().reshape(())
        box, taps = box_of(c, tile, MAX_POSITIONS, max_taps(arithmetic)), math.prod(c["taps"].tolist())
        pixels = int(c["batch"]) * math.prod(c["pixels"].tolist())
        planes = int(c["batch"]) * int(c["pixels"][0])
        across = box.boxes(planes, *c["pixels"][1:].tolist()) if box else -(-pixels // tile.bn)
        patch = Patch.of(tile, box, along, itemsize)
        steps = taps * -(-int(c["channels"]) // tile.bk) / splits
        blocks = problem.groups * -(-int(c["filters"]) // tile.bm) * across * splits
        fetched = patch.units / box.taps / box.turns if box else patch.units
        of_tap = tile.shared if patch.taps > 1 else tile.cycles
        of_step = of_tap + SPREAD_LOADS * _unit_cycles(problem, 16 // itemsize) * fetched
        of_block = steps * of_step + OUTSIDE_CYCLES * tile.bm * tile.bn / OUTSIDE_AREA
        if tile.pointwise and is_pointwise(problem, tile):
            of_block = steps * tile.pointwise[0] + tile.pointwise[1]
        total += _rounds(tile, blocks, of_block, machine) + LAUNCH_CYCLES
        total += _sum_of_splits(problem, splits, machine)
    return total * len(phases) / max(len(phases[:: max(len(phases) // 4, 1)]), 1)


def whole_waves(problem: ConvProblem, tile: Tile) -> list[int]:
    """Numbers of splits of a weight gradient that just fill a large device some times."""
    if isinstance(tile, RingTile):
        tiles = _ring_blocks(problem, tile)
    elif problem.direction == "backward_weight" and is_pointwise(problem, tile):
        tiles = _gradient_blocks(problem, tile)
    else:
        return []
    return [n for n in (waves * LARGE.multiprocessors * tile.resident // max(tiles, 1) for waves in (1, 2, 3, 4)) if n]


@functools.lru_cache(64)
def _ring_blocks(problem: ConvProblem, tile: RingTile) -> int:
    """Of a split."""
    c = correlation_of(problem)
    return problem.groups * -(-int(c["filters"]) // tile.bm) * tile.column_tiles(c)


def _ring(problem: ConvProblem, tile: RingTile, splits: int, machine: GpuMachine) -> float:
    pixels, steps = math.prod(problem.output_size), depth(problem, tile.bk)
    by_channels = problem.layout == "channels_last"
    of_step = tile.cycles * (SCATTERED if by_channels else 1)
    of_block = -(-steps // splits) * of_step + RING_OUTSIDE_CYCLES
    cycles = _rounds(tile, _ring_blocks(problem, tile) * splits, of_block, machine)
    if pixels % MIN_VECTOR or by_channels:  # the gradient's pixels are laid one behind the other
        cycles += LAUNCH_CYCLES + 4 * math.prod(problem.output_shape) / machine.bytes_per_cycle
    return cycles + LAUNCH_CYCLES + _sum_of_splits(problem, splits, machine)


def _gradient(problem: ConvProblem, tile: Tile, splits: int, machine: GpuMachine) -> float:
    if isinstance(tile, RingTile):
        return _ring(problem, tile, splits, machine)
    chunk = 4 if problem.dtype == "float32" else 8
    units = (tile.bm + tile.bn) // chunk * tile.bk // tile.threads
    of_step, outside = tile.cycles + _unit_cycles(problem, chunk) * units, float(OUTSIDE_CYCLES)
    if tile.pointwise and is_pointwise(problem, tile):
        of_step, outside = tile.pointwise
    of_block = depth(problem, tile.bk) / splits * of_step + outside
    cycles = _rounds(tile, _gradient_blocks(problem, tile) * splits, of_block, machine) + LAUNCH_CYCLES
    return cycles + _sum_of_splits(problem, splits, machine)


def _gradient_blocks(problem: ConvProblem, tile: Tile) -> int:
    """Of a split."""
    c, chunk = Correlation.of(problem), 4 if problem.dtype == "float32" else 8
    columns = math.prod(problem.kernel_size) * -(-c.channels // chunk) * chunk
    return problem.groups * -(-c.filters // tile.bm) * -(-columns // tile.bn)
