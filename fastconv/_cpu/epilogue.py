"""The epilogue on a whole result, for algorithms that do not fuse it into their stores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._algorithm import Operands
from .._late import late
from .._problem import ConvProblem, Epilogue
from .blocks import Box, boxes

BLOCK_ELEMENTS = 2**15
"""Elements of a result that an activation is applied to at once."""


def apply(problem: ConvProblem, operands: Operands) -> None:
    """result = activation(result + bias + add), in place."""
    result = operands.input if problem.direction == "backward_input" else operands.output
    if operands.bias is not None:
        result += operands.bias.reshape(-1, 1, 1, 1)
    if operands.add is not None:
        result += operands.add
    if problem.epilogue.activation is not None:
        for box in blocks(result):
            result[box] = activate(problem.epilogue, result[box])


def blocks(array: np.ndarray) -> Iterator[Box]:
    """Boxes that cover the array, small enough that what is computed of each stays in cache."""
    if array.size <= BLOCK_ELEMENTS:
        yield (slice(None),) * array.ndim
        return
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    for box in boxes([array.shape[axis] for axis in order], BLOCK_ELEMENTS):
        yield tuple(box[order.index(axis)] for axis in range(array.ndim))


def activate(epilogue: Epilogue, z: np.ndarray) -> np.ndarray:
    """The activation of ``z``; NaN stays NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        match epilogue.activation:
            case "relu":
                return np.where(z < 0, z.dtype.type(0), z)
            case "relu6":
                return z.clip(0, 6)
            case "leaky_relu":
                return np.where(z < 0, z * z.dtype.type(epilogue.slope), z)
            case "silu":
                return z / (1 + np.exp(-z))
            case "gelu":
                return z * _normal(z)
            case "tanh":
                return np.tanh(z)
            case "sigmoid":
                return 1 / (1 + np.exp(-z))
    return z


def activation_gradient(epilogue: Epilogue, dy: np.ndarray, z: np.ndarray) -> np.ndarray:
    """``dy`` times the derivative of the activation at ``z``.

    As in torch, the kinks of relu and relu6 belong to the flat sides, and no dy at all, even infinite, passes there.
    """
    zero = z.dtype.type(0)
    with np.errstate(over="ignore", invalid="ignore"):
        match epilogue.activation:
            case "relu":
                return np.where(z <= 0, zero, dy)
            case "relu6":
                return np.where((z <= 0) | (z >= 6), zero, dy)
            case "leaky_relu":
                return np.where(z > 0, dy, dy * z.dtype.type(epilogue.slope))
            case "silu":
                gate = 1 / (1 + np.exp(-z))
                return dy * (gate * (1 + z * (1 - gate)))
            case "gelu":
                density = np.exp(-z * z / 2) * z.dtype.type((2 * np.pi) ** -0.5)
                return dy * (_normal(z) + z * density)
            case "tanh":
                return dy * (1 - np.tanh(z) ** 2)
            case "sigmoid":
                gate = 1 / (1 + np.exp(-z))
                return dy * (gate * (1 - gate))
    return dy


def _normal(z: np.ndarray) -> np.ndarray:
    """The normal distribution function, to a few units in the last place where it is tiny, too."""
    values: np.ndarray = late("scipy.special").ndtr(z)
    return values
