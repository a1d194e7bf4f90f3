"""winograd: minimal filtering F(m, r), r = 2 to 5 taps by tiles of m + r - 1 = 4 to 6 points, 1-D and 2-D, strided too.

Winograd, Arithmetic Complexity of Computations, SIAM 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural
Networks, arXiv:1509.09308. Transforms spread non-finite elements over a tile: an image whose result is not finite is
computed again by im2col, so that NaN and Inf come out where the definition puts them.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ...._algorithm import ErrorBound, Machine, Operands, Params, unit_roundoff
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm
from ...engine import runtime
from . import loops

AMPLIFICATION = {
    (4, 2): 3.42,
    (5, 2): 5.43,
    (6, 2): 8.47,
    (4, 3): 3.87,
    (5, 3): 6.05,
    (6, 3): 9.42,
    (6, 4): 10.38,
    (6, 5): 11.55,
}
"""By (tile size, taps): the largest over results i of sum over points j of |A_ij| |G_j| |B_j|, the rows' 2-norms: how
much larger than the definition's the terms of one axis may be."""

ROUNDOFFS_AT_HIGH = {
    (4, 2): (7.0, 1.4),
    (5, 2): (8.0, 3.0),
    (6, 2): (16.0, 7.4),
    (4, 3): (5.0, 1.0),
    (5, 3): (8.0, 3.0),
    (6, 3): (10.0, 4.6),
    (6, 4): (10.0, 4.6),
    (6, 5): (10.0, 4.6),
}
"""By (tile size, taps): ``relative`` is a + b sqrt(reduction) roundoffs; measured, with a factor of 1.5 to spare."""

HIGH_LIMIT = 1e-5
MAX_STRIDE = 4
"""The largest stride where channels are fewer than lanes, so that a vector holds several phases; else 2."""
MAX_STRIDED_TAPS = 6
"""The most taps at stride 2, where every phase of the strided array is whole vectors of channels."""
BLOCK_TILES = (56, 28, 112)
"""Tiles of an item that takes all filters."""
PASS_TILES = (128, 64, 256)
"""Tiles of one pass over the operands of a weight gradient: more pay only where sums are large, and are less exact."""
NEAR_COPIES, FAR_COPIES = 3, 5
"""Elements copied in the time it takes to read or write one element of a dilated row."""
CACHED_SUMS_BYTES = 2**24
"""Sums of a weight gradient up to this size are not written to memory in every pass."""
CACHED_GROUPS_BYTES = 2**20
"""Sums of all groups of a weight gradient beyond this size are dearer; measured at 16 and 32 channels a group."""
CACHED_ITEM_BYTES = 2**20
"""Transformed tiles and products of an item up to this size stay in the cache between their stages."""
CACHED_WEIGHTS_BYTES = 2**20
"""Transformed weights of a block of an item of panels up to this size mostly stay in L2 until they are multiplied."""
ITEM_PANELS = (1, 2)
"""Panels of filters of an item that takes all tiles."""
MIN_ITEMS = 8
"""Work items wanted at least, so that every thread finds work; not derived from the number of threads."""
TRANSFORMED_BYTES = 2**26
"""All tiles are transformed beforehand only where they take no more than this."""
TYPICAL = Machine(multiply_adds_per_second={"float32": 4e10, "float64": 2e10})
"""What default parameters are chosen for; they must not depend on measurements."""


