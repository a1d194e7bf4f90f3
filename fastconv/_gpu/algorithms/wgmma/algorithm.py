"""wgmma: 16-bit floats by the tensor copy unit and the warpgroup products of sm_90a.

UNPROVEN. No GPU has run it: its copies and products are one reading of the manual, in the kernel and in the machine
that tests it. So it is never chosen by its estimated cost: it is computed with where it is asked for by its name, or
where the tuner, which compares results before it compares times, has found it fastest.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...._algorithm import MAX_PHASES, ErrorBound, Machine, Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ... import memory
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...launch import Launch, run
from ...layout import Layout, alignment_of
from .boxes import CHANNELS
from .launches import Product, blocks_of, fits, launches, pack_launch, packed_bytes, products_of
from .tiles import TILES, Tile, tile_of

CAPABILITY = (9, 0)
"""Of the devices whose instructions these are; later ones have others."""
MAX_WEIGHTS = 2**31
SUM_ROUNDOFF = 2.0**-23
"""Of tensor cores, which round towards zero."""
MULTIPROCESSORS = 132
"""Of a large device of the kind."""
PRODUCTS_PER_CYCLE = 2048
"""Of a multiprocessor's tensor cores."""
CYCLES_PER_SECOND = 1.83e9
OUTSIDE_CYCLES = 4000
"""What a block of 128 x 128 does before its first step and after its last one, by the model as well."""


class Wgmma(GpuAlgorithm):
    """Forward and input gradients of float16 and bfloat16 whose source the copy unit can address."""

    name = "wgmma"
    dtypes = frozenset({"float16", "bfloat16"})
    capability = CAPABILITY
    is_proven = False

    def runs_on(self, capability: tuple[int, int]) -> bool:
        return capability == CAPABILITY

    def supports(self, problem: ConvProblem) -> bool:
        """Those whose contiguous arrays can be addressed; ``computes`` says it of others."""
        channels = Correlation.of(problem).channels
        return (
            problem.direction != "backward_weight"
            and problem.phases <= MAX_PHASES
            and (problem.groups == 1 or channels % CHANNELS == 0)
            and math.prod(problem.weight_shape) < MAX_WEIGHTS // 8
            and places_fit(problem)
            and (products := _products(problem)) is not None
            and all(fits(problem, products, tile) for tile in TILES)
        )

    def computes(self, operation: Operation) -> bool:
        return operation.is_uniform and products_of(operation) is not None

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """The tiles, the best first. The result's bits are the same with all of them."""
        ranked = sorted(TILES, key=lambda tile: _cycles(problem, tile))
        return [{"tile": tile.name} for tile in ranked]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        return packed_bytes(problem)

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """The cycles of a large device, or the arrays' bytes."""
        shapes = problem.input_shape, problem.weight_shape, problem.output_shape
        moved = 2 * sum(map(math.prod, shapes))
        computed = _cycles(problem, tile_of(params)) / CYCLES_PER_SECOND
        return max(computed, moved / machine.bytes_per_second) + (1 + problem.phases) * machine.call_seconds

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """Products are exact; sums are rounded towards zero."""
        depth = problem.reduction + 4
        gamma = SUM_ROUNDOFF * depth / max(1 - SUM_ROUNDOFF * depth, 0.5)
        return ErrorBound(elementwise=gamma, normwise=gamma, relative=min(gamma, SUM_ROUNDOFF * depth / 16))

    def pack(self, problem: ConvProblem, params: Params, weight: Any, threads: int) -> Any:
        """An array of bytes on the device, for all problems of the direction with such weights."""
        packed = memory.empty((packed_bytes(problem),), np.dtype(np.uint8))
        lies = Layout.of(weight.dtype, weight.strides, range(5), alignment_of(weight))
        run((pack_launch(problem, lies, "packed"),), weight=weight, packed=packed)
        return packed

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        return launches(operation, params)


@functools.lru_cache(1024)
def _products(problem: ConvProblem) -> list[Product] | None:
    """On contiguous arrays."""
    return products_of(Operation.contiguous(problem))


def _cycles(problem: ConvProblem, tile: Tile) -> float:
    """Of all stride phases, one after the other."""
    cycles = 0.0
    for product in _products(problem) or []:
        steps = -(-int(product.c["channels"]) // CHANNELS) * math.prod(product.c["taps"].tolist())
        area = tile.bm * tile.bn
        of_block = steps * area * CHANNELS / (PRODUCTS_PER_CYCLE * tile.efficiency) + OUTSIDE_CYCLES * area / 128**2
        blocks = blocks_of(product, tile) * problem.groups
        cycles += max(-(-blocks // MULTIPROCESSORS), 1) * of_block
    return cycles
