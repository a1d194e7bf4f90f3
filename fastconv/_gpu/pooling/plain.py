"""Pooling by plain kernels, one thread per output: any dtype and any number of elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._windows import Windows
from ..launch import each, run, struct
from ..source import C_TYPES, kernel_source

AXIS = np.dtype(
    [(name, np.int64) for name in ("size", "outputs", "taps", "step", "before", "after", "dilation", "adaptive")]
)
PROBLEM = np.dtype(
    [
        *((f"{name}_stride", np.int64, 5) for name in ("source", "result", "index")),
        *((name, np.int64) for name in ("batch", "channels")),
        ("axis", AXIS, 3),
        *((name, np.int64) for name in ("divisor", "count_padding")),
    ]
)
"""pool_problem of kernels.cu."""


def maximum(windows: Windows, x: Any, result: Any, indices: Any) -> None:
    """Write the windows' maxima and, if there is an array for them, their places."""
    given = x, result, indices
    _run("pool_maximum", windows, result.size, {"LOWEST": _lowest(x.dtype)}, *given, given)


def average(windows: Windows, x: Any, result: Any) -> None:
    """Write the windows' averages."""
    share = {"SHARE": C_TYPES[x.dtype.name]}
    _run("pool_average", windows, result.size, share, x, result, None, (x, result))


def average_gradient(windows: Windows, dy: Any, dx: Any) -> None:
    """Write the gradient for the averages' input."""
    _run("pool_average_gradient", windows, dx.size, {"SHARE": C_TYPES[dy.dtype.name]}, dx, dy, None, (dx, dy))


def maximum_gradient(windows: Windows, dy: Any, indices: Any, dx: Any) -> None:
    """Add ``dy`` to the places that ``indices`` name in ``dx``, zeros."""
    planes, share = dx.shape[0] * dx.shape[1], {"SHARE": C_TYPES[dy.dtype.name]}
    _run("pool_maximum_gradient", windows, planes, share, dx, dy, indices, (dx, dy, indices))


def _run(
    name: str,
    windows: Windows,
    elements: int,
    defines: dict[str, str],
    source: Any,
    result: Any,
    index: Any,
    given: Any,
) -> None:
    c = struct(
        PROBLEM,
        source_stride=_strides(source),
        result_stride=_strides(result),
        index_stride=0 if index is None else _strides(index),
        batch=source.shape[0],
        channels=source.shape[1],
        divisor=windows.divisor,
        count_padding=windows.count_padding,
    )
    for number, axis in enumerate(windows.axes):
        for field in AXIS.names or ():
            c["axis"][0, number][field] = getattr(axis, field)
    text = kernel_source("pooling", {"ELEMENT": C_TYPES[source.dtype.name], **defines}, "elements.cuh")
    run(each(text, name, elements, *given, c))


def _strides(array: Any) -> list[int]:
    return [stride // array.itemsize for stride in array.strides]


def _lowest(dtype: np.dtype) -> str:
    if dtype.kind not in "iu":
        return "(-1.0 / 0.0)"
    least = int(np.iinfo(dtype).min)
    return f"({least + 1}LL - 1)" if least else "0LL"
