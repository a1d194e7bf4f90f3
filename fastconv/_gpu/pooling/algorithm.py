"""Pooling of canonical arrays: kernels that gather; plain ones for complex numbers and enormous planes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arrays import is_aligned, is_cupys
from ..._windows import Windows
from .. import memory
from ..elementwise import algorithm as elementwise
from ..launch import Arrays, Launch
from ..layout import Layout, alignment_of, writable_in_place
from . import gather, plain

FILLS_GRADIENTS = True
"""Gradients' arrays need not be zeros before."""
INDEX = np.dtype(np.int64)
MAX_LIES = 16
"""A prepared call keeps its launches for so many ways in which arrays lie."""
KEPT = 256
"""Launches are kept for so many different calls."""


def maximum(windows: Windows, x: Any, result: Any, indices: Any, threads: int) -> None:
    """Write the windows' maxima to ``result`` and their places to ``indices``, if there is such an array."""
    target = _target(result, x)
    given = {"source": x, "result": target} | ({} if indices is None else {"index": indices})
    if target.size and not _gathered(windows, "maximum", given):
        plain.maximum(windows, x, target, indices)
    _store(target, result)


def average(windows: Windows, x: Any, result: Any, threads: int) -> None:
    """Write the windows' averages to ``result``."""
    target = _target(result, x)
    if target.size and not _gathered(windows, "average", {"source": x, "result": target}):
        plain.average(windows, x, target)
    _store(target, result)


def average_gradient(windows: Windows, dy: Any, dx: Any, threads: int) -> None:
    """Write the gradient for the averages' input to ``dx``."""
    if not dy.size:
        dx[...] = 0
    elif dx.size and not _gathered(windows, "average_gradient", {"source": dx, "result": dy}):
        plain.average_gradient(windows, dy, dx)


def maximum_gradient(windows: Windows, dy: Any, indices: Any, dx: Any, threads: int, any_strays: bool = True) -> None:
    """Write the sums of ``dy`` at the places that ``indices`` name to ``dx``; ``any_strays``: they may lie outside of
    their windows."""
    given = {"source": dx, "result": dy, "index": indices}
    if not dy.size:
        dx[...] = 0
    elif dx.size and not _gathered(windows, "maximum_gradient", given, any_strays):
        is_half = dx.dtype.itemsize == 2
        sums = memory.zeros(dx.shape, np.dtype(np.float32) if is_half else dx.dtype)
        plain.maximum_gradient(windows, dy, indices, sums)
        dx[...] = elementwise.cast(sums, dx.dtype, threads)


def computing_dtype(dtype: np.dtype) -> np.dtype:
    """What gradients of ``dtype`` are stored in before the last rounding: there is only one."""
    return dtype


def are_within(indices: Any, count: int) -> bool:
    """True: to look would be to wait for the device. Kernels leave out those that are not."""
    return True


def has_kernels(dtype: np.dtype) -> bool:
    """Whether calls may be prepared; ``prepare`` looks at their windows, too."""
    return True


def pool_threads(windows: Windows, outputs: int, threads: int) -> int:
    """1: threads of the host have no part in it."""
    return 1


def prepare(
    windows: Windows, dtype: np.dtype, kind: gather.Kind, returns_indices: bool, axes: tuple[int, ...],
    result_axes: tuple[int, ...], shape: tuple[int, ...], threads: int,
) -> Callable[[tuple[Any, ...], Any], Any] | None:  # fmt: skip
    """``compute(arrays, out)`` for other arrays of one shape, with these canonical axes, and results of ``shape``; None
    where kernels do not gather. It returns None for an ``out`` that kernels do not write."""
    if not gather.supports(windows, kind, dtype.name):
        return None
    bound: dict[object, tuple[Callable[[Arrays], None], ...]] = {}

    def steps(given: dict[str, Any]) -> tuple[Callable[[Arrays], None], ...]:
        batch, channels = (1 if axis < 0 else given["source"].shape[axis] for axis in axes[:2])
        lie = tuple(
            (role, Layout.of(a.dtype, a.strides, axes if role == "source" else result_axes, alignment_of(a)))
            for role, a in given.items()
        )
        return tuple(launch.bind() for launch in _launches(windows, kind, dtype.name, batch, channels, lie))

    def compute(arrays: tuple[Any, ...], out: Any) -> Any:
        x, result = arrays[0], out
        if out is None:
            result = memory.empty(shape, dtype)
        elif not _is_written(out, x, shape, dtype):
            return None
        given = {"source": x, "result": result}
        if returns_indices:
            given["index"] = memory.empty(shape, INDEX)
        key = x.strides, alignment_of(x), result.strides, alignment_of(result)
        found = bound.get(key)
        if found is None:
            if len(bound) >= MAX_LIES:
                bound.clear()
            found = bound[key] = steps(given)
        for step in found:
            step(given)
        return (result, given["index"]) if returns_indices else result

    return compute


def _is_written(out: Any, x: Any, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether kernels may write their results straight into ``out``."""
    return (
        is_cupys(out)
        and (out.shape, out.dtype, out.data.device_id) == (shape, dtype, x.data.device_id)
        and is_aligned(out)
        and writable_in_place(out, x)
    )


def _gathered(windows: Windows, kind: gather.Kind, arrays: dict[str, Any], any_strays: bool = False) -> bool:
    """Start the gathering kernels; False where there are none."""
    source = arrays["source"]
    dtype = source.dtype.name
    if not gather.supports(windows, kind, dtype):
        return False
    lie = tuple(
        (role, Layout.of(array.dtype, array.strides, range(5), alignment_of(array))) for role, array in arrays.items()
    )
    for launch in _launches(windows, kind, dtype, *source.shape[:2], lie, any_strays):
        launch.bind()(arrays)
    return True


@functools.lru_cache(KEPT)
def _launches(
    windows: Windows, kind: gather.Kind, dtype: str, batch: int, channels: int, lie: tuple[tuple[str, Layout], ...],
    any_strays: bool = False,
) -> tuple[Launch, ...]:  # fmt: skip
    return gather.launches(windows, kind, dtype, batch, channels, dict(lie), any_strays)


def _target(result: Any, source: Any) -> Any:
    """``result``, or an array aside where it overlaps the source."""
    return result if writable_in_place(result, source) else memory.empty(result.shape, result.dtype)


def _store(target: Any, result: Any) -> None:
    if target is not result:
        result[...] = target
