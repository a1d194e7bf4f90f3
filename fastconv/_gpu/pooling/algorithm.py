"""Pooling of canonical arrays: plain kernels, one thread per output."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._windows import Windows
from .. import memory
from ..launch import each, run, struct
from ..layout import writable_in_place
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


def maximum(windows: Windows, x: Any, result: Any, indices: Any, threads: int) -> None:
    """Write the windows' maxima to ``result`` and their places to ``indices``, if there is such an array."""
    target = _target(result, x)
    _run("pool_maximum", windows, target.size, {"LOWEST": _lowest(x.dtype)}, x, target, indices, (x, target, indices))
    _store(target, result)


def average(windows: Windows, x: Any, result: Any, threads: int) -> None:
    """Write the windows' averages to ``result``."""
    target = _target(result, x)
    _run("pool_average", windows, target.size, {"SHARE": C_TYPES[x.dtype.name]}, x, target, None, (x, target))
    _store(target, result)


def average_gradient(windows: Windows, dy: Any, dx: Any, threads: int) -> None:
    """Write the gradient for the averages' input to ``dx``, zeros of the dtype that ``computing_dtype`` names."""
    if dy.size:
        _run("pool_average_gradient", windows, dx.size, {"SHARE": C_TYPES[dy.dtype.name]}, dx, dy, None, (dx, dy))


def maximum_gradient(windows: Windows, dy: Any, indices: Any, dx: Any, threads: int) -> None:
    """Add ``dy`` to the places that ``indices`` name in ``dx``, zeros of ``computing_dtype``."""
    planes = dx.shape[0] * dx.shape[1]
    if dy.size and dx.size:
        share = {"SHARE": C_TYPES[dy.dtype.name]}
        _run("pool_maximum_gradient", windows, planes, share, dx, dy, indices, (dx, dy, indices))


def computing_dtype(dtype: np.dtype) -> np.dtype:
    """What gradients of ``dtype`` are summed up in before the last rounding: float32 for half floats."""
    return np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype


def are_within(indices: Any, count: int) -> bool:
    """True: to look would be to wait for the device. The kernel leaves out those that are not."""
    return True


def has_kernels(dtype: np.dtype) -> bool:
    """False: no calls are prepared."""
    return False


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


def _target(result: Any, source: Any) -> Any:
    """``result``, or an array aside where it overlaps the source."""
    return result if writable_in_place(result, source) else memory.empty(result.shape, result.dtype)


def _store(target: Any, result: Any) -> None:
    if target is not result:
        result[...] = target


def _strides(array: Any) -> list[int]:
    return [stride // array.itemsize for stride in array.strides]


def _lowest(dtype: np.dtype) -> str:
    if dtype.kind not in "iu":
        return "(-1.0 / 0.0)"
    least = int(np.iinfo(dtype).min)
    return f"({least + 1}LL - 1)" if least else "0LL"
