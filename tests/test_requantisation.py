"""Biases and requantisation of integer convolutions, by the words of ONNX's QLinearConv."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from array_modules import ArrayModule, array_module


@pytest.fixture(params=["numpy", "emulated"])
def arrays(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


def bytes_of(dtype: str, *shape: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(sum(shape)).integers(limits.min, limits.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("layouts", [{}, {"layout": "NHWC", "w_layout": "HWIO"}], ids=["first", "last"])
@pytest.mark.parametrize("w_dtype", ["uint8", "int8"])
@pytest.mark.parametrize("x_dtype", ["uint8", "int8"])
def test_requantised(arrays: ArrayModule, x_dtype: str, w_dtype: str, layouts: dict[str, str]) -> None:
    x, w = bytes_of(x_dtype, 2, 4, 6, 5), bytes_of(w_dtype, 3, 4, 3, 2)
    bias, scale = np.array([-4000, 17, 3000], np.int32), np.array([1e-3, 3e-3, 0.5], np.float32)
    settings: dict[str, Any] = {"x_zero_point": int(x.flat[0]), "w_zero_point": int(w.flat[0]), "padding": 1, **layouts}
    by_channel = (slice(None),) if layouts else (slice(None), None, None)
    if layouts:
        x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
    sums = fastconv.conv2d_integer(x, w, **settings)
    there = arrays.to((x, w))
    biased = sums + bias[by_channel]
    np.testing.assert_equal(arrays.host(fastconv.conv2d_integer(*there, bias=arrays.to(bias), **settings)), biased)
    for y_dtype in ("int8", "uint8"):
        limits = np.iinfo(y_dtype)
        for own in (scale, scale[:1], 2e-3):
            factor = own[by_channel] if np.shape(own) == (3,) else np.float32(np.ravel(own)[0])
            expected = np.rint(biased.astype(np.float32) * factor) + 7
            expected = expected.clip(limits.min, limits.max).astype(y_dtype)
            more = {"bias": arrays.to(bias), "scale": own, "y_zero_point": 7, "y_dtype": y_dtype}
            y = arrays.host(fastconv.conv2d_integer(*there, **settings, **more))
            assert y.dtype == y_dtype
            np.testing.assert_equal(y, expected)
    out = arrays.to(np.empty(sums.shape, x_dtype))
    assert fastconv.conv2d_integer(*there, scale=1e-3, out=out, **settings) is out


@pytest.mark.parametrize(
    ("argument", "value", "kind"),
    [
        ("bias", np.ones(3), TypeError),
        ("bias", np.ones(4, np.int32), ValueError),
        ("scale", 0.0, ValueError),
        ("scale", np.inf, ValueError),
        ("scale", np.ones(4), ValueError),
        ("scale", "1", TypeError),
        ("y_dtype", "int16", ValueError),
        ("y_dtype", "number", ValueError),
        ("y_zero_point", 300, ValueError),
        ("y_zero_point", [1, 2], ValueError),
    ],
    ids=str,
)
def test_wrong_requantisation(argument: str, value: Any, kind: type[Exception]) -> None:
    x, w = bytes_of("int8", 1, 2, 5), bytes_of("int8", 3, 2, 2)
    with pytest.raises(kind, match=rf"^{argument}: got "):
        fastconv.conv1d_integer(x, w, **{"scale": 1.0, argument: value})


def test_no_zero_point_without_a_scale() -> None:
    x, w = bytes_of("int8", 1, 2, 5), bytes_of("int8", 3, 2, 2)
    for more in ({"y_zero_point": 0}, {"y_dtype": "int8"}):
        with pytest.raises(ValueError, match=r"^y_\w+: got .*; allowed: None"):
            fastconv.conv1d_integer(x, w, **more)
