"""Steps from the arrays of a call with options to those of a call without, and back for gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .._backend import backend_of
from .frame import Frame
from .padding import Pair


class Step(Protocol):
    """One change of an array; all are linear but for constants, and ``adjoint`` is what it does to gradients."""

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the changed array."""

    def apply(self, array: Any) -> Any:
        """The changed array."""

    def adjoint(self, array: Any, shape: tuple[int, ...]) -> Any:
        """The gradient for the array of ``shape`` that was changed."""


@dataclass(frozen=True)
class BatchGroups:
    """A batch in groups, of which each becomes a group of channels."""

    count: int
    channels_last: bool

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        batch, *rest = shape
        axis = -1 if self.channels_last else 0
        rest[axis] *= self.count
        return (batch // self.count, *rest)

    def apply(self, array: Any) -> Any:
        shape = array.shape
        apart = array.reshape(self.count, shape[0] // self.count, *shape[1:])
        axes = list(range(1, apart.ndim))
        axes.insert(len(axes) - 1 if self.channels_last else 1, 0)
        return apart.transpose(axes).reshape(self.shape_of(shape))

    def adjoint(self, array: Any, shape: tuple[int, ...]) -> Any:
        inner = list(array.shape)
        at = len(inner) - 1 if self.channels_last else 1
        inner[at : at + 1] = [self.count, inner[at] // self.count]
        apart = array.reshape(inner)
        return apart.transpose(at, *(axis for axis in range(apart.ndim) if axis != at)).reshape(shape)


@dataclass(frozen=True)
class Spread:
    """Elements at a distance from each other, with zeros between, and padding of one value around."""

    source: tuple[int, ...]
    first: int
    """The first spatial axis."""
    steps: tuple[int, ...]
    pads: tuple[Pair, ...]
    value: complex = 0

    def padded(self, pads: Sequence[Pair], value: complex) -> Spread:
        """The same with padding."""
        return replace(self, pads=tuple(pads), value=value)

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return max(self.steps) > 1 or any(pair != (0, 0) for pair in self.pads)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the changed array."""
        return self.shape_of(self.source)

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        sizes = list(shape)
        for axis, (step, pair) in enumerate(zip(self.steps, self.pads, strict=True), self.first):
            sizes[axis] = max((sizes[axis] - 1) * step + 1, 0) + sum(pair)
        return tuple(sizes)

    def apply(self, array: Any) -> Any:
        result = backend_of(array).zeros(self.shape, array.dtype)
        if self.value != 0:
            for axis, (before, after) in enumerate(self.pads, self.first):
                end = result.shape[axis] - after
                for place in (slice(before), slice(end, None)):
                    result[(slice(None),) * axis + (place,)] = self.value
        result[self._places(result.shape)] = array
        return result

    def adjoint(self, array: Any, shape: tuple[int, ...]) -> Any:
        return array[self._places(array.shape)].copy()

    def _places(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Where the elements are."""
        inside = (
            slice(before, size - after, step)
            for size, step, (before, after) in zip(shape[self.first :], self.steps, self.pads, strict=False)
        )
        return ((slice(None),) * self.first) + tuple(inside)


def zero_spread(frame: Frame, shape: tuple[int, ...], steps: tuple[int, ...]) -> Spread:
    """Elements of an array of ``shape`` at distances ``steps``, with zeros between."""
    return Spread(shape, frame.first_spatial_axis, steps, ((0, 0),) * frame.rank)


@dataclass(frozen=True)
class Transposed:
    """The weight of a convolution as that of the transposed one which computes the same of spread elements."""

    frame: Frame
    groups: int

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        filters, channels, kernel = self.frame.weight_sizes(shape)
        return (channels * self.groups, filters // self.groups, *kernel)

    shape = shape_of

    def apply(self, array: Any) -> Any:
        plain = array.transpose(self._own_axes)
        filters, channels, *kernel = plain.shape
        apart = plain.reshape(self.groups, filters // self.groups, channels, *kernel).swapaxes(1, 2)
        return apart.reshape(channels * self.groups, filters // self.groups, *kernel)[self._flipped]

    def adjoint(self, array: Any, shape: tuple[int, ...]) -> Any:
        channels, filters, *kernel = array.shape
        apart = array[self._flipped].reshape(self.groups, channels // self.groups, filters, *kernel).swapaxes(1, 2)
        plain = apart.reshape(self.groups * filters, channels // self.groups, *kernel)
        own = self._own_axes
        return plain.transpose([own.index(axis) for axis in range(len(own))]).copy(order="C")

    @property
    def _own_axes(self) -> tuple[int, ...]:
        """The axis of the user's weight that each of (filters, channels, kernel) is."""
        return tuple(axis for axis in self.frame.axes["weight"] if axis >= 0)

    @property
    def _flipped(self) -> tuple[slice, ...]:
        return (slice(None), slice(None)) + (slice(None, None, -1),) * self.frame.rank
