"""Tiles of fused Fourier transforms and the tables of their transforms; fft_fused.h has the terms.

Everything here follows from the problem, the size of a tile and the vector length, never from the number of threads.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from ...._problem import ConvProblem
from ...engine import runtime
from . import loops

SIZES = (16, 32, 48, 64, 80, 96, 128, 160, 192, 256)
"""Sizes of transforms: products of 3, 4, 5 and 8, and multiples of every vector length."""
MAX_POINTS = 2**16
"""The most points of a tile."""
MAX_PRODUCTS = 2**27
"""The most points of all spectra of a group's kernels, which an item multiplies."""
SPECTRA_BYTES = 2**28
"""The most bytes of all kernels' spectra."""
ROUND_POINTS = 2**24
"""Points that an item of a weight gradient transforms and multiplies: KeyboardInterrupt waits for the items begun."""
MAX_PARTIALS = 8
PARTIAL_BYTES = 2**26
"""Partial sums of a weight gradient: how many, and their bytes."""


@dataclass(frozen=True)
class Transform:
    """The stages of a transform along one axis of a tile."""

    size: int
    radices: tuple[int, ...]
    twiddles: np.ndarray
    """(part, radix - 1, real and imaginary part) of every stage but the last, one after the other."""


@dataclass(frozen=True)
class Blocking:
    """The fields of fft_fused_job_t that do not name arrays, and bytes of memory."""

    is_gradient: bool
    down: Transform
    across: Transform
    long_twiddles: np.ndarray | None
    results: tuple[int, int]
    tiles: tuple[int, int]
    partials: int
    pairs_of_part: int
    """Pairs of all images that a part of a weight gradient adds up, at most."""
    round_pairs: int
    shared_bytes: int
    thread_bytes: int

    @property
    def pairs(self) -> int:
        """Pairs of tiles of an image."""
        return -(-math.prod(self.tiles) // 2)


def is_signal(problem: ConvProblem) -> bool:
    """Whether all images have a single row."""
    return problem.kernel_size[1] == problem.input_size[1] == problem.output_size[1] == 1


def reach(problem: ConvProblem) -> tuple[int, int]:
    """Rows and columns that a sum reaches beyond its first element."""
    (_, rows, columns), (_, row_step, step) = problem.kernel_size, problem.dilation
    return (rows - 1) * row_step, (columns - 1) * step


def pixels(problem: ConvProblem) -> tuple[int, int]:
    """Rows and columns that tiles have to cover."""
    sizes = problem.input_size if problem.direction == "backward_input" else problem.output_size
    return sizes[1:]


@functools.lru_cache(maxsize=1024)
def blocking_of(problem: ConvProblem, height: int, width: int) -> Blocking:
    """The blocking of a problem that the algorithm supports with tiles of ``height`` x ``width`` points."""
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    dtype = np.dtype(problem.dtype)
    results, tiles = tiling(problem, height, width)
    complex_bytes = 2 * dtype.itemsize
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    if problem.direction == "backward_input":
        channels, filters = filters, channels
    tile_bytes = height * width * complex_bytes
    rows_bytes = (max(2 * lanes, loops.COPIED_ROWS) + 2) * width * dtype.itemsize
    shared_bytes = problem.groups * channels * filters * tile_bytes
    spectra = channels if channels * filters > 1 else 0
    pairs = problem.batch * -(-math.prod(tiles) // 2)
    partials, is_gradient = 1, problem.direction == "backward_weight"
    if is_gradient:
        partials = max(min(-(-MAX_PARTIALS // problem.groups), pairs, PARTIAL_BYTES // shared_bytes), 1)
        shared_bytes *= partials
        spectra = channels + 1
    return Blocking(
        is_gradient,
        transform(height, problem.dtype),
        transform(width, problem.dtype),
        long_twiddles(height, width, problem.dtype, lanes) if is_signal(problem) else None,
        results,
        tiles,
        partials,
        -(-pairs // partials),
        max(ROUND_POINTS // (height * width * (channels + filters) * max(channels, filters)), 1),
        shared_bytes,
        (1 + spectra) * tile_bytes + rows_bytes,
    )


def tiling(problem: ConvProblem, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Results of a tile and tiles of an image, rows and columns; ((0, ...) where the tile is too small."""
    below, behind = reach(problem)
    rows, columns = pixels(problem)
    most = (1, height * width - behind) if is_signal(problem) else (height - below, width - behind)
    if min(most) < 1:
        return (0, 0), (0, 0)
    return most, (-(-rows // most[0]), -(-columns // most[1]))


def radices(size: int) -> tuple[int, ...]:
    """Stages of a transform, the last ones of radix 8 where they can be."""
    odd = [factor for factor in (3, 5) if size % factor == 0]
    power = (size // math.prod(odd)).bit_length() - 1
    fours = -power % 3
    return (*odd, *(4,) * fours, *(8,) * ((power - 2 * fours) // 3))


@functools.lru_cache(maxsize=256)
def transform(size: int, dtype: str) -> Transform:
    """The transform of ``size`` points."""
    stages, part, twiddles = radices(size), size, []
    for radix in stages[:-1]:
        block, part = part, part // radix
        roots = np.exp(-2j * np.pi / block * np.outer(np.arange(part), np.arange(1, radix)))
        twiddles.append(np.stack([roots.real, roots.imag], axis=-1).ravel())
    return Transform(size, stages, np.concatenate(twiddles or [np.zeros(0)]).astype(dtype))


def frequencies(size: int) -> np.ndarray:
    """The frequency at every place of a spectrum."""
    order, factor = np.zeros(1, int), 1
    stages = radices(size)
    for radix in reversed(stages):
        order = np.concatenate([q + radix * order for q in range(radix)])
        factor *= radix
    return order


@functools.lru_cache(maxsize=64)
def long_twiddles(height: int, width: int, dtype: str, lanes: int) -> np.ndarray:
    """exp(-2 pi i row column / points) in the order of (LANES rows, column, real and imaginary part, row)."""
    angle = np.outer(frequencies(height), np.arange(width)) * (-2 * np.pi / (height * width))
    table = np.stack([np.cos(angle), np.sin(angle)], axis=-1).reshape(-1, lanes, width, 2)
    return np.ascontiguousarray(table.transpose(0, 2, 3, 1).astype(dtype)).ravel()
