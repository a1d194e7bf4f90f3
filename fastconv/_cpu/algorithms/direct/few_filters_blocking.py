"""How a problem of few filters is cut into items and how their scratch memory lies; few_filters_job.h has the terms.

Everything here follows from the problem and the vector length, never from the number of threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from ...._correlation import Correlation
from ...._problem import ConvProblem, Sizes
from ...engine import runtime
from .blocking import MAX_MULTIPLY_ADDS, MIN_ITEMS, MIN_MULTIPLY_ADDS, SCRATCH_BYTES

MIN_CHANNELS = 4
"""The fewest channels that are summed at a time, so that summing outweighs adding up the sums."""
RUNNING_ON = 0.97
"""Vectors run on from row to row where that takes at most this share of the vectors."""


@dataclass(frozen=True)
class Blocking:
    """The fields of few_filters_job_t that do not name arrays, and the bytes that they amount to."""

    channels: int
    bands: Sizes
    band: Sizes
    origin: Sizes
    reach: Sizes
    panel: Sizes
    lead: int
    plane: int
    runs_on: bool
    out_pitch: int
    out_slice: int
    starts: tuple[int, int, int]
    thread_bytes: int
    shared_bytes: int


@functools.lru_cache(maxsize=1024)
def blocking_of(problem: ConvProblem) -> Blocking:
    """The blocking that copies the least of the source and adds up the fewest sums."""
    c = Correlation.of(problem)
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    itemsize = np.dtype(problem.dtype).itemsize
    least = max(lanes if problem.layout == "channels_last" else 1, MIN_CHANNELS)
    blocks = {1}
    while -(-c.channels // max(blocks)) > least:
        blocks.add(2 * max(blocks))
    multiple = least if problem.layout == "channels_last" else 1
    found = [_fitting(c, _up(-(-c.channels // n), multiple), lanes, itemsize, problem) for n in sorted(blocks)]
    fitting = [blocking for blocking in found if blocking.thread_bytes <= SCRATCH_BYTES]
    return min(fitting or found[-1:], key=lambda blocking: _traffic(c, blocking))


def _traffic(c: Correlation, blocking: Blocking) -> float:
    """Elements copied, and sums added up, per pixel of a phase."""
    overlap = math.prod((b + r) / b for b, r in zip(blocking.band, c.reach, strict=True))
    blocks = -(-c.channels // blocking.channels)
    return c.channels * overlap + 0.5 * (blocks - 1) * c.filters * math.prod(c.phases)


def _fitting(c: Correlation, channels: int, lanes: int, itemsize: int, problem: ConvProblem) -> Blocking:
    """The largest boxes with room for ``channels`` channels."""
    band = _three(max(size, 1) for size in c.pixels)
    floor = (1, 1, 4 * lanes)
    while True:
        blocking = _blocking_with(c, channels, band, lanes, itemsize, problem)
        items = c.batch * c.groups * math.prod(blocking.bands)
        work = math.prod(band) * math.prod(c.taps) * math.prod(c.phases) * c.channels * c.filters
        is_long = work > MAX_MULTIPLY_ADDS or (work > MIN_MULTIPLY_ADDS and items < MIN_ITEMS)
        if blocking.thread_bytes <= SCRATCH_BYTES and not is_long:
            return blocking
        axis = next((axis for axis in range(3) if band[axis] > floor[axis]), None)
        if axis is None:
            return blocking
        size = -(-band[axis] // 2)
        if axis == 2:
            size = min(_up(size, lanes), band[2] - 1)
        band = _three(size if i == axis else band[i] for i in range(3))


def _blocking_with(
    c: Correlation, channels: int, band: Sizes, lanes: int, itemsize: int, problem: ConvProblem
) -> Blocking:
    entries = _three(b + r for b, r in zip(band, c.reach, strict=True))
    whole = band[1] * -(-band[2] // lanes)
    runs_on = -(-((band[1] - 1) * entries[2] + band[2]) // lanes) <= RUNNING_ON * whole
    pitch = entries[2] if runs_on else _up(entries[2], lanes)
    lead = 0 if runs_on else c.origin[2] % lanes
    panel = (entries[0], entries[1], pitch)
    plane = _up(math.prod(panel), lanes)
    # Never an even number of lines, so that planes do not share sets of a cache.
    while plane * itemsize // 64 % 2 == 0:
        plane += lanes
    out_pitch = pitch if runs_on else _up(band[2], lanes)
    out_slice = _up(band[1] * out_pitch, lanes)
    phases = math.prod(c.phases) if channels < c.channels else c.phases[2]
    sizes = (
        (lead + channels * plane + 2 * lanes) * itemsize,
        phases * c.filters * band[0] * out_slice * itemsize,
        channels * math.prod(c.taps) * 8,
    )
    starts = [64]
    for size in sizes:
        starts.append(_up(starts[-1] + size, 64) + 64)
    shared = math.prod(problem.weight_shape) * itemsize
    return Blocking(
        channels=channels,
        bands=_three(-(-size // b) for size, b in zip(c.pixels, band, strict=True)),
        band=band,
        origin=c.origin,
        reach=c.reach,
        panel=panel,
        lead=lead,
        plane=plane,
        runs_on=runs_on,
        out_pitch=out_pitch,
        out_slice=out_slice,
        starts=(starts[0], starts[1], starts[2]),
        thread_bytes=starts[-1],
        shared_bytes=_up(shared, 64),
    )


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _three(sizes: Iterator[int]) -> Sizes:
    return cast(Sizes, tuple(sizes))
