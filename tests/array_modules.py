"""NumPy, the stand-in for CuPy, and CuPy where there is a device: one test body for the arrays of all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fastconv._choose.select import forget_plans

DEVICE = "device"
"""The parameter of fixtures that give a test CuPy itself: its tests are marked ``gpu``."""
NAMES = ("numpy", "emulated", DEVICE)


@dataclass(frozen=True)
class ArrayModule:
    """A module of arrays, and the ways of whole arguments and results to it and from it."""

    name: str
    module: Any

    def to(self, value: Any) -> Any:
        """``value`` with every NumPy array in it as one of the module's, of the same strides."""
        if isinstance(value, np.ndarray):
            return value if self.module is np else self._copied(value)
        if isinstance(value, (tuple, list)):
            return type(value)(self.to(item) for item in value)
        if isinstance(value, dict):
            return {name: self.to(item) for name, item in value.items()}
        return value

    def _copied(self, value: np.ndarray) -> Any:
        """With gaps and reversed axes like the original's; those are views of a larger array."""
        base = value
        while isinstance(base.base, np.ndarray):
            base = base.base
        if base is value or not value.size:
            return self.module.asarray(value)
        there = self.module.asarray(np.ascontiguousarray(base).reshape(-1))
        offset = value.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return self.module.ndarray(value.shape, value.dtype, there.data + offset, value.strides)

    def host(self, value: Any) -> Any:
        """``value`` with every array in it as NumPy's; AssertionError for one of another module."""
        if isinstance(value, (tuple, list)):
            return tuple(self.host(item) for item in value)
        if value is None or isinstance(value, (int, float, str)):
            return value
        assert isinstance(value, self.module.ndarray), type(value)
        return value if self.module is np else value.get()


def device_or_skip() -> Any:
    """CuPy with a CUDA device; the test is skipped where there is none."""
    cupy = pytest.importorskip("cupy", reason="needs CuPy and a CUDA device: no CuPy", exc_type=ImportError)
    assert cupy.__name__ == "cupy", "a test has left the stand-in behind"
    if not cupy.cuda.is_available():
        pytest.skip("needs CuPy and a CUDA device: no device, or no driver for it")
    if os.environ.get("FASTCONV_TEST_NO_POOL"):  # every array an allocation of its own, as compute-sanitizer needs it
        cupy.cuda.set_allocator(None)
    return cupy


@contextmanager
def array_module(name: str, **pretended: Any) -> Iterator[ArrayModule]:
    """The module called ``name``; the test is skipped where there is none."""
    if name == "numpy":
        yield ArrayModule(name, np)
        return
    if name == DEVICE:
        cupy = device_or_skip()
        forget_gpu()
        yield ArrayModule(name, cupy)
        forget_gpu()
        return
    import emulated_cupy
    from emulated_cupy import nvrtc

    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    with emulated_cupy.installed(), emulated_cupy.pretend(**pretended):
        yield ArrayModule(name, emulated_cupy)


def forget_gpu() -> None:
    """Load kernels and look at devices anew: CuPy or the pretended devices are other ones."""
    from fastconv._choose import tuning_cache
    from fastconv._gpu import compile, device, tensor_map

    compile.forget()
    device.forget()
    tensor_map.forget()
    tuning_cache.reload()
    forget_plans()


def assert_equal(got: Any, expected: Any, ulps: int = 0) -> None:
    """Results are the same, of the same types, or differ by ``ulps`` units in the last place of the largest."""
    if isinstance(expected, tuple):
        assert len(got) == len(expected)
        for ours, theirs in zip(got, expected, strict=True):
            assert_equal(ours, theirs, ulps)
        return
    if expected is None:
        assert got is None
        return
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if expected.dtype.kind == "V" or expected.dtype.name == "bfloat16":
        got, expected = got.astype(np.float32), expected.astype(np.float32)
    if ulps:
        atol = ulps * np.finfo(expected.dtype).eps * np.abs(expected[np.isfinite(expected)]).max()
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol)
    else:
        np.testing.assert_array_equal(got, expected)
