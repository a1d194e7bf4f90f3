"""Convolutions of integers of any width by those of floats: exact, modulo 2 to the bits of the result."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
How = dict[str, Any]

# Up to which sums floats give them exactly, and how they are to be computed for it.
LIMITS: tuple[tuple[int, type[np.floating], How], ...] = (
    (2**24, np.float32, {"precision": "ieee"}),
    (2**40, np.float64, {}),  # whatever the algorithm, its error is far below one half
    (2**53, np.float64, {"algorithm": "implicit_gemm"}),  # sums of whole products are exact in any order
)


def integers(convolve: Callable[[Array, Array, How], Array], x: Array, w: Array, count: int, dtype: np.dtype) -> Array:
    """``convolve(x, w)``, as ``dtype``, of integers or booleans: sums beyond the dtype wrap around.

    Parameters
    ----------
    convolve : callable
        Of two float arrays and arguments of ``fastconv.conv2d``; a result is the sum of at most ``count`` products.
    """
    largest = count * _largest(x) * _largest(w)
    for limit, working, how in LIMITS:
        if largest < limit:
            y = convolve(x.astype(working), w.astype(working), how)
            if dtype.kind == "b":
                return np.rint(y) != 0
            return np.rint(y, out=y).astype(np.int64).astype(dtype)
    bits = 8 * dtype.itemsize
    # Digits so small that a sum of their products is exact.
    digit = (53 - count.bit_length()) // 2
    digits = range(-(-bits // digit))
    xs, ws = ([_digit(array, number * digit, digit) for number in digits] for array in (x, w))
    exact = LIMITS[-1][2]
    parts = (
        convolve(xs[i], ws[j], exact).astype(np.uint64) << np.uint64((i + j) * digit)
        for i in digits
        for j in digits[: len(digits) - i]
    )
    return functools.reduce(np.add, parts).astype(dtype)


def _largest(array: Array) -> int:
    """The largest magnitude; that of a byte is not looked for."""
    if array.dtype.itemsize == 1:
        return 255
    return max(int(array.max()), -int(array.min())) if array.size else 0


def _digit(array: Array, shift: int, digit: int) -> Array:
    whole = array.astype(np.uint64)  # negative numbers wrap around
    return ((whole >> np.uint64(shift)) & np.uint64(2**digit - 1)).astype(np.float64)
