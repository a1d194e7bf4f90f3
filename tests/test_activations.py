"""Errors of the activations in units in the last place, over all finite numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erfc, erfcx

from fastconv import ConvProblem
from operands import accepted, compute

ULPS = {"tanh": 2.0, "sigmoid": 3.0, "silu": 3.0, "gelu": 5.0}
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
    """In extended precision; gelu of float64 to about 5 units in the last place, as SciPy has erfcx."""
    x = z.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        match activation:
            case "tanh":
                return np.tanh(x)
            case "sigmoid":
                return 1 / (1 + np.exp(-x))
            case "silu":
                return x / (1 + np.exp(-x))
        root = np.sqrt(np.longdouble(0.5))
        tail = np.exp(-x * x / 2) * erfcx(np.abs(x * root).astype(np.float64)) / 2
        return np.where(x < -1, x * tail, x * (erfc((-x * root).astype(np.float64)).astype(np.longdouble) / 2))


def check(z: np.ndarray, activation: str, slack: float = 0.0) -> None:
    expected = exactly(z, activation)
    with np.errstate(under="ignore"):
        unit = np.spacing(np.abs(expected.astype(z.dtype))).astype(np.longdouble)
    ulps = np.abs(activated(z, activation) - expected) / unit
    worst = int(ulps.argmax())
    assert ulps[worst] <= ULPS[activation] + slack, f"{activation}({z[worst]!r}): {float(ulps[worst]):.2f} ulp"


@pytest.mark.parametrize("step", [4099, pytest.param(67, marks=pytest.mark.full)])
@pytest.mark.parametrize("activation", ULPS)
def test_float32(activation: str, step: int) -> None:
    """Every so many of all numbers, subnormal ones and the largest, too."""
    for first in range(0, 2**32, step * COUNT):
        bits = np.arange(first, min(first + step * COUNT, 2**32), step, dtype=np.uint32)
        numbers = bits.view(np.float32)
        check(numbers[np.isfinite(numbers)], activation)


@pytest.mark.parametrize("activation", ULPS)
def test_float64(activation: str) -> None:
    """Random numbers of all sizes, most of them where the results are neither 0 nor z."""
    rng = np.random.default_rng(0)
    sizes = (rng.uniform(-800, 800, COUNT // 8), rng.uniform(-40, 40, COUNT // 4), rng.uniform(-2, 2, COUNT // 4))
    tiny = np.exp(rng.uniform(-745, 709, COUNT // 8)) * rng.choice([-1, 1], COUNT // 8)
    check(np.concatenate([*sizes, tiny]), activation, slack=5.0 if activation == "gelu" else 0.0)


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
