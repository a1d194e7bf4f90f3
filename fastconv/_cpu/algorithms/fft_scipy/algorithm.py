"""fft_scipy: overlap-save tiles through scipy.fft; for the long and large kernels that `fft_fused` declines.

overlap_save.py has the sums and where tiles lie, spectra.py their transforms and products. A block of tiles is
gathered, transformed, multiplied and transformed back while it is in cache. Non-finite elements would spread over a
tile: an image whose result is not finite is computed again by im2col, so that NaN and Inf come out where the definition
puts them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...._algorithm import ErrorBound, Operands, Params, Resources, unit_roundoff
from ...._problem import ConvProblem, Sizes
from ... import blas, epilogue
from ...blocks import Box, Scratch, cut, run, scratch_bytes
from ...cost.counts import ITEM_BYTES
from ...cost.fitted import Fitted
from ...nonfinite import compute_again
from .kernel_spectra import Kernels
from .overlap_save import BLOCK_BYTES, Blocking, Tile, blocking, is_transformable, sizes_of, tiling
from .spectra import Spectra

SIDES = tuple(side for power in range(4, 22) for side in (2**power, 3 * 2 ** (power - 1)))
"""Candidates for the size of a tile along an axis."""
MIN_BLOCK_BYTES = 2**14
"""Bytes of tiles that are transformed together at least, where scratch memory is limited."""
SPECTRA_BYTES = 2**28
"""Tiles whose kernel spectra take more than this are considered only where all tiles do."""


class FftScipy(Fitted):
    """Products of spectra instead of sums of products."""

    name = "fft_scipy"
    dtypes = frozenset({"float32", "float64", "complex64", "complex128"})
    exact_on_integers = False
    max_candidates = 5

    def supports(self, problem: ConvProblem) -> bool:
        return is_transformable(problem)

    def choices(self, problem: ConvProblem) -> Sequence[Params]:
        return [{"tile": side} for side in _sides(problem)]

    def fitting(self, problem: ConvProblem, limit_bytes: int) -> Params | None:
        """Blocks become smaller until they fit."""
        found, block_bytes = super().fitting(problem, limit_bytes), BLOCK_BYTES
        while found is None and block_bytes > MIN_BLOCK_BYTES:
            block_bytes //= 2
            smaller = [{**params, "block_bytes": block_bytes} for params in self.parameters(problem)]
            found = next((params for params in smaller if self.workspace(problem, params, 1) <= limit_bytes), None)
        return found

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        sizes = _scratch_bytes(blocking(problem, **params), threads)
        # scipy.fft allocates what it returns: spectra and results of a block for every thread.
        return scratch_bytes(*sizes) + 2 * sum(sizes[1:])

    def items(self, problem: ConvProblem, params: Params) -> int:
        return blocking(problem, **params).task_count

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """Halvings of transforms, products by matrices and by planes, copies, and calls of NumPy and SciPy."""
        blocks = blocking(problem, **params)
        t, item = blocks.tiling, ITEM_BYTES[problem.dtype]
        channels, kernels = problem.groups * (t.sources + t.targets), problem.groups * t.sources * t.targets
        points, kernel_points = t.tile_count * channels * math.prod(t.tile), kernels * math.prod(t.kernel_tile)
        halvings = sum(math.log2(size) for size in t.tile[3 - t.rank :])
        products = t.tile_count * kernels * math.prod(t.spectrum)
        rounds = blocks.block_count * (3 if problem.direction == "backward_weight" else 1)
        return {
            "halving_products": halvings * points,
            "kernel_halving_products": halvings * kernel_points,
            "matrix_spectrum_products": products if t.by_matrices else 0,
            "plane_spectrum_products": 0 if t.by_matrices else products,
            "point_bytes": points * item,
            "kernel_point_bytes": kernel_points * item,
            "read_spectra_bytes": rounds * kernel_points * item if t.by_matrices else 0,
            "tile_steps": t.tile_count * (1 + len(t.phases)),
            "task_steps": blocks.task_count,
        }

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        return _error_bound(problem)

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        t = tiling(problem, params["tile"])
        spectra = Spectra(t)
        with np.errstate(all="ignore"):
            return Kernels(spectra, weight, threads).transformed(np.empty(t.kernel_spectra, spectra.spectral_dtype))

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        with np.errstate(all="ignore"), blas.one_thread():
            spoiled = _Execution(blocking(problem, **params), operands, resources).run()
        if problem.direction == "backward_weight":
            if spoiled:
                compute_again(problem, operands, resources, None)
            return
        epilogue.apply(problem, operands)
        if spoiled:
            compute_again(problem, operands, resources, spoiled)


def _scratch_bytes(blocks: Blocking, threads: int) -> tuple[int, int, int, int]:
    """Bytes of kernel spectra, and for all threads of tiles, products and addends."""
    spectra = Spectra(blocks.tiling)
    slots = max(1, min(threads, blocks.task_count))
    kernels, gathered, products, addends = blocks.scratch_sizes()
    itemsize = spectra.spectral_dtype.itemsize
    return (
        kernels * itemsize,
        slots * gathered * spectra.dtype.itemsize,
        slots * products * itemsize,
        slots * addends * itemsize,
    )


@functools.lru_cache(maxsize=1024)
def _sides(problem: ConvProblem) -> list[int]:
    """Tile sizes that differ, up to the one that an image fits into."""
    found: dict[Sizes, int] = {}
    for side in SIDES:
        made = tiling(problem, side)
        found.setdefault(made.tile, side)
        if made.tile_count == problem.batch:
            break
    itemsize = Spectra(tiling(problem, SIDES[0])).spectral_dtype.itemsize
    sides = list(found.values())
    light = [side for side in sides if tiling(problem, side).kernel_spectra * itemsize <= SPECTRA_BYTES]
    return light or sides[:1]


def _error_bound(problem: ConvProblem) -> ErrorBound:
    """Each stage of a transform adds a few roundings to every element, none larger than a rounding of the norm.

    Three transforms, and the sum over channels (backward_weight: over tiles). ``relative`` is what was measured on
    normal, uniform and ReLU'd data with a factor of 2 to spare; the errors of a transform have random signs.
    """
    t = tiling(problem, _sides(problem)[0])
    roundoff = unit_roundoff(problem)
    stages = math.log2(math.prod(t.tile[3 - t.rank :]))
    summed = t.tile_count * t.rows if problem.direction == "backward_weight" else t.sources
    return ErrorBound(
        elementwise=None,
        normwise=roundoff * (15 * stages + summed + 8),
        relative=roundoff * (10 + stages + math.sqrt(summed) / 2),
    )


Task = tuple[list[slice], slice, int]


class _Execution:
    """One call: the problem's direction into its result, without the epilogue.

    Arrays of tiles are (tile, group, channel, three axes), those of kernels (group, source, target, three axes).
    """

    def __init__(self, blocks: Blocking, operands: Operands, resources: Resources):
        self.blocking, self.tiling = blocks, blocks.tiling
        self.threads = resources.threads
        t = self.tiling
        self.problem = t.problem
        self.spectra = Spectra(t)
        self.input, self.output = t.data(operands.input), t.data(operands.output)
        self.kernels = Kernels(self.spectra, operands.weight, resources.threads)
        self.packed: Any = operands.packed
        self.tiles = t.tiles()
        slots = max(1, min(resources.threads, blocks.task_count))
        scratch, spectral = Scratch(resources.workspace), self.spectra.spectral_dtype
        kernels, gathered, products, addends = blocks.scratch_sizes()
        self._kernels = scratch.take(spectral, kernels)
        self._gathered = scratch.take(self.spectra.dtype, slots, gathered)
        self._products = scratch.take(spectral, slots, products)
        self._addends = scratch.take(spectral, slots, addends)

    def run(self) -> set[int]:
        """Compute; return the images whose results are not all finite ({0} for all of a weight gradient)."""
        return self._weight_gradient() if self.problem.direction == "backward_weight" else self._convolve()

    def _convolve(self) -> set[int]:
        backward = self.problem.direction == "backward_input"
        if backward and len(self.tiling.phases) < math.prod(self.problem.stride):
            self.input[...] = 0
        kernels = self.kernels.transformed(self._kernels) if self.packed is None else self.kernels.checked(self.packed)
        last: tuple[Any, ...] = (..., *(slice(-size, None) for size in self.tiling.valid))
        spoiled: set[int] = set()

        def compute(task: Task, slot: int) -> None:
            (block,), groups, _ = task
            tiles = self.tiles[block]
            gathered = self._tile_array(self._gathered[slot], tiles, groups, self.tiling.sources)
            if backward:
                self._gather_output(tiles, groups, gathered)
            else:
                self._gather_input(tiles, groups, gathered)
            result = self.spectra.to_tiles(self._multiplied(gathered, kernels[groups], slot))[last]
            if not np.isfinite(result.sum()):
                spoiled.update(n for (n, _), tile in zip(tiles, result, strict=True) if not np.isfinite(tile.sum()))
            if backward:
                self._scatter_input(tiles, groups, result)
            else:
                self._scatter_output(tiles, groups, result)

        run(compute, self.blocking.tasks(), self.threads)
        return spoiled

    def _weight_gradient(self) -> set[int]:
        t, lanes = self.tiling, self.blocking.lanes
        sums = [self.kernels.array(memory) for memory in self._kernels.reshape(lanes, t.kernel_spectra)]

        def compute(task: Task, slot: int) -> Iterator[None]:
            blocks, groups, lane = task
            total = sums[lane][groups]
            total[...] = 0
            for block in blocks:
                tiles = self.tiles[block]
                source = self._tile_array(self._gathered[slot], tiles, groups, t.sources)
                target = self._tile_array(self._gathered[slot, source.size :], tiles, groups, t.targets)
                self._gather_input(tiles, groups, source)
                self._gather_output(tiles, groups, target)
                of_source, of_target = self.spectra.of_tiles(source), self.spectra.of_tiles(target)
                self.spectra.add_products(of_source, of_target, total, self._addends[slot])
                yield

        run(compute, self.blocking.tasks(), self.threads)
        total = sums[0]
        for other in sums[1:]:
            total += other
        return set() if self.kernels.transform_back(total) else {0}

    # Gathering: elements outside an array are zeros.

    def _gather_input(self, tiles: list[Tile], groups: slice, gathered: np.ndarray) -> None:
        t = self.tiling
        for place, (n, start) in zip(gathered, tiles, strict=True):
            for number, phase in enumerate(t.phases):
                window = t.input_window(start, phase, t.tile)
                _fill(place[:, t.phase_channels(number)], self.input[n, groups], window)

    def _gather_output(self, tiles: list[Tile], groups: slice, gathered: np.ndarray) -> None:
        """Tiles of dy: as they are for backward_input, reversed along the transformed axes for backward_weight."""
        t = self.tiling
        for place, (n, start) in zip(gathered, tiles, strict=True):
            if self.problem.direction == "backward_input":
                begin = sizes_of(first - taps + 1 for first, taps in zip(start, t.taps, strict=True))
                _fill(place, self.output[n, groups], t.output_window(begin, t.tile))
                continue
            inside: tuple[Any, ...] = (..., *map(slice, t.valid))
            flips: tuple[Any, ...] = (..., *(slice(None, None, -1),) * t.rank)
            if t.valid != t.tile:
                place[...] = 0
            _fill(place[inside][flips], self.output[n, groups], t.output_window(start, t.valid))

    def _scatter_output(self, tiles: list[Tile], groups: slice, result: np.ndarray) -> None:
        for values, (n, start) in zip(result, tiles, strict=True):
            window = self.tiling.output_window(start, self.tiling.valid)
            if window is not None:
                cut(self.output[n, groups], window[1])[...] = cut(values, window[0])

    def _scatter_input(self, tiles: list[Tile], groups: slice, result: np.ndarray) -> None:
        t = self.tiling
        for values, (n, start) in zip(result, tiles, strict=True):
            for number, phase in enumerate(t.phases):
                window = t.input_window(start, phase, t.valid)
                if window is not None:
                    source = cut(values[:, t.phase_channels(number)], window[0])
                    cut(self.input[n, groups], window[1])[...] = source

    # Memory.

    def _tile_array(self, memory: np.ndarray, tiles: list[Tile], groups: slice, channels: int) -> np.ndarray:
        return self.spectra.tile_array(memory, len(tiles), groups.stop - groups.start, channels, *self.tiling.tile)

    def _multiplied(self, gathered: np.ndarray, kernels: np.ndarray, slot: int) -> np.ndarray:
        """Spectra of the targets of gathered tiles."""
        t = self.tiling
        tiles, groups = gathered.shape[:2]
        product = self.spectra.tile_array(self._products[slot], tiles, groups, t.targets, *t.spectrum)
        self.spectra.multiply(self.spectra.of_tiles(gathered), kernels, product, self._addends[slot])
        return product


def _fill(place: np.ndarray, array: np.ndarray, window: tuple[Box, Box] | None) -> None:
    """Copy the elements of a window to their places; the other places are zeros."""
    if window is None or any(
        run.stop - run.start < size for run, size in zip(window[0], place.shape[-3:], strict=True)
    ):
        place[...] = 0
    if window is not None:
        cut(place, window[0])[...] = cut(array, window[1])
