"""Correlation: what kernels compute, as far as it is known without arrays. The noun of the three directions.

    result[n, k, p] = sum over c, t of source[n, c, first + p*step + t*delta] * weight[k, c, t]

A forward problem, or a weight gradient, is one correlation. An input gradient is one for every stride phase: on each
axis these are the elements i = phase + stride*p of the input. Output o reaches i through tap t where
i + before = o*stride + t*dilation. The taps for which phase + before - t*dilation is a multiple of the stride are
first_tap, first_tap + tap_step, ... with tap_step = stride/gcd(stride, dilation), and from one to the next o falls by
dilation/gcd(stride, dilation).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

from ._once import once
from ._problem import ConvProblem, Sizes


class Phase(NamedTuple):
    """One stride phase of one axis; the whole axis where there is but one."""

    begin: int
    """The first element of the result."""
    pixels: int
    taps: int
    """How many reach it; 0 where all its results are 0."""
    first: int
    """The element of the source that its first pixel reads through its first tap."""
    first_tap: int


class Axis(NamedTuple):
    """One axis of a problem, as its correlations read it: whatever the direction, from the source to the result."""

    size: int
    """Elements of the result."""
    source_size: int
    kernel: int
    stride: int
    """Elements of the result from one pixel of a phase to the next; 1 but for input gradients."""
    step: int
    """Elements of the source from one pixel to the next."""
    delta: int
    """Elements of the source from one tap to the next; negative in input gradients."""
    tap_step: int
    dilation: int
    before: int
    """The padding in front."""

    @classmethod
    def of(cls, problem: ConvProblem, axis: int) -> Axis:
        """Axis 0, 1 or 2 (D, H, W)."""
        stride, dilation, kernel = problem.stride[axis], problem.dilation[axis], problem.kernel_size[axis]
        inputs, outputs, before = problem.input_size[axis], problem.output_size[axis], problem.padding[axis][0]
        if problem.direction != "backward_input":
            return cls(outputs, inputs, kernel, 1, stride, dilation, 1, dilation, before)
        shared = math.gcd(stride, dilation)
        return cls(inputs, outputs, kernel, stride, 1, -(dilation // shared), stride // shared, dilation, before)

    @property
    def phases(self) -> int:
        """Those that have elements."""
        return min(self.stride, self.size)

    @property
    def pixels(self) -> int:
        """Those of the largest phase."""
        return -(-self.size // self.stride)

    @property
    def taps(self) -> int:
        """The most that any phase has."""
        return -(-self.kernel // self.tap_step)

    @property
    def origin(self) -> int:
        """The first element of the source that the first pixel of any phase reads; negative in the padding."""
        if self.delta >= 0:
            return -self.before
        return -(((self.kernel - 1) * self.dilation - self.before) // self.stride)

    @property
    def reach(self) -> int:
        """From ``origin`` to the last element that the first pixel of any phase reads."""
        if self.delta >= 0:
            return (self.kernel - 1) * self.dilation
        return max((self.stride - 1 + self.before) // self.stride - self.origin, 0)

    def phase(self, index: int) -> Phase:
        """The phase that begins with element ``index`` of the result."""
        if self.delta >= 0:
            return Phase(0, self.size, self.kernel, -self.before, 0)
        pixels, there = -(-(self.size - index) // self.stride), index + self.before
        for tap in range(min(self.tap_step, self.kernel)):
            if (there - tap * self.dilation) % self.stride == 0:
                taps = -(-(self.kernel - tap) // self.tap_step)
                return Phase(index, pixels, taps, (there - tap * self.dilation) // self.stride, tap)
        return Phase(index, pixels, 0, 0, 0)


@dataclass(frozen=True)
class Correlation:
    """What the correlations of a problem have in common, and the most that one of them has."""

    batch: int
    groups: int
    channels: int
    """Of the source, in a group."""
    filters: int
    """Channels of the result, in a group."""
    axes: tuple[Axis, Axis, Axis]
    is_gradient: bool
    """Whether the source and the result are given and the weights computed."""

    @staticmethod
    @functools.lru_cache(maxsize=64)
    def of(problem: ConvProblem) -> Correlation:
        """The correlations that a problem is made of."""
        channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
        if problem.direction == "backward_input":
            channels, filters = filters, channels
        axes = Axis.of(problem, 0), Axis.of(problem, 1), Axis.of(problem, 2)
        is_gradient = problem.direction == "backward_weight"
        return Correlation(problem.batch, problem.groups, channels, filters, axes, is_gradient)

    @once
    def phases(self) -> Sizes:
        """Stride phases of each axis."""
        d, h, w = self.axes
        return d.phases, h.phases, w.phases

    @once
    def pixels(self) -> Sizes:
        """Sizes of the largest phase."""
        d, h, w = self.axes
        return d.pixels, h.pixels, w.pixels

    @once
    def taps(self) -> Sizes:
        """The most taps that a phase has on each axis."""
        d, h, w = self.axes
        return d.taps, h.taps, w.taps

    @once
    def step(self) -> Sizes:
        """Elements of the source from one pixel to the next."""
        d, h, w = self.axes
        return d.step, h.step, w.step

    @once
    def distance(self) -> Sizes:
        """Elements of the source between taps that are neighbours; 1 where there is but one tap."""
        d, h, w = (1 if axis.taps == 1 else abs(axis.delta) for axis in self.axes)
        return d, h, w

    @once
    def spacing(self) -> Sizes:
        """Pixels of an axis that are so far apart read elements of the source that are neighbours of a class: those at
        multiples of ``distance``."""
        return _each_by_shared(self.distance, self.step)

    @once
    def advance(self) -> Sizes:
        """Taps from one such pixel to the next."""
        return _each_by_shared(self.step, self.distance)

    @once
    def origin(self) -> Sizes:
        """The first elements of the source that the first pixels read."""
        d, h, w = self.axes
        return d.origin, h.origin, w.origin

    @once
    def reach(self) -> Sizes:
        """From ``origin`` to the last elements that the first pixels read."""
        d, h, w = self.axes
        return d.reach, h.reach, w.reach


def _each_by_shared(sizes: Sizes, others: Sizes) -> Sizes:
    """Sizes over what they share with the others."""
    d, h, w = (size // math.gcd(size, other) for size, other in zip(sizes, others, strict=True))
    return d, h, w
