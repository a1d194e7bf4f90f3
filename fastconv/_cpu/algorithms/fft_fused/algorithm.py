"""fft_fused: overlap-save tiles that are transformed, multiplied and transformed back in cache; large kernels, long
signals, of few channels in a group."""

from __future__ import annotations

import functools
import math

import numpy as np

from ...._algorithm import ErrorBound, Machine, Operands, Params, unit_roundoff
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm
from ...engine import runtime
from . import loops
from .blocking import MAX_POINTS, MAX_PRODUCTS, SIZES, SPECTRA_BYTES, blocking_of, is_signal, radices, tiling

CANDIDATES = 5
"""Sizes of tiles that the tuner tries."""
# Multiply-adds that take as long as what is done to a point of a pair of tiles:
TRANSFORM = 2.75
"""a halving of a transform there or back;"""
TRANSPOSES = 7
"""transposes and loads, in halvings;"""
LONG_TWIDDLES = 14
"""twiddles between the two passes of a signal's long transform;"""
STORED = 25
"""storing a spectrum that is not multiplied as it is made;"""
PRODUCT = 10
"""a product of spectra."""
UNCACHED = 1.15
"""Factor for tiles that take more than ``CACHED_BYTES`` together with their kernel's spectrum."""
CACHED_BYTES = 2**20
CONFLICTING = 1.06
"""Factor for rows that a first stage reads from the same sets of a first-level cache."""
SETS_BYTES = 4096
READ_AGAIN = 0.2
"""Time to read all kernels' spectra for every pair of tiles, as a share of the time to copy them."""
SINGLE_BYTES = 60
"""Bytes that are copied in the time it takes to move an element that is not beside its neighbours."""
EXPOSED = 0.2
"""Share of the time of reading and writing the arrays that no arithmetic hides."""
KERNEL = 1.2
"""Time of a kernel's transform over that of a pair of tiles."""


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

    def parameters(self, problem: ConvProblem) -> list[Params]:
        return [{"height": height, "width": width} for height, width in _tiles(problem)]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        blocking = blocking_of(problem, params["height"], params["width"])
        return blocking.shared_bytes + threads * blocking.thread_bytes

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Arithmetic, what of the arrays and of spectra is not in cache, and elements that are copied one by one."""
        height, width = params["height"], params["width"]
        itemsize, blocking = np.dtype(problem.dtype).itemsize, blocking_of(problem, height, width)
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        spectra, pairs = 2 * height * width * math.prod(problem.weight_shape[:2]), problem.batch * blocking.pairs
        moved = EXPOSED * elements * itemsize
        if spectra * itemsize > CACHED_BYTES:
            moved += 2 * spectra * itemsize
        if spectra * itemsize > CACHED_BYTES * problem.groups:
            moved += READ_AGAIN * (1 + blocking.is_gradient) * pairs * spectra * itemsize
        if problem.layout == "channels_last" and problem.in_channels * problem.out_channels > 1:
            moved += SINGLE_BYTES * elements
        work = _operations(problem, height, width) / machine.multiply_adds_per_second[problem.dtype]
        items = problem.groups * (blocking.partials if blocking.is_gradient else pairs)
        return machine.call_seconds + (work + moved / machine.bytes_per_second) / min(threads, items)

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        return _error_bound(problem)

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        # Packing reads the weights alone; the data arrays only have to have their shapes.
        blank = np.zeros(1, problem.dtype)
        data, output = (
            np.lib.stride_tricks.as_strided(blank, shape, (0,) * 5, writeable=True)
            for shape in (problem.input_shape, problem.output_shape)
        )
        return self.bind(problem, params).pack(Operands(data, weight, output), threads)

    def bind(self, problem: ConvProblem, params: Params) -> loops.FftFusedKernel:
        return loops.FftFusedKernel(problem, blocking_of(problem, params["height"], params["width"]))


@functools.lru_cache(maxsize=1024)
def _tiles(problem: ConvProblem) -> list[tuple[int, int]]:
    """Sizes of tiles, the one with the lowest estimate first."""
    kernels, itemsize = math.prod(problem.weight_shape[:2]), np.dtype(problem.dtype).itemsize
    most = min(MAX_POINTS, MAX_PRODUCTS * problem.groups // kernels, SPECTRA_BYTES // (2 * itemsize * kernels))
    found = []
    for height in SIZES:
        for width in SIZES:
            if height * width > most or (is_signal(problem) and not width / 2 <= height <= 4 * width):
                continue
            if tiling(problem, height, width)[0][0] > 0:
                found.append((height, width))
    return sorted(found, key=lambda tile: _operations(problem, *tile))[:CANDIDATES]


def _operations(problem: ConvProblem, height: int, width: int) -> float:
    """Multiply-adds that take as long on one thread: transforms of pairs of tiles and of kernels, and products."""
    _, tiles = tiling(problem, height, width)
    itemsize = np.dtype(problem.dtype).itemsize
    points, lone = height * width, problem.in_channels == problem.out_channels == problem.groups
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    pairs = problem.batch * -(-math.prod(tiles) // 2)
    one = TRANSFORM * (math.log2(points) + TRANSPOSES)
    if is_signal(problem):
        one += LONG_TWIDDLES
    fused = lone and problem.direction != "backward_weight"
    if not fused:
        one += STORED
    if (2 + is_signal(problem)) * 2 * points * itemsize > CACHED_BYTES:
        one *= UNCACHED
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    if width // radices(width)[0] * 2 * lanes * itemsize % SETS_BYTES == 0:
        one *= CONFLICTING
    per_pair = (channels + filters) * one + channels * filters * PRODUCT
    return points * problem.groups * (pairs * per_pair + channels * filters * KERNEL * one)


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
