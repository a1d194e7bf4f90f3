"""Pooling equals its definition: maxima and their places bit for bit, averages of integers exactly, gradients as exact
sums of integers; for every rank, layout, dtype and setting."""

from __future__ import annotations

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from pooling_cases import FLOATS, INTEGERS, PoolCase, integer_values, pool_cases, real_values

AVERAGED = (*FLOATS, "complex64", "complex128")


def bits(array: np.ndarray) -> np.ndarray:
    """The elements as they are in memory, all NaN alike: zeros of different signs differ."""
    if array.dtype.name in FLOATS:
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(bits(found), bits(expected))


@given(case=pool_cases("max_pool", FLOATS + INTEGERS, special=True))
def test_max_pool(case: PoolCase) -> None:
    check_maxima(case)


@given(case=pool_cases("adaptive_max_pool", FLOATS + INTEGERS, special=True))
def test_adaptive_max_pool(case: PoolCase) -> None:
    check_maxima(case)


def check_maxima(case: PoolCase) -> None:
    values, indices = case.maxima()
    found, places = case.forward(return_indices=True)
    assert_same_bits(case.canonical(found), values)
    assert places.dtype == np.int64
    np.testing.assert_array_equal(case.canonical(places), indices)
    assert_same_bits(case.canonical(case.forward()), values)


@given(case=pool_cases("avg_pool", (*AVERAGED, "int64")))
def test_avg_pool(case: PoolCase) -> None:
    assert_same_values(case.canonical(case.forward()), case.averages())


@given(case=pool_cases("adaptive_avg_pool", AVERAGED))
def test_adaptive_avg_pool(case: PoolCase) -> None:
    assert_same_values(case.canonical(case.forward()), case.averages())


