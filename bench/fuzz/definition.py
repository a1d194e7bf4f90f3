"""Convolutions and their gradients by their definition, tap by tap in NumPy; nothing of the library is used.

Arrays are (N, C, sizes...) and weights (K, C / groups, kernel...), in float64 or complex128: sums of small integers are
exact. A padded axis is made by ``np.pad``, which knows the padding modes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .case import Case, Padding

Pair = tuple[int, int]
MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


@dataclass(frozen=True)
class Convolution:
    """A convolution of any rank; padding is one (before, after) pair per axis, negative numbers crop."""

    kernel: Sequence[int]
    stride: Sequence[int]
    pads: Sequence[Pair]
    dilation: Sequence[int]
    groups: int = 1
    mode: str = "zeros"

    def output_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Spatial sizes of the result; less than 1 where the kernel is larger than the padded input."""
        axes = zip(sizes, self.kernel, self.stride, self.pads, self.dilation, strict=True)
        return tuple((size + sum(pair) - step * (k - 1) - 1) // stride + 1 for size, k, stride, pair, step in axes)

    def forward(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The convolution of x."""
        sizes = self.output_sizes(x.shape[2:])
        y = np.zeros((len(x), self.groups, len(w) // self.groups, math.prod(sizes)), np.result_type(x, w))
        padded, weight = self._padded(x), self._grouped(w)
        for tap, where in self._taps(sizes):
            seen = padded[(..., *where)].reshape(len(x), self.groups, weight.shape[2], y.shape[-1])
            y += _product(weight[(..., *tap)], seen)
        return y.reshape(len(x), len(w), *sizes)

    def input_gradient(self, dy: np.ndarray, x_shape: Sequence[int], w: np.ndarray) -> np.ndarray:
        """dy through the weight, back to where each element of x was seen; of a transposed convolution, its result."""
        indices = self._indices(x_shape[2:])
        lengths = [len(index) for index in indices]
        gradient = np.zeros((len(dy), x_shape[1], *lengths), np.result_type(dy, w))
        weight = self._grouped(w).swapaxes(1, 2)
        given = dy.reshape(len(dy), self.groups, weight.shape[2], math.prod(dy.shape[2:]))
        for tap, where in self._taps(dy.shape[2:]):
            piece = gradient[(..., *where)]
            piece += _product(weight[(..., *tap)], given).reshape(piece.shape)
        for axis, (index, size) in enumerate(zip(indices, x_shape[2:], strict=True), 2):
            total = np.zeros((size + 1, *np.delete(gradient.shape, axis)), gradient.dtype)
            np.add.at(total, index, np.moveaxis(gradient, axis, 0))
            gradient = np.moveaxis(total[:size], 0, axis)
        return gradient

    def weight_gradient(self, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        """What each element of the weight multiplies, times dy."""
        per_group = x.shape[1] // self.groups, dy.shape[1] // self.groups
        gradient = np.zeros((self.groups, per_group[1], per_group[0], *self.kernel), np.result_type(dy, x))
        padded = self._padded(x)
        given = dy.reshape(len(dy), self.groups, per_group[1], math.prod(dy.shape[2:]))
        for tap, where in self._taps(dy.shape[2:]):
            seen = padded[(..., *where)].reshape(len(x), self.groups, per_group[0], given.shape[-1])
            gradient[(..., *tap)] = np.matmul(given, seen.swapaxes(2, 3)).sum(axis=0)
        return gradient.reshape(dy.shape[1], per_group[0], *self.kernel)

    def _grouped(self, w: np.ndarray) -> np.ndarray:
        return w.reshape(self.groups, len(w) // self.groups, *w.shape[1:])

    def _indices(self, sizes: Sequence[int]) -> list[np.ndarray]:
        """Per axis, the element of x that each element of the padded x repeats; -1 for zeros."""
        found = []
        for size, (before, after) in zip(sizes, self.pads, strict=True):
            fill = {"constant_values": -1} if self.mode == "zeros" else {}
            index = np.pad(np.arange(size), (max(before, 0), max(after, 0)), MODES[self.mode], **fill)  # type: ignore
            found.append(index[max(-before, 0) : max(len(index) - max(-after, 0), 0)])
        return found

    def _padded(self, x: np.ndarray) -> np.ndarray:
        for axis, index in enumerate(self._indices(x.shape[2:]), 2):
            zero = np.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
            x = np.concatenate([x, zero], axis).take(index, axis)
        return x

    def _taps(self, output_sizes: Sequence[int]) -> Iterator[tuple[Any, Any]]:
        """Every element of the kernel with what it sees of the padded input."""
        for tap in itertools.product(*map(range, self.kernel)):
            axes = zip(tap, self.dilation, output_sizes, self.stride, strict=True)
            yield tap, tuple(slice(t * d, t * d + (n - 1) * s + 1 if n else 0, s) for t, d, n, s in axes)


def _product(weight: np.ndarray, data: np.ndarray) -> np.ndarray:
    """(groups, K, C) times (N, groups, C, pixels)."""
    return weight * data if weight.shape[-1] == 1 else np.matmul(weight, data)


def convolution_of(case: Case) -> Convolution:
    """The convolution that ``case`` is, or that the case, a transposed one, is the adjoint of."""
    pads: Sequence[Pair]
    if case.is_transposed:
        sizes = [size * stride for size, stride in zip(case.size, case.stride, strict=True)]
        pads = pads_of(case.padding, sizes, case.kernel, case.stride, case.dilation)
        pads = [
            (before, full - before - size)
            for (before, _), full, size in zip(pads, _full_sizes(case), transposed_sizes(case), strict=True)
        ]
    else:
        pads = pads_of(case.padding, case.size, case.kernel, case.stride, case.dilation)
    return Convolution(case.kernel, case.stride, pads, case.dilation, case.groups, case.padding_mode)


def transposed_sizes(case: Case) -> tuple[int, ...]:
    """Spatial sizes of a transposed convolution's result."""
    sizes = [size * stride for size, stride in zip(case.size, case.stride, strict=True)]
    extra = case.output_padding or (0,) * case.rank
    if case.padding in ("same", "same_lower"):
        return tuple(size + more for size, more in zip(sizes, extra, strict=True))
    pads = pads_of(case.padding, sizes, case.kernel, case.stride, case.dilation)
    axes = zip(_full_sizes(case), pads, extra, strict=True)
    return tuple(full - sum(pair) + more for full, pair, more in axes)


def _full_sizes(case: Case) -> list[int]:
    axes = zip(case.size, case.stride, case.dilation, case.kernel, strict=True)
    return [(size - 1) * stride + step * (k - 1) + 1 for size, stride, step, k in axes]


def pads_of(
    padding: Padding, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[Pair]:
    """Numbers for a word of padding."""
    if not isinstance(padding, str):
        return list(padding)
    found = []
    for size, k, step, spread in zip(sizes, kernel, stride, dilation, strict=True):
        reach = spread * (k - 1)
        total = max((-(-size // step) - 1) * step + reach + 1 - size, 0)
        found.append(
            {
                "valid": (0, 0),
                "full": (reach, reach),
                "causal": (reach, 0),
                "same": (total // 2, total - total // 2),
                "same_lower": (total - total // 2, total // 2),
            }[padding]
        )
    return found
