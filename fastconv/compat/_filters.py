"""Correlations whose results are as large as their arrays, of any dtype, as image processing has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._exact import LIMITS
from ._planes import UnservedError, correlate_floats

Array = Any
Pads = Sequence[tuple[int, int]]

MODES = {
    "reflect": "symmetric",
    "grid-mirror": "symmetric",
    "mirror": "reflect",
    "nearest": "replicate",
    "wrap": "circular",
    "grid-wrap": "circular",
    "constant": "zeros",
    "grid-constant": "zeros",
}
"""SciPy's words, and fastconv's."""


def filtered(
    x: Array,
    w: Array,
    output: Any,
    mode: Any,
    cval: Any,
    origins: Sequence[Any],
    *,
    divisor: int = 1,
    skips_zeros: bool = False,
) -> Array:
    """x correlated with w and divided by ``divisor``, into ``output`` or an array of that dtype, as SciPy has it.

    With ``skips_zeros``, a weight of zero times NaN is nothing.
    """
    is_complex = "c" in (x.dtype.kind, w.dtype.kind)
    dtype = _output_dtype(output, x, is_complex)
    if not isinstance(mode, str) or mode not in MODES or not x.size or np.iscomplexobj(cval) > (x.dtype.kind == "c"):
        raise UnservedError("mode, cval, or an empty array")
    pads = _pads(w.shape, origins)
    border = (pads, MODES[mode], cval)
    if not is_complex and x.dtype.kind in "iub" and _is_whole(w) and _is_whole(cval):
        y = _whole(x, w.astype(np.float64), border)
    else:
        y = _bordered(x, w, np.complex128 if is_complex else np.float64, border, {})
        if dtype.kind in "iu":
            _check_rounding(y, x, w, cval)
    if skips_zeros and not np.isfinite(y).all() and (np.abs(w) <= np.finfo(float).eps).any():
        raise UnservedError("zero times what is not finite")
    return _stored(y if divisor == 1 else y / np.float64(divisor), output, dtype)


def _output_dtype(output: Any, x: Array, is_complex: bool) -> np.dtype:
    if output is None:
        dtype = np.promote_types(x.dtype, np.complex64) if is_complex else x.dtype
    elif isinstance(output, np.ndarray):
        if output.shape != x.shape:
            raise UnservedError("output of another shape")
        dtype = output.dtype
    elif isinstance(output, (type, np.dtype, str)):
        dtype = np.dtype(output)
    else:
        raise UnservedError("output")
    served = ("float32", "float64", "complex64", "complex128")
    for each, kinds in ((dtype, "iu"), (x.dtype, "iub")):
        if each.kind not in kinds and each.name not in served:
            raise UnservedError(str(each))
    if (dtype.kind == "c") != is_complex:
        raise UnservedError("complex from real, or real from complex")
    return dtype.newbyteorder("=")


def _pads(kernel: Sequence[int], origins: Sequence[Any]) -> Pads:
    pads = []
    for k, origin in zip(kernel, origins, strict=True):
        if not -(k // 2) <= origin <= (k - 1) // 2 or origin != int(origin):
            raise UnservedError("origin")
        pads.append((k // 2 + int(origin), k - 1 - k // 2 - int(origin)))
    return pads


def _bordered(x: Array, w: Array, dtype: Any, border: tuple[Pads, str, Any], how: dict[str, Any]) -> Array:
    """x correlated with w in ``dtype``."""
    pads, mode, cval = border
    x, w = x.astype(dtype, copy=False), w.astype(dtype, copy=False)
    if mode != "zeros" or cval == 0:
        return correlate_floats(x, w, pads, mode, how)
    padded = np.pad(x, pads, constant_values=cval)
    return correlate_floats(padded, w, [(0, 0)] * x.ndim, "zeros", how)


def _is_whole(values: Any) -> bool:
    return bool(np.all(values == np.rint(values)))


def _largest(x: Array, w: Array, cval: Any) -> float:
    """No result is larger."""
    is_byte = x.dtype.itemsize == 1
    of_x = 255.0 if is_byte else max(abs(float(x.max())), abs(float(x.min())))
    return max(of_x, abs(cval)) * float(np.abs(w).sum())


def _whole(x: Array, w: Array, border: tuple[Pads, str, Any]) -> Array:
    """Exact sums of integers."""
    largest = _largest(x, w, border[2])
    for limit, dtype, how in LIMITS:
        if largest < limit:
            return np.rint(_bordered(x, w, dtype, border, how))
    raise UnservedError("sums that no float holds")


def _check_rounding(y: Array, x: Array, w: Array, cval: Any) -> None:
    """Whether an integer result would depend on the order of the sum."""
    near = 8 * w.size * np.finfo(np.float64).eps * _largest(x, w, cval)
    if not (np.abs(y - np.rint(y)) > near).all():
        raise UnservedError("results next to integers")


def _stored(y: Array, output: Any, dtype: np.dtype) -> Array:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # Half a unit of float64 more would be outside.
        if y.size and not limits.min <= float(y.min()) <= float(y.max()) < float(limits.max) + 1:
            raise UnservedError("results outside of their dtype")
        y = y.astype(dtype)
    if isinstance(output, np.ndarray):
        output[...] = y
        return output
    return np.ascontiguousarray(y, dtype)
