"""Windows: which elements of a source array each output of a pooling reduces, without arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WindowAxis:
    """One axis: output o owns the source elements ``o * step - before + t * dilation``, t < taps, that exist.

    With ``adaptive`` the outputs share the axis out evenly instead: o owns those from ``o * size // outputs`` up to
    ``ceil((o + 1) * size / outputs)``.
    """

    size: int
    outputs: int
    taps: int
    step: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    adaptive: bool = False

    @classmethod
    def shared(cls, size: int, outputs: int) -> WindowAxis:
        """An axis whose outputs share ``size`` elements out evenly."""
        if outputs and size % outputs == 0:
            return cls(size, outputs, size // outputs, size // outputs)
        taps = -(-size // outputs) + 1 if outputs else 0
        return cls(size, outputs, taps, adaptive=True)


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling over (D, H, W) and the divisor of averages; 0: the number of elements."""

    axes: tuple[WindowAxis, WindowAxis, WindowAxis]
    divisor: int = 0
    count_padding: bool = True

    @property
    def input_size(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def output_size(self) -> tuple[int, ...]:
        return tuple(axis.outputs for axis in self.axes)

    @property
    def taps(self) -> int:
        """Elements of the largest window."""
        return math.prod(min(axis.taps, axis.size) for axis in self.axes)