def assert_same_values(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kernel", [(3, 20), (2, 70), (1, 33)])
def test_first_of_equals_in_long_windows(kernel: tuple[int, int]) -> None:
    for dtype in ("float32", "int8"):
        x = integer_values(0, (2, 3, 7, 150), dtype)
        check_maxima(PoolCase("max_pool", x, {"kernel_size": kernel, "stride": (2, kernel[1])}))


def test_every_short_axis() -> None:
    """Windows that begin before, end behind and lie beyond the padding, in every combination of small settings."""
    ranges = (range(1, 8), range(1, 5), range(1, 5), range(3), range(3), (False, True), (False, True))
    for size, kernel, stride, before, after, ceil_mode, counts in itertools.product(*ranges):
        if max(before, after) >= kernel or size + before + after < kernel:
            continue
        x = integer_values(size, (1, 1, size), "float64")
        settings = {
            "kernel_size": (kernel,),
            "stride": (stride,),
            "padding": ((before, after),),
            "ceil_mode": ceil_mode,
        }
        average = PoolCase("avg_pool", x, {**settings, "count_include_pad": counts})
        np.testing.assert_array_equal(average.forward(), average.averages(), str(average.settings))
        if counts:
            maximum = PoolCase("max_pool", x, settings)
            np.testing.assert_array_equal(maximum.forward(), maximum.maxima()[0], str(settings))


@given(case=pool_cases("max_pool", FLOATS), seed=st.integers(0, 99))
def test_max_pool_backward(case: PoolCase, seed: int) -> None:
    check_maximum_gradient(case, seed)


@given(case=pool_cases("adaptive_max_pool", FLOATS), seed=st.integers(0, 99))
def test_adaptive_max_pool_backward(case: PoolCase, seed: int) -> None:
    check_maximum_gradient(case, seed)


def check_maximum_gradient(case: PoolCase, seed: int) -> None:
    values, indices = case.maxima()
    dy = integer_values(seed, case.result_shape, case.x.dtype.name)
    expected = case.scatter(indices, dy.astype(np.int64)).astype(case.x.dtype)
    x, dy_given, places = case.given(case.x), case.given(dy), case.given(indices)
    for dx in (
        case.call("_backward", dy_given, x),
        case.call("_backward", dy_given, x, indices=places),
        case.call("_backward", dy_given, x.shape, indices=places),
    ):
        assert dx.dtype == case.x.dtype
        np.testing.assert_array_equal(case.canonical(dx), expected)
    # The identity of a selection with its adjoint; windows without elements select nothing.
    owned = indices >= 0
    wide = np.where(owned, values.astype(np.float64), 0)
    assert (dy.astype(np.float64) * wide).sum() == (expected.astype(np.float64) * case.x.astype(np.float64)).sum()


@given(case=pool_cases("avg_pool", ("float64", "complex128")), seed=st.integers(0, 99))
def test_avg_pool_backward(case: PoolCase, seed: int) -> None:
    check_average_gradient(case, seed)


@given(case=pool_cases("adaptive_avg_pool", ("float64", "complex128")), seed=st.integers(0, 99))
def test_adaptive_avg_pool_backward(case: PoolCase, seed: int) -> None:
    check_average_gradient(case, seed)


def check_average_gradient(case: PoolCase, seed: int) -> None:
    """Gradients that are multiples of every divisor make the quotients, and so their sums, integers."""
    divisors = case.divisors()
    shares = integer_values(seed, case.result_shape, case.x.dtype.name)
    dy = shares * divisors
    expected = case.spread(shares)
    x = case.given(case.x)
    for like in (x, x.shape):
        dx = case.call("_backward", case.given(dy), like)
        assert dx.dtype == case.x.dtype
        np.testing.assert_array_equal(case.canonical(dx), expected)
    # <dy, average(x)> = <dx, x>, exactly: both are sums of integers.
    assert (shares * case.sums()).sum() == (expected * case.x).sum()


@pytest.mark.parametrize("dtype", FLOATS)
def test_average_gradients_of_narrow_dtypes_are_rounded_once(dtype: str) -> None:
    case = PoolCase("avg_pool", integer_values(0, (2, 3, 9, 8), dtype), {"kernel_size": (3, 3), "stride": (1, 1)})
    dy = integer_values(1, case.result_shape, dtype)
    exact = case.spread(dy.astype(np.float64) / 9)
    eps = float(ml_dtypes.finfo(case.x.dtype).eps)
    dx = case.call("_backward", dy, case.x)
    assert dx.dtype == case.x.dtype
    np.testing.assert_allclose(dx.astype(np.float64), exact, rtol=0.51 * eps + 1e-6, atol=1e-6)


def padded_windows(x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, ...], pad: int, fill: Any) -> np.ndarray:
    """All windows at once, as a second definition for sizes at which loops are too slow."""
    wide = np.pad(x, [(0, 0)] * 2 + [(pad, pad)] * len(kernel), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(wide, kernel, axis=tuple(range(2, x.ndim)))
    windows = windows[(..., *(slice(None, None, step) for step in stride), *(slice(None),) * len(kernel))]
    return windows.reshape(*windows.shape[: x.ndim], -1)


LARGE = {
    "rows longer than a segment": ((1, 2, 20011), (3,), (1,), 1),
    "long rows, stride 2": ((1, 2, 33333), (2,), (2,), 1),
    "long rows, stride 3": ((2, 1, 30001), (3,), (3,), 0),
    "rows beyond the lanes": ((1, 3, 40, 300), (3, 3), (1, 1), 1),
    "stride 2": ((2, 3, 65, 259), (3, 3), (2, 2), 1),
    "a long window": ((1, 2, 3000), (1000,), (700,), 500),
    "wide windows far apart": ((2, 3, 70, 170), (33, 40), (10, 40), 8),
    "tall windows": ((1, 2, 90, 200), (64, 1), (3, 1), 0),
    "whole planes": ((5, 7, 40, 33), (40, 33), (1, 1), 0),
    "whole volumes": ((2, 9, 12, 17, 19), (12, 17, 19), (1, 1, 1), 0),
    "small planes, many channels": ((2, 300, 7, 7), (3, 3), (2, 2), 1),
    "planes of one row": ((1, 140, 1, 9), (1, 3), (1, 2), 0),
}


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", LARGE)
def test_large_sizes(name: str, channels_last: bool) -> None:
    shape, kernel, stride, pad = LARGE[name]
    rank = len(kernel)
    settings = {"kernel_size": kernel, "stride": stride, "padding": ((pad, pad),) * rank}
    x = real_values(3, shape, "float32")
    case = PoolCase("max_pool", x, settings, axes=[[]], channels_last=channels_last)
    windows = padded_windows(x, kernel, stride, pad, -np.inf)
    found, places = case.forward(return_indices=True)
    found, places = case.canonical(found), case.canonical(places)
    np.testing.assert_array_equal(found, np.where(np.isnan(windows).any(axis=-1), np.nan, windows.max(axis=-1)))
    at_places = np.take_along_axis(x.reshape(*shape[:2], -1), places.reshape(*shape[:2], -1), axis=2)
    assert_same_bits(at_places.reshape(found.shape), found)
    assert_same_bits(case.canonical(case.forward()), found)
    numbers = np.broadcast_to(np.arange(math.prod(shape[2:]), dtype=np.int64).reshape(shape[2:]), shape)
    inside = padded_windows(numbers, kernel, stride, pad, -1)
    hits = np.where(np.isnan(windows), np.isnan(found)[..., None], windows == found[..., None]) & (inside >= 0)
    masked = np.where(hits, inside, np.where(np.isnan(found)[..., None], -1, 2**62))
    np.testing.assert_array_equal(places, np.where(np.isnan(found), masked.max(axis=-1), masked.min(axis=-1)))
    # Averages of integers: their sums are exact in float32.
    x = integer_values(4, shape, "float32")
    case = PoolCase("avg_pool", x, settings, axes=[[]], channels_last=channels_last)
    sums = padded_windows(x.astype(np.float64), kernel, stride, pad, 0).sum(axis=-1)
    found = case.canonical(case.forward())
    np.testing.assert_array_equal(found, (sums / math.prod(kernel)).astype(np.float32))


def test_large_averages_lose_no_digits() -> None:
    """A single float32 sum of these would stop growing at 2^24 and miss the average by a third."""
    for shape, layout in (((1, 1, 5000, 5000), "NCHW"), ((1, 1200, 1000, 20), "NHWC")):
        x = np.broadcast_to(np.float32(1) + np.finfo(np.float32).eps, shape)
        assert np.unique(fastconv.adaptive_avg_pool2d(x, 1, layout=layout)) == np.float32(1) + np.finfo(np.float32).eps
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 600, 700)).astype(np.float32) + 1
    exact = x.mean(axis=(2, 3), dtype=np.float64, keepdims=True)
    np.testing.assert_allclose(fastconv.global_avg_pool(x), exact, rtol=2e-7)
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(fastconv.global_avg_pool(last, layout="NHWC"), -1, 1), exact, rtol=2e-7)


