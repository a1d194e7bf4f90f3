"""Functions of elements that no kernel computes along with its work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


def _erf(x: Array, out: Array) -> None:
    out[...] = np.vectorize(math.erf, otypes=[out.dtype])(x)


def _hardsigmoid(x: Array, out: Array, slope: float, offset: float) -> None:
    np.multiply(x, x.dtype.type(slope), out=out)
    out += out.dtype.type(offset)
    np.clip(out, 0, 1, out=out)


def _hardswish(x: Array, out: Array) -> None:
    np.add(x, x.dtype.type(3), out=out)
    np.clip(out, 0, 6, out=out)
    out /= out.dtype.type(6)
    out *= x


def _gelu_tanh(x: Array, out: Array) -> None:
    np.multiply(x, x, out=out)
    out *= out.dtype.type(0.044715)
    out += out.dtype.type(1)
    out *= x
    out *= out.dtype.type(math.sqrt(2 / math.pi))
    np.tanh(out, out=out)
    out += out.dtype.type(1)
    out *= x
    out *= out.dtype.type(0.5)


def _clip(x: Array, out: Array, low: float | None, high: float | None) -> None:
    np.clip(x, low, high, out=out)


def _local_response(x: Array, out: Array, size: int, alpha: float, beta: float, bias: float) -> None:
    """Divided by a power of the mean square of neighbouring channels (Krizhevsky et al., 2012)."""
    channels = x.shape[1]
    square = x * x
    for channel in range(channels):
        first, end = max(channel - (size - 1) // 2, 0), min(channel + size // 2 + 1, channels)
        np.sum(square[:, first:end], axis=1, out=out[:, channel])
    out *= out.dtype.type(alpha / size)
    out += out.dtype.type(bias)
    np.power(out, out.dtype.type(-beta), out=out)
    out *= x


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "negative": np.negative,
    "abs": np.abs,
    "reciprocal": np.reciprocal,
    "clip": _clip,
    "erf": _erf,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "gelu_tanh": _gelu_tanh,
    "local_response": _local_response,
}
"""Functions of arrays that fit together, of the name, with the result in ``out``."""
