"""Shapes without arrays are those of results."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import fastconv

CASES: list[tuple[str, tuple[int, ...], tuple[int, ...] | None, dict[str, Any]]] = [
    ("conv1d", (3, 9), (4, 3, 2), {"padding": "SAME", "stride": 2}),
    ("conv2d", (2, 4, 7, 8), (6, 2, 3, 2), {"groups": 2, "padding": ((1, 2), (0, 3)), "dilation": (1, 2)}),
    ("conv2d", (2, 4, 7, 8), (6, 4, 3, 2), {"batch_group_count": 2, "input_dilation": (2, 3), "stride": 2}),
    (
        "conv2d",
        (2, 7, 8, 4),
        (3, 2, 4, 6),
        {"layout": "NHWC", "w_layout": "HWIO", "padding": 9},
    ),
    ("conv2d", (2, 4, 2, 8), (6, 4, 3, 2), {"allow_empty": True}),
    ("conv3d", (1, 2, 4, 5, 6), (2, 3, 2, 2, 2), {"w_layout": "IODHW"}),
    ("conv_transpose2d", (2, 4, 5, 3), (4, 3, 3, 2), {"stride": 3, "padding": 1, "output_padding": (4, 0)}),
    ("conv_transpose2d", (2, 4, 5, 3), (4, 3, 3, 2), {"stride": 2, "output_size": (12, 6)}),
    ("depthwise_conv2d", (2, 4, 5, 3), (8, 1, 2, 2), {"padding": 1, "input_dilation": 2}),
    ("max_pool2d", (2, 4, 7, 8), None, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg_pool1d", (4, 7), None, {"kernel_size": 3}),
    ("adaptive_max_pool3d", (2, 4, 5, 6, 7), None, {"output_size": (2, None, 3)}),
]


@pytest.mark.parametrize(("name", "x_shape", "w_shape", "settings"), CASES, ids=str)
def test_shapes_are_those_of_results(name: str, x_shape: Any, w_shape: Any, settings: dict[str, Any]) -> None:
    arrays = [np.ones(shape, np.float32) for shape in (x_shape, w_shape) if shape is not None]
    expected = getattr(fastconv, name)(*arrays, **settings).shape
    for _ in range(2):
        assert fastconv.output_shape(name, x_shape, w_shape, **settings) == expected


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("function", ("conv4d", (1, 2, 3), (1, 2, 3), {})),
        ("function", (None, (1, 2, 3), (1, 2, 3), {})),
        ("x_shape", ("conv1d", (1, 2), (1, 3, 3), {})),
        ("x_shape", ("max_pool2d", (1, 2), None, {"kernel_size": 2})),
        ("w_shape", ("conv1d", (1, 2, 3), None, {})),
        ("w_shape", ("conv1d", (1, 2, 3), (1, 2, 4), {})),
        ("kernel_size", ("conv1d", (1, 2, 3), (1, 2, 3), {"kernel_size": 3})),
        ("kernel_size", ("max_pool1d", (1, 2, 3), None, {})),
        ("output_padding", ("conv1d", (1, 2, 3), (1, 2, 3), {"output_padding": 0})),
        ("input_dilation", ("conv_transpose1d", (1, 2, 3), (2, 2, 3), {"input_dilation": 2})),
    ],
    ids=str,
)
def test_what_fits_no_function_is_refused(argument: str, arguments: Any) -> None:
    name, x_shape, w_shape, settings = arguments
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}: got "):
        fastconv.output_shape(name, x_shape, w_shape, **settings)


def test_known_shapes_take_microseconds() -> None:
    """Under 5 on a machine at rest; here with room for one that is not."""
    seconds = []
    for _ in range(200):
        start = time.perf_counter()
        fastconv.output_shape("conv2d", (8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 20e-6