@pytest.mark.parametrize("channels_last", [False, True], ids=["first", "last"])
def test_bits_do_not_depend_on_threads(channels_last: bool) -> None:
    rng = np.random.default_rng(0)
    layout = "NHWC" if channels_last else "NCHW"
    x = rng.standard_normal((3, 20, 71, 67)).astype(np.float32)
    settings = {"kernel_size": 3, "stride": 2, "padding": 1, "layout": layout}

    def results(threads: int) -> list[bytes]:
        y, places = fastconv.max_pool2d(x, return_indices=True, threads=threads, **settings)
        average = fastconv.avg_pool2d(x, threads=threads, **settings)
        dx = fastconv.max_pool2d_backward(average, x, threads=threads, **settings)
        spread = fastconv.avg_pool2d_backward(average, x, threads=threads, **settings)
        whole = fastconv.global_avg_pool(x, threads=threads, layout=layout)
        return [array.tobytes() for array in (y, places, average, dx, spread, whole)]

    expected = results(1)
    for threads in (2, 3, 5):
        assert results(threads) == expected, threads


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("sizes", [(7,), (4, 5), (3, 4, 5), (2, 3, 4, 2), (2, 1, 3, 2, 2)])
def test_global_pools_of_any_rank(sizes: tuple[int, ...], layout: str, keepdims: bool) -> None:
    last = layout == "channels_last"
    axes = tuple(range(1, 1 + len(sizes))) if last else tuple(range(2, 2 + len(sizes)))
    x = integer_values(5, (2, *sizes, 3) if last else (2, 3, *sizes), "float64")
    total = math.prod(sizes)
    same = {"keepdims": keepdims, "layout": layout}
    np.testing.assert_array_equal(fastconv.global_avg_pool(x, **same), x.sum(axis=axes, keepdims=keepdims) / total)
    np.testing.assert_array_equal(fastconv.global_max_pool(x, **same), x.max(axis=axes, keepdims=keepdims))
    dy = integer_values(6, x.max(axis=axes, keepdims=keepdims).shape, "float64")
    wide = dy if keepdims else np.expand_dims(dy, axes)
    np.testing.assert_array_equal(
        fastconv.global_avg_pool_backward(dy * total, x.shape, **same), np.broadcast_to(wide, x.shape)
    )
    flat = np.moveaxis(x, -1, 1).reshape(2, 3, -1) if last else x.reshape(2, 3, -1)
    expected = np.zeros_like(flat)
    np.put_along_axis(expected, flat.argmax(axis=2)[..., None], wide.reshape(2, 3, 1), axis=2)
    found = fastconv.global_max_pool_backward(dy, x, **same)
    found = np.moveaxis(found, -1, 1).reshape(2, 3, -1) if last else found.reshape(2, 3, -1)
    np.testing.assert_array_equal(found, expected)


