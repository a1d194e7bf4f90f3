"""implicit_gemm on tensor cores by mma.sync: bytes, 16-bit floats, and float32 as tf32 or as sums of two of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...._algorithm import MAX_PHASES, ErrorBound, Machine, Params
from ...._problem import ConvProblem
from ... import memory
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...gemm import MAX_GRID_HEIGHT
from ...launch import Launch, run
from ...layout import Layout, alignment_of
from ...parts import UNLIMITED, Limits
from .builder import ITEM_BYTES
from .correlations import Correlations
from .cost import is_pointwise, may_split, seconds, whole_waves
from .gradient import Gradient
from .pointwise import PointwiseCorrelations, PointwiseGradient
from .ring import RingGradient, ring_tiles
from .tiles import Tile, tiles_for

SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
ROUNDOFF = {"bf16": 0.0, "tf32": 2.01 * 2.0**-11, "3xtf32": 1.76 * 2.0**-20}
"""Largest error of the product of two elements: tf32 has 11 bits, and two of them 22; the product of the small parts,
at most 2^-20, is left out."""
TYPICAL_ROUNDOFF = {"bf16": 0.0, "tf32": 4e-4, "3xtf32": 4e-7}
"""Largest error of sums of exact products over their largest, on typical data."""
SUM_ROUNDOFF = 2.0**-23
"""Of tensor cores, which round towards zero."""


def builder(
    operation: Operation, params: Params, arithmetic: str, limits: Limits = UNLIMITED
) -> Correlations | Gradient:
    """What makes launches of an operation with such a tile."""
    problem = operation.problem
    if problem.direction != "backward_weight":
        pointwise = PointwiseCorrelations(operation, params, arithmetic, limits)
        return pointwise if pointwise.is_possible() else Correlations(operation, params, arithmetic, limits)
    is_ring = params["tile"] in {tile.name for tile in ring_tiles(problem)}
    return (RingGradient if is_ring else PointwiseGradient)(operation, params, arithmetic, limits)


class TensorCoreGemm(GpuAlgorithm):
    """Problems of some channels, on devices with asynchronous copies, bfloat16 and tf32."""

    capability = (8, 0)

    def __init__(self, name: str, arithmetic: str, dtypes: frozenset[str]) -> None:
        self.name, self.arithmetic, self.dtypes = name, arithmetic, dtypes  # type: ignore[misc]

    def supports(self, problem: ConvProblem) -> bool:
        channels, filters = (size // problem.groups for size in (problem.in_channels, problem.out_channels))
        is_computed = self.arithmetic != "int8" or (problem.direction == "forward" and not problem.epilogue)
        return (
            is_computed
            and problem.phases <= MAX_PHASES
            and problem.groups <= MAX_GRID_HEIGHT
            and max(channels, filters) < MAX_GRID_HEIGHT * 8
            and math.prod(problem.weight_shape) < UNLIMITED.elements // 4
            and places_fit(problem)
        )

    def computes(self, operation: Operation) -> bool:
        """Also input gradients of float32 of 16-bit operands, which are summed up further."""
        if self.arithmetic == "int8":
            return operation.is_of_bytes
        return operation.is_uniform or (operation.is_of_sums and operation.problem.direction == "backward_input")

    def _tiles(self, problem: ConvProblem) -> tuple[Tile, ...]:
        more = ring_tiles(problem) if self.arithmetic == "bf16" else ()
        all_of = tiles_for(self.arithmetic, problem.direction) + more
        return tuple(tile for tile in all_of if not tile.is_pointwise or math.prod(problem.kernel_size) == 1)

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """Of every tile the best two numbers of splits, the best of all first."""
        found: list[tuple[float, Params]] = []
        for tile in self._tiles(problem):
            wanted = {*SPLITS, *whole_waves(problem, tile)}
            splits = [n for n in sorted(wanted) if n == 1 or may_split(problem, tile, n)]
            of_tile = [(seconds(problem, tile, n, self.arithmetic), {"tile": tile.name, "splits": n}) for n in splits]
            found += sorted(of_tile, key=lambda one: one[0])[:2]
        return [params for _, params in sorted(found, key=lambda one: one[0])]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        """Of arrays without gaps; ``launches`` knows what others need."""
        made = self.launches(Operation.contiguous(problem), params)
        return max(step.workspace_bytes for step in made)

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        tile = next(tile for tile in self._tiles(problem) if tile.name == params["tile"])
        shapes = (problem.input_shape, problem.weight_shape, problem.output_shape)
        moved = sum(map(math.prod, shapes)) * ITEM_BYTES[self.arithmetic]
        if self.arithmetic == "int8":
            moved += 3 * math.prod(problem.output_shape)
        computed = seconds(problem, tile, params["splits"], self.arithmetic, machine)
        is_packed = problem.direction != "backward_weight" and not is_pointwise(problem, tile)
        extra = is_packed + (self.arithmetic == "3xtf32")
        return max(computed, moved / machine.bytes_per_second) + extra * machine.call_seconds

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """The errors of products, and of sums: by tensor cores, of all steps; or of one and then in float32."""
        if self.arithmetic == "int8":
            return super().error_bound(problem)
        tile = tiles_for(self.arithmetic, problem.direction)[0]
        depth = problem.reduction + 4
        gamma = SUM_ROUNDOFF * depth / max(1 - SUM_ROUNDOFF * depth, 0.5)
        pieces = ROUNDOFF[self.arithmetic]
        if self.arithmetic == "bf16":
            return ErrorBound(elementwise=gamma, normwise=gamma, relative=min(gamma, SUM_ROUNDOFF * depth / 16))
        in_step = 3 * tile.bk / 8 if self.arithmetic == "3xtf32" else depth / 8
        sums = SUM_ROUNDOFF / 2 * (in_step + math.sqrt(depth / tile.bk) / 2)
        typical = TYPICAL_ROUNDOFF[self.arithmetic] * (1 + 2 / math.sqrt(max(problem.reduction, 4)))
        return ErrorBound(
            elementwise=None, normwise=1.05 * pieces + 3 * gamma, relative=1.2 * math.hypot(typical, sums)
        )

    def pack(self, problem: ConvProblem, params: Params, weight: Any, threads: int) -> Any:
        """An array of bytes on the device, for all problems of the direction with such weights and the same tile."""
        if problem.direction == "backward_weight" or self.arithmetic == "int8":
            return None  # in front of packed bytes lies the input's zero point
        lies = Layout.of(weight.dtype, weight.strides, range(5), alignment_of(weight))
        build = Correlations(Operation(problem, {"weight": lies}), params, self.arithmetic)
        packed = memory.empty((build.packed_bytes,), np.dtype(np.uint8))
        run((build.pack("packed"),), weight=weight, packed=packed)
        return packed

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        return builder(operation, params, self.arithmetic).launches()
