"""Which launches a pooling takes, for windows and arrays that lie in given ways."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from ..._windows import Windows
from ..launch import MAX_THREADS, Launch
from ..layout import Layout, is_wide, vector_elements
from ..source import DIVIDER, divider, source_of
from .tiles import Tile, tile_for

Kind = Literal["maximum", "average", "maximum_gradient", "average_gradient"]
THREADS = 128
WARP = 32
MANY_TAPS = 32
"""Windows of more elements are reduced by a warp each, unless there are units enough and lanes read channels."""
MANY_UNITS = 2**15
STRAY_RUN = 4
"""Channels of a block that looks for strays where channels are neighbours: a sector of places."""
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = {
    f"{sign}int{bits}": (
        f"{'unsigned ' if sign else 'signed '}{kind}",
        "0" if sign else f"({kind})(1ull << {bits - 1})",
    )
    for sign in ("", "u")
    for bits, kind in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
}
"""C type and lowest value."""
PLACE_BYTES = 8
AXIS = np.dtype(
    [*((name, np.int32) for name in ("size", "outputs", "after")),
     *((f"by_{name}", DIVIDER) for name in ("size", "outputs"))]
)  # fmt: skip
POOL = np.dtype(
    [*((f"{name}_stride", np.int64, 5) for name in ("source", "result", "index")),
     *((f"{name}_at", np.int64) for name in ("source", "result", "index")), ("divisor", np.int64),
     ("axis", AXIS, 3), ("sizes", DIVIDER, 4), ("count", np.uint32), ("count_padding", np.int32)],
    align=True,
)  # fmt: skip
"""fc_pool of windows.cuh."""


def supports(windows: Windows, kind: Kind, dtype: str) -> bool:
    """Whether there are kernels: 32 bits are enough for places on every axis and on planes."""
    places = (max(axis.size, 1) * max(axis.outputs + 1, 1) if axis.adaptive else 1 for axis in windows.axes)
    reach = (
        axis.outputs * axis.step + axis.taps * axis.dilation + axis.size + abs(axis.before) + abs(axis.after)
        for axis in windows.axes
    )
    planes = math.prod(windows.input_size), math.prod(windows.output_size), windows.taps
    dtypes = (*FLOATS, *(INTEGERS if kind == "maximum" else ("int64",) if kind == "average" else ()))
    return (
        dtype in dtypes
        and min(axis.before for axis in windows.axes) >= 0
        and max(*places, *reach, *planes) < MAX_THREADS // WARP
    )


def launches(
    windows: Windows, kind: Kind, dtype: str, batch: int, channels: int, layouts: Mapping[str, Layout]
) -> tuple[Launch, ...]:
    """``layouts``: "source" (the large array), "result" and, where places are written or read, "index".

    Gradients write all of "source", which need not be zeros before; the others write "result" and "index".
    """
    is_gradient = kind.endswith("gradient")
    strides = layouts["source"].strides
    channels_last = abs(strides[1]) < abs(strides[4]) and channels > 1
    vectors = _vectors(kind, windows, channels, channels_last, layouts)
    tile = tile_for(windows, kind, batch * channels, channels_last, vectors, layouts["source"].dtype.itemsize)
    common = _defines(windows, kind, dtype, channels_last, layouts)
    roles: tuple[str | None, ...]
    if is_gradient:
        roles = ("result", "index" if kind == "maximum_gradient" else None, "source")
    else:
        roles = ("source", "result", "index" if "index" in layouts else None)
    lanes = 1
    if tile is not None:
        name, file, more = "pool_gradient_tiles" if is_gradient else "pool_tiles", "tiles", tile.defines(windows)
    else:
        results = batch * channels * math.prod(windows.output_size)
        has_many = math.prod(axis.taps for axis in windows.axes) > MANY_TAPS
        lanes = WARP if has_many and not is_gradient and not (channels_last and results >= MANY_UNITS) else 1
        name, file, more = "pool_gradient" if is_gradient else "pool_gather", "gather", {"LANES": lanes}
    text = _text(file, common | {kind.upper(): 1, **more})
    made = [
        Launch(name, text, (-(-count * lanes // THREADS), 1, 1), (THREADS, 1, 1), (*roles, struct))
        for count, struct in _structs(windows, kind, channels_last, lanes, tile, batch, channels, layouts)
    ]
    if kind == "maximum_gradient":
        run = STRAY_RUN if channels_last else 1
        text = _text("gather", common | {"STRAYS": 1, "RUN": run})
        groups = -(-channels // run)
        struct = _struct(windows, layouts, 0, (groups, channels, 1, 1), 0)
        made.append(Launch("pool_strays", text, (batch * groups, 1, 1), (THREADS, 1, 1), (*roles, struct)))
    return tuple(made)


def _text(file: str, defines: Mapping[str, int | str]) -> str:
    return source_of(f"pooling/{file}.cu", defines, "device.cuh", "vectors.cuh", "../pooling/windows.cuh")


def _vectors(kind: Kind, windows: Windows, channels: int, channels_last: bool, layouts: Mapping[str, Layout]) -> int:
    """The most elements of one access: of neighbouring channels, or of the source's rows, which gradients store."""
    lie, size = [layouts[role] for role in ("source", "result")], layouts["source"].dtype.itemsize
    if layouts["source"].dtype.kind in "iu":
        return 1
    if not channels_last:
        is_gradient = kind.endswith("gradient")
        return vector_elements([windows.input_size[2]], lie[:1], 16 // size) if is_gradient else 1
    most = min(16 // size, 4)
    if "index" in layouts:
        most = min(most, vector_elements([channels], [layouts["index"]], 2, axis=1))
    return vector_elements([channels], lie, most, axis=1)


def _defines(windows: Windows, kind: Kind, dtype: str, channels_last: bool,
             layouts: Mapping[str, Layout]) -> dict[str, int | str]:  # fmt: skip
    """Those that all kernels have."""
    sizes = {"source": windows.input_size, "result": windows.output_size, "index": windows.output_size}
    wide = any(is_wide(sizes[role], lies.strides[2:], PLACE_BYTES) for role, lies in layouts.items())
    defines: dict[str, int | str] = {"CHANNELS_LAST": int(channels_last), "WIDE": int(wide)}
    if dtype in INTEGERS:
        defines["INTEGER"], defines["LOWEST"] = INTEGERS[dtype]
        defines["INTEGERS"] = 1
    else:
        defines["ELEMENT"] = dtype.upper()
    gathered = "result" if kind.endswith("gradient") else "source"
    units = [layouts["source"].strides[4], layouts[gathered].strides[4]]
    defines |= {"UNIT": int(units == [1, 1]), "PLACES": int("index" in layouts)}
    for i, axis in enumerate(windows.axes):
        values = {"T": axis.taps, "S": axis.step, "D": axis.dilation, "P": axis.before, "A": int(axis.adaptive)}
        defines |= {f"{letter}{i}": value for letter, value in values.items()}
    if divisor := constant_divisor(windows):
        defines["DIVISOR"] = divisor
    return defines


def constant_divisor(windows: Windows) -> int:
    """What every average is divided by; 0 where that differs."""
    if windows.divisor:
        return windows.divisor if abs(windows.divisor) < 2**31 else 0
    for axis in windows.axes:
        last = (axis.outputs - 1) * axis.step - axis.before + (axis.taps - 1) * axis.dilation
        before, after = (0, axis.after) if windows.count_padding else (axis.before, 0)
        if axis.adaptive or before > 0 or last >= axis.size + after:
            return 0
    return math.prod(axis.taps for axis in windows.axes)


def _structs(windows: Windows, kind: Kind, channels_last: bool, lanes: int, tile: Tile | None, batch: int,
             channels: int, layouts: Mapping[str, Layout]) -> Iterator[tuple[int, np.ndarray]]:  # fmt: skip
    """Units that are computed, and the struct."""
    sizes = windows.input_size if kind.endswith("gradient") else windows.output_size
    vector, *units = (1, 1, 1, 1) if tile is None else (tile.channels, *tile.units)
    depth, height, width = (-(-size // unit) for size, unit in zip(sizes, units, strict=True))
    runs = channels // vector
    order = (runs, width, height, depth) if channels_last else (width, height, depth, runs)
    image = math.prod(order)
    most = max(1, (MAX_THREADS - THREADS) // (max(image, 1) * lanes))
    for begin in range(0, batch if image else 0, most):
        count = min(most, batch - begin) * image
        yield count, _struct(windows, layouts, begin, order, count)


def _struct(windows: Windows, layouts: Mapping[str, Layout], begin: int, order: tuple[int, ...],
            count: int) -> np.ndarray:  # fmt: skip
    none = (0,) * 5
    strides = [layouts[role].strides if role in layouts else none for role in ("source", "result", "index")]
    axes = [(axis.size, axis.outputs, axis.after, divider(axis.size), divider(axis.outputs)) for axis in windows.axes]
    at = [begin * stride[0] for stride in strides]
    tail = (windows.divisor, axes, list(map(divider, order)), count, int(windows.count_padding))
    return np.array([(*strides, *at, *tail)], POOL)
