"""Poolings of whole planes, which lie in one piece."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..._windows import Windows
from ..launch import MAX_THREADS
from ..layout import Layout, vector_elements
from .tiles import MAX_TAPS, Reach

MAX_UNROLLED = 16
"""Loads that a lane has under way."""
RUN = 8
"""Elements of a gradient under each other that a thread stores, channels last."""
WANTED_THREADS = 2**15
"""That keep a large device busy."""
MAX_ELEMENTS = 2048
"""Of the planes that a warp adds up side by side."""
WARP = 32


def fits(windows: Windows, batch: int, channels: int, channels_last: bool, layouts: Mapping[str, Layout]) -> bool:
    """Whether each window is a plane, and planes of all channels follow each other, or their elements do."""
    size = math.prod(windows.input_size)
    if size <= MAX_TAPS or math.prod(windows.output_size) != 1:
        return False
    if any(axis.taps != axis.size or axis.before or axis.dilation != 1 or axis.adaptive for axis in windows.axes):
        return False
    source = layouts["source"].strides
    step = source[4] if channels_last else 1
    for axis, stride in zip(reversed(windows.axes), source[:1:-1], strict=True):
        if axis.size > 1 and stride != step:
            return False
        step *= axis.size
    return channels_last or (batch == 1 and source[1] == size and channels * size < MAX_THREADS)


@dataclass(frozen=True)
class Whole:
    """What threads compute of whole planes."""

    size: int
    vector: int
    planes: int
    is_gradient: bool
    channels_last: bool

    def defines(self) -> dict[str, int]:
        """Of planes.cu."""
        at_once = min(1 << (-(-self.size // WARP) - 1).bit_length(), max(1, MAX_UNROLLED // self.planes))
        return {"SIZE": self.size, "VECTOR": self.vector, "PLANES": self.planes, "RUN": RUN,
                "AT_ONCE": at_once}  # fmt: skip

    def order(self, channels: int) -> tuple[int, ...]:
        """Numbers of what units are numbered along."""
        if self.channels_last:
            return channels // self.vector, -(-self.size // RUN) if self.is_gradient else 1, 1, 1, 1
        return 1, 1, 1, 1, channels * self.size // self.vector if self.is_gradient else channels

    def threads(self, units: int) -> int:
        """Of so many units."""
        return units if self.is_gradient or self.channels_last else -(-units // self.planes) * WARP


def whole(windows: Windows, is_gradient: bool, batch: int, channels: int, channels_last: bool, reach: Reach,
          source: Layout) -> Whole:  # fmt: skip
    """Where ``fits``."""
    size, vector, planes = math.prod(windows.input_size), reach.channels, 8
    if is_gradient and not channels_last:
        vector = vector_elements(
            [channels * size], [replace(source, strides=(0, 0, 0, 0, 1))], 16 // source.dtype.itemsize
        )
        vector = 1 if source.dtype.kind in "iu" else vector
    while not is_gradient and vector > 1 and batch * channels // vector < WANTED_THREADS:
        vector //= 2
    while planes > 1 and (planes * size > MAX_ELEMENTS or channels // planes * WARP < WANTED_THREADS):
        planes //= 2
    return Whole(size, vector, planes, is_gradient, channels_last)
