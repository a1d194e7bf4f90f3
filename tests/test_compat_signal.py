"""SciPy's, sigpy's and Dask's functions on fastconv: results, dtypes and errors are those of the peer."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage as scipy_images
from scipy import signal as scipy_signals

from fastconv.compat import ndimage, scipy_signal, sigpy

PEERS = Path(__file__).parent / "peers"
DTYPES = ("int8", "uint8", "int16", "int32", "int64", "uint64", "bool", "float32", "float64", "complex64", "complex128")
signals: Any = scipy_signals
images: Any = scipy_images


def values(rng: np.random.Generator, shape: Any, dtype: str, whole: bool = False) -> np.ndarray:
    kind = np.dtype(dtype).kind
    if kind in "iu":
        limits = np.iinfo(dtype)
        small = rng.integers(0, 5, shape).astype(dtype)
        return small if whole else rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if kind == "c" else x).astype(dtype)


def check(found: np.ndarray, wanted: np.ndarray, scale: float = 1.0) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    if wanted.dtype.kind in "iub":
        assert np.array_equal(found, wanted)
    else:
        limit = 4e-6 if wanted.dtype in (np.float32, np.complex64) else 1e-12
        assert np.abs(found - wanted).max(initial=0) <= limit * max(scale, np.abs(wanted).max(initial=0))


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bool"])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_linear(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for sizes, mode in itertools.product(
        [((9,), (4,)), ((3, 7), (2, 5)), ((2, 5, 4), (2, 2, 3))], ("full", "same", "valid")
    ):
        a, b = (values(rng, size, dtype) for size in sizes)
        for first, second in ((a, b), (b, a), (a[::-1], b)):
            own = getattr(signals, name)(first, second, mode, "direct")
            check(getattr(scipy_signal, name)(first, second, mode), own)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bool"])
@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
def test_matrices(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for size, mode, boundary in itertools.product(
        [(3, 4), (2, 1), (8, 3)], ("full", "same", "valid"), ("fill", "wrap", "symm")
    ):
        a, b = values(rng, (7, 6), dtype), values(rng, size, dtype)
        if mode == "valid" and size[0] > 7:
            continue
        for fill in (0, 1):
            own = getattr(signals, name)(a, b, mode, boundary, fill)
            check(getattr(scipy_signal, name)(a, b, mode, boundary, fill), own)


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
def test_along_axes(name: str) -> None:
    rng = np.random.default_rng(0)
    cases = [
        ((4, 9), (4, 3), 1),
        ((4, 9), (1, 3), 1),
        ((1, 9), (5, 3), 1),
        ((4, 9), (3, 4), None),
        ((2, 3, 8), (1, 3, 4), [2]),
    ]
    for (one, two, axes), dtype, mode in itertools.product(
        cases, ("int16", "float32", "complex128"), ("full", "same", "valid")
    ):
        a, b = values(rng, one, dtype, whole=True), values(rng, two, dtype, whole=True)
        check(getattr(scipy_signal, name)(a, b, mode, axes), getattr(signals, name)(a, b, mode, axes))


def test_signals_that_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensionality"):
        scipy_signal.convolve([1.0], [[1.0]])
    with pytest.raises(ValueError, match="mode"):
        scipy_signal.convolve([1.0], [1.0], "some")
    with pytest.raises(ValueError, match="in1: got shape"):  # ends the process in SciPy 1.17
        scipy_signal.convolve2d(np.zeros((2, 0)), np.ones((4, 2)), "full", "wrap")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest", "mirror", "wrap"])
def test_filters(mode: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for shape, size in [
        ((9,), (4,)),
        ((7, 5), (2, 3)),
        ((1, 6), (3, 5)),
        ((3, 4, 5), (1, 3, 2)),
        ((2, 2, 3, 4), (1, 2, 2, 1)),
    ]:
        x, w = values(rng, shape, dtype, whole=True), rng.integers(-1, 3, size)
        for name, origin in itertools.product(("correlate", "convolve"), (0, [-(k > 1) for k in size])):
            arguments: dict[str, Any] = {"mode": mode, "cval": 2, "origin": origin}
            check(getattr(ndimage, name)(x, w, **arguments), getattr(images, name)(x, w, **arguments), 50)
        check(ndimage.correlate1d(x, [1, 2, 4], 0, None, mode), images.correlate1d(x, [1, 2, 4], 0, None, mode), 50)
        check(ndimage.uniform_filter(x, 3, mode=mode), images.uniform_filter(x, 3, mode=mode), 50)
        check(ndimage.gaussian_filter(x, 1, mode=mode), images.gaussian_filter(x, 1, mode=mode), 50)


def test_filter_into_an_array() -> None:
    x = np.random.default_rng(0).random((20, 30))
    wanted = images.gaussian_filter(x, 2)
    out = np.empty_like(x)
    assert ndimage.gaussian_filter(x, 2, output=out) is out
    check(out, wanted)
    assert ndimage.gaussian_filter(x, 2, output=x) is x
    check(x, wanted)


def test_integers_next_to_rounding_are_scipys() -> None:
    flat = np.full((30, 40), 255, np.uint8)
    check(ndimage.gaussian_filter(flat, 1.5), images.gaussian_filter(flat, 1.5))


@pytest.mark.parametrize("mode", ["full", "valid"])
def test_sigpy_adjoints(mode: str) -> None:
    """<y, conv(x)> is <adjoint(y), x> for both arguments, in one to four axes."""
    rng = np.random.default_rng(0)
    for rank in (1, 2, 3, 4):
        x, w = (values(rng, (2, 3, *[5] * rank), "complex128"), values(rng, (4, 3, *[2] * rank), "complex128"))
        how: dict[str, Any] = {"mode": mode, "strides": [2] + [1] * (rank - 1), "multi_channel": True}
        y = sigpy.convolve(x, w, **how)
        dy = values(rng, y.shape, "complex128")
        wanted = np.vdot(dy, y)
        assert np.isclose(np.vdot(sigpy.convolve_data_adjoint(dy, w, x.shape, **how), x), wanted)
        assert np.isclose(np.vdot(sigpy.convolve_filter_adjoint(dy, x, w.shape, **how), w), wanted)


def test_sigpy_refuses() -> None:
    x = np.ones((3, 8))
    for arguments, error, words in [
        ((x, np.ones(9), "valid"), ValueError, "filt: got sizes"),
        ((x, np.ones(2), "same"), ValueError, "mode: got 'same'"),
        ((x, np.ones(2), "full", (1, 1)), ValueError, "strides: got"),
        ((x, np.ones(2, complex)), TypeError, "filt: got complex128"),
        ((x, np.ones((2, 2, 2)), "full", None, True), ValueError, "filt: got 2 channels"),
    ]:
        with pytest.raises(error, match=re.escape(words)):
            sigpy.convolve(*arguments)


@pytest.mark.parametrize("mode", ["reflect", "constant", "mirror", "wrap"])
def test_dask(mode: str) -> None:
    dask_array = pytest.importorskip("dask.array")
    from fastconv.compat import dask_array as compat

    rng = np.random.default_rng(0)
    for shape, chunks, size in [((25,), (8,), (2,)), ((29, 8), (12, 7), (3, 2)), ((7, 10, 7), (3, 9, 2), (1, 5, 2))]:
        x, w = rng.standard_normal(shape), rng.standard_normal(size)
        lazy = dask_array.from_array(x, chunks)
        check(compat.correlate(lazy, w, mode).compute(), images.correlate(x, w, mode=mode), 10)
        check(compat.convolve(lazy, w, mode).compute(), images.convolve(x, w, mode=mode), 10)
        check(compat.gaussian_filter(lazy, 1, mode=mode).compute(), images.gaussian_filter(x, 1, mode=mode), 10)


def test_dask_convolution_computes_nothing_before_it_is_asked_for() -> None:
    dask_array = pytest.importorskip("dask.array")
    import fastconv
    from fastconv.compat import dask_array as compat

    seen = []

    def chunk(block_info: Any = None) -> np.ndarray:
        seen.append(block_info)
        return np.ones((1, 2, 20, 20), np.float32)

    x = dask_array.map_blocks(
        chunk, chunks=((1,), (2,), (20,) * 3, (20,) * 2), dtype=np.float32, meta=np.empty((0,) * 4)
    )
    w = np.random.default_rng(0).random((3, 2, 3, 4)).astype(np.float32)
    y = compat.conv2d(x, w, stride=2, padding=1)
    assert not seen
    whole = fastconv.conv2d(np.ones((1, 2, 60, 40), np.float32), w, stride=2, padding=1)
    check(y.compute(), whole, 10)
    check(y.compute(scheduler="threads", num_workers=2), whole, 10)


SUITES = (
    # Module, tests, how many pass at least, and how many fail at most: one wants a warning that NaN spreads.
    ("scipy.signal.tests.test_signaltools", "(Convolve or Correlate) and not manylens", 1958, 1),
    ("scipy.ndimage.tests.test_filters", "correlate or convolve or gauss or uniform", 1633, 0),
)


@pytest.mark.full
@pytest.mark.parametrize(("module", "tests", "passing", "failing"), SUITES, ids=["signal", "ndimage"])
def test_scipys_own(module: str, tests: str, passing: int, failing: int) -> None:
    path = os.pathsep.join([str(PEERS), *filter(None, sys.path)])  # the installed library before sources
    command = [sys.executable, "-m", "pytest", "-q", "-p", "scipy_suites", "-p", "no:cacheprovider", "--pyargs", module]
    run = subprocess.run(
        [*command, "-k", tests], env={**os.environ, "PYTHONPATH": path}, cwd="/", capture_output=True, text=True
    )
    found = re.search(r"(?:(\d+) failed, )?(\d+) passed", run.stdout)
    assert found, run.stdout[-2000:] + run.stderr[-2000:]
    assert int(found[1] or 0) <= failing, run.stdout[-3000:]
    assert int(found[2]) >= passing
