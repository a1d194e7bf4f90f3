"""Errors of the activations in units in the last place, over all finite numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from fastconv import ConvProblem
from operands import accepted, compute

ACTIVATIONS = ("tanh", "sigmoid", "silu", "gelu")
ULPS = 2.0
"""What csrc/elementary.h promises."""
COUNT = 2**19
"""Numbers that are computed at a time."""


def activated(z: np.ndarray, activation: str) -> np.ndarray:
    """The activation of finite numbers, as kernels compute it on their sums."""
    problem = ConvProblem.parse(f"forward 1x1x{z.size} 1x1x1 {z.dtype.name} +{activation}")
    algorithm = next(name for name in ("direct", "split_bf16") if name in accepted(problem))
    weight = np.ones(problem.weight_shape, z.dtype)
    return compute(problem, algorithm, {"input": z.reshape(problem.input_shape), "weight": weight}).reshape(z.shape)


def exactly(z: np.ndarray, activation: str) -> NDArray[np.longdouble]:
    """In extended precision, or in what is as good for float32."""
    x = z.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        match activation:
            case "tanh":
                return np.tanh(x)
            case "sigmoid":
                return 1 / (1 + np.exp(-x))
            case "silu":
                return x / (1 + np.exp(-x))
        return x * (ndtr(z.astype(np.float64)) if z.dtype == np.float32 else normal(x))


def normal(x: NDArray[np.longdouble]) -> NDArray[np.longdouble]:
    """The normal distribution at numbers of float64: Laplace's continued fraction, near 0 a series without signs."""
    t = np.minimum(np.abs(x), 100)
    high = t.astype(np.float32).astype(np.longdouble)
    density = np.exp(-high * high / 2) * np.exp((high - t) * (high + t) / 2) / np.sqrt(8 * np.arctan(np.longdouble(1)))
    fraction = t + 10
    for k in range(100, 0, -1):
        fraction = t + k / np.maximum(fraction, 1)
    near = np.minimum(t, 2.5)
    series = term = near
    for k in range(3, 121, 2):
        term = term * near * near / k
        series = series + term
    tail = np.where(t < 2.5, 0.5 - density * series, density / fraction)
    result: NDArray[np.longdouble] = np.where(x < 0, tail, 1 - tail)
    return result


def check(z: np.ndarray, activation: str) -> None:
    expected = exactly(z, activation)
    with np.errstate(under="ignore"):
        unit = np.spacing(np.abs(expected.astype(z.dtype))).astype(np.longdouble)
    ulps = np.abs(activated(z, activation) - expected) / unit
    worst = int(ulps.argmax())
    assert ulps[worst] <= ULPS, f"{activation}({z[worst]!r}): {float(ulps[worst]):.2f} ulp"


@pytest.mark.parametrize("step", [4099, pytest.param(67, marks=pytest.mark.full)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32(activation: str, step: int) -> None:
    """Every so many of all numbers, subnormal ones and the largest, too."""
    for first in range(0, 2**32, step * COUNT):
        bits = np.arange(first, min(first + step * COUNT, 2**32), step, dtype=np.uint32)
        numbers = bits.view(np.float32)
        check(numbers[np.isfinite(numbers)], activation)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float64(activation: str) -> None:
    """Random numbers of all sizes, most of them where the results are neither 0 nor z."""
    rng = np.random.default_rng(0)
    sizes = (rng.uniform(-800, 800, COUNT // 8), rng.uniform(-40, 40, COUNT // 4), rng.uniform(-2, 2, COUNT // 4))
    tiny = np.exp(rng.uniform(-745, 709, COUNT // 8)) * rng.choice([-1, 1], COUNT // 8)
    check(np.concatenate([*sizes, tiny]), activation)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_signs_of_zero_and_limits(dtype: str) -> None:
    """What is too small to be told from zero keeps its sign, and the largest numbers have the limits."""
    top, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    z = np.array([-top, -top / 2, -tiny, tiny, top / 2, top], dtype)
    half = (z[2:4] * z.dtype.type(0.5)).tolist()
    for activation, expected in {
        "tanh": [-1, -1, -tiny, tiny, 1, 1],
        "sigmoid": [0, 0, 0.5, 0.5, 1, 1],
        "silu": [-0.0, -0.0, *half, top / 2, top],
        "gelu": [-0.0, -0.0, *half, top / 2, top],
    }.items():
        found = activated(z, activation)
        np.testing.assert_array_equal(found, np.array(expected, dtype), activation)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(np.array(expected, dtype)), activation)
