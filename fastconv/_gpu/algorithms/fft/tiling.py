"""Overlapping tiles of a convolution: their lengths, and where they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...._problem import ConvProblem, Sizes
from ...cufft import good_length, pitch


@dataclass(frozen=True)
class Tiling:
    """Tiles of a problem of stride 1. Axes are in ``order``, those that are transformed last."""

    problem: ConvProblem
    order: tuple[int, int, int]
    extents: Sizes
    """From a kernel's first tap to its last one."""
    positions: Sizes
    """Of results; of a weight gradient, of what is summed over."""
    lengths: Sizes
    """Of tiles; 1 on axes with one tap."""

    @classmethod
    def of(cls, problem: ConvProblem, side: int) -> Tiling:
        """Tiles of about ``side`` elements on each axis, or of whole images that have no more."""
        extents = [(taps - 1) * apart for taps, apart in zip(problem.kernel_size, problem.dilation, strict=True)]
        order = sorted(range(3), key=lambda axis: extents[axis] > 0)
        sizes = problem.input_size if problem.direction == "backward_input" else problem.output_size
        extents, positions = [extents[axis] for axis in order], [sizes[axis] for axis in order]
        lengths = [_length(size, extent, side) for size, extent in zip(positions, extents, strict=True)]
        return cls(problem, tuple(order), tuple(extents), tuple(positions), tuple(lengths))  # type: ignore[arg-type]

    @property
    def valid(self) -> Sizes:
        """Positions of a tile."""
        return self._sizes(length - extent for length, extent in zip(self.lengths, self.extents, strict=True))

    @property
    def counts(self) -> Sizes:
        """Tiles of an image."""
        return self._sizes(-(-size // valid) for size, valid in zip(self.positions, self.valid, strict=True))

    @property
    def tiles(self) -> int:
        """Of all images."""
        return self.problem.batch * math.prod(self.counts)

    @property
    def transformed(self) -> tuple[int, ...]:
        """Lengths of the axes that are transformed."""
        return self.lengths[next((i for i in range(2) if self.lengths[i] > 1), 2) :]

    @property
    def frequencies(self) -> int:
        """Complex numbers of a tile's spectrum."""
        return math.prod(self.transformed[:-1]) * pitch(self.transformed) // 2

    @staticmethod
    def _sizes(found: object) -> Sizes:
        return tuple(found)  # type: ignore[arg-type, return-value]


def _length(positions: int, extent: int, side: int) -> int:
    if not extent:
        return 1
    return min(good_length(positions + extent), good_length(max(side, 2 * extent)))
