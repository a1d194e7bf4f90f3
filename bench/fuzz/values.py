"""What the arrays of a case hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPECIAL = (np.nan, np.inf, -np.inf)
MAX_SPECIAL = 3
INTEGER_KINDS = "iub"


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype called ``name``."""
    if name == "bfloat16":
        import ml_dtypes  # an optional dependency

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def values(rng: np.random.Generator, shape: Sequence[int], dtype: str, data: str) -> np.ndarray:
    """Normal data, or small integers of which few are 0; 8-bit integers over their whole range."""
    kind = numpy_dtype(dtype)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    if kind.kind in INTEGER_KINDS:
        limits = np.iinfo(kind)
        wide = kind.itemsize == 1
        return rng.integers(limits.min if wide else max(-9, limits.min), (limits.max if wide else 9) + 1, shape, kind)
    if kind.kind == "c":
        parts = [values(rng, shape, "float64", data) for _ in range(2)]
        return (parts[0] + 1j * parts[1]).astype(kind)
    if data == "normal":
        return rng.standard_normal(shape).astype(kind)
    return (rng.integers(1, 4, shape) * rng.choice([-1, 1, 1, -1, 0] if data == "special" else [-1, 1], shape)).astype(
        kind
    )


def halves(array: np.ndarray) -> np.ndarray:
    """The integers less a half: sums with them are never at the kinks of an activation."""
    return (array.astype(np.float64) - 0.5).astype(array.dtype)


def with_special(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """A copy with a few NaN and infinities; integers stay as they are."""
    array = array.copy()
    if array.size and array.dtype.kind not in INTEGER_KINDS:
        count = int(rng.integers(1, MAX_SPECIAL + 1))
        for value in rng.choice(SPECIAL, count):
            index = np.unravel_index(int(rng.integers(array.size)), array.shape)
            array[index] = value
    return array


def wide(array: np.ndarray) -> np.ndarray:
    """The array in the dtype in which definitions compute."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
