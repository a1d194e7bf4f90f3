"""winograd_nonfused: F(4, 3) and F(2, 3) as transforms with cuBLAS's products between them, in all three directions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...._algorithm import ErrorBound, Machine, Params, unit_roundoff
from ...._minimal_filtering import HIGH_LIMIT, normwise_roundoffs, usual_roundoffs
from ...._problem import ConvProblem
from ... import cublas, memory
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...cublas import Product
from ...launch import Step, run
from ...layout import Layout, alignment_of
from ...machine import LARGE, with_units
from .transforms import MAX_CHAIN, TAPS, Builder, axes_of, tile_counts

MAX_GRID_HEIGHT = 65535
MAX_THREADS = 2**31 - 2**16
"""Of a transform."""
MAX_FILLING = 2**11
"""Tiles that fill the last slice."""
SLICE_BYTES = (2**29, 2**25, 2**22)
"""Of the points of a slice."""

# Predicted for an H200.
LAUNCH_SECONDS = 2.5e-6
STEPS_OF_SLICE = 3
CUBLAS_RATE = 0.78
"""Of the peak."""


class WinogradNonfused(GpuAlgorithm):
    """Taps of 3x3, 3x1 and 1x3, stride 1, no dilation, two-dimensional images or planes."""

    name = "winograd_nonfused"
    dtypes = frozenset({"float32"})
    exact_on_integers = False

    def is_available(self) -> bool:
        return cublas.is_available()

    def supports(self, problem: ConvProblem) -> bool:
        return (
            problem.kernel_size[0] == 1
            and set(problem.kernel_size[1:]) in ({TAPS}, {1, TAPS})
            and problem.stride == problem.dilation == (1, 1, 1)
            and problem.padding[0] == (0, 0)
            and problem.groups <= MAX_GRID_HEIGHT
            and places_fit(problem)
            and 0 < _threads(problem) < MAX_THREADS
            and math.prod(problem.weight_shape) < MAX_THREADS
            and self.is_available()
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """Tiles and slices that differ, those with the lowest estimate first."""
        found: dict[tuple[int, ...], Params] = {}
        for size in _tile_sizes(problem):
            for slice_bytes in SLICE_BYTES:
                build = _built(problem, size, slice_bytes)[0]
                found.setdefault((size, build.slice, build.parts), {"tile_size": size, "slice_bytes": slice_bytes})
        return sorted(found.values(), key=lambda params: self.cost(problem, params, 1, LARGE))

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        return _built(problem, params["tile_size"], params["slice_bytes"])[1][0].workspace_bytes

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Products, those of the first slice as often as there are slices, and the bytes that transforms move."""
        rate = machine.multiply_adds_per_second["float32"] * CUBLAS_RATE
        build, steps = _built(problem, params["tile_size"], params["slice_bytes"])
        slices = len(build.slices)
        started = len(steps) + (slices - 1) * STEPS_OF_SLICE
        seconds = LAUNCH_SECONDS * started + machine.call_seconds + build.moved_bytes() / machine.bytes_per_second
        product = next(step for step in steps if isinstance(step, Product))
        multiplied = max(
            product.work(with_units(machine).multiprocessors) / rate, product.moved_bytes() / machine.bytes_per_second
        )
        return seconds + slices * multiplied

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """That of the largest tiles that the level admits. A weight gradient's sums are those of parts, so that a part
        alone decides the usual error."""
        size = _tile_sizes(problem)[0]
        return _error_bound(problem, size)

    def pack(self, problem: ConvProblem, params: Params, weight: Any, threads: int) -> Any:
        """Transformed weights, an array of bytes on the device."""
        if problem.direction == "backward_weight":
            return None
        lies = Layout.of(weight.dtype, weight.strides, range(5), alignment_of(weight))
        build = Builder(Operation(problem, {"weight": lies}), params["tile_size"], params["slice_bytes"])
        packed = memory.empty((build.packed_bytes(),), np.dtype(np.uint8))
        run((build.pack(),), weight=weight, packed=packed)
        return packed

    def launches(self, operation: Operation, params: Params) -> tuple[Step, ...]:
        return Builder(operation, params["tile_size"], params["slice_bytes"]).build()


def _tile_sizes(problem: ConvProblem) -> list[int]:
    """Tile sizes that the precision level admits, those with the largest error first."""
    if problem.precision in ("ieee", "highest"):
        return [4]
    if problem.precision == "high" and _error_bound(problem, 6).relative > HIGH_LIMIT:
        return [4]
    return [6, 4]


def _error_bound(problem: ConvProblem, tile_size: int) -> ErrorBound:
    axes, taps = sum(axis.points > 1 for axis in axes_of(problem, tile_size)), TAPS
    if problem.direction == "backward_weight":
        reduction, taps = problem.batch * math.prod(tile_counts(problem, tile_size)), tile_size - TAPS + 1
        chain = min(reduction, MAX_CHAIN)
    else:
        sides = {"forward": problem.in_channels}
        chain = reduction = sides.get(problem.direction, problem.out_channels) // problem.groups
    roundoff = unit_roundoff(problem)
    return ErrorBound(
        elementwise=None,
        normwise=roundoff * normwise_roundoffs(tile_size, taps, axes, reduction),
        relative=roundoff * usual_roundoffs(tile_size, taps, chain),
    )


def _threads(problem: ConvProblem) -> int:
    """Of the largest transform of data, by tiles of 4, which are the most."""
    tiles = problem.batch * math.prod(tile_counts(problem, 4))
    channels = max(problem.in_channels, problem.out_channels) // problem.groups
    return (tiles + MAX_FILLING) * channels if tiles else 0


@functools.lru_cache(maxsize=1024)
def _built(problem: ConvProblem, tile_size: int, slice_bytes: int) -> tuple[Builder, tuple[Step, ...]]:
    """For arrays without gaps, with the steps of the first slice."""
    build = Builder(Operation.contiguous(problem), tile_size, slice_bytes)
    return build, build.build(slices=1)
