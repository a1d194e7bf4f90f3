"""Convolutions and their gradients as users know them, position by position in NumPy: oracle of the public functions.

Arrays are (N, C, sizes...) and (K, C / groups, kernel...); padding is one (before, after) pair per axis. A padded axis
is a list of indices made by ``np.pad``, which knows the padding modes; gradients go back through the same list.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A convolution of any rank by its definition."""

    stride: Sequence[int]
    pads: Sequence[Pair]
    dilation: Sequence[int]
    groups: int = 1
    mode: str = "constant"

    def forward(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        padded = self._padded(x)
        y = np.zeros((len(x), len(w), *self._output_sizes(padded, w)), np.result_type(x, w))
        for position, window in self._windows(padded, w):
            for channels, filters in self._group_slices(x, w):
                seen = padded[(slice(None), channels, *window)]
                y[(slice(None), filters, *position)] = _rows(seen) @ _rows(w[filters]).T
        return y

    def input_gradient(self, dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """dy through the conjugate of the weight, back to where each element of x was seen."""
        padded = self._padded(x)
        gradient = np.zeros(padded.shape, np.result_type(dy, w))
        for position, window in self._windows(padded, w):
            for channels, filters in self._group_slices(x, w):
                at = dy[(slice(None), filters, *position)]
                gradient[(slice(None), channels, *window)] += np.tensordot(at, w[filters].conj(), 1)
        for axis, index in enumerate(self._indices(x), 2):
            total = np.zeros((x.shape[axis] + 1, *np.delete(gradient.shape, axis)), gradient.dtype)
            np.add.at(total, index, np.moveaxis(gradient, axis, 0))
            gradient = np.moveaxis(total[:-1], 0, axis)
        return gradient

    def weight_gradient(self, dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        padded = self._padded(x)
        gradient = np.zeros(w.shape, np.result_type(dy, x))
        for position, window in self._windows(padded, w):
            for channels, filters in self._group_slices(x, w):
                at = dy[(slice(None), filters, *position)]
                seen = padded[(slice(None), channels, *window)]
                gradient[filters] += np.tensordot(at.T, seen.conj(), 1)
        return gradient

    def _indices(self, x: np.ndarray) -> list[np.ndarray]:
        """Per axis, the element of x that each element of the padded x repeats; -1 for zeros."""
        found = []
        for size, (before, after) in zip(x.shape[2:], self.pads, strict=True):
            fill = {"constant_values": -1} if self.mode == "constant" else {}
            index = np.pad(np.arange(size), (max(before, 0), max(after, 0)), self.mode, **fill)
            found.append(index[max(-before, 0) : len(index) - max(-after, 0)])
        return found

    def _padded(self, x: np.ndarray) -> np.ndarray:
        for axis, index in enumerate(self._indices(x), 2):
            zero = np.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
            x = np.concatenate([x, zero], axis).take(index, axis)
        return x

    def _output_sizes(self, padded: np.ndarray, w: np.ndarray) -> list[int]:
        axes = zip(padded.shape[2:], w.shape[2:], self.dilation, self.stride, strict=True)
        return [(size - dilation * (kernel - 1) - 1) // stride + 1 for size, kernel, dilation, stride in axes]

    def _windows(self, padded: np.ndarray, w: np.ndarray) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Every output position with what it sees of the padded input."""
        for position in itertools.product(*map(range, self._output_sizes(padded, w))):
            starts = [at * stride for at, stride in zip(position, self.stride, strict=True)]
            axes = zip(starts, w.shape[2:], self.dilation, strict=True)
            yield position, tuple(slice(a, a + d * (k - 1) + 1, d) for a, k, d in axes)

    def _group_slices(self, x: np.ndarray, w: np.ndarray) -> Iterator[tuple[slice, slice]]:
        channels, filters = x.shape[1] // self.groups, len(w) // self.groups
        for group in range(self.groups):
            yield (
                slice(group * channels, (group + 1) * channels),
                slice(group * filters, (group + 1) * filters),
            )


@dataclass(frozen=True)
class TransposedConvolution:
    """The adjoint of a convolution: every element of x adds its multiple of the kernel to the result."""

    stride: Sequence[int]
    pads: Sequence[Pair]
    dilation: Sequence[int]
    groups: int = 1
    output_padding: Sequence[int] = ()

    def forward(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        extra = self.output_padding or [0] * len(self.stride)
        axes = zip(x.shape[2:], w.shape[2:], self.dilation, self.stride, extra, strict=True)
        full = [(size - 1) * stride + dilation * (k - 1) + 1 + more for size, k, dilation, stride, more in axes]
        y = np.zeros((len(x), w.shape[1] * self.groups, *full), np.result_type(x, w))
        for at, window, sources, results in self._steps(x, w):
            y[(slice(None), results, *window)] += np.tensordot(x[(slice(None), sources, *at)], w[sources], 1)
        return y[(..., *self._kept(full))]

    def input_gradient(self, dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        gradient, full = np.zeros(x.shape, np.result_type(dy, w)), self._full(dy)
        for at, window, sources, results in self._steps(x, w):
            piece = full[(slice(None), results, *window)]
            gradient[(slice(None), sources, *at)] = _rows(piece) @ _rows(w[sources].conj()).T
        return gradient

    def weight_gradient(self, dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        gradient, full = np.zeros(w.shape, np.result_type(dy, x)), self._full(dy)
        for at, window, sources, results in self._steps(x, w):
            piece = full[(slice(None), results, *window)]
            gradient[sources] += np.tensordot(x[(slice(None), sources, *at)].conj().T, piece, 1)
        return gradient

    def _full(self, dy: np.ndarray) -> np.ndarray:
        """dy with zeros in place of what ``forward`` cut off."""
        full = np.zeros((*dy.shape[:2], *(n + sum(p) for n, p in zip(dy.shape[2:], self.pads, strict=True))), dy.dtype)
        full[(..., *self._kept(full.shape[2:]))] = dy
        return full

    def _kept(self, full: Sequence[int]) -> list[slice]:
        return [slice(before, size - after) for size, (before, after) in zip(full, self.pads, strict=True)]

    def _steps(self, x: np.ndarray, w: np.ndarray) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], slice, slice]]:
        """Every position of x with the window of the result that it adds to, group by group."""
        channels, filters = x.shape[1] // self.groups, w.shape[1]
        for at in itertools.product(*map(range, x.shape[2:])):
            axes = zip(at, self.stride, w.shape[2:], self.dilation, strict=True)
            window = tuple(slice(i * step, i * step + d * (k - 1) + 1, d) for i, step, k, d in axes)
            for group in range(self.groups):
                yield (
                    at,
                    window,
                    slice(group * channels, (group + 1) * channels),
                    slice(group * filters, (group + 1) * filters),
                )


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)


def bias_gradient(dy: np.ndarray) -> np.ndarray:
    """dy summed over all but the channels."""
    return dy.sum(axis=(0, *range(2, dy.ndim)))


def integers(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float64") -> np.ndarray:
    """Integers from -3 to 3 in ``dtype``, whose sums of products are exact; complex ones have two such parts."""
    made = rng.integers(-3, 4, shape)
    if dtype.startswith("complex"):
        made = made + 1j * rng.integers(-3, 4, shape)
    return made.astype(dtype)


def inner(a: np.ndarray, b: np.ndarray) -> complex:
    """The inner product, exact on integers."""
    return complex(np.vdot(a.astype(np.complex128), b.astype(np.complex128)))


def to_layout(array: np.ndarray, last: bool, weight: str = "") -> np.ndarray:
    """A channels-first array as channels-last, or with ``weight`` an O, I, kernel array as HWIO or OHWI."""
    if weight == "HWIO":
        return np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))
    if weight == "OHWI" or (not weight and last):
        return np.ascontiguousarray(np.moveaxis(array, 1, -1))
    return array


def from_layout(array: np.ndarray, last: bool, weight: str = "") -> np.ndarray:
    """The inverse of ``to_layout``."""
    if weight == "HWIO":
        return np.moveaxis(array, (-1, -2), (0, 1))
    if weight == "OHWI" or (not weight and last):
        return np.moveaxis(array, -1, 1)
    return array
