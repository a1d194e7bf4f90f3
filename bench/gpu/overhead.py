"""``python -m bench calls --backend gpu``: what a repeated call on CuPy arrays costs in Python, on the stand-in.

Kernels are empty. The whole call has the stand-in's launches and allocations in it, which are slower than CuPy's; for
fastconv's own part they are replaced by functions that do nothing at all, and the arrays by ones whose attributes are
there. Figures are the least of several series, in microseconds: a busy machine adds to the others.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

import fastconv

from .device import cupy

SECONDS, CALLS_OF_SERIES = 0.5, 10
"""Time for one figure, and how many calls of it are timed together."""
OWN_TARGET, LAUNCH_TARGET = 8.0, 15.0
"""Microseconds that a repeated call may take: fastconv's own, and with one launch and one allocation of CuPy's."""
Arrays = Mapping[str, Any]
Call = Callable[[Arrays], Any]
SHAPES = {
    "x": (1, 3, 8, 8), "w": (4, 3, 3, 3), "bias": (4,), "dy": (1, 4, 8, 8), "w_depthwise": (3, 1, 3, 3),
    "y": (1, 4, 8, 8),
}  # fmt: skip


def calls() -> dict[str, Call]:
    """Calls that start one kernel, and some that start several, by name."""
    f = fastconv
    planned = f.plan("conv2d", SHAPES["x"], SHAPES["w"], padding=1, backend="gpu")
    return {
        "conv2d": lambda a: f.conv2d(a["x"], a["w"], padding=1),
        "conv2d bias relu": lambda a: f.conv2d(a["x"], a["w"], a["bias"], padding=1, activation="relu"),
        "conv2d out": lambda a: f.conv2d(a["x"], a["w"], padding=1, out=a["y"]),
        "conv2d planned": lambda a: planned(a["x"], a["w"]),
        "conv2d reflect": lambda a: f.conv2d(a["x"], a["w"], padding=1, padding_mode="reflect"),
        "depthwise_conv2d": lambda a: f.depthwise_conv2d(a["x"], a["w_depthwise"], padding=1),
        "conv2d_backward": lambda a: f.conv2d_backward(a["dy"], a["x"], a["w"], padding=1),
        "grad.conv2d_weight": lambda a: f.grad.conv2d_weight(a["x"], SHAPES["w"], a["dy"], padding=1),
        "max_pool2d": lambda a: f.max_pool2d(a["x"], 2),
        "unfold": lambda a: f.unfold(a["x"], 3, padding=1),
    }


class _Pointer:
    """Where an array lies."""

    def __init__(self, ptr: int) -> None:
        self.ptr, self.device_id, self.mem = ptr, 0, self


_addresses = itertools.count(1 << 30, 1 << 20)


class ndarray:  # noqa: N801 - CuPy's arrays are known by this name
    """An array that has what a call looks at, and nothing behind it."""

    __module__ = "cupy"

    def __init__(self, host: np.ndarray, pointer: _Pointer | None = None) -> None:
        self._host = host
        self.shape, self.strides, self.dtype, self.ndim = host.shape, host.strides, host.dtype, host.ndim
        self.size, self.itemsize, self.nbytes, self.flags = host.size, host.itemsize, host.nbytes, host.flags
        self.data = pointer or _Pointer(next(_addresses))

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(self._host[key], self.data)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def reshape(self, *shape: Any) -> ndarray:
        return ndarray(self._host.reshape(*shape), self.data)

    def transpose(self, *axes: Any) -> ndarray:
        return ndarray(self._host.transpose(*axes), self.data)

    def copy(self) -> ndarray:
        return self


class _Stream:
    @staticmethod
    def is_capturing() -> bool:
        return False


@contextmanager
def _nothing_behind(cp: Any) -> Iterator[None]:
    """CuPy's functions that a repeated call uses do nothing, inside."""
    made: dict[object, ndarray] = {}

    def empty(shape: Any, dtype: Any = float, *_: Any) -> ndarray:
        key = shape, dtype
        found = made.get(key)
        if found is None:
            found = made[key] = ndarray(np.empty(shape, dtype))
        return found

    stream = _Stream()
    with ExitStack() as stack:
        for place, name, value in (
            (cp, "empty", empty),
            (cp.cuda.runtime, "getDevice", lambda: 0),
            (cp.cuda, "get_current_stream", lambda *_: stream),
            (cp.RawKernel, "__call__", lambda *_, **__: None),
        ):
            stack.enter_context(patch.object(place, name, value))
        yield


def microseconds(call: Callable[[], Any]) -> float:
    """Of one call, in the quickest series."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    while (begun := time.perf_counter()) < end or best == float("inf"):
        for _ in range(CALLS_OF_SERIES):
            call()
        best = min(best, (time.perf_counter() - begun) / CALLS_OF_SERIES)
    return best * 1e6


def measure(words: list[str]) -> Iterator[tuple[str, float, float]]:
    """(name, fastconv's own microseconds, those of the whole call) of calls whose names contain one of the words."""
    with cupy(emulated=True) as cp:
        from emulated_cupy import ptx

        given = {name: cp.ones(shape, np.float32) for name, shape in SHAPES.items()}
        bare = {name: ndarray(np.empty(shape, np.float32)) for name, shape in SHAPES.items()}
        for name, call in calls().items():
            if words and not any(word in name for word in words):
                continue
            call(given)
            with patch.object(ptx.Kernel, "run", lambda self, *_: None):
                whole = microseconds(lambda call=call: call(given))  # type: ignore[misc]
            with _nothing_behind(cp):
                own = microseconds(lambda call=call: call(bare))  # type: ignore[misc]
            yield name, own, whole


def report(words: list[str]) -> int:
    """Print a table."""
    print(f"targets of CuPy's arrays: {OWN_TARGET:.0f} microseconds of fastconv's own, {LAUNCH_TARGET:.0f} in all")
    print("| call | fastconv's own | with the stand-in |\n|---|---|---|")
    for name, own, whole in measure(words):
        print(f"| {name} | {own:.1f} | {whole:.1f} |")
        sys.stdout.flush()
    return 0
