"""What one thread computes of a pooling by small windows, whose loops are unrolled."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..._windows import WindowAxis, Windows

MAX_TAPS = 36
"""Of a window that one thread reduces."""
MAX_ROWS = 4
"""Results, or elements of the source, under each other that one thread computes."""
WANTED_UNITS = 2**17
"""Threads that keep a large device busy."""
MAX_STEP = 4
"""Elements of so many neighbouring windows' steps belong to one thread of a gradient, at most, on an axis."""
MAX_LOADS = 64
SECTOR = 32
"""Bytes."""
MAX_ELEMENTS = 16


@dataclass(frozen=True)
class Tile:
    """Results, or elements of the source for gradients, on each axis, and channels of a thread."""

    units: tuple[int, int, int]
    channels: int
    stored: int
    """Elements along w that a gradient stores at once."""
    is_gradient: bool

    def defines(self, windows: Windows) -> dict[str, int]:
        """Of tiles.cu."""
        sizes = windows.input_size if self.is_gradient else windows.output_size
        whole = all(size % unit == 0 for size, unit in zip(sizes[:2], self.units[:2], strict=True))
        made = {"VECTOR": self.channels, "WHOLE": int(whole)}
        if self.is_gradient:
            return made | {f"U{i}": unit for i, unit in enumerate(self.units)} | {"STORED": self.stored}
        return made | {"ROWS": self.units[1]} | {f"I{i}": int(_is_inside(axis)) for i, axis in enumerate(windows.axes)}


def _is_inside(axis: WindowAxis) -> bool:
    last = (axis.outputs - 1) * axis.step - axis.before + (axis.taps - 1) * axis.dilation
    return axis.before <= 0 and last < axis.size


def tile_for(windows: Windows, kind: str, planes: int, channels_last: bool, vector: int, size: int) -> Tile | None:
    """The tile, or None where windows are too large or shared out; ``vector``: elements of one access, at most, of
    ``size`` bytes each."""
    if any(axis.adaptive or not axis.outputs or not axis.size for axis in windows.axes):
        return None
    channels = vector if channels_last else 1
    if not kind.endswith("gradient"):
        if math.prod(axis.taps for axis in windows.axes) > MAX_TAPS:
            return None
        rows = 1 if channels_last else min(_rows(planes * math.prod(windows.output_size)), windows.output_size[1])
        return Tile((1, rows, 1), channels, 1, False)
    width = windows.axes[2].step
    if not channels_last and vector % width:
        width = 1  # lanes take neighbours
    steps = [axis.step for axis in windows.axes]
    units = [step if 1 < step <= MAX_STEP else 1 for step in steps]
    units[2] = width if width <= MAX_STEP else 1
    if units[1] % steps[1] == 0:
        most = _rows(planes * math.prod(windows.input_size) // math.prod(units)) // units[1]
        units[1] *= max(1, min(most, windows.axes[1].size // units[1]))
    if not channels_last and windows.axes[2].size * size % SECTOR:
        units[:2] = 1, 1  # else parts of sectors would be stored
    for axis in (0, 1, 2):
        if math.prod(units) * channels > MAX_ELEMENTS:
            units[axis] = 1
    if math.prod(map(_owners, windows.axes, units)) > MAX_LOADS:
        return None
    depth, height, width = units
    return Tile((depth, height, width), channels, width if not channels_last else 1, True)


def _rows(units: int) -> int:
    """Fewer where there would be too few threads."""
    rows = MAX_ROWS
    while rows > 1 and units < rows * WANTED_UNITS:
        rows //= 2
    return rows


def _owners(axis: WindowAxis, unit: int) -> int:
    """Windows that may own an element of a unit."""
    reach = (axis.taps - 1) * axis.dilation
    return reach // axis.step + 1 + (0 if unit % axis.step else (unit - 1 + axis.step - 1) // axis.step)
