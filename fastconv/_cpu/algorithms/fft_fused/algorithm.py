"""fft_fused: overlap-save tiles that are transformed, multiplied and transformed back in cache; large kernels, long
signals, of few channels in a group."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ...._algorithm import ErrorBound, Params, unit_roundoff
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm, beside_weight
from ...engine import runtime
from . import loops
from .blocking import (
    MAX_POINTS,
    MAX_PRODUCTS,
    SIZES,
    SPECTRA_BYTES,
    blocking_of,
    is_signal,
    pixels,
    radices,
    reach,
    tiling,
)

SHORTLIST, ESTIMATED = 5, 3
"""Sizes of tiles, those of the least arithmetic, that the tuner tries; and the first of them, that are estimated: they
are within 1 % of the best one on average, and within 6 % in 95 of 100 problems."""
CACHED_BYTES = 2**20
"""Spectra of a group's kernels that stay in L2."""
SETS_BYTES = 4096
"""Rows that a first stage reads at multiples of this lie in the same sets of a first-level cache."""


class FftFused(CompiledAlgorithm):
    """Stride 1, one or two transformed axes, in float32 and float64."""

    name = "fft_fused"
    dtypes = frozenset({"float32", "float64"})
    exact_on_integers = False

    def supports(self, problem: ConvProblem) -> bool:
        return (
            problem.input_size[0] == problem.output_size[0] == problem.kernel_size[0] == 1
            and problem.padding[0] == (0, 0)
            and problem.stride == (1, 1, 1)
            and math.prod(problem.kernel_size) > 1
            and not problem.is_empty
            and bool(_tiles(problem))
        )

    def choices(self, problem: ConvProblem) -> Sequence[Params]:
        return [{"height": height, "width": width} for height, width in _tiles(problem)[:ESTIMATED]]

    def variations(self, problem: ConvProblem) -> Sequence[Params]:
        return [{"height": height, "width": width} for height, width in _tiles(problem)[ESTIMATED:]]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        blocking = blocking_of(problem, params["height"], params["width"])
        return blocking.shared_bytes + threads * blocking.thread_bytes

    def items(self, problem: ConvProblem, params: Params) -> int:
        blocking = blocking_of(problem, params["height"], params["width"])
        return problem.groups * (blocking.partials if blocking.is_gradient else problem.batch * blocking.pairs)

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """Halvings of transforms, products of spectra, spectra that are read, and rows that get in each other's way."""
        height, width = params["height"], params["width"]
        _, tiles = tiling(problem, height, width)
        item, points, groups = np.dtype(problem.dtype).itemsize, height * width, problem.groups
        channels, filters = problem.in_channels // groups, problem.out_channels // groups
        pairs = problem.batch * -(-math.prod(tiles) // 2)
        transformed, kernels = points * groups * pairs * (channels + filters), points * groups * channels * filters
        halvings = transformed * math.log2(points)
        lanes, _, _ = runtime.tile_sizes(problem.dtype)
        spectra, tile = 2 * points * channels * filters * item, 4 * points * item
        is_long = is_signal(problem)
        return {
            "halving_products": halvings,
            "point_products": transformed,
            "spectrum_products": kernels * pairs,
            "kernel_halving_products": kernels * math.log2(points),
            "kernel_point_products": kernels,
            "lone_products": transformed if channels * filters == 1 else 0,
            "long_halving_products": halvings if is_long else 0,
            "long_point_products": transformed if is_long else 0,
            "beyond_l1_halving_products": halvings if tile > 2**19 else 0,
            "beyond_l2_halving_products": halvings if tile > 2**20 else 0,
            "conflicting_products": halvings if width // radices(width)[0] * 2 * lanes * item % SETS_BYTES == 0 else 0,
            **{f"down_{odd}_products": halvings if height % odd == 0 else 0 for odd in (3, 5)},
            **{f"across_{odd}_products": halvings if width % odd == 0 else 0 for odd in (3, 5)},
            "spectra_bytes": spectra * groups,
            "read_spectra_bytes": pairs * spectra,
            "streamed_spectra_bytes": pairs * spectra if spectra > CACHED_BYTES else 0,
            "pair_steps": pairs * groups,
            "kernel_steps": groups * channels * filters,
        }

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        return _error_bound(problem)

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        return self.bind(problem, params).pack(beside_weight(problem, weight), threads)

    def bind(self, problem: ConvProblem, params: Params) -> loops.FftFusedKernel:
        return loops.FftFusedKernel(problem, blocking_of(problem, params["height"], params["width"]))


@functools.lru_cache(maxsize=1024)
def _tiles(problem: ConvProblem) -> list[tuple[int, int]]:
    """The sizes of tiles that take the least arithmetic."""
    kernels, item = math.prod(problem.weight_shape[:2]), np.dtype(problem.dtype).itemsize
    most = min(MAX_POINTS, MAX_PRODUCTS * problem.groups // kernels, SPECTRA_BYTES // (2 * item * kernels))
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    shape = is_signal(problem), reach(problem), pixels(problem)
    return loops.cheapest_tiles(SIZES, *shape, problem.batch, channels, filters, most, SHORTLIST)


def _error_bound(problem: ConvProblem) -> ErrorBound:
    """Each stage of a transform adds a few roundings to every element, none larger than a rounding of the norm.

    Three transforms, and the sum over channels (backward_weight: over pairs of tiles). ``relative`` is what was
    measured on normal, uniform and ReLU'd data with a factor of 2 to spare; errors of a transform have random signs.
    """
    tiles = _tiles(problem)
    stages = max(math.log2(height * width) for height, width in tiles)
    if problem.direction == "backward_weight":
        summed = max(problem.batch * -(-math.prod(tiling(problem, *tile)[1]) // 2) for tile in tiles)
    else:
        channels = problem.in_channels if problem.direction == "forward" else problem.out_channels
        summed = channels // problem.groups
    roundoff = unit_roundoff(problem)
    return ErrorBound(
        elementwise=None,
        normwise=roundoff * (15 * stages + summed + 8),
        relative=roundoff * (10 + stages + math.sqrt(summed) / 2),
    )
