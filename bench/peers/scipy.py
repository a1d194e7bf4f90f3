"""SciPy: correlations of one channel with one kernel, whichever of its functions is quickest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..case import Case
from .peer import Peer, Prepared

MAX_DIRECT_MULTIPLY_ADDS = 3e8
"""Above, the direct methods are hopeless, and not tried."""


class SciPy(Peer):
    """oaconvolve and fftconvolve for planes of any number of channels; correlate and ndimage for a single plane."""

    name = "scipy"
    modules = ("scipy",)
    distributions = ("scipy",)

    def refusal(self, case: Case) -> str:
        problem = case.problem
        if problem.direction != "forward":
            return "no gradients"
        if not problem.groups == problem.in_channels == problem.out_channels:
            return "no sums over channels"
        if case.is_channels_last and problem.in_channels > 1:
            return "takes planes only"
        if max(case.stride) > 1 or max(case.dilation) > 1:
            return "no stride or dilation"
        if problem.dtype not in ("float32", "float64"):
            return "takes float32 and float64 only"
        return "" if _mode(case) else "no such padding"

    def prepare(self, case: Case) -> Prepared:
        x, w = case.x, np.swapaxes(case.w, 0, 1)
        found = _calls(case, x, w)
        seconds: dict[str, float] = {}
        for name, call in found.items():
            call()
            start = time.perf_counter()
            call()
            seconds[name] = time.perf_counter() - start
        quickest = min(seconds, key=seconds.__getitem__)
        return Prepared(found[quickest], lambda y: np.asarray(y).reshape(case.dy.shape), quickest)


def _calls(case: Case, x: np.ndarray, w: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    from scipy import ndimage
    from scipy import signal as typed_signal

    signal: Any = typed_signal  # its types know no mode but a literal
    mode, axes = _mode(case), tuple(range(2, 2 + case.rank))
    flipped = np.ascontiguousarray(w[(slice(None),) * 2 + (slice(None, None, -1),) * case.rank])
    calls: dict[str, Callable[[], np.ndarray]] = {
        "oaconvolve": lambda: signal.oaconvolve(x, flipped, mode, axes),
        "fftconvolve": lambda: signal.fftconvolve(x, flipped, mode, axes),
    }
    is_one_plane = x.shape[:2] == (1, 1)
    if is_one_plane and case.problem.multiply_adds < MAX_DIRECT_MULTIPLY_ADDS:
        calls["correlate"] = lambda: signal.correlate(x[0, 0], w[0, 0], mode, "direct")
        if case.rank == 2:
            calls["convolve2d"] = lambda: signal.convolve2d(x[0, 0], flipped[0, 0], mode)
        if mode == "same":
            calls["ndimage.correlate"] = lambda: ndimage.correlate(x[0, 0], w[0, 0], mode="constant")
    return calls


def _mode(case: Case) -> str:
    """SciPy's word for the padding; empty where it has none."""
    pairs = list(zip(case.padding, case.kernel, strict=True))
    if all(pad == (0, 0) for pad, _ in pairs):
        return "valid"
    if all(pad == (k // 2, k // 2) and k % 2 for pad, k in pairs):
        return "same"
    return "full" if all(pad == (k - 1, k - 1) for pad, k in pairs) else ""
