"""Which launches a pooling takes, for windows and arrays that lie in given ways."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..._windows import Windows
from ..launch import MAX_THREADS, Launch
from ..layout import Layout, is_wide, vector_elements
from ..source import DIVIDER, divider, source_of
from . import planes
from .tiles import LINE_BYTES, VECTOR_BYTES, Reach, tile_for

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
     ("axis", AXIS, 3), ("sizes", DIVIDER, 5), ("count", np.uint32), ("count_padding", np.int32)],
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
    windows: Windows, kind: Kind, dtype: str, batch: int, channels: int, layouts: Mapping[str, Layout],
    any_strays: bool = True,
) -> tuple[Launch, ...]:  # fmt: skip
    """``layouts``: "source" (the large array), "result" and, where places are written or read, "index"; ``any_strays``:
    whether places may lie outside of their windows.

    Gradients write all of "source", which need not be zeros before; the others write "result" and "index".
    """
    is_gradient = kind.endswith("gradient")
    strides = layouts["source"].strides
    channels_last = abs(strides[1]) < abs(strides[4]) and channels > 1
    are_even = all(lies.strides[0] == channels * lies.strides[1] for lies in layouts.values())
    if batch > 1 and are_even and not channels_last:
        batch, channels = _as_channels(windows, batch, channels)
    roles: tuple[str | None, ...]
    if is_gradient:
        roles = ("result", "index" if kind == "maximum_gradient" else None, "source")
    else:
        roles = ("source", "result", "index" if "index" in layouts else None)
    common = _defines(windows, kind, dtype, channels_last, layouts)
    kernel = _kernel(windows, kind, batch, channels, channels_last, layouts, common)
    block = kernel.block
    made = [
        Launch(kernel.name, kernel.text, (-(-kernel.threads(count) // block), 1, 1), (block, 1, 1), (*roles, struct))
        for count, struct in _structs(windows, kernel, batch, layouts)
    ]
    if kind == "maximum_gradient" and any_strays and not covers_planes(windows):
        run = STRAY_RUN if channels_last else 1
        text = _text("gather", _defines(windows, None, dtype, channels_last, layouts)
                     | {"STRAYS": 1, "RUN": run, "SEARCHED": 1, "ONES": 0, "THREADS": THREADS})  # fmt: skip
        groups = -(-channels // run)
        struct = _struct(windows, layouts, 0, (groups, channels, 1, 1, 1), 0)
        made.append(Launch("pool_strays", text, (batch * groups, 1, 1), (THREADS, 1, 1), (*roles, struct)))
    return tuple(made)


class _Kernel(NamedTuple):
    name: str
    text: str
    order: tuple[int, ...]
    """What units are numbered along."""
    threads: Callable[[int], int]
    """Of so many units."""
    block: int
    """Threads of one."""


def _kernel(
    windows: Windows, kind: Kind, batch: int, channels: int, channels_last: bool, layouts: Mapping[str, Layout],
    common: Mapping[str, int | str],
) -> _Kernel:  # fmt: skip
    is_gradient = kind.endswith("gradient")
    reach = _reach(kind, windows, channels, channels_last, layouts)
    infix = "_gradient" if is_gradient else ""
    threads: Callable[[int], int] = int
    block, searched = THREADS, 1
    if planes.fits(windows, batch, channels, channels_last, layouts):
        whole = planes.whole(windows, is_gradient, batch, channels, channels_last, reach, layouts["source"])
        name, file, order, more, threads = "planes", "planes", whole.order(channels), whole.defines(), whole.threads
    elif tile := tile_for(windows, kind, batch * channels, reach, layouts["source"].dtype.itemsize):
        name, file, block = "tiles", "gradients" if is_gradient else "tiles", tile.threads
        order, more = tile.order(windows, channels), tile.defines(windows)
    else:
        results = batch * channels * math.prod(windows.output_size)
        has_many = math.prod(axis.taps for axis in windows.axes) > MANY_TAPS
        lanes = WARP if has_many and not is_gradient and not (channels_last and results >= MANY_UNITS) else 1
        depth, height, width = windows.input_size if is_gradient else windows.output_size
        order = (channels if channels_last else 1, width, height, depth, 1 if channels_last else channels)
        name, file, more, searched = "" if is_gradient else "gather", "gather", {"LANES": lanes}, 4
        threads = lanes.__mul__
    defines = {"THREADS": block, "SEARCHED": searched, "ONES": _ones((*order, batch)), **common, **more}
    return _Kernel("_".join(filter(None, ("pool" + infix, name))), _text(file, defines), order, threads, block)


def covers_planes(windows: Windows) -> bool:
    """Whether every window has all elements, so that no place lies outside."""
    return all(axis.outputs == 1 and axis.taps == axis.size and not axis.before and axis.dilation == 1
               for axis in windows.axes)  # fmt: skip


def _text(file: str, defines: Mapping[str, int | str]) -> str:
    return source_of(f"pooling/{file}.cu", defines, "device.cuh", "vectors.cuh", "../pooling/windows.cuh")


def _as_channels(windows: Windows, batch: int, channels: int) -> tuple[int, int]:
    """Planes that lie evenly as those of one image, if so many are numbered in 32 bits."""
    elements = batch * channels * max(math.prod(windows.input_size), WARP * math.prod(windows.output_size))
    return (1, batch * channels) if elements < MAX_THREADS // 2 else (batch, channels)


def _reach(kind: Kind, windows: Windows, channels: int, channels_last: bool, layouts: Mapping[str, Layout]) -> Reach:
    source, result = (layouts[role] for role in ("source", "result"))
    size, index = source.dtype.itemsize, [layouts[role] for role in ("index",) if role in layouts]
    if source.dtype.kind in "iu":
        return Reach()
    # Places are stored in pairs of 16 bytes, loaded in several.
    widest = 16 // size if kind.endswith("gradient") or not index else 2
    if not channels_last:
        of_result = vector_elements([windows.output_size[2]], [result], min(widest, 16 // size))
        if vector_elements([windows.output_size[2]], index, 2) < min(of_result, 2):
            of_result = 1
        return Reach(vector_elements([windows.input_size[2]], [source], 16 // size), of_result)
    most = vector_elements([channels], [source, result], min(widest, max(1, VECTOR_BYTES // size)), axis=1)
    if vector_elements([channels], index, 2, axis=1) < min(most, 2):
        most = 1
    return Reach(1, 1, most, math.gcd(channels // most, max(1, LINE_BYTES // (most * size))))


def _defines(windows: Windows, kind: Kind | None, dtype: str, channels_last: bool,
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
    defines |= {"UNIT": int(all(lies.strides[4] == 1 for lies in layouts.values())), "PLACES": int("index" in layouts)}
    defines |= {one.upper(): int(one == kind) for one in get_args(Kind)}
    for i, axis in enumerate(windows.axes):
        values = {"T": axis.taps, "S": axis.step, "D": axis.dilation, "P": axis.before, "A": int(axis.adaptive)}
        defines |= {f"{letter}{i}": value for letter, value in values.items()}
    if divisor := constant_divisor(windows):
        defines |= {"DIVISOR": divisor} | _reciprocal(divisor, dtype)
    return defines


def _reciprocal(divisor: int, dtype: str) -> dict[str, int | str]:
    """1 / divisor in two parts, where products with them are as exact as the division; see fc_divide."""
    is_power = divisor.bit_count() == 1
    if dtype in INTEGERS or not (is_power or (dtype != "float64" and abs(divisor) < 2**16)):
        return {}
    exact = Fraction(1, divisor)
    high = np.float32(float(exact))
    if abs(Fraction(float(high))) > abs(exact):
        high = np.nextafter(high, np.float32(0))
    low = np.float32(float(exact - Fraction(float(high))))
    return {"HIGH": f"({float(high)!r}f)", "LOW": f"({float(low)!r}f)", "IS_POWER": int(is_power)}


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


def _ones(order: Sequence[int]) -> int:
    return sum(1 << i for i, count in enumerate(order) if count == 1)


def _structs(windows: Windows, kernel: _Kernel, batch: int,
             layouts: Mapping[str, Layout]) -> Iterator[tuple[int, np.ndarray]]:  # fmt: skip
    """Units that are computed, and the struct."""
    image = math.prod(kernel.order)
    most = max(1, (MAX_THREADS - kernel.block) // max(kernel.threads(image), 1))
    for begin in range(0, batch if image else 0, most):
        count = min(most, batch - begin) * image
        yield count, _struct(windows, layouts, begin, kernel.order, count)


def _struct(windows: Windows, layouts: Mapping[str, Layout], begin: int, order: tuple[int, ...],
            count: int) -> np.ndarray:  # fmt: skip
    none = (0,) * 5
    strides = [layouts[role].strides if role in layouts else none for role in ("source", "result", "index")]
    axes = [(axis.size, axis.outputs, axis.after, divider(axis.size), divider(axis.outputs)) for axis in windows.axes]
    at = [begin * stride[0] for stride in strides]
    tail = (windows.divisor, axes, list(map(divider, order)), count, int(windows.count_padding))
    return np.array([(*strides, *at, *tail)], POOL)
