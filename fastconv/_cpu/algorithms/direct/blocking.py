"""How a direct problem is cut into items and how their scratch memory is laid out; job.h has the terms.

Everything here follows from the problem, its parameters and the vector length, never from the number of threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np

from ...._correlation import Correlation
from ...._problem import ConvProblem, Sizes
from ...engine import runtime
from . import loops

SCRATCH_BYTES = 2**18
"""Scratch of one item: half of a second-level cache of 512 KiB. Items whose least band needs more take more."""
MIN_ITEMS = 32
"""Work items wanted at least, so that every thread finds work."""
MIN_MULTIPLY_ADDS = 2**20
"""Items smaller than this are not cut further to get more of them."""
MAX_MULTIPLY_ADDS = 2**25
"""Multiply-adds of one item; about ten milliseconds at the lowest ISA level."""
SMALL_MULTIPLY_ADDS = 2**17
SMALL_BYTES = 2**16
"""Small groups (units) are put together in one item up to these sizes."""
MAX_PARTIALS = 256
"""Partial sums of a weight gradient."""
GRADIENT_TILES = 2
"""Register tiles of filters in an item of a weight gradient, which share the panel of the source."""
WIDE = 16
"""Bands keep the full width unless that reads this many times more of the source than cutting it would: long runs are
prefetched, while short rows of large images lie in a page each."""
FEW_PIXELS = 128
"""A row of so many pixels is more than the narrowest band."""
UNIT_VECTORS = 8
"""Vectors of channels that are gathered together, at most."""
UNIT_BYTES = 2**16
"""Their panels, in planes of channels."""
RUN_BYTES = 64
"""Channels that lie last in memory and are gathered together at least, whatever their panels take."""
LONG_RUN_BYTES, MAX_LONG_RUN_TAPS = 256, 9
"""As many for few taps, where reading takes longer than summing."""
MAX_LISTED_TAPS = 1024
"""The taps of all channels of a group, up to this many, are listed one by one."""


class Blocking(NamedTuple):
    """The fields of direct_job_t that do not name arrays, and the bytes of scratch that they amount to."""

    unit: int
    entry: int
    block: int
    delta: Sizes
    spacing: Sizes
    advance: Sizes
    classes: Sizes
    bands: Sizes
    band: Sizes
    panel: Sizes
    slots: int
    out_pitch: int
    is_listed: bool
    partials: int
    starts: tuple[int, ...]
    """Bytes at which factors, finished sums, gradient sums, slices, taps, offsets and lanes start."""
    thread_bytes: int
    partial_bytes: int


def reaches_little(problem: ConvProblem) -> bool:
    """Whether a few pixels read so little of the source that scratch memory is out of the question."""
    c = Correlation.of(problem)
    pixels = (1, loops.ROWS, FEW_PIXELS)
    read = math.prod(n * step + reach for n, step, reach in zip(pixels, c.step, c.reach, strict=True))
    return c.channels * c.filters * c.step[2] * read * np.dtype(problem.dtype).itemsize <= SCRATCH_BYTES


@functools.lru_cache(maxsize=1024)
def blocking_of(problem: ConvProblem, lanes_along: str) -> Blocking:
    """The blocking for lanes along the "width" or the "channels"."""
    c = Correlation.of(problem)
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    itemsize = np.dtype(problem.dtype).itemsize
    band = _three(max(pixels, 1) for pixels in _class_pixels(c))
    unit = 1 if lanes_along == "width" else _unit(problem, c, band, lanes, itemsize)
    min_rows = min(band[1], loops.ROWS)
    least = lanes if unit == 1 else 1  # narrower bands would read as much
    floors = ((1, 1, least), (1, min_rows, least), (1, min_rows, 4 * lanes if unit == 1 else 8))
    for floor in reversed(floors):
        while any(size > least for size, least in zip(band, floor, strict=True)):
            blocking = _blocking_with(c, band, unit, lanes, itemsize)
            if blocking.thread_bytes <= SCRATCH_BYTES and not _is_long(c, blocking):
                return _with_blocks(c, blocking, itemsize)
            band = _halved(band, floor, c, lanes if unit == 1 else 1)
    return _with_blocks(c, _blocking_with(c, band, unit, lanes, itemsize), itemsize)


def _unit(problem: ConvProblem, c: Correlation, band: Sizes, lanes: int, itemsize: int) -> int:
    """Result channels that are gathered together."""
    panel_bytes = math.prod(_blocking_with(c, band, lanes, lanes, itemsize).panel) * lanes * itemsize
    vectors = max(UNIT_BYTES // panel_bytes, 1)
    if problem.layout == "channels_last":
        run_bytes = LONG_RUN_BYTES if math.prod(c.taps) <= MAX_LONG_RUN_TAPS else RUN_BYTES
        vectors = max(vectors, run_bytes // (lanes * itemsize))
    of_all = max(-(-c.groups * c.filters // lanes), 1)
    units = -(-of_all // min(vectors, UNIT_VECTORS))
    return lanes * -(-of_all // units)


def _halved(band: Sizes, floor: Sizes, c: Correlation, multiple: int) -> Sizes:
    """The band cut in two along the axis where that repeats the least of the source, not below ``floor``."""
    best, most = None, -1.0
    for axis in range(3):
        if band[axis] > floor[axis]:
            step = c.advance[axis] if axis < 2 else c.step[axis]
            reach = c.taps[axis] if axis < 2 else (c.taps[axis] - 1) * c.distance[axis] + 1
            own = band[axis] * step / max(reach - step, 0.25) / (WIDE if axis == 2 else 1)
            if own > most:
                best, most = axis, own
    assert best is not None
    size = -(-band[best] // 2)
    if best == 2:
        size = min(-(-size // multiple) * multiple, band[best] - 1)
    return _three(max(size, floor[axis]) if axis == best else band[axis] for axis in range(3))


def _filters_of_gradient(c: Correlation) -> int:
    """Filters of an item of a weight gradient with lanes along the width: register tiles of equal size."""
    tile = -(-c.filters // -(-c.filters // loops.ROWS))
    return min(GRADIENT_TILES * tile, c.filters)


def _items(c: Correlation, blocking: Blocking) -> int:
    """Items (forward) or regions and filters to share among items (weight gradient)."""
    parts = c.groups if blocking.unit == 1 else -(-c.groups * c.filters // blocking.unit)
    if c.is_gradient and blocking.unit == 1:
        parts *= -(-c.filters // blocking.block)
    return c.batch * parts * math.prod(_classes(c)) * math.prod(blocking.bands)


def _multiply_adds(c: Correlation, blocking: Blocking) -> int:
    """Multiply-adds of one group (unit) of one band."""
    filters = blocking.unit if blocking.unit > 1 else c.filters
    if c.is_gradient and blocking.unit == 1:
        filters = min(filters, loops.ROWS)
    return math.prod(blocking.band) * math.prod(c.taps) * c.channels * filters


def _is_long(c: Correlation, blocking: Blocking) -> bool:
    work = _multiply_adds(c, blocking)
    return work > MAX_MULTIPLY_ADDS or (work > MIN_MULTIPLY_ADDS and _items(c, blocking) < MIN_ITEMS)


def _blocking_with(c: Correlation, band: Sizes, unit: int, lanes: int, itemsize: int) -> Blocking:
    entry = 1 if unit == 1 else lanes
    width_reach = (c.taps[2] - 1) * c.distance[2] // c.step[2]
    slots = min(c.step[2] // math.gcd(c.step[2], c.distance[2]), c.taps[2])
    columns = band[2] + width_reach
    if unit == 1:
        # Vectors run over the end of a row, in the weight gradient by tap.
        vectors = _up(band[2], lanes) if c.is_gradient else max(band[2], lanes)
        columns = _apart(_up(vectors + width_reach, lanes), lanes, slots * itemsize)
    rows = [(band[i] - 1) * c.advance[i] + c.taps[i] for i in range(2)]
    panel = (rows[0], rows[1], columns)
    out_pitch = _up(band[2], lanes) if unit == 1 else band[2] * lanes
    one_panel = math.prod(panel) * slots * unit
    taps = math.prod(c.taps)
    filters = 1
    if unit == 1:
        filters = _filters_of_gradient(c) if c.is_gradient else min(max(c.filters, 1), loops.ROWS)
    is_listed = not c.is_gradient and c.channels * taps <= MAX_LISTED_TAPS
    image = (filters if unit == 1 else unit // lanes) * out_pitch * band[1]
    if c.is_gradient:
        sums = filters * c.channels * taps * (lanes if unit == 1 else unit)
        has_ends = unit == 1 and (band[2] % lanes or c.pixels[2] % lanes)
        ends = c.taps[2] * rows[0] * rows[1] * lanes if has_ends else 0
        sizes = [one_panel, image * band[0], ends, sums]
        slices, offsets = band[0], max(out_pitch // lanes, 1)
    else:
        sizes = [c.channels * one_panel, filters * c.channels * taps * unit, image, 0]
        slices = max(c.channels * c.taps[0] * min(c.advance[1], c.taps[1]), 1)
        offsets = c.channels * taps if is_listed else 0
    tables = [slices * loops.SLICE_BYTES, c.taps[2] * 8, offsets * 8, 2 * unit * 8]
    sizes = [size * itemsize for size in sizes] + tables
    starts = [0]
    for size in sizes:
        # Never a multiple of a page apart, which would put all parts into the same sets of a cache.
        starts.append(_up(starts[-1] + size, 64) + 64)
    bands = _three(-(-size // b) for size, b in zip(_class_pixels(c), band, strict=True))
    return Blocking(
        unit=unit,
        entry=entry,
        block=filters if c.is_gradient else 1,
        delta=c.distance,
        spacing=_spacing(c),
        advance=_advance(c),
        classes=_classes(c),
        bands=bands,
        band=band,
        panel=panel,
        slots=slots,
        out_pitch=out_pitch,
        is_listed=is_listed,
        partials=1,
        starts=tuple(starts[1:-1]),
        thread_bytes=starts[-1],
        partial_bytes=0,
    )


def _with_blocks(c: Correlation, blocking: Blocking, itemsize: int) -> Blocking:
    """The blocking with small groups put together, and the pixels of a weight gradient with few results split."""
    work = _multiply_adds(c, blocking)
    if not c.is_gradient:
        parts = c.groups if blocking.unit == 1 else -(-c.groups * c.filters // blocking.unit)
        data = (
            (math.prod(blocking.panel) * blocking.slots + math.prod(blocking.band) * math.prod(c.phases))
            * blocking.unit
            * itemsize
        )
        most = min(SMALL_MULTIPLY_ADDS // max(work, 1), SMALL_BYTES // data)
        block = max(1, min(most, _items(c, blocking) // MIN_ITEMS, parts))
        return blocking._replace(block=block)
    results = c.groups * c.filters
    filters = blocking.unit if blocking.unit > 1 else blocking.block
    parts = -(-results // filters) if blocking.unit > 1 else c.groups * -(-c.filters // filters)
    positions = _items(c, blocking) // max(parts, 1)
    wanted = max(-(-MIN_ITEMS // parts), positions * work // MAX_MULTIPLY_ADDS)
    enough = positions * work // MIN_MULTIPLY_ADDS
    partials = max(1, min(wanted, enough, positions, MAX_PARTIALS))
    size = partials * results * c.channels * math.prod(c.taps) * itemsize if partials > 1 else 0
    return blocking._replace(partials=partials, partial_bytes=_up(size, 64))


def _apart(columns: int, lanes: int, row_bytes: int) -> int:
    """A row length at which the rows of a tile, ``row_bytes`` per column, do not share sets of a first-level cache."""
    longer = range(columns, columns + 8 * lanes, lanes)
    return next((size for size in longer if size * row_bytes % 1024 >= 128), columns)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _three(sizes: Iterator[int]) -> Sizes:
    return cast(Sizes, tuple(sizes))


def _spacing(c: Correlation) -> Sizes:
    """Distance between the pixels of a class; the width axis is one class."""
    return c.spacing[0], c.spacing[1], 1


def _advance(c: Correlation) -> Sizes:
    """Panel rows (entries of a slot on the width axis) from one pixel of a class to the next."""
    return c.advance[0], c.advance[1], 1


def _class_pixels(c: Correlation) -> Sizes:
    """Pixels of the largest class of each axis."""
    (d, h, w), (every_d, every_h, _) = c.pixels, c.spacing
    return -(-d // every_d), -(-h // every_h), w


def _classes(c: Correlation) -> Sizes:
    """Classes of pixels that are not empty."""
    (d, h, w), (every_d, every_h, _) = c.pixels, c.spacing
    return min(every_d, d), min(every_h, h), min(1, w)
