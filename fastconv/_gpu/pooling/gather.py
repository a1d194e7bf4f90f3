"""Which launches a pooling takes, for windows and arrays that lie in given ways."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from ..._windows import Windows
from ..launch import MAX_THREADS, Launch
from ..layout import Layout, is_wide
from ..source import DIVIDER, divider, source_of

Kind = Literal["maximum", "average", "maximum_gradient", "average_gradient"]
PATH = "pooling/gather.cu"
THREADS = 128
WARP = 32
MANY_TAPS = 32
"""Windows of more elements are reduced by a warp each."""
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
AXIS = np.dtype(
    [*((name, np.int32) for name in ("size", "outputs", "before", "after")),
     *((f"by_{name}", DIVIDER) for name in ("size", "outputs", "step", "dilation"))]
)  # fmt: skip
POOL = np.dtype(
    [*((f"{name}_stride", np.int64, 5) for name in ("source", "result", "index")),
     *((f"{name}_at", np.int64) for name in ("source", "result", "index")), ("divisor", np.int64),
     ("axis", AXIS, 3), ("sizes", DIVIDER, 4), ("count", np.uint32), ("count_padding", np.int32)],
    align=True,
)  # fmt: skip
"""fc_pool of gather.cu."""


def supports(windows: Windows, kind: Kind, dtype: str) -> bool:
    """Whether there are kernels: 32 bits are enough for places on every axis and on planes."""
    places = (max(axis.size, 1) * max(axis.outputs + 1, 1) if axis.adaptive else 1 for axis in windows.axes)
    reach = (
        axis.outputs * axis.step + axis.taps * axis.dilation + axis.size + axis.before + axis.after
        for axis in windows.axes
    )
    planes = math.prod(windows.input_size), math.prod(windows.output_size), windows.taps
    dtypes = (*FLOATS, *(INTEGERS if kind == "maximum" else ("int64",) if kind == "average" else ()))
    return dtype in dtypes and max(*places, *reach, *planes) < MAX_THREADS // WARP


def launches(
    windows: Windows, kind: Kind, dtype: str, batch: int, channels: int, layouts: Mapping[str, Layout]
) -> tuple[Launch, ...]:
    """``layouts``: "source" (the large array), "result" and, where places are written or read, "index".

    Gradients write all of "source", which need not be zeros before; the others write "result" and "index".
    """
    is_gradient = kind.endswith("gradient")
    taps = math.prod(axis.taps for axis in windows.axes)
    lanes = WARP if taps > MANY_TAPS and not is_gradient else 1
    wide = any(
        is_wide(size, layouts[role].strides[2:], 8)
        for role, size in (
            ("source", windows.input_size),
            ("result", windows.output_size),
            ("index", windows.output_size),
        )
        if role in layouts
    )
    strides = layouts["source"].strides
    channels_last = abs(strides[1]) < abs(strides[4]) and channels > 1
    defines: dict[str, int | str] = {kind.upper(): 1, "LANES": lanes, "CHANNELS_LAST": int(channels_last)}
    if dtype in INTEGERS:
        defines["INTEGER"], defines["LOWEST"] = INTEGERS[dtype]
    else:
        defines["ELEMENT"] = dtype.upper()
    defines["WIDE"] = int(wide)
    for i, axis in enumerate(windows.axes):
        values = {"T": axis.taps, "S": axis.step, "D": axis.dilation, "A": int(axis.adaptive)}
        defines |= {f"{letter}{i}": value for letter, value in values.items()}
    text = source_of(PATH, defines, "device.cuh", "vectors.cuh")
    roles = (
        ("result", "index" if kind == "maximum_gradient" else None, "source") if is_gradient else ("source", "result")
    )
    if kind == "maximum":
        roles = (*roles, "index" if "index" in layouts else None)
    name = "pool_gradient" if is_gradient else f"pool_{kind}"
    return tuple(
        Launch(name, text, (-(-count * lanes // THREADS), 1, 1), (THREADS, 1, 1), (*roles, struct))
        for count, struct in _structs(windows, is_gradient, channels_last, lanes, batch, channels, layouts)
    )


def _structs(windows: Windows, is_gradient: bool, channels_last: bool, lanes: int, batch: int, channels: int,
             layouts: Mapping[str, Layout]) -> Iterator[tuple[int, np.ndarray]]:  # fmt: skip
    """The elements that are computed, and the struct."""
    depth, height, width = windows.input_size if is_gradient else windows.output_size
    order = (channels, width, height, depth) if channels_last else (width, height, depth, channels)
    none = (0,) * 5
    strides = [layouts[role].strides if role in layouts else none for role in ("source", "result", "index")]
    axes = [
        (axis.size, axis.outputs, axis.before, axis.after, *map(divider, (axis.size, axis.outputs, axis.step,
         axis.dilation)))
        for axis in windows.axes
    ]  # fmt: skip
    image = math.prod(order)
    most = max(1, (MAX_THREADS - THREADS) // (max(image, 1) * lanes))
    for begin in range(0, batch if image else 0, most):
        count = min(most, batch - begin) * image
        at = [begin * stride[0] for stride in strides]
        tail = (windows.divisor, axes, list(map(divider, order)), count, int(windows.count_padding))
        yield count, np.array([(*strides, *at, *tail)], POOL)