class Winograd(CompiledAlgorithm):
    """Kernels of 2 to 5 taps on h, w or both, in all directions; at stride 2 of 3 to 6 taps, and with fewer channels
    than a vector has lanes, of s + 1 to 5 s taps at strides s up to 4.

    With dilation d, pixels d apart form planes of their own, on which the taps are neighbours. With stride s, elements
    s apart form channels of their own (in ``backward_input`` filters), each with every s-th tap.
    """

    name = "winograd"
    dtypes = frozenset({"float32", "float64"})
    exact_on_integers = False
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        if any(size > 1 and taps == 1 for size, taps in zip(problem.kernel_size[1:], _taps(problem), strict=True)):
            return False
        taps = set(_taps(problem)) - {1}
        is_narrow = loops.phases_are_lanes(problem)
        max_stride, limit = (MAX_STRIDE, MAX_STRIDE * 5) if is_narrow else (2, MAX_STRIDED_TAPS)
        if len(taps) != 1 or not taps <= {2, 3, 4, 5}:
            return False
        axes = zip(problem.kernel_size[1:], problem.stride[1:], problem.dilation[1:], strict=True)
        for size, stride, dilation in axes:
            if stride > 1 and (size == 1 or size > limit or stride > max_stride or dilation > 1):
                return False
        if problem.direction == "backward_input" and problem.stride[0] > 1:
            return False
        return min(problem.in_channels, problem.out_channels) >= 2 * problem.groups

    def parameters(self, problem: ConvProblem) -> list[Params]:
        return [dict(params) for params in _parameters(problem)]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        shared, thread = loops.memory(problem, params)
        return shared + threads * thread

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        seconds = _seconds(problem, params, machine) + _dilated_seconds(problem, machine)
        return machine.call_seconds * 3 + seconds / threads

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        return _error_bound(problem, _tile_sizes(problem)[0])

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        # Packing reads the weights alone; the data arrays only have to have their shapes.
        blank = np.zeros(1, problem.dtype)
        shapes = (problem.input_shape, problem.output_shape)
        data, output = (np.lib.stride_tricks.as_strided(blank, shape, (0,) * 5) for shape in shapes)
        if problem.direction == "backward_input":
            data = np.lib.stride_tricks.as_strided(blank, problem.input_shape, (0,) * 5, writeable=True)
        else:
            output = np.lib.stride_tricks.as_strided(blank, problem.output_shape, (0,) * 5, writeable=True)
        return loops.pack(problem, params, Operands(data, weight, output), threads)

    def bind(self, problem: ConvProblem, params: Params) -> loops.WinogradKernel:
        return loops.WinogradKernel(problem, params)


def _tile_sizes(problem: ConvProblem) -> list[int]:
    """Tile sizes m + r - 1 that the precision level admits, those with the largest error first."""
    if max(_taps(problem)) > 3:
        return [6]
    if problem.dtype == "float32" and problem.precision in ("ieee", "highest"):
        return [4]
    if problem.dtype == "float32" and problem.precision == "high":
        return [size for size in (6, 5) if _error_bound(problem, size).relative <= HIGH_LIMIT] + [4]
    return [6, 5, 4]


def _error_bound(problem: ConvProblem, tile_size: int) -> ErrorBound:
    """Sums over the reduction and the points, amplified once per axis; see AMPLIFICATION and ROUNDOFFS_AT_HIGH.

    A weight gradient's sums are added up pass by pass, so that a pass alone decides the usual error.
    """
    taps = max(_taps(problem))
    axes = sum(size > 1 for size in problem.kernel_size[1:])
    if problem.direction == "backward_weight":
        reduction = _tile_count(problem, tile_size)
        chain = min(reduction, 2 * max(PASS_TILES))
    else:
        channels = problem.in_channels if problem.direction == "forward" else problem.out_channels
        reduction = chain = channels // problem.groups * problem.kernel_size[0] * _source_phases(problem)
    if problem.dtype.startswith("complex"):
        reduction, chain = 4 * reduction, 4 * chain
    roundoff = unit_roundoff(problem)
    constant, slope = ROUNDOFFS_AT_HIGH[tile_size, taps]
    return ErrorBound(
        elementwise=None,
        normwise=roundoff * (reduction + 8 * tile_size + 8) * AMPLIFICATION[tile_size, taps] ** axes,
        relative=roundoff * (constant + slope * math.sqrt(chain)),
    )


