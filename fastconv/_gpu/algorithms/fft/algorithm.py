"""fft: overlap-save tiles through cuFFT, products of spectra for every frequency."""

from __future__ import annotations

import functools
import math

import numpy as np

from ...._algorithm import ErrorBound, Machine, Params, unit_roundoff
from ...._problem import ConvProblem
from ... import cufft
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...cufft import Transform
from ...launch import Launch, Step
from .spectra import Builder, slice_tiles
from .tiling import Tiling

SIDES = tuple(side for power in range(5, 20) for side in (2**power, 3 * 2 ** (power - 1)))
"""Candidates for the size of a tile along an axis."""
CANDIDATES = 4
MIN_TAPS = 32
"""Fewer are not worth a transform."""
MAX_POINTS = 2**26
"""Of a tile."""
MAX_NUMBERS = 2**30
"""Of all kernels' spectra, so that distances fit in 32 bits."""
SLICE_BYTES = (2**27, 2**25, 2**23, 2**21, 0)
"""Of tiles that are transformed together."""

# Predicted for an H200.
LAUNCH_SECONDS = 2.5e-6
BYTES_OF_CACHE_PER_SECOND = 5e12
POINTS_OF_A_PASS = 2**12
"""A transform of more points goes to memory once more."""


class Fft(GpuAlgorithm):
    """Problems of stride 1 with many taps."""

    name = "fft"
    dtypes = frozenset({"float32", "float64", "float16", "bfloat16"})
    exact_on_integers = False

    def is_available(self) -> bool:
        return cufft.is_available()

    def supports(self, problem: ConvProblem) -> bool:
        return (
            problem.stride == (1, 1, 1)
            and math.prod(problem.kernel_size) >= MIN_TAPS
            and places_fit(problem)
            and bool(_tilings(problem))
            and self.is_available()
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """Sizes of tiles, the best first; each with slices of several sizes."""
        sides = [side for side, _ in _tilings(problem)]
        return [{"side": side, "slice_bytes": size} for size in SLICE_BYTES[:1] for side in sides]

    def fitting(self, problem: ConvProblem, limit_bytes: int) -> Params | None:
        """Slices become smaller until they fit."""
        for size in SLICE_BYTES:
            for side, _ in _tilings(problem):
                params = {"side": side, "slice_bytes": size}
                if self.workspace(problem, params, 1) <= limit_bytes:
                    return params
        return None

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        """With as much for cuFFT as its largest transform has; the steps ask it."""
        steps = _steps(problem, params["side"], params["slice_bytes"])
        transforms = [step for step in steps if isinstance(step, Transform)]
        return transforms[0].work.offset_bytes + max(map(_transformed_bytes, transforms))

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        return _seconds(problem, params["side"], params["slice_bytes"], machine)

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """Each stage of a transform adds a few roundings to every element, none larger than a rounding of the norm.

        Three transforms, and the sum over channels (backward_weight: over tiles). ``relative`` takes random signs.
        """
        tiling = _tilings(problem)[0][1]
        roundoff, stages = unit_roundoff(problem), math.log2(math.prod(tiling.transformed))
        channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
        summed = {"forward": channels, "backward_input": filters}.get(problem.direction, tiling.tiles)
        return ErrorBound(None, roundoff * (15 * stages + summed + 8), roundoff * (10 + stages + math.sqrt(summed) / 2))

    def launches(self, operation: Operation, params: Params) -> tuple[Step, ...]:
        return Builder(operation, Tiling.of(operation.problem, params["side"]), params["slice_bytes"]).build()


@functools.lru_cache(maxsize=1024)
def _tilings(problem: ConvProblem) -> tuple[tuple[int, Tiling], ...]:
    """Sizes of tiles that differ, the one with the lowest estimate first."""
    if problem.is_empty:
        return ()
    found: dict[tuple[int, ...], tuple[int, Tiling]] = {}
    for side in SIDES:
        tiling = Tiling.of(problem, side)
        spectra = problem.out_channels * (problem.in_channels // problem.groups) * tiling.frequencies
        if math.prod(tiling.transformed) <= MAX_POINTS and max(spectra, _widest(tiling)) < MAX_NUMBERS // 2:
            found.setdefault(tiling.lengths, (side, tiling))
        if tiling.tiles == problem.batch:
            break
    typical = Machine({"float32": 3e13, "float64": 1.5e13}, 4e12, 1e-5, 1e-5)
    ranked = sorted(found.values(), key=lambda one: _seconds(problem, one[0], SLICE_BYTES[0], typical))
    return tuple(ranked[:CANDIDATES])


def _widest(tiling: Tiling) -> int:
    """Complex numbers of a slice's arrays."""
    channels = max(tiling.problem.in_channels, tiling.problem.out_channels)
    return slice_tiles(tiling, SLICE_BYTES[0]) * channels * tiling.frequencies


@functools.lru_cache(maxsize=1024)
def _steps(problem: ConvProblem, side: int, slice_bytes: int) -> tuple[Launch | Transform, ...]:
    """Of arrays without gaps."""
    return Builder(Operation.contiguous(problem), Tiling.of(problem, side), slice_bytes).build()


def _transformed_bytes(step: Transform) -> int:
    return step.batch * math.prod(step.lengths[:-1]) * cufft.pitch(step.lengths) * step.dtype.itemsize


def _seconds(problem: ConvProblem, side: int, slice_bytes: int, machine: Machine) -> float:
    """Estimate from the bytes that go to memory and, of products, from the cache; and from their multiply-adds."""
    tiling = Tiling.of(problem, side)
    slices = -(-tiling.tiles // slice_tiles(tiling, slice_bytes))
    itemsize = 8 if problem.dtype == "float64" else 4
    rate = machine.multiply_adds_per_second["float64" if problem.dtype == "float64" else "float32"]
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    numbers = tiling.tiles * (problem.in_channels + problem.out_channels) + problem.out_channels * channels
    points = math.prod(tiling.transformed)
    passes = max(1 + (points > POINTS_OF_A_PASS), len(tiling.transformed))
    moved = numbers * 2 * tiling.frequencies * itemsize * (1 + 2 * passes)
    shapes = (problem.input_shape, problem.output_shape, problem.weight_shape)
    moved += sum(map(math.prod, shapes)) * np.dtype(np.float32).itemsize
    products = tiling.tiles * problem.groups * channels * filters * tiling.frequencies
    of_cache = products * 2 * itemsize * (1 / min(channels, 4) + 1 / min(filters, 4))
    multiplied = max(4 * products / rate, of_cache / BYTES_OF_CACHE_PER_SECOND)
    launches = 8 + 6 * slices
    return launches * (LAUNCH_SECONDS + machine.call_seconds / 4) + moved / machine.bytes_per_second + multiplied
