"""Sets of elements that are normalized, each by its own statistics: channels of a batch, groups of them, or axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Sets:
    """Which elements of an array of ``shape`` are a set, and which weight belongs to which.

    Backends see the array as (sets, rows, neighbours). ``groups`` are those of the channels, ``axes`` the normalized
    ones, in ascending order.
    """

    shape: tuple[int, ...]
    kind: Literal["batch", "group", "layer"]
    groups: int = 1
    axes: tuple[int, ...] = ()

    @property
    def moved(self) -> tuple[int, ...]:
        """The axes' order in which the normalized ones are last."""
        return (*(axis for axis in range(len(self.shape)) if axis not in self.axes), *self.axes)

    @property
    def statistics_shape(self) -> tuple[int, ...]:
        """Shape of the means and variances."""
        if self.kind == "batch":
            return (self.shape[1],)
        if self.kind == "group":
            return (self.shape[0], self.groups)
        return tuple(size for axis, size in enumerate(self.shape) if axis not in self.axes)

    @property
    def affine_shape(self) -> tuple[int, ...]:
        """Shape of weight and bias."""
        if self.kind == "layer":
            return tuple(self.shape[axis] for axis in self.axes)
        return (self.shape[1],)

    @property
    def channels(self) -> int:
        """Rows of a set of a group normalization."""
        return self.shape[1] // self.groups if self.groups else 0

    def of(self, array: Any) -> Any:
        """An array of the sets' shape as (sets, rows, neighbours), a copy where it cannot be a view."""
        if self.kind == "layer":
            return array.transpose(self.moved).reshape(
                math.prod(self.statistics_shape), 1, math.prod(self.affine_shape)
            )
        inner = math.prod(self.shape[2:])
        if self.kind == "batch":
            return array.reshape(*self.shape[:2], inner).transpose(1, 0, 2)
        return array.reshape(self.shape[0] * self.groups, self.channels, inner)

    def back(self, sets: Any) -> Any:
        """An array of (sets, rows, neighbours) in the sets' shape, its axes in memory as they are best computed."""
        if self.kind == "batch":
            return sets.transpose(1, 0, 2).reshape(self.shape)
        if self.kind == "group":
            return sets.reshape(self.shape)
        moved = self.moved
        order = [moved.index(axis) for axis in range(len(moved))]
        return sets.reshape([self.shape[axis] for axis in moved]).transpose(order)

    def spread(self, affine: Any) -> Any:
        """Weight or bias as an array that is broadcast over (sets, rows, neighbours)."""
        if self.kind == "batch":
            return affine.reshape(-1, 1, 1)
        if self.kind == "layer":
            return affine.reshape(1, 1, math.prod(self.affine_shape))
        rows = affine.reshape(1, self.groups, self.channels)
        return rows.repeat(self.shape[0], 0).reshape(self.shape[0] * self.groups, self.channels, 1)

    def gathered(self, sums: Any) -> Any:
        """Sums for the weight, of one or more numbers for each, as an array of the weight's shape."""
        if self.kind == "batch":
            return sums
        if self.kind == "group":
            return sums.reshape(self.shape[0], self.shape[1]).sum(0)
        return sums.sum(0).reshape(self.affine_shape)

    @property
    def layout(self) -> tuple[int, int, int, bool]:
        """Where a set's and a row's weight is: period and steps of ``_cpu/normalization/job.h``."""
        if self.kind == "batch":
            return max(self.shape[1], 1), 1, 0, False
        if self.kind == "group":
            return max(self.groups, 1), self.channels, 1, False
        return 1, 0, 0, True
