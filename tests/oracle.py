"""The definition of the three directions in NumPy, one slice per tap: independent of the library's own code.

Works in the dtype of its operands, so that the caller decides what "exact" means: int64 for small integers, float64 or
longdouble for real data, complex128 for complex.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from fastconv import ConvProblem


def convolve(problem: ConvProblem, operands: dict[str, np.ndarray]) -> np.ndarray:
    """The result of the problem's direction, without its epilogue, from the two canonical 5-D operands."""
    if problem.direction == "forward":
        return _forward(problem, operands["input"], operands["weight"])
    if problem.direction == "backward_input":
        return _backward_input(problem, operands["output"], operands["weight"])
    return _backward_weight(problem, operands["input"], operands["output"])


def terms(problem: ConvProblem) -> np.ndarray:
    """How many products of the two operands (padding left out) are summed into each element of the result."""
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    return convolve(problem, {role: np.ones(shape, np.int64) for role, shape in shapes.items()})


def _taps(problem: ConvProblem) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Every tap with the slices of the padded input that it multiplies."""
    for tap in itertools.product(*map(range, problem.kernel_size)):
        starts = [t * dilation for t, dilation in zip(tap, problem.dilation, strict=True)]
        spans = [(size - 1) * step + 1 for size, step in zip(problem.output_size, problem.stride, strict=True)]
        yield (
            tap,
            tuple(slice(a, a + span, step) for a, span, step in zip(starts, spans, problem.stride, strict=True)),
        )


def _overlap(problem: ConvProblem) -> tuple[tuple[slice, ...], tuple[slice, ...], tuple[int, ...]]:
    """Slices of the input and of the padded input that hold the same elements, and the padded sizes."""
    inner, outer, sizes = [], [], []
    for size, (before, after) in zip(problem.input_size, problem.padding, strict=True):
        kept = max(size + min(before, 0) + min(after, 0), 0)
        inner.append(slice(max(-before, 0), max(-before, 0) + kept))
        outer.append(slice(max(before, 0), max(before, 0) + kept))
        sizes.append(max(size + before + after, 0))
    return tuple(inner), tuple(outer), tuple(sizes)


def _split_channels(array: np.ndarray, groups: int, axis: int) -> np.ndarray:
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _padded(problem: ConvProblem, x: np.ndarray) -> np.ndarray:
    inner, outer, sizes = _overlap(problem)
    padded = np.zeros((*x.shape[:2], *sizes), x.dtype)
    padded[(..., *outer)] = x[(..., *inner)]
    return padded


def _forward(problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    y = np.zeros(problem.output_shape, np.result_type(x, w))
    if y.size == 0:
        return y
    grouped = _split_channels(y, problem.groups, 1)
    padded = _split_channels(_padded(problem, x), problem.groups, 1)
    weight = _split_channels(w, problem.groups, 0)
    for tap, where in _taps(problem):
        grouped += np.einsum("ngcdhw,gkc->ngkdhw", padded[(..., *where)], weight[(..., *tap)])
    return y


def _backward_input(problem: ConvProblem, dy: np.ndarray, w: np.ndarray) -> np.ndarray:
    inner, outer, sizes = _overlap(problem)
    padded = np.zeros((problem.batch, problem.in_channels, *sizes), np.result_type(dy, w))
    dx = np.zeros(problem.input_shape, padded.dtype)
    if dy.size == 0 or dx.size == 0:
        return dx
    grouped = _split_channels(padded, problem.groups, 1)
    gradient = _split_channels(dy, problem.groups, 1)
    weight = _split_channels(w, problem.groups, 0)
    for tap, where in _taps(problem):
        grouped[(..., *where)] += np.einsum("ngkdhw,gkc->ngcdhw", gradient, weight[(..., *tap)])
    dx[(..., *inner)] = padded[(..., *outer)]
    return dx


def _backward_weight(problem: ConvProblem, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    dw = np.zeros(problem.weight_shape, np.result_type(x, dy))
    if dy.size == 0 or dw.size == 0:
        return dw
    grouped = _split_channels(dw, problem.groups, 0)
    padded = _split_channels(_padded(problem, x), problem.groups, 1)
    gradient = _split_channels(dy, problem.groups, 1)
    for tap, where in _taps(problem):
        grouped[(..., *tap)] = np.einsum("ngcdhw,ngkdhw->gkc", padded[(..., *where)], gradient)
    return dw


def finish(
    problem: ConvProblem, result: np.ndarray, bias: np.ndarray | None = None, add: np.ndarray | None = None
) -> np.ndarray:
    """activation(result + bias + add), in the dtype of ``result``."""
    if bias is not None:
        result = result + bias.reshape(-1, 1, 1, 1)
    if add is not None:
        result = result + add
    return activate(result, problem.epilogue.activation, problem.epilogue.slope)


def activate(z: np.ndarray, activation: str | None, slope: float) -> np.ndarray:
    """The activation of ``z`` by its formula."""
    with np.errstate(over="ignore", invalid="ignore"):
        match activation:
            case "relu":
                return np.maximum(z, 0)
            case "relu6":
                return np.minimum(np.maximum(z, 0), 6)
            case "leaky_relu":
                return np.where(z < 0, z * slope, z)
            case "silu":
                return z / (1 + np.exp(-z))
            case "gelu":
                return z / 2 * (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2)))
            case "tanh":
                return np.tanh(z)
            case "sigmoid":
                return 1 / (1 + np.exp(-z))
    return z
