"""implicit_gemm in strict float32 and float64: a block computes a tile of (channels, pixels) on the FMA units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...._algorithm import MAX_PHASES, Machine, Params
from ...._problem import ConvProblem
from ... import memory
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...gemm import MAX_GRID_HEIGHT, depth, matrix
from ...launch import Launch, run
from ...layout import Layout, alignment_of
from ...machine import LARGE, GpuMachine, with_units
from ...parts import UNLIMITED
from .launches import launches, pack_launch, packed_bytes, partial_bytes
from .tiles import Tile, mean_depth, tile_of, tiles_for

LAUNCH_CYCLES = 4500
OUTSIDE_CYCLES = {False: 1800, True: 4600}
"""What a block of 128 x 128 does before its first step and after its last one; of weight gradients."""
FEW_WARPS = {False: 0.51, True: 0.78}
"""What a scheduler with one warp waits for, by what it issues; warps hide it by their square."""
TAP_CYCLES = 134
"""Where 128 threads go from one tap to the next."""
SUM_CYCLES, SUM_SHARE = 6500, 0.7
"""Of the launch that adds partial sums, and bytes that L2 does not have."""
SHORT_SECONDS = 1e-6
"""What a launch of little work takes beside being started."""
SPLITS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128)
MIN_STEPS_OF_SPLIT = 8
PARTIAL_BYTES = 2**28


class ImplicitGemm(GpuAlgorithm):
    """Any problem in float32 and float64 without too many stride phases and groups."""

    name = "implicit_gemm"
    dtypes = frozenset({"float32", "float64"})

    def supports(self, problem: ConvProblem) -> bool:
        channels, filters = (size // problem.groups for size in (problem.in_channels, problem.out_channels))
        return (
            problem.phases <= MAX_PHASES
            and problem.groups <= MAX_GRID_HEIGHT
            and max(channels, filters) < MAX_GRID_HEIGHT * 8
            and math.prod(problem.weight_shape) < UNLIMITED.elements
            and places_fit(problem)
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """Of every tile the best two numbers of splits, the best of all first."""
        found: list[tuple[float, Params]] = []
        for tile in tiles_for(problem):
            wanted = {*SPLITS, *self._whole_waves(problem, tile)}
            splits = [n for n in sorted(wanted) if n == 1 or self._may_split(problem, tile, n)]
            of_tile = [(self._cycles(problem, tile, n), {"tile": tile.name, "splits": n}) for n in splits]
            found += sorted(of_tile, key=lambda one: one[0])[:2]
        return [params for _, params in sorted(found, key=lambda one: one[0])]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        """Of arrays without gaps; ``launches`` knows what others need."""
        packed = 0 if problem.direction == "backward_weight" else packed_bytes(problem, params)
        return packed + partial_bytes(problem, params)

    def pack(self, problem: ConvProblem, params: Params, weight: Any, threads: int) -> Any:
        """An array of bytes on the device, for all problems of the direction with such weights and the same tile."""
        if problem.direction == "backward_weight":
            return None
        packed = memory.empty((packed_bytes(problem, params),), np.dtype(np.uint8))
        lies = Layout.of(weight.dtype, weight.strides, range(5), alignment_of(weight))
        run((pack_launch(problem, params, lies),), weight=weight, packed=packed)
        return packed

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        return launches(operation, params)

    def _whole_waves(self, problem: ConvProblem, tile: Tile) -> list[int]:
        """Splits of weight gradients, whose depth is large, that just fill a large device."""
        if problem.direction != "backward_weight":
            return []
        rows, columns = matrix(problem)
        tiles = problem.groups * -(-rows // tile.bm) * -(-columns // tile.bn)
        return [n for n in (waves * LARGE.multiprocessors * tile.resident // max(tiles, 1) for waves in (1, 2)) if n]

    def _may_split(self, problem: ConvProblem, tile: Tile, splits: int) -> bool:
        rows, columns = matrix(problem)
        size = splits * problem.groups * rows * columns * np.dtype(problem.dtype).itemsize
        return depth(problem, tile.bk) >= splits * MIN_STEPS_OF_SPLIT and size <= PARTIAL_BYTES

    def _cycles(self, problem: ConvProblem, tile: Tile, splits: int, machine: GpuMachine = LARGE) -> float:
        """The blocks of the multiprocessor that has most, and the sum of the splits. The choice of splits, and so the
        result's bits, is that of a large device on all."""
        rows, columns = matrix(problem)
        area, groups = tile.bm * tile.bn, problem.groups
        blocks = groups * -(-rows // tile.bm) * -(-columns // tile.bn) * splits
        steps = mean_depth(problem, tile) / splits
        is_gradient = problem.direction == "backward_weight"
        efficiency = tile.gradient_efficiency if is_gradient else tile.efficiency
        rate = machine.multiply_adds_per_cycle(problem.dtype) * efficiency
        of_block = steps * area * tile.bk / rate + OUTSIDE_CYCLES[is_gradient] * area / 128**2
        if not is_gradient:
            taps = math.prod(problem.kernel_size) / max(problem.phases, 1)
            of_block += TAP_CYCLES * taps / splits * tile.threads / 128
        whole, last = divmod(-(-blocks // machine.multiprocessors), tile.resident)
        rounds = float(whole * tile.resident)
        if last:
            warps = last * tile.threads / 128  # of a scheduler in the last round; one may have more than another
            most = math.ceil(warps)
            rounds += last * most / warps * (1 + FEW_WARPS[is_gradient] / most**2)
        cycles = rounds * of_block + LAUNCH_CYCLES
        if splits > 1:
            moved = (splits + 1) * groups * rows * columns * np.dtype(problem.dtype).itemsize
            cycles += SUM_SHARE * moved / machine.bytes_per_cycle + SUM_CYCLES
        return problem.phases * cycles

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """The device's cycles, or the arrays' bytes."""
        tile, here = tile_of(problem, params), with_units(machine)
        itemsize = np.dtype(problem.dtype).itemsize
        computed = self._cycles(problem, tile, params["splits"], here) / here.hertz
        shapes = (problem.input_shape, problem.weight_shape, problem.output_shape)
        moved = sum(map(math.prod, shapes)) * itemsize
        seconds = max(computed, moved / machine.bytes_per_second)
        if problem.direction == "backward_weight":
            return seconds
        short = 2 if problem.direction == "backward_input" else 1  # weights are packed, and looked through
        packed = 2 * math.prod(problem.weight_shape) * itemsize / machine.bytes_per_second
        return seconds + short * (machine.call_seconds + SHORT_SECONDS) + packed
