"""The gradient for a bias: dy summed over all but its channels, in double precision, in any layout and strides."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv._cpu.elementwise import loops as channel_sums

# Single elements, runs around the vector and block lengths, many short rows, no elements.
SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 1, 31),
    (1, 5, 32, 33),
    (3, 2, 7, 7),
    (2, 16, 5, 3),
    (2, 17, 40, 52),
    (1, 1, 300, 301),
    (70, 2, 1, 1),
    (2, 3, 0, 4),
    (0, 3, 4, 4),
    (2, 0, 4, 4),
]


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums(shape: tuple[int, ...], dtype: str) -> None:
    """As exact sums rounded once: half a unit in float32, and the logarithm of the number of terms in float64."""
    dy = numbers(shape, dtype)
    exact = dy.astype(np.longdouble).sum(axis=(0, 2, 3))
    terms = np.abs(dy).astype(np.longdouble).sum(axis=(0, 2, 3))
    tolerance = 0.51 * np.spacing(np.abs(exact).astype(dtype)) + terms * (1e-14 if dtype == "float64" else 1e-15)
    for layout, given in (("NCHW", dy), ("NHWC", np.ascontiguousarray(np.moveaxis(dy, 1, -1)))):
        for _ in range(2):  # planned, then launched
            found = fastconv.grad.conv2d_bias(given, layout=layout)
            assert found.dtype == dtype
            assert found.shape == (shape[1],)
            assert (np.abs(found - exact) <= tolerance).all(), layout


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_strides(dtype: str) -> None:
    """Any order of axes in memory, gaps, steps backwards and repeated elements."""
    dy = np.random.default_rng(1).integers(-8, 9, (3, 18, 10, 12)).astype(dtype)
    expected = dy.sum(axis=(0, 2, 3))
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 2, 3), (2, 0, 3, 1), (0, 2, 1, 3)):
        stored = np.ascontiguousarray(dy.transpose(order)).transpose(np.argsort(order))
        assert (fastconv.grad.conv2d_bias(stored) == expected).all(), order
    larger = np.full((6, 36, 20, 24), 99, dtype)
    larger[::2, ::-2, 1::2, ::-2] = dy
    assert (fastconv.grad.conv2d_bias(larger[::2, ::-2, 1::2, ::-2]) == expected).all()
    repeated = np.broadcast_to(dy[:1, :, :1], dy.shape)
    assert (fastconv.grad.conv2d_bias(repeated) == repeated.sum(axis=(0, 2, 3))).all()


@pytest.mark.parametrize("axis", [1, 3])
def test_the_same_bits_at_any_number_of_threads(axis: int) -> None:
    dy = np.moveaxis(np.ascontiguousarray(np.moveaxis(numbers((2, 37, 40, 41), "float32"), 1, axis)), axis, 1)
    first = channel_sums.channel_sums(dy[:, :, None], 1)
    assert (channel_sums.channel_sums(dy[:, :, None], 3) == first).all()


def test_large_sums_cancel() -> None:
    """What float32 sums would lose."""
    dy = np.full((4, 2, 64, 64), 1e8, np.float32)
    dy[2:] = -1e8
    dy[0, 0, 0, 0] += 8
    assert fastconv.grad.conv2d_bias(dy).tolist() == [8.0, 0.0]


def test_non_finite_sums() -> None:
    dy = np.ones((2, 4, 40, 40), np.float32)
    dy[0, 1, 0, 0], dy[1, 2, 39, 39], dy[0, 3, 2, 2], dy[1, 3, 2, 2] = np.inf, np.nan, np.inf, -np.inf
    found = fastconv.grad.conv2d_bias(dy)
    assert found[0] == 3200
    assert found[1] == np.inf
    assert np.isnan(found[2:]).all()
    big = np.full((1, 1, 8, 8), 3e38, np.float32)
    assert fastconv.grad.conv2d_bias(big).tolist() == [np.inf]


def test_the_bias_gradient_of_a_backward_call_is_the_same() -> None:
    x, w, dy = numbers((2, 3, 9, 9), "float32"), numbers((5, 3, 3, 3), "float32"), numbers((2, 5, 7, 7), "float32")
    for _ in range(2):
        _, _, db = fastconv.conv2d_backward(dy, x, w, np.zeros(5, np.float32))
        assert (db == fastconv.grad.conv2d_bias(dy)).all()
        assert [part is None for part in fastconv.conv2d_backward(dy, x, w, needs=(False, True, False))] == [1, 0, 1]
