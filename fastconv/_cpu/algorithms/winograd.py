"""winograd: minimal filtering F(2, 3), F(3, 3), F(4, 3) and F(2, 5), in 1-D and 2-D; weight gradients alike.

Winograd, Arithmetic Complexity of Computations, SIAM 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural
Networks, arXiv:1509.09308. Transforms spread non-finite elements over a tile: an image whose result is not finite is
computed again by im2col, so that NaN and Inf come out where the definition puts them.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..._algorithm import Algorithm, ErrorBound, Machine, Operands, Params, Resources, unit_roundoff
from ..._problem import ConvProblem
from .. import _runtime, _winograd, epilogue
from ..recompute import recompute, recompute_images

AMPLIFICATION = {(4, 3): 3.87, (5, 3): 9.42, (6, 3): 9.42, (6, 5): 11.55}
"""By (points, taps): the largest over results i of sum over points j of |A_ij| |G_j| |B_j|, the rows' 2-norms: how much
larger than the definition's the terms of one axis may be."""

ROUNDOFFS_AT_HIGH = {(4, 3): (5.0, 1.0), (5, 3): (10.0, 4.6), (6, 3): (10.0, 4.6), (6, 5): (10.0, 4.6)}
"""By (points, taps): ``relative`` is a + b sqrt(reduction) roundoffs; measured, with a factor of 1.5 to spare."""

HIGH_LIMIT = 1e-5
BLOCK_TILES = (56, 28, 112)
"""Tiles of an item that takes all filters."""
PASS_TILES = (128, 64, 256)
"""Tiles of one pass over the operands of a weight gradient: more are no better, and their sums would be less exact."""
ITEM_PANELS = (1, 2)
"""Panels of filters of an item that takes all tiles."""
LEAST_ITEMS = 8
"""Work items wanted, so that threads find work; never decided by their number."""
TRANSFORMED_BYTES = 2**26
"""All tiles are transformed beforehand only where they take no more."""
TYPICAL = Machine(multiply_adds_per_second={"float32": 4e10, "float64": 2e10})
"""What default parameters are chosen for; they must not depend on measurements."""


class Winograd(Algorithm):
    """Kernels with 3 or 5 taps on h, w or both, at unit stride there; all directions.

    With dilation d the pixels d apart are planes of their own, on which the taps are neighbours.
    """

    name = "winograd"
    dtypes = frozenset({"float32", "float64"})
    exact_on_integers = False
    multiplies_outside = True

    def supports(self, problem: ConvProblem) -> bool:
        taps = set(problem.kernel_size[1:]) - {1}
        if len(taps) != 1 or not taps <= {3, 5}:
            return False
        if set(problem.stride[1:]) != {1} or (problem.direction == "backward_input" and problem.stride[0] != 1):
            return False
        return min(problem.in_channels, problem.out_channels) >= 2 * problem.groups

    def parameters(self, problem: ConvProblem) -> list[Params]:
        return [dict(params) for params in _parameters(problem)]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        shared, thread = _winograd.memory(problem, params)
        return shared + threads * thread

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        return machine.call_seconds * 3 + _seconds(problem, params, machine) / threads

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        return _error_bound(problem, _points(problem)[0])

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
        return _winograd.pack(problem, params, Operands(data, weight, output), threads)

    def bind(self, problem: ConvProblem, params: Params) -> _winograd.WinogradKernel:
        return _winograd.WinogradKernel(problem, params)

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        if problem.direction == "backward_weight":
            if not _winograd.weight_gradient(problem, params, operands, resources):
                recompute(problem, operands, resources.threads)
            return
        spoiled = _winograd.correlate(problem, params, operands, resources)
        for image_problem, image in recompute_images(problem, operands, spoiled, resources.threads):
            epilogue.apply(image_problem, image)


def _points(problem: ConvProblem) -> list[int]:
    """Points of the tiles that the precision level admits, those with the largest error first."""
    taps = max(problem.kernel_size[1:])
    if taps == 5:
        return [6]
    if problem.dtype == "float32" and problem.precision in ("ieee", "highest"):
        return [4]
    if problem.dtype == "float32" and problem.precision == "high" and _error_bound(problem, 6).relative > HIGH_LIMIT:
        return [4]
    return [6, 5, 4]


