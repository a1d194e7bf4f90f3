"""Blocks: the sliding blocks of an array, and the columns that they become."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Index = tuple[Any, ...]


@dataclass(frozen=True)
class Blocks:
    """All sliding blocks of an array of shape (batch, channels, *sizes)."""

    batched: bool
    batch: int
    channels: int
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    counts: tuple[int, ...]
    """Blocks along each axis."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The user's shape of the array that has the blocks."""
        return (*self._batch_axis, self.channels, *self.sizes)

    @property
    def columns_shape(self) -> tuple[int, ...]:
        """The user's shape of the blocks as columns."""
        return (*self._batch_axis, self.channels * math.prod(self.kernel), math.prod(self.counts))

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of the columns with one axis per axis of the kernel and of the blocks."""
        return (self.batch, self.channels, *self.kernel, *self.counts)

    @property
    def _batch_axis(self) -> tuple[int, ...]:
        return (self.batch,) if self.batched else ()

    def taps(self) -> Iterator[tuple[Index, Index]]:
        """For every element of the kernel: where it lies in the image, and where in an array of ``grid_shape``."""
        axes = [
            [_tap(tap * step - before, size, stride, count) for tap in range(taps)]
            for taps, step, (before, _), size, stride, count in zip(
                self.kernel, self.dilation, self.pads, self.sizes, self.stride, self.counts, strict=True
            )
        ]
        for index in itertools.product(*(range(taps) for taps in self.kernel)):
            image, blocks = zip(*(axis[tap] for axis, tap in zip(axes, index, strict=True)), strict=True)
            yield (..., *image), (..., *index, *blocks)


def _tap(offset: int, size: int, stride: int, count: int) -> tuple[slice, slice]:
    """The blocks o < count with 0 <= o * stride + offset < size, and those positions."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    start = first * stride + offset
    return slice(start, start + (last - first - 1) * stride + 1, stride), slice(first, last)
