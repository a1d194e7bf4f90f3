"""Adapters of signal and image processing beside SciPy, sigpy and JAX: ratios of times, one call each."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fastconv
from fastconv._backend import CPU

from ..timing import Entrant, contest, ratio, settling

Row = dict[str, Any]
Calls = tuple[Callable[[], Any], Callable[[], Any]]

SECONDS = 0.7


def rows(threads: int) -> Iterator[Row]:
    """What is measured on so many threads, one row at a time; of peers that are installed."""
    fastconv.set_num_threads(threads)
    for name, (peer, ours) in _calls(np.random.default_rng(0)).items():
        first, second = np.asarray(peer()), np.asarray(ours())
        if not np.allclose(first, second, rtol=1e-3, atol=1e-4 * np.abs(first).max(initial=0)):
            raise ValueError(f"{name}: the peer's result and fastconv's differ")
        entrants = [Entrant(ours), Entrant(peer)]
        contest(entrants, SECONDS, settling(threads))
        yield {
            "problem": name,
            "threads": threads,
            "isa": CPU.level(),
            "seconds": {"fastconv": entrants[0].seconds, "peer": entrants[1].seconds},
            "ratio": ratio(entrants[1], entrants[0]),
        }


def _calls(rng: np.random.Generator) -> dict[str, Calls]:
    """By name: the peer's call and ours."""
    found = {**_of_scipy(rng), **_of_images(rng)}
    if importlib.util.find_spec("sigpy"):
        found |= _of_sigpy(rng)
    if importlib.util.find_spec("jax"):
        found |= _of_jax(rng)
    return found


def _pair(peer: Any, ours: Any, name: str, *arguments: Any, **more: Any) -> Calls:
    own, compat = getattr(peer, name), getattr(ours, name)
    return lambda: own(*arguments, **more), lambda: compat(*arguments, **more)


def _of_scipy(rng: np.random.Generator) -> dict[str, Calls]:
    from scipy import signal

    from fastconv.compat import scipy_signal

    image, kernel = rng.random((512, 512)), rng.random((9, 9))
    small, long, short = rng.random((64, 64), np.float32), rng.random(1_000_000), rng.random(1001)
    sound = rng.integers(-(2**15), 2**15, 100_000).astype(np.int16)
    taps = rng.integers(-99, 99, 64).astype(np.int16)
    return {
        "scipy convolve2d 512x512 9x9 symm": _pair(signal, scipy_signal, "convolve2d", image, kernel, "same", "symm"),
        "scipy convolve2d 64x64 3x3 float32": _pair(signal, scipy_signal, "convolve2d", small, small[:3, :3], "same"),
        "scipy convolve 512x512 9x9": _pair(signal, scipy_signal, "convolve", image, kernel, "same"),
        "scipy oaconvolve 1000000 1001": _pair(signal, scipy_signal, "oaconvolve", long, short, "same"),
        "scipy fftconvolve 64 rows": _pair(
            signal, scipy_signal, "fftconvolve", long[:640_000].reshape(64, -1), short[None, :101], "same", 1
        ),
        "scipy convolve 100000 64 int16": _pair(signal, scipy_signal, "convolve", sound, taps),
    }


def _of_images(rng: np.random.Generator) -> dict[str, Calls]:
    from scipy import ndimage

    from fastconv.compat import ndimage as compat

    image, kernel = rng.random((1024, 1024)), rng.random((5, 5))
    photo, volume = rng.integers(0, 256, (1024, 1024)).astype(np.uint8), rng.random((64, 64, 64), np.float32)
    return {
        "ndimage convolve 1024x1024 5x5": _pair(ndimage, compat, "convolve", image, kernel),
        "ndimage convolve 1024x1024 5x5 uint8": _pair(
            ndimage, compat, "convolve", photo, rng.integers(-2, 3, (5, 5)), np.int32
        ),
        "ndimage gaussian 1024x1024 sigma 2": _pair(ndimage, compat, "gaussian_filter", image, 2.0),
        "ndimage gaussian 1024x1024 sigma 2 uint8": _pair(ndimage, compat, "gaussian_filter", photo, 2.0),
        "ndimage uniform 1024x1024 5": _pair(ndimage, compat, "uniform_filter", image, 5),
        "ndimage correlate 64x64x64 3x3x3 float32": _pair(ndimage, compat, "correlate", volume, rng.random((3, 3, 3))),
    }


def _of_sigpy(rng: np.random.Generator) -> dict[str, Calls]:
    import sigpy

    from fastconv.compat import sigpy as compat

    data = (rng.random((4, 48, 48)) + 1j * rng.random((4, 48, 48))).astype(np.complex64)
    filters = data[:, :5, :5][None].repeat(4, 0)
    how = {"mode": "valid", "multi_channel": True}
    output = sigpy.convolve(data, filters, **how)
    return {
        "sigpy convolve 4x48x48 4x4x5x5": _pair(sigpy, compat, "convolve", data, filters, **how),
        "sigpy data adjoint": _pair(sigpy, compat, "convolve_data_adjoint", output, filters, data.shape, **how),
        "sigpy filter adjoint": _pair(sigpy, compat, "convolve_filter_adjoint", output, data, filters.shape, **how),
    }


def _of_jax(rng: np.random.Generator) -> dict[str, Calls]:
    import jax
    from jax import lax

    from fastconv.compat import lax as compat

    x, w = rng.random((1, 56, 56, 64), np.float32), rng.random((3, 3, 64, 64), np.float32)
    numbers = ("NHWC", "HWIO", "NHWC")
    tiny = (rng.random((1, 1, 8, 8), np.float32), rng.random((1, 1, 3, 3), np.float32), (1, 1), "SAME")
    deep = (x.transpose(0, 3, 1, 2), rng.random((64, 1, 3, 3), np.float32), (1, 1), "SAME")
    found = {
        "jax 1x56x56x64 3x3": _pair(
            lax, compat, "conv_general_dilated", x, w, (1, 1), "SAME", dimension_numbers=numbers
        ),
        "jax depthwise": _pair(lax, compat, "conv_general_dilated", *deep, feature_group_count=64),
        "jax transposed": _pair(lax, compat, "conv_transpose", x, w, (2, 2), "SAME"),
        "jax tiny": _pair(lax, compat, "conv_general_dilated", *tiny),
    }
    # JAX returns before it has computed.
    return {name: (_waiting(jax, peer), ours) for name, (peer, ours) in found.items()}


def _waiting(jax: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(call())
