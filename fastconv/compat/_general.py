"""Convolution with every argument of XLA's operator, on plain arrays in the order (N, C, ...) and (O, I, ...)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import functional
from ._exact import integers

Array = Any
Sizes = tuple[int, ...]

NATIVE = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128")
SMALL_FLOATS = ("float8", "float6", "float4")
SMALL_INTEGERS = ("int2", "int4", "uint2", "uint4")


class Window(NamedTuple):
    """How a kernel moves over an image: one number, or one pair of numbers, per spatial axis."""

    strides: Sizes
    pads: tuple[tuple[int, int], ...]
    input_dilation: Sizes
    dilation: Sizes

    def part(self, axes: slice) -> Window:
        return Window(self.strides[axes], self.pads[axes], self.input_dilation[axes], self.dilation[axes])

    def sizes(self, image: Sequence[int], kernel: Sequence[int]) -> Sizes:
        """Of the result; 0 where the kernel does not fit."""
        sizes = []
        for size, k, s, pad, spread, d in zip(image, kernel, *self, strict=True):
            padded = dilated(size, spread) + sum(pad)
            sizes.append(max((padded - dilated(k, d)) // s + 1, 0))
        return tuple(sizes)


def dilated(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1 if size else 0


def is_integer(dtype: np.dtype) -> bool:
    return dtype.kind in "iub" or dtype.name in SMALL_INTEGERS


def is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16" or dtype.name.startswith(SMALL_FLOATS)


def convolve(x: Array, w: Array, window: Window, groups: int, batch_groups: int, dtype: np.dtype) -> Array:
    """Images x (N, C, ...) with kernels w (O, I, ...), of one dtype; the result is of ``dtype``."""
    batch = x.shape[0] // batch_groups
    shape = (batch, w.shape[0], *window.sizes(x.shape[2:], w.shape[2:]))
    if 0 in (*shape, x.size, w.size):
        return np.zeros(shape, dtype)
    if batch_groups > 1:  # the groups of the batch become groups of channels
        x = x.reshape((batch_groups, batch, *x.shape[1:])).swapaxes(0, 1)
        x = x.reshape((batch, batch_groups * x.shape[2], *x.shape[3:]))
        groups = batch_groups
    if is_integer(x.dtype) and is_integer(dtype):
        x, w = (array.astype(np.int8) if array.dtype.name in SMALL_INTEGERS else array for array in (x, w))
        return integers(lambda a, b, how: _floats(a, b, window, groups, how), x, w, prod(w.shape[1:]), dtype)
    x, w = x.astype(dtype, copy=False), w.astype(dtype, copy=False)
    if dtype.name not in NATIVE:
        x, w = x.astype(np.float32), w.astype(np.float32)
    return _floats(x, w, window, groups, {"precision": "highest"}).astype(dtype, copy=False)


def _floats(x: Array, w: Array, window: Window, groups: int, how: dict[str, Any]) -> Array:
    rank = x.ndim - 2
    if rank == 0:
        still = Window((1,), ((0, 0),), (1,), (1,))
        return _floats(x[..., None], w[..., None], still, groups, how)[..., 0]
    if rank > 3:
        return _more_axes(x, w, window, groups, how)
    strides, pads, input_dilation, dilation = window
    if max(input_dilation) > 1:
        if max(strides) == 1 and min(min(pad) for pad in pads) >= 0:
            return _transposed(x, w, window, groups, how)
        x = _spread(x, input_dilation)
    x, pads = _cropped(x, pads)
    if x.size == 0:  # nothing but padding is left
        sizes = Window(strides, pads, (1,) * rank, dilation).sizes(x.shape[2:], w.shape[2:])
        return np.zeros((x.shape[0], w.shape[0], *sizes), x.dtype)
    forward = getattr(functional.convolution, f"conv{rank}d")
    return forward(x, w, None, strides, pads, dilation, groups, **how)


def _transposed(x: Array, w: Array, window: Window, groups: int, how: dict[str, Any]) -> Array:
    """Zeros between the elements are what a transposed convolution has: with the kernel flipped, its axes exchanged."""
    rank = x.ndim - 2
    filters, channels = w.shape[0] // groups, w.shape[1]
    turned = w.reshape((groups, filters, *w.shape[1:])).swapaxes(1, 2)
    turned = np.flip(turned.reshape((groups * channels, filters, *w.shape[2:])), tuple(range(2, 2 + rank)))
    reach = [d * (k - 1) for d, k in zip(window.dilation, w.shape[2:], strict=True)]
    pads = [(r - low, r - high) for r, (low, high) in zip(reach, window.pads, strict=True)]
    transposed = getattr(functional.convolution, f"conv_transpose{rank}d")
    return transposed(x, turned, None, window.input_dilation, pads, 0, groups, window.dilation, **how)


def _spread(x: Array, dilation: Sizes) -> Array:
    """x with zeros between its elements."""
    y = np.zeros((*x.shape[:2], *(dilated(size, d) for size, d in zip(x.shape[2:], dilation, strict=True))), x.dtype)
    steps = tuple(slice(None, None, d) for d in dilation)
    y[(slice(None), slice(None), *steps)] = x
    return y


def _cropped(x: Array, pads: Sequence[tuple[int, int]]) -> tuple[Array, tuple[tuple[int, int], ...]]:
    """x without what negative padding takes away, and the padding that remains."""
    kept: list[slice] = []
    rest: list[tuple[int, int]] = []
    for size, (low, high) in zip(x.shape[2:], pads, strict=True):
        if low < -size:  # takes of the other side's padding, too
            low, high = -size, high + low + size
        elif high < -size:
            low, high = low + high + size, -size
        kept.append(slice(max(-low, 0), max(size + min(high, 0), 0)))
        rest.append((max(low, 0), max(high, 0)))
    return x[(..., *kept)], tuple(rest)


def _more_axes(x: Array, w: Array, window: Window, groups: int, how: dict[str, Any]) -> Array:
    """Four spatial axes and more: the sum over the kernel's first axes of convolutions on the last three."""
    extra = x.ndim - 5
    first, last = window.part(slice(extra)), window.part(slice(extra, None))
    padded = _padded(x, first)
    sizes = window.sizes(x.shape[2:], w.shape[2:])[:extra]
    y: Array | None = None
    for tap in itertools.product(*(range(k) for k in w.shape[2 : 2 + extra])):
        seen = tuple(
            slice(t * d, t * d + (size - 1) * s + 1, s)
            for t, d, size, s in zip(tap, first.dilation, sizes, first.strides, strict=True)
        )
        images = np.moveaxis(padded[(slice(None), slice(None), *seen)], 1, 1 + extra)
        images = images.reshape((-1, *images.shape[1 + extra :]))
        part = _floats(images, w[(slice(None), slice(None), *tap)], last, groups, how)
        y = part if y is None else y + part
    assert y is not None
    return np.moveaxis(y.reshape((x.shape[0], *sizes, *y.shape[1:])), 1 + extra, 1)


def _padded(x: Array, window: Window) -> Array:
    """x, spread and padded on its first spatial axes."""
    others = x.ndim - 2 - len(window.strides)
    x = _spread(x, window.input_dilation + (1,) * others)
    x, pads = _cropped(x, [*window.pads, *[(0, 0)] * others])
    return np.pad(x, [(0, 0), (0, 0), *pads])
