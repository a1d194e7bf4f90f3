"""conv*_integer: 8-bit integers with zero points, exact in int32."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fastconv
from definitions import Convolution, from_layout, to_layout
from fastconv._choose.select import plan_for
from fastconv._cpu import backend

SIZES = {1: (9,), 2: (6, 7), 3: (3, 4, 5)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
DTYPES = [(a, b) for a in ("int8", "uint8") for b in ("int8", "uint8")]


def whole_range(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Every value of ``dtype``, the extremes more often."""
    limits = np.iinfo(dtype)
    made = rng.integers(limits.min, limits.max, shape, endpoint=True)
    return np.where(rng.random(shape) < 0.3, rng.choice([limits.min, limits.max], shape), made).astype(dtype)


def expected(x: np.ndarray, w: np.ndarray, x_zero: Any, w_zero: Any, **settings: Any) -> np.ndarray:
    """The definition in int64; zero padding after the subtraction is padding with the zero point before it."""
    rank = x.ndim - 2
    shifted_w = w.astype(np.int64) - np.reshape(w_zero, (-1, *[1] * (rank + 1)))
    pads = [(settings.get("padding", 0),) * 2] * rank
    definition = Convolution(
        (settings.get("stride", 1),) * rank,
        pads,
        (settings.get("dilation", 1),) * rank,
        settings.get("groups", 1),
    )
    return definition.forward(x.astype(np.int64) - int(x_zero), shifted_w)


@pytest.mark.parametrize(("x_dtype", "w_dtype"), DTYPES)
@pytest.mark.parametrize("settings", [{}, {"padding": 2, "stride": 2}, {"groups": 2, "dilation": 2, "padding": 1}])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_equals_the_definition(rank: int, settings: dict[str, int], x_dtype: str, w_dtype: str) -> None:
    rng = np.random.default_rng(rank)
    x = whole_range(rng, (2, 4, *SIZES[rank]), x_dtype)
    w = whole_range(rng, (6, 4 // settings.get("groups", 1), *KERNELS[rank]), w_dtype)
    function = getattr(fastconv, f"conv{rank}d_integer")
    x_ends, w_ends = np.iinfo(x_dtype), np.iinfo(w_dtype)
    per_channel = np.linspace(w_ends.min, w_ends.max, 6).astype(w_dtype)
    for x_zero, w_zero in itertools.product((0, x_ends.min, x_ends.max), (0, w_ends.max, per_channel)):
        result = function(x, w, x_zero, w_zero, **settings)
        assert result.dtype == np.int32
        np.testing.assert_array_equal(result, expected(x, w, x_zero, w_zero, **settings))


def test_zero_points_in_any_form() -> None:
    rng = np.random.default_rng(0)
    x, w = whole_range(rng, (1, 2, 5, 5), "uint8"), whole_range(rng, (3, 2, 3, 3), "int8")
    plain = fastconv.conv2d_integer(x, w, 7, -3)
    for x_zero in (np.uint8(7), np.array(7, np.uint8), np.array([7]), [7]):
        for w_zero in (np.int8(-3), np.array([-3, -3, -3], np.int8), [-3, -3, -3], [-3], np.array([-3], np.int64)):
            np.testing.assert_array_equal(fastconv.conv2d_integer(x, w, x_zero, w_zero), plain)


def test_padding_is_with_the_zero_point() -> None:
    x, w = np.full((1, 1, 3, 3), 200, np.uint8), np.ones((1, 1, 3, 3), np.int8)
    result = fastconv.conv2d_integer(x, w, 200, padding="same")
    np.testing.assert_array_equal(result, np.zeros((1, 1, 3, 3), np.int32))
    np.testing.assert_array_equal(result, fastconv.conv2d_integer(x, w, 200, padding=[(1, 1), (1, 1)]))


def test_sums_beyond_32_bits_wrap() -> None:
    """255 * 255 * 33100 is above 2^31: the result is what int32 accumulators hold."""
    x, w = np.full((1, 331, 100), 255, np.uint8), np.full((1, 331, 100), 255, np.uint8)
    exact = 255 * 255 * 33100
    assert exact > 2**31
    assert fastconv.conv1d_integer(x, w).item() == exact - 2**32


@pytest.mark.parametrize("weight", ["OIHW", "HWIO", "OHWI"])
@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "NHWC"])
def test_layouts_single_images_and_out(last: bool, weight: str) -> None:
    rng = np.random.default_rng(1)
    x, w = whole_range(rng, (1, 4, 5, 6), "uint8"), whole_range(rng, (6, 2, 3, 2), "int8")
    zero = np.arange(6, dtype=np.int8)
    want = expected(x, w, 3, zero, groups=2, padding=1)
    arguments = {"groups": 2, "padding": 1, "layout": "NHWC" if last else "NCHW", "w_layout": weight}
    x_given, w_given = to_layout(x, last), to_layout(w, last, weight)
    result = fastconv.conv2d_integer(x_given, w_given, 3, zero, **arguments)
    np.testing.assert_array_equal(from_layout(result, last), want)
    out = np.full(result.shape[1:], 77, np.int32)
    assert fastconv.conv2d_integer(x_given[0], w_given, 3, zero, **arguments, out=out) is out
    np.testing.assert_array_equal(out, result[0])


def test_every_algorithm_that_accepts_it() -> None:
    rng = np.random.default_rng(2)
    x, w = whole_range(rng, (2, 16, 9, 9), "uint8"), whole_range(rng, (8, 16, 3, 3), "int8")
    want = expected(x, w, 128, 5, padding=1)
    problem = fastconv.ConvProblem.parse("forward 2x16x9x9 8x16x3x3 p1 int8")
    able = [algorithm.name for algorithm in backend.algorithms if backend.accepts(algorithm, problem)]
    assert "reference" in able
    assert plan_for(problem).algorithm.name in able
    for name in able:
        result = fastconv.conv2d_integer(x, w, 128, 5, padding=1, algorithm=name, threads=2)
        np.testing.assert_array_equal(result, want, err_msg=name)


def test_awkward_arrays() -> None:
    rng = np.random.default_rng(3)
    x, w = whole_range(rng, (2, 2, 5, 10), "uint8"), whole_range(rng, (3, 2, 3, 3), "int8")
    want = expected(x[:, ::-1, :, ::2], w[::-1], 1, 2)
    x.setflags(write=False)
    np.testing.assert_array_equal(fastconv.conv2d_integer(x[:, ::-1, :, ::2], w[::-1], 1, 2), want)
