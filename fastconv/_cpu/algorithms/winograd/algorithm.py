"""winograd: minimal filtering F(m, r), r = 2 to 5 taps by tiles of m + r - 1 = 4 to 6 points, 1-D and 2-D, strided too;
along one axis up to 7 taps, by tiles of 8.

Winograd, Arithmetic Complexity of Computations, SIAM 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural
Networks, arXiv:1509.09308. Transforms spread non-finite elements over a tile: an image whose result is not finite is
computed again by im2col, so that NaN and Inf come out where the definition puts them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...._algorithm import ErrorBound, Params, unit_roundoff
from ...._minimal_filtering import HIGH_LIMIT, normwise_roundoffs, usual_roundoffs
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm, beside_weight
from . import cost, loops, tiles

MAX_TAPS = 5
MAX_LINE_TAPS = 7
"""Of one axis alone, without stride: the error of a tile of 8 is not that of two axes."""
MAX_STRIDE = 4
"""The largest stride where channels are fewer than lanes, so that a vector holds several phases; else 2."""
MAX_STRIDED_TAPS = 6
"""The most taps at stride 2, where every phase of the strided array is whole vectors of channels."""
BLOCK_TILES = (56, 28, 112)
"""Tiles of an item that takes all filters."""
PASS_TILES = (128, 64, 256)
"""Tiles of one pass over the operands of a weight gradient: more pay only where sums are large, and are less exact."""
ITEM_PANELS = (1, 2)
"""Panels of filters of an item that takes all tiles."""
MIN_ITEMS = 8
"""Work items wanted at least, so that every thread finds work; not derived from the number of threads."""
TRANSFORMED_BYTES = 2**26
"""All tiles are transformed beforehand only where they take no more than this."""


class Winograd(CompiledAlgorithm):
    """Kernels of 2 to 5 taps on h, w or both, of up to 7 on one of them, in all directions; at stride 2 of 3 to 6 taps,
    and with fewer channels than a vector has lanes, of s + 1 to 5 s taps at strides s up to 4.

    With dilation d, pixels d apart form planes of their own, on which the taps are neighbours. With stride s, elements
    s apart form channels of their own (in ``backward_input`` filters), each with every s-th tap.
    """

    name = "winograd"
    dtypes = frozenset({"float32", "float64"})
    exact_on_integers = False
    reads_padding = True
    packing = frozenset({"tile_weight_bytes"})

    def supports(self, problem: ConvProblem) -> bool:
        if any(
            size > 1 and taps == 1
            for size, taps in zip(problem.kernel_size[1:], tiles.taps_of_phase(problem), strict=True)
        ):
            return False
        taps = set(tiles.taps_of_phase(problem)) - {1}
        is_narrow = loops.phases_are_lanes(problem)
        max_stride, limit = (MAX_STRIDE, MAX_STRIDE * MAX_TAPS) if is_narrow else (2, MAX_STRIDED_TAPS)
        if len(taps) != 1 or max(taps) > (MAX_LINE_TAPS if _is_line(problem) else MAX_TAPS):
            return False
        axes = zip(problem.kernel_size[1:], problem.stride[1:], problem.dilation[1:], strict=True)
        for size, stride, dilation in axes:
            if stride > 1 and (size == 1 or size > limit or stride > max_stride or dilation > 1):
                return False
        if problem.direction == "backward_input" and problem.stride[0] > 1:
            return False
        return min(problem.in_channels, problem.out_channels) >= 2 * problem.groups

    def choices(self, problem: ConvProblem) -> Sequence[Params]:
        return _parameters(problem, BLOCK_TILES[:1], PASS_TILES)

    def contending(self, choices: Sequence[Params], seconds: Callable[[Params], float]) -> Sequence[Params]:
        """All blockings of the tile size that is best with the first one."""
        firsts = {params["tile_size"]: params for params in reversed(choices)}
        best = min(firsts.values(), key=seconds)["tile_size"]
        return [params for params in choices if params["tile_size"] == best]

    def variations(self, problem: ConvProblem) -> Sequence[Params]:
        return _parameters(problem, BLOCK_TILES[1:], ())

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        shared, thread = loops.memory(problem, params)
        return shared + threads * thread

    def loop(self, problem: ConvProblem, params: Params) -> str:
        kind = " panels" if params["panels"] else ""
        return f"{self.name} {min(params['tile_size'], 6)}{kind}"  # tiles of 8 take as long as those of 6, by counts

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        return cost.counts(problem, params)

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        return _error_bound(problem, _tile_sizes(problem)[0])

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        return loops.pack(problem, params, beside_weight(problem, weight), threads)

    def bind(self, problem: ConvProblem, params: Params) -> loops.WinogradKernel:
        return loops.WinogradKernel(problem, params)


def _is_line(problem: ConvProblem) -> bool:
    """Whether all taps lie on one axis, without stride."""
    return min(problem.kernel_size[1:]) == 1 and problem.stride[1:] == (1, 1)


def _tile_sizes(problem: ConvProblem) -> list[int]:
    """Tile sizes m + r - 1 that the precision level admits, those with the largest error first."""
    taps = max(tiles.taps_of_phase(problem))
    if taps > MAX_TAPS:
        return [8]
    if taps > 3:
        return [6]
    if problem.dtype == "float32" and problem.precision in ("ieee", "highest"):
        return [4]
    if problem.dtype == "float32" and problem.precision == "high":
        return [size for size in (6, 5) if _error_bound(problem, size).relative <= HIGH_LIMIT] + [4]
    return [6, 5, 4]


@functools.lru_cache(maxsize=64)
def _error_bound(problem: ConvProblem, tile_size: int) -> ErrorBound:
    """Sums over the reduction and the points, amplified once per axis.

    A weight gradient's results are the taps, of filters of as many elements as forward has results; its sums are added
    up pass by pass, so that a pass alone decides the usual error.
    """
    taps = filter_size = max(tiles.taps_of_phase(problem))
    axes = sum(size > 1 for size in problem.kernel_size[1:])
    if problem.direction == "backward_weight":
        reduction = tiles.count(problem, tile_size)
        chain, filter_size = min(reduction, 2 * max(PASS_TILES)), tile_size - taps + 1
    else:
        channels = problem.in_channels if problem.direction == "forward" else problem.out_channels
        reduction = chain = channels // problem.groups * problem.kernel_size[0] * tiles.source_phases(problem)
    if problem.dtype.startswith("complex"):
        reduction, chain = 4 * reduction, 4 * chain
    roundoff = unit_roundoff(problem)
    return ErrorBound(
        elementwise=None,
        normwise=roundoff * normwise_roundoffs(tile_size, filter_size, axes, reduction),
        relative=roundoff * usual_roundoffs(tile_size, taps, chain),
    )


def _parameters(problem: ConvProblem, blocks: Sequence[int], passes: Sequence[int]) -> list[Params]:
    """Tile and block sizes that differ; items of panels beside blocks of the first size."""
    found: dict[tuple[int, int, int], Params] = {}
    for tile_size in _tile_sizes(problem):
        total = tiles.count(problem, tile_size)
        if problem.direction == "backward_weight":
            sizes = [(max(1, min(most, total)), 0) for most in passes]
        else:
            sizes = [(max(1, min(most, -(-total * problem.groups // MIN_ITEMS))), 0) for most in blocks]
        for size in sizes:
            found[tile_size, *size] = {"tile_size": tile_size, "tiles": size[0], "panels": 0}
        if problem.direction == "backward_weight" or BLOCK_TILES[0] not in blocks:
            continue
        for most in ITEM_PANELS:
            panels = min(most, tiles.panels(problem))
            params = {"tile_size": tile_size, "tiles": BLOCK_TILES[0], "panels": panels}
            key = tile_size, BLOCK_TILES[0], panels
            if key not in found and loops.memory(problem, params)[0] <= TRANSFORMED_BYTES:
                found[key] = params
    return list(found.values())
