"""Axes of size 0: sums over nothing are 0 (so the result is the bias), results of nothing are empty, kernels are not
allowed to be empty."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem
from operands import RESULT, accepted, compute, numpy_dtype, place, shapes

EMPTY = [
    "0x3x8x9 4x3x3x3 p1",
    "2x0x8x9 4x0x3x3 p1",
    "2x3x8x9 0x3x3x3 p1",
    "0x0x5 0x0x3",
    "2x3x0x9 4x3x3x3 p2",
    "2x3x0x0 4x3x1x1 p1",
    "2x3x2x9 4x3x3x3",
    "0x4x5x5 6x2x3x3 g2",
    "2x4x2x2 4x1x3x3 g4",
    "1x2x0x4x4 3x2x1x3x3 p1",
    "2x3x8x9 4x3x3x3 p-4x1",
]
"""The last ones have a kernel larger than the padded input; public functions refuse them, algorithms must not crash."""


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "float16"])
@pytest.mark.parametrize("direction", RESULT)
@pytest.mark.parametrize("shape", EMPTY)
def test_every_algorithm(shape: str, direction: str, dtype: str) -> None:
    problem = ConvProblem.parse(f"{direction} {shape} {dtype}")
    operands = {
        role: place(problem, role, np.ones(size)) for role, size in shapes(problem).items() if role != RESULT[direction]
    }
    assert any(array.size == 0 for array in operands.values()) or 0 in problem.result_shape
    for algorithm in accepted(problem):
        for threads in (1, 3):
            result = compute(problem, algorithm, operands, threads)
            assert result.shape == problem.result_shape
            assert (result == 0).all(), algorithm


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "float16"])
def test_padding_around_nothing_is_multiplied(dtype: str) -> None:
    """Zeros of padding times NaN or infinity are NaN, whether or not there is an input between them."""
    w, dy = np.ones((3, 2, 3), dtype), np.ones((2, 3, 2), dtype)
    w[1, 1, 2], dy[1, 2, 0] = np.inf, np.nan
    y = fastconv.conv1d(np.ones((2, 2, 0), dtype), w, padding=2)
    assert np.isnan(y).tolist() == [[[False] * 2, [True] * 2, [False] * 2]] * 2
    dw = fastconv.grad.conv1d_weight(np.ones((2, 2, 0), dtype), w.shape, dy, padding=2)
    assert np.isnan(dw).all(axis=(1, 2)).tolist() == [False, False, True]
    assert (dw[:2] == 0).all()


def test_the_gradient_of_the_bias_over_nothing_is_0_wherever_nothing_lies() -> None:
    dy = np.zeros(65, np.uint8)[1:].view(np.float32)[:0].reshape(0, 3, 2)
    db = fastconv.conv1d_backward(dy, np.ones((0, 2, 2), np.float32), np.ones((3, 2, 1), np.float32))[2]
    assert db.tolist() == [0, 0, 0]


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_a_sum_over_nothing_is_the_epilogue(direction: str) -> None:
    shape = "2x0x8x9 4x0x3x3 p1" if direction == "forward" else "2x4x8x9 0x4x3x3 p1"
    problem = ConvProblem.parse(f"{direction} {shape} +bias+add+relu")
    made = {
        role: np.full(size, 1, numpy_dtype("float32"))
        for role, size in shapes(problem).items()
        if role != RESULT[direction]
    }
    made["bias"] = np.array([-3, -1, 1, 2], np.float32)
    expected = np.maximum(made["bias"] + 1, 0).reshape(1, 4, 1, 1, 1)
    for algorithm in accepted(problem):
        result = compute(problem, algorithm, made)
        np.testing.assert_array_equal(result, np.broadcast_to(expected, result.shape), algorithm)


def test_public_functions() -> None:
    zeros = np.zeros
    assert fastconv.conv2d(zeros((0, 3, 8, 8)), zeros((4, 3, 3, 3))).shape == (0, 4, 6, 6)
    assert fastconv.conv2d(zeros((2, 3, 8, 8)), zeros((0, 3, 3, 3))).shape == (2, 0, 6, 6)
    bias = np.arange(4.0)
    y = fastconv.conv2d(zeros((2, 0, 8, 8)), zeros((4, 0, 3, 3)), bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias.reshape(4, 1, 1), (2, 4, 6, 6)))
    assert fastconv.conv_transpose1d(zeros((0, 3, 8)), zeros((3, 2, 3))).shape == (0, 2, 10)
    out = np.full((0, 4, 6, 6), 7.0)
    assert fastconv.conv2d(zeros((0, 3, 8, 8)), zeros((4, 3, 3, 3)), out=out) is out


def test_a_kernel_larger_than_the_padded_input_is_refused() -> None:
    for shape, kernel, padding in (((1, 1, 2, 9), (1, 1, 3, 3), 0), ((1, 1, 0, 9), (1, 1, 3, 3), 1)):
        with pytest.raises(ValueError, match="kernel"):
            fastconv.conv2d(np.zeros(shape), np.zeros(kernel), padding=padding)
    with pytest.raises(ValueError, match="kernel"):
        fastconv.conv1d(np.zeros((1, 1, 9)), np.zeros((1, 1, 0)))


def test_gradients_of_empty_batches() -> None:
    """No images: the gradients for w and bias are zeros of the right shape."""
    grad = pytest.importorskip("fastconv.grad") if hasattr(fastconv, "grad") else pytest.skip("no fastconv.grad")
    dw = grad.conv2d_weight(np.zeros((0, 3, 8, 8)), (4, 3, 3, 3), np.zeros((0, 4, 6, 6)))
    assert dw.shape == (4, 3, 3, 3)
    assert (dw == 0).all()