@functools.lru_cache(maxsize=1024)
def _parameters(problem: ConvProblem) -> list[Params]:
    """Tile and block sizes, the lowest estimate first."""
    found: list[Params] = []
    for tile_size in _tile_sizes(problem):
        total = _tile_count(problem, tile_size)
        if problem.direction == "backward_weight":
            found += [{"tile_size": tile_size, "tiles": max(1, min(most, total)), "panels": 0} for most in PASS_TILES]
            continue
        for most in BLOCK_TILES:
            tiles = max(1, min(most, -(-total * problem.groups // MIN_ITEMS)))
            found.append({"tile_size": tile_size, "tiles": tiles, "panels": 0})
        for panels in ITEM_PANELS:
            params = {"tile_size": tile_size, "tiles": BLOCK_TILES[0], "panels": min(panels, _panels(problem))}
            if loops.memory(problem, params)[0] <= TRANSFORMED_BYTES:
                found.append(params)
    unique = [params for number, params in enumerate(found) if params not in found[:number]]
    return sorted(unique, key=lambda params: _seconds(problem, params, TYPICAL))


def _shape(problem: ConvProblem, tile_size: int) -> tuple[int, int]:
    """(points, results) of a tile, both axes together."""
    taken = [(tile_size, tile_size - taps + 1) if taps > 1 else (1, 1) for taps in _taps(problem)]
    return math.prod(count for count, _ in taken), math.prod(results for _, results in taken)


def _tile_count(problem: ConvProblem, tile_size: int) -> int:
    sizes = problem.input_size if problem.direction == "backward_input" else problem.output_size
    strides = problem.stride[1:] if problem.direction == "backward_input" else (1, 1)
    tiles = problem.batch * sizes[0]
    for size, taps, dilation, stride in zip(sizes[1:], _taps(problem), problem.dilation[1:], strides, strict=True):
        if taps == 1:
            tiles *= size
        else:
            tiles *= min(dilation, size) * -(-size // dilation // stride // (tile_size - taps + 1))
    return tiles


def _taps(problem: ConvProblem) -> tuple[int, ...]:
    """Taps on h and w of every phase of a strided axis."""
    return tuple(-(-size // stride) for size, stride in zip(problem.kernel_size[1:], problem.stride[1:], strict=True))


def _result_phases(problem: ConvProblem) -> int:
    return math.prod(problem.stride[1:]) if problem.direction == "backward_input" else 1


def _source_phases(problem: ConvProblem) -> int:
    return 1 if problem.direction == "backward_input" else math.prod(problem.stride[1:])


def _channels(problem: ConvProblem) -> tuple[int, int]:
    """(reduction, filters) of one group, filled up to whole vectors and panels."""
    lanes, _, columns = runtime.tile_sizes(problem.dtype)
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    if problem.direction == "backward_input":
        channels, filters = filters, channels
    sources, results = _source_phases(problem), _result_phases(problem)
    if loops.phases_are_lanes(problem):
        channels, filters, sources, results = channels * sources, filters * results, 1, 1
    reduction = -(-channels // lanes) * lanes * problem.kernel_size[0] * sources
    return reduction, -(-filters // columns) * columns * results


def _panels(problem: ConvProblem) -> int:
    """Panels of one phase's filters."""
    panels = _channels(problem)[1] // runtime.tile_sizes(problem.dtype)[2]
    return panels if loops.phases_are_lanes(problem) else panels // _result_phases(problem)


def _dilated_seconds(problem: ConvProblem, machine: Machine) -> float:
    """Pixels of a dilated row are read and written one by one, from lines of their own where they are far apart."""
    if problem.dilation[2] == 1 or problem.layout == "channels_last":
        return 0.0
    itemsize = np.dtype(problem.dtype).itemsize
    copies = FAR_COPIES if problem.dilation[2] * itemsize >= 64 else NEAR_COPIES
    elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    return copies * elements * itemsize / machine.bytes_per_second


def _seconds(problem: ConvProblem, params: Params, machine: Machine) -> float:
    """Products near the peak rate, transforms as copies, dearer where what they make leaves the cache, and what is read
    again from cache: weights for every block of tiles, or tiles for every item of panels."""
    points, _ = _shape(problem, params["tile_size"])
    reduction, filters = _channels(problem)
    tiles = _tile_count(problem, params["tile_size"])
    itemsize = np.dtype(problem.dtype).itemsize
    rate, copies = machine.multiply_adds_per_second[problem.dtype], machine.bytes_per_second / itemsize
    weights, sources = points * reduction * filters, points * reduction * tiles
    products = loops.needed_share(problem, params) * tiles * weights / (rate * 0.85)
    if problem.direction == "backward_weight":
        # Operands of a pass leave the caches as it grows, and where those of all groups come before the first products;
        # all sums are read and written in every pass. Those of many groups leave the cache between passes.
        sums = (
            weights * (1.5 if weights * itemsize > CACHED_SUMS_BYTES else 1) * (1.4 if max(problem.stride) > 1 else 1)
        )
        operands = sources + points * filters * tiles
        is_spilled = problem.groups > 1 and problem.groups * weights * itemsize > CACHED_GROUPS_BYTES
        moved = (0.35 + params["tiles"] / 350 + (1.3 if problem.groups > 1 else 0)) * operands
        moved += (-(-tiles // params["tiles"]) + (4.5 if is_spilled else 0.5)) * sums
        return problem.groups * (products + moved / copies)
    if params["panels"]:
        items = -(-_panels(problem) // params["panels"])
        held = sources + points * filters * tiles / items
        moved = math.prod(_taps(problem)) * reduction * filters
        is_cached = loops.block_bytes(problem, params) <= CACHED_WEIGHTS_BYTES
        moved += (0.5 if is_cached else 0.6) * weights + (1 + 0.1 * items) * sources
    else:
        moved = (2.5 + 0.1 * -(-tiles // params["tiles"])) * weights
        held = points * (reduction + filters) * min(params["tiles"], tiles)
    spilled = max(held * itemsize / CACHED_ITEM_BYTES - 1, 0)
    transforms = (1.2 + 0.15 * spilled) * (sources + points * filters * tiles) / copies
    return problem.groups * (products + transforms + moved / copies)
