"""Gradients of gradients are public functions again: of a convolution's three maps, each two are the third one's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv

RNG = np.random.default_rng(0)
CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("conv1d", (2, 4, 17), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    ("conv2d", (2, 3, 9, 8), (5, 3, 3, 2), {"padding": (1, 2), "dilation": (2, 1)}),
    ("conv2d", (1, 3, 7, 8), (4, 3, 3, 3), {"padding": 1, "padding_mode": "reflect"}),
    ("conv2d", (2, 4, 6, 6), (4, 1, 3, 3), {"padding": 1, "groups": 4, "stride": (1, 2)}),
    ("conv3d", (1, 2, 5, 6, 4), (3, 2, 2, 3, 1), {"stride": (1, 2, 1)}),
    ("conv_transpose1d", (2, 4, 7), (4, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("conv_transpose2d", (2, 4, 5, 6), (4, 3, 3, 3), {"stride": 2, "groups": 2}),
    ("conv_transpose3d", (1, 2, 3, 4, 3), (2, 3, 2, 2, 2), {"dilation": 2}),
]


def draw(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    parts = [RNG.standard_normal(shape) for _ in range(2)]
    return parts[0] + 1j * parts[1] if dtype == "complex128" else parts[0]


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """The inner product of real and imaginary parts, what a change of a real loss is."""
    assert a.shape == b.shape
    return float(np.vdot(a, b).real)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(("name", "x_shape", "w_shape", "settings"), CASES, ids=lambda value: str(value))
def test_convolutions(
    name: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...], settings: dict[str, Any], dtype: str
) -> None:
    """In all six directions: a change of one operand, seen by the gradient that a public function gives for it."""
    forward = getattr(fastconv, name)
    of_input, of_weight = (getattr(fastconv.grad, f"{name}_{operand}") for operand in ("input", "weight"))
    x, w, dx, dw = (draw(shape, dtype) for shape in (x_shape, w_shape, x_shape, w_shape))
    y = forward(x, w, **settings)
    dy, of_y = draw(y.shape, dtype), draw(y.shape, dtype)

    def input_gradient(w: np.ndarray, dy: np.ndarray) -> np.ndarray:
        return of_input(x_shape, w, dy, **settings)

    def weight_gradient(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        return of_weight(x, w_shape, dy, **settings)

    pairs = [
        (inner(forward(dx, w, **settings), of_y), inner(dx, input_gradient(w, of_y))),
        (inner(forward(x, dw, **settings), of_y), inner(dw, weight_gradient(x, of_y))),
        (inner(input_gradient(dw, dy), dx), inner(dw, weight_gradient(dx, dy))),
        (inner(input_gradient(w, of_y), dx), inner(of_y, forward(dx, w, **settings))),
        (inner(weight_gradient(dx, dy), dw), inner(dx, input_gradient(dw, dy))),
        (inner(weight_gradient(x, of_y), dw), inner(of_y, forward(x, dw, **settings))),
    ]
    for changed, seen in pairs:
        assert changed == pytest.approx(seen, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("settings", [{"kernel_size": 3, "padding": 1}, {"kernel_size": (2, 3), "stride": 2}])
def test_averages(settings: dict[str, Any]) -> None:
    x, dx = draw((2, 3, 8, 9), "float64"), draw((2, 3, 8, 9), "float64")
    dy = draw(fastconv.avg_pool2d(x, **settings).shape, "float64")
    found = fastconv.avg_pool2d_backward(dy, x.shape, **settings)
    assert inner(found, dx) == pytest.approx(inner(dy, fastconv.avg_pool2d(dx, **settings)), rel=1e-12)
