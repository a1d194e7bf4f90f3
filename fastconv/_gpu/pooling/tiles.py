"""What one thread computes of a pooling by small windows, whose loops are unrolled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..._windows import WindowAxis, Windows

MAX_TAPS = 36
"""Of a window that one thread reduces."""
WANTED_UNITS = 2**16
"""Threads that keep a large device busy."""
MAX_STEP = 4
"""Elements of so many neighbouring windows' steps belong to one thread of a gradient, at most, on an axis."""
MAX_RESULTS, MAX_SCALARS = 32, 8
"""Of a thread; and where each is loaded and stored alone."""
RESULT_BYTES = 64
"""Of a thread's results, at most."""
MAX_ELEMENTS = 16
"""Of a maximum's gradient, that a thread has, at most."""
MAX_LOADED = 96
"""Elements that a thread loads, of all channels."""
VECTOR_BYTES = 8
"""Of neighbouring channels that a thread has, at most."""
SECTOR = 32
"""Bytes."""
LINE_BYTES = SECTOR
"""Of neighbouring channels, that one block reads and writes: the fewer, the more of a plane it has."""


@dataclass(frozen=True)
class Reach:
    """The most elements of one access: of the source's rows, of the results' rows, or of channels."""

    source: int = 1
    result: int = 1
    channels: int = 1
    lanes: int = 1
    """Vectors of channels that neighbouring threads have."""


