"""All stride phases of a problem as one correlation: its rows are (filter, phase), its taps those of all phases."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...._correlation import Axis, Correlation
from ...._problem import ConvProblem, Sizes

MAX_PHASES = 8
"""Of an axis."""


@dataclass(frozen=True)
class GridAxis:
    """One axis: pixel p reads the source at first + p*step + u*delta for tap u of all phases."""

    size: int
    """Elements of the result."""
    pixels: int
    phases: int
    taps: int
    step: int
    first: int
    delta: int
    numbers: tuple[int, ...]
    """Of every phase: its own tap number of tap u is (number + u*slope) / distance."""
    own_taps: tuple[int, ...]
    first_taps: tuple[int, ...]
    slope: int
    distance: int
    tap_step: int


@dataclass(frozen=True)
class Grid:
    """The whole correlation."""

    channels: int
    filters: int
    axes: tuple[GridAxis, GridAxis, GridAxis]

    @property
    def rows(self) -> int:
        """Of a group."""
        return self.filters * math.prod(self.phases)

    @property
    def phases(self) -> Sizes:
        return self._of("phases")

    @property
    def pixels(self) -> Sizes:
        return self._of("pixels")

    @property
    def taps(self) -> Sizes:
        return self._of("taps")

    @property
    def step(self) -> Sizes:
        return self._of("step")

    @property
    def first(self) -> Sizes:
        return self._of("first")

    @property
    def delta(self) -> Sizes:
        return self._of("delta")

    def _of(self, name: str) -> Sizes:
        return tuple(getattr(axis, name) for axis in self.axes)  # type: ignore[return-value]


def grid_of(problem: ConvProblem) -> Grid:
    """The correlation of a forward problem or of an input gradient."""
    c = Correlation.of(problem)
    d, h, w = (_axis(axis) for axis in c.axes)
    return Grid(c.channels, c.filters, (d, h, w))


def _axis(axis: Axis) -> GridAxis:
    if axis.delta >= 0:
        delta = axis.delta if axis.kernel > 1 else 1
        return GridAxis(axis.size, axis.size, 1, axis.kernel, axis.step, -axis.before, delta,
                        (0,), (axis.kernel,), (0,), 1, 1, 1)  # fmt: skip
    own, distance = [axis.phase(i) for i in range(axis.phases)], -axis.delta
    reached = [phase for phase in own if phase.taps]
    if not reached:  # results without products: one tap, which no phase has
        return GridAxis(axis.size, axis.pixels, axis.phases, 1, 1, 0, 1, (0,) * len(own), (0,) * len(own),
                        (0,) * len(own), 1, 1, 1)  # fmt: skip
    first = min(phase.first - (phase.taps - 1) * distance for phase in reached)
    last = max(phase.first for phase in reached)
    delta = math.gcd(distance, *(phase.first - first for phase in reached))
    return GridAxis(
        axis.size, axis.pixels, axis.phases, (last - first) // delta + 1, 1, first, delta,
        tuple(phase.first - first for phase in own), tuple(phase.taps for phase in own),
        tuple(phase.first_tap for phase in own), -delta, distance, axis.tap_step,
    )  # fmt: skip
