"""Pooling of canonical arrays: dtypes without kernels of their own, overlaps and threads; then the kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..._arrays import native, writable_in_place
from ..._windows import Windows
from ..elementwise.loops import cast, cast_into
from . import loops
from .loops import PoolingCall

PARALLEL_READS = 2**18
"""Poolings that read fewer elements run on one thread."""
FILLS_GRADIENTS = False
"""Gradients are added to zeros."""


def maximum(windows: Windows, x: np.ndarray, result: np.ndarray, indices: np.ndarray | None, threads: int) -> None:
    """Write the windows' maxima to ``result`` and their places to ``indices``, a native array, if there is one."""
    source = _widened(native(x), threads)

    def compute(target: np.ndarray) -> None:
        wide = _wide_for(target, source)
        loops.maximum(windows, source, wide, indices, pool_threads(windows, result.size, threads))
        _store(wide, target, threads)

    _into(result, source, compute)


def average(windows: Windows, x: np.ndarray, result: np.ndarray, threads: int) -> None:
    """Write the windows' averages to ``result``."""
    source = _widened(native(x), threads)

    def compute(target: np.ndarray) -> None:
        wide = _wide_for(target, source)
        for part_in, part_out in zip(_real_parts(source), _real_parts(wide), strict=True):
            loops.average(windows, part_in, part_out, pool_threads(windows, result.size, threads))
        _store(wide, target, threads)

    _into(result, source, compute)


def average_gradient(windows: Windows, dy: np.ndarray, dx: np.ndarray, threads: int) -> None:
    """Add the gradient for the averages' input to ``dx``, zeros of the dtype that ``computing_dtype`` names."""
    if dy.size:
        for part_dx, part_dy in zip(_real_parts(dx), _real_parts(_widened(native(dy), threads)), strict=True):
            loops.average_gradient(windows, part_dx, part_dy, pool_threads(windows, dy.size, threads))


def maximum_gradient(
    windows: Windows, dy: np.ndarray, indices: np.ndarray, dx: np.ndarray, threads: int, any_strays: bool = True
) -> None:
    """Add ``dy`` to the places that ``indices`` name in ``dx``, contiguous zeros of ``computing_dtype``. Whether there
    are strays, places outside of their windows, does not matter."""
    if dy.size:
        source = _widened(native(dy), threads)
        loops.maximum_gradient(windows, dx, source, native(indices), pool_threads(windows, dy.size, threads))


def computing_dtype(dtype: np.dtype) -> np.dtype:
    """What arrays of ``dtype`` are summed in and stored as before the last rounding: float32 for half floats."""
    return np.dtype(np.float32) if _is_half(dtype) else dtype.newbyteorder("=")


def _into(result: np.ndarray, source: np.ndarray, compute: Callable[[np.ndarray], None]) -> None:
    """Let ``compute`` write ``result``, aside where it overlaps the source or cannot be written in place."""
    if not result.size:
        return
    if writable_in_place(result, source):
        compute(result)
        return
    aside = np.empty_like(result, dtype=result.dtype.newbyteorder("="))
    compute(aside)
    result[...] = aside


def _widened(array: np.ndarray, threads: int) -> np.ndarray:
    """Half floats as float32."""
    return cast(array, np.dtype(np.float32), threads) if _is_half(array.dtype) else array


def _is_half(dtype: np.dtype) -> bool:
    """Whether the dtype is float16 or bfloat16, the only ones of two bytes that are not integers."""
    return dtype.itemsize == 2 and dtype.kind not in "iu"


def _wide_for(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """``target`` itself, or an array of its shape and the source's dtype."""
    return target if target.dtype == source.dtype else np.empty_like(target, dtype=source.dtype)


def _store(wide: np.ndarray, target: np.ndarray, threads: int) -> None:
    """Round ``wide`` to the target's dtype, unless they are one array."""
    if wide is not target:
        cast_into(wide, target, threads)


def _real_parts(array: np.ndarray) -> list[np.ndarray]:
    """The real arrays that averages, being linear, are taken of one by one."""
    return [array.real, array.imag] if array.dtype.kind == "c" else [array]


def pool_threads(windows: Windows, outputs: int, threads: int) -> int:
    """The threads that so many outputs are shared among."""
    return threads if outputs * windows.taps >= PARALLEL_READS else 1


def has_kernels(dtype: np.dtype) -> bool:
    """Whether arrays of ``dtype`` are pooled as they are, neither widened nor in parts."""
    return dtype.isnative and not _is_half(dtype) and dtype.kind != "c"


prepare = PoolingCall
are_within = loops.are_within