@dataclass(frozen=True)
class Tile:
    """Results, or elements of the source for gradients, on each axis, and channels of a thread."""

    units: tuple[int, int, int]
    channels: int
    loaded: int
    """Elements along w of one access."""
    stored: int
    lanes: int
    is_gradient: bool

    @property
    def threads(self) -> int:
        """Of a block: many where neighbours under each other read the same windows."""
        return 512 if self.is_gradient and math.prod(self.units) == 1 else 128

    def order(self, windows: Windows, channels: int) -> tuple[int, ...]:
        """Numbers of what units are numbered along, in an image."""
        sizes = windows.input_size if self.is_gradient else windows.output_size
        depth, height, width = (-(-size // unit) for size, unit in zip(sizes, self.units, strict=True))
        return self.lanes, width, height, depth, channels // (self.channels * self.lanes)

    def defines(self, windows: Windows) -> dict[str, int]:
        """Of tiles.cu, or gradients.cu."""
        sizes = windows.input_size if self.is_gradient else windows.output_size
        whole = [size % unit == 0 for size, unit in zip(sizes, self.units, strict=True)]
        made = {
            "THREADS": self.threads,
            "VECTOR": self.channels,
            "LOADED": self.loaded,
            "STORED": self.stored,
            "WHOLE": int(all(whole)),
        }
        if self.is_gradient:
            return made | {f"U{i}": unit for i, unit in enumerate(self.units)}
        inside = (is_whole and _is_inside(axis) for is_whole, axis in zip(whole, windows.axes, strict=True))
        return (
            made | {"ROWS": self.units[1], "COLUMNS": self.units[2]} | {f"I{i}": int(x) for i, x in enumerate(inside)}
        )


def _is_inside(axis: WindowAxis) -> bool:
    last = (axis.outputs - 1) * axis.step - axis.before + (axis.taps - 1) * axis.dilation
    return axis.before <= 0 and last < axis.size


def tile_for(windows: Windows, kind: str, planes: int, reach: Reach, size: int) -> Tile | None:
    """The tile, or None where windows are too large or shared out; elements have ``size`` bytes."""
    if any(axis.adaptive or not axis.outputs or not axis.size for axis in windows.axes):
        return None
    is_gradient = kind.endswith("gradient")
    if not is_gradient and math.prod(axis.taps for axis in windows.axes) > MAX_TAPS:
        return None
    is_scalar = reach.source == reach.result == reach.channels == 1
    wanted = min(RESULT_BYTES // size, MAX_SCALARS if is_scalar else MAX_RESULTS)
    if kind == "maximum_gradient":
        wanted = min(wanted, MAX_ELEMENTS)
    while wanted > 4 and planes * math.prod(windows.input_size if is_gradient else windows.output_size) < (
        wanted * WANTED_UNITS
    ):
        wanted //= 2
    if not is_gradient:
        return _forward(windows, wanted, reach)
    return _gradient(windows, wanted, reach, 2 if kind == "average_gradient" and reach.channels > 1 else 1, size)


def _forward(windows: Windows, wanted: int, reach: Reach) -> Tile:
    depth, height, width = windows.axes
    columns = reach.result if reach.channels == 1 else 2
    columns = min(columns, width.outputs, max(1, wanted // reach.channels))
    while True:
        rows = _balanced(height.outputs, max(1, wanted // (columns * reach.channels)), 1)
        while rows > 1 and _span(height, rows) * _span(width, columns) * depth.taps * reach.channels > MAX_LOADED:
            rows -= 1
        if columns == 1 or _span(height, rows) * _span(width, columns) * depth.taps * reach.channels <= MAX_LOADED:
            break
        columns //= 2
    loaded = math.gcd(reach.source, columns * width.step)
    return Tile((1, rows, columns), reach.channels, loaded, math.gcd(columns, reach.result), reach.lanes, False)


def _gradient(windows: Windows, wanted: int, reach: Reach, columns: int, size: int) -> Tile | None:
    """``columns``: steps of windows along w that a thread has, channels last."""
    steps = [axis.step for axis in windows.axes]
    units = [step if step <= MAX_STEP else 1 for step in steps]
    if reach.channels > 1:
        if units[2] == steps[2] < windows.axes[2].taps and units[2] * columns <= windows.axes[2].size:
            units[2] *= columns
    else:
        units[2] = reach.source if reach.source % steps[2] == 0 else 1  # else lanes take neighbours
    while units[2] * units[0] > max(wanted, units[0]) and units[2] % 2 == 0 and units[2] // 2 % steps[2] == 0:
        units[2] //= 2
    is_apart = all(axis.taps <= axis.step for axis in windows.axes)
    if reach.channels == 1 and is_apart and size >= 4 and windows.axes[2].size * size % SECTOR:
        units[:2] = 1, 1  # else parts of sectors would be stored; others gain more by what is loaded once
    elif units[1] % steps[1] == 0:
        most = max(1, wanted // (math.prod(units) * reach.channels))
        units[1] = _balanced(windows.axes[1].size, units[1] * most, units[1])
    for axis in (0, 1, 2):
        while (
            _loads(windows, units, reach) > MAX_LOADED and units[axis] % 2 == 0 and units[axis] // 2 % steps[axis] == 0
        ):
            units[axis] //= 2
        if _loads(windows, units, reach) > MAX_LOADED:
            units[axis] = steps[axis] if steps[axis] <= MAX_STEP and _loads(windows, units, reach) <= MAX_LOADED else 1
    if _loads(windows, units, reach) > MAX_LOADED:
        return None
    depth, height, width = units
    known = width % steps[2] == 0
    loaded = math.gcd(reach.result, width // steps[2]) if known else 1
    return Tile((depth, height, width), reach.channels, loaded, math.gcd(width, reach.source), reach.lanes, True)


def _balanced(size: int, most: int, step: int) -> int:
    """Up to ``most``, a multiple of ``step`` such that strips of so many are about equal."""
    most = max(step, min(most, size) // step * step)
    strips = -(-size // most)
    return -(-size // (strips * step)) * step


def _span(axis: WindowAxis, results: int) -> int:
    """Elements that neighbouring windows reach over."""
    return (results - 1) * axis.step + (axis.taps - 1) * axis.dilation + 1


def _loads(windows: Windows, units: Sequence[int], reach: Reach) -> int:
    return math.prod(map(_owners, windows.axes, units)) * reach.channels


def _owners(axis: WindowAxis, unit: int) -> int:
    """Windows that may own an element of a unit."""
    reach = (axis.taps - 1) * axis.dilation
    return reach // axis.step + 1 + (0 if unit % axis.step else (unit - 1 + axis.step - 1) // axis.step)