def test_global_pools_write_to_out() -> None:
    x = integer_values(7, (2, 3, 2, 3, 2, 2), "float32")
    out = np.zeros((4, 6), np.float32)[::2, ::2]
    assert fastconv.global_max_pool(x, keepdims=False, out=out) is out
    np.testing.assert_array_equal(out, x.max(axis=(2, 3, 4, 5)))


WORDS = {"valid": (0, 0), "same": (1, 2), "same_lower": (2, 1), "full": (3, 3)}


@pytest.mark.parametrize("word", WORDS)
def test_padding_words(word: str) -> None:
    """With a kernel of 4 and stride 1, "same" pads 8 elements by 3 more."""
    x = integer_values(8, (2, 3, 8, 8), "float32")
    for function in (fastconv.max_pool2d, fastconv.avg_pool2d):
        expected = function(x, 4, 1, (WORDS[word],) * 2)
        np.testing.assert_array_equal(function(x, 4, 1, word), expected)
    causal = fastconv.max_pool1d(x[0], 3, 1, "causal")
    np.testing.assert_array_equal(causal, fastconv.max_pool1d(x[0], 3, 1, [(2, 0)]))
    assert fastconv.avg_pool2d(x, 3, 3, "same").shape == (2, 3, 3, 3)


def test_empty_batches_channels_and_outputs() -> None:
    for shape in ((0, 3, 6, 6), (2, 0, 6, 6)):
        x = np.zeros(shape, np.float32)
        y, places = fastconv.max_pool2d(x, 2, return_indices=True)
        assert y.shape == places.shape == (*shape[:2], 3, 3)
        assert fastconv.avg_pool2d(x, 2).shape == y.shape
        assert fastconv.max_pool2d_backward(y, x, 2).shape == shape
        assert fastconv.avg_pool2d_backward(y, x, 2).shape == shape
        assert fastconv.global_avg_pool(x).shape == (*shape[:2], 1, 1)
    x = np.ones((2, 3, 6, 6), np.float32)
    assert fastconv.adaptive_max_pool2d(x, (0, 2)).shape == (2, 3, 0, 2)
    np.testing.assert_array_equal(
        fastconv.adaptive_avg_pool2d_backward(np.zeros((2, 3, 0, 2), np.float32), x, (0, 2)), 0
    )


def test_long_axes_of_repeated_elements() -> None:
    """More than 2^31 elements along an axis: positions and places need 64 bits."""
    size = 2**31 + 11
    x = np.broadcast_to(np.int8(5), (1, 1, size))
    y, places = fastconv.max_pool1d(x, 3, stride=2**30, return_indices=True)
    np.testing.assert_array_equal(y, [[[5, 5, 5]]])
    np.testing.assert_array_equal(places, [[[0, 2**30, 2**31]]])
    dx_free = fastconv.avg_pool1d(np.broadcast_to(np.float32(3), (1, 1, size)), 2, stride=2**31)
    np.testing.assert_array_equal(dx_free, [[[3, 3]]])
    tall = np.broadcast_to(np.float32(2), (1, 1, 2**20, 2**12))
    _, places = fastconv.max_pool2d(tall, 1, stride=(2**19, 2**11), return_indices=True)
    np.testing.assert_array_equal(places, [[[[0, 2**11], [2**31, 2**31 + 2**11]]]])
