"""Pooling and sliding blocks by their definition, tap by tap in NumPy; nothing of the library is used.

Arrays are (N, C, sizes...).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Axis:
    """Windows along one axis, by output: where each begins and how many positions it touches, ``step`` apart."""

    size: int
    starts: np.ndarray
    lengths: np.ndarray
    step: int = 1
    end: int = 0
    """Positions from here on are past the padding."""

    @classmethod
    def sliding(cls, size: int, kernel: int, stride: int, pair: tuple[int, int], dilation: int, ceil: bool) -> Axis:
        """Windows that start every ``stride`` positions of the padded axis."""
        before, after = pair
        room = size + before + after - dilation * (kernel - 1) - 1
        outputs = (room + (stride - 1 if ceil else 0)) // stride + 1
        if ceil and (outputs - 1) * stride >= size + before:
            outputs -= 1
        starts = np.arange(max(outputs, 0)) * stride - before
        return cls(size, starts, np.full(len(starts), kernel), dilation, size + after)

    @classmethod
    def shared(cls, size: int, outputs: int) -> Axis:
        """Windows that share the axis out evenly."""
        numbers = np.arange(outputs)
        starts = numbers * size // max(outputs, 1)
        return cls(size, starts, -(-(numbers + 1) * size // max(outputs, 1)) - starts, 1, size)

    @property
    def taps(self) -> int:
        return int(self.lengths.max(initial=0))

    def at(self, tap: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The position that each output's tap touches, whether it is an element, and whether it counts as padding."""
        position = self.starts + tap * self.step
        owned = tap < self.lengths
        inside = owned & (position >= 0) & (position < self.size)
        return position.clip(0, max(self.size - 1, 0)), inside, owned & (position < self.end)


Axes = Sequence[Axis]
Tap = tuple[Any, np.ndarray, np.ndarray]


def _taps(axes: Axes) -> Iterator[Tap]:
    """For every tap: an open mesh of positions, which of them are elements, and which count with the padding."""
    for taps in itertools.product(*(range(axis.taps) for axis in axes)):
        each = [axis.at(tap) for axis, tap in zip(axes, taps, strict=True)]
        yield np.ix_(*(a[0] for a in each)), _mesh([a[1] for a in each]), _mesh([a[2] for a in each])


def _mesh(flags: Sequence[np.ndarray]) -> np.ndarray:
    """Which outputs have all flags, from those along each axis."""
    rank = len(flags)
    return reduce(
        np.logical_and, (a.reshape(-1, *(1,) * (rank - 1 - axis)) for axis, a in enumerate(flags)), np.array(True)
    )


def output_sizes(axes: Axes) -> tuple[int, ...]:
    """Spatial sizes of the result."""
    return tuple(len(axis.starts) for axis in axes)


def maxima(x: np.ndarray, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and the flat places of them: the first of equals, the last NaN; -1 where there is no element."""
    shape = (*x.shape[:2], *output_sizes(axes))
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    best, places = np.full(shape, lowest, x.dtype), np.full(shape, -1, np.int64)
    sizes = x.shape[2:]
    for positions, inside, _ in _taps(axes):
        value = x[(..., *positions)]
        flat = np.ravel_multi_index(np.broadcast_arrays(*positions), sizes)
        better = inside & ((places < 0) | (value > best) | (value != value))
        best, places = np.where(better, value, best), np.where(better, flat, places)
    return best, places


def sums(x: np.ndarray, axes: Axes) -> np.ndarray:
    """Sums of the elements of every window."""
    total = np.zeros((*x.shape[:2], *output_sizes(axes)), x.dtype)
    for positions, inside, _ in _taps(axes):
        total += np.where(inside, x[(..., *positions)], 0)
    return total


def divisors(axes: Axes, count_include_pad: bool, override: int | None) -> np.ndarray:
    """What each window's sum is divided by."""
    count = np.zeros(output_sizes(axes), np.int64)
    for _, inside, padded in _taps(axes):
        count += padded if count_include_pad else inside
    return np.full_like(count, override) if override else np.maximum(count, 1)


def spread(shares: np.ndarray, axes: Axes) -> np.ndarray:
    """What each element gets when every output gives its share to each element of its window."""
    sizes = tuple(axis.size for axis in axes)
    total = np.zeros((*shares.shape[:2], *sizes), shares.dtype)
    for positions, inside, _ in _taps(axes):
        np.add.at(total, (slice(None), slice(None), *positions), np.where(inside, shares, 0))
    return total


def scatter(places: np.ndarray, dy: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """What each element gets when every output gives its value to the element at its place."""
    batch, channels = dy.shape[:2]
    planes = np.zeros((batch * channels, math.prod(sizes) + 1), dy.dtype)
    rows = np.repeat(np.arange(batch * channels), math.prod(dy.shape[2:]))
    np.add.at(planes, (rows, places.reshape(-1)), dy.reshape(-1))
    return planes[:, :-1].reshape(batch, channels, *sizes)


def columns(x: np.ndarray, axes: Axes) -> np.ndarray:
    """The elements of every window as columns, zeros in the padding: (N, C * kernel, windows)."""
    seen = [np.where(inside, x[(..., *positions)], x.dtype.type(0)) for positions, inside, _ in _taps(axes)]
    blocks = math.prod(output_sizes(axes))
    return np.stack(seen, axis=2).reshape(len(x), x.shape[1] * len(seen), blocks)


def folded(x: np.ndarray, axes: Axes) -> np.ndarray:
    """Columns summed into the image that they are the windows of."""
    taps = list(_taps(axes))
    channels = x.shape[1] // len(taps)
    grid = x.reshape(len(x), channels, len(taps), *output_sizes(axes))
    image = np.zeros((len(x), channels, *(axis.size for axis in axes)), x.dtype)
    for number, (positions, inside, _) in enumerate(taps):
        np.add.at(image, (slice(None), slice(None), *positions), np.where(inside, grid[:, :, number], x.dtype.type(0)))
    return image