def _error_bound(problem: ConvProblem, points: int) -> ErrorBound:
    """Sums over the reduction and the points, amplified once per axis; see AMPLIFICATION and ROUNDOFFS_AT_HIGH.

    A weight gradient's sums are added up pass by pass, so that a pass alone decides the usual error.
    """
    taps = max(problem.kernel_size[1:])
    axes = sum(size > 1 for size in problem.kernel_size[1:])
    if problem.direction == "backward_weight":
        reduction = _tile_count(problem, points)
        chain = min(reduction, 2 * max(PASS_TILES))
    else:
        channels = problem.in_channels if problem.direction == "forward" else problem.out_channels
        reduction = chain = channels // problem.groups * problem.kernel_size[0]
    if problem.dtype.startswith("complex"):
        reduction, chain = 4 * reduction, 4 * chain
    roundoff = unit_roundoff(problem)
    constant, slope = ROUNDOFFS_AT_HIGH[points, taps]
    return ErrorBound(
        elementwise=None,
        normwise=roundoff * (reduction + 8 * points + 8) * AMPLIFICATION[points, taps] ** axes,
        relative=roundoff * (constant + slope * math.sqrt(chain)),
    )


@functools.lru_cache(maxsize=1024)
def _parameters(problem: ConvProblem) -> list[Params]:
    """Tile and block sizes, the lowest estimate first."""
    found: list[Params] = []
    for points in _points(problem):
        total = _tile_count(problem, points)
        if problem.direction == "backward_weight":
            found += [{"points": points, "tiles": max(1, min(most, total)), "panels": 0} for most in PASS_TILES]
            continue
        for most in BLOCK_TILES:
            tiles = max(1, min(most, -(-total * problem.groups // LEAST_ITEMS)))
            found.append({"points": points, "tiles": tiles, "panels": 0})
        for panels in ITEM_PANELS:
            params = {"points": points, "tiles": BLOCK_TILES[0], "panels": min(panels, _panels(problem))}
            if _winograd.memory(problem, params)[0] <= TRANSFORMED_BYTES:
                found.append(params)
    unique = [params for number, params in enumerate(found) if params not in found[:number]]
    return sorted(unique, key=lambda params: _seconds(problem, params, TYPICAL))


def _shape(problem: ConvProblem, points: int) -> tuple[int, int]:
    """(points, results) of a tile, both axes together."""
    taken = [(points, points - size + 1) if size > 1 else (1, 1) for size in problem.kernel_size[1:]]
    return math.prod(count for count, _ in taken), math.prod(results for _, results in taken)


def _tile_count(problem: ConvProblem, points: int) -> int:
    sizes = problem.input_size if problem.direction == "backward_input" else problem.output_size
    tiles = problem.batch * sizes[0]
    for size, taps, dilation in zip(sizes[1:], problem.kernel_size[1:], problem.dilation[1:], strict=True):
        if taps == 1:
            tiles *= size
        else:
            tiles *= min(dilation, size) * -(-size // dilation // (points - taps + 1))
    return tiles


def _channels(problem: ConvProblem) -> tuple[int, int]:
    """(reduction, filters) of one group, filled up to whole vectors and panels."""
    lanes, _, columns = _runtime.tile_sizes(problem.dtype)
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    if problem.direction == "backward_input":
        channels, filters = filters, channels
    return -(-channels // lanes) * lanes * problem.kernel_size[0], -(-filters // columns) * columns


def _panels(problem: ConvProblem) -> int:
    return _channels(problem)[1] // _runtime.tile_sizes(problem.dtype)[2]


def _seconds(problem: ConvProblem, params: Params, machine: Machine) -> float:
    """Products near the peak rate, transforms as copies, and what is read again from cache: weights for every block of
    tiles, or tiles for every item of panels."""
    points, _ = _shape(problem, params["points"])
    reduction, filters = _channels(problem)
    tiles = _tile_count(problem, params["points"])
    itemsize = np.dtype(problem.dtype).itemsize
    rate, copies = machine.multiply_adds_per_second[problem.dtype], machine.bytes_per_second / itemsize
    weights, sources = points * reduction * filters, points * reduction * tiles
    products = tiles * weights / (rate * 0.85)
    if problem.direction == "backward_weight":
        moved = 3 * (sources + points * filters * tiles + weights)
        return problem.groups * (products + moved / copies)
    transforms = 1.5 * (sources + points * filters * tiles) / copies
    if params["panels"]:
        items = -(-_panels(problem) // params["panels"])
        moved = 0.8 * weights + (1 + 0.1 * items) * sources
    else:
        moved = (2.5 + 0.15 * -(-tiles // params["tiles"])) * weights
    return problem.groups * (products + transforms + moved / copies)
