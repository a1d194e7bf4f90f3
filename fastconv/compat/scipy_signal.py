"""``scipy.signal``'s convolutions, with its signatures and results, computed by fastconv.

Its six functions are called like SciPy's. How they compute is fastconv's choice, whatever their names: NaN and Inf stay
where the definition has them. Integers of any width are exact and wrap around as SciPy's do. float32 is computed at
precision "highest". What fastconv does not compute (other dtypes, more than three axes, arrays of other libraries), and
nearly every error, is SciPy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import signal

from .. import functional
from ._planes import FLOATS, Pads, UnservedError
from ._planes import correlate as correlate_planes

Array = np.ndarray

FUNCTIONS = ("convolve", "correlate", "convolve2d", "correlate2d", "fftconvolve", "oaconvolve")
_scipy: Any = SimpleNamespace(**{name: getattr(signal, name) for name in FUNCTIONS})
"""SciPy's own, whatever ``install`` has put in their places."""

MODES = ("full", "same", "valid")
BOUNDARIES = {
    "fill": "zeros",
    "pad": "zeros",
    "wrap": "circular",
    "circular": "circular",
    "symm": "symmetric",
    "symmetric": "symmetric",
}
"""SciPy's words, and fastconv's."""


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Array:
    """Convolve two N-dimensional arrays, as ``scipy.signal.convolve``.

    Parameters
    ----------
    in1, in2 : array
        With as many axes.
    mode : {"full", "valid", "same"}
        Which part of the convolution is returned: all, what does not depend on zeros outside, or the middle of in1's
        shape.
    method : {"auto", "direct", "fft"}
        Checked, and of no effect: fastconv chooses.

    Returns
    -------
    array

    Examples
    --------
    >>> from fastconv.compat import scipy_signal
    >>> scipy_signal.convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    a, b = _arrays(in1, in2)
    if a is not None and a.ndim == b.ndim > 0 and mode in MODES and method in ("auto", "direct", "fft"):
        try:
            return _convolved(*_ordered(a, b, mode), mode)
        except UnservedError:
            pass
    return _scipy.convolve(in1, in2, mode, method)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Array:
    """Cross-correlate two N-dimensional arrays, as ``scipy.signal.correlate``: in2 is conjugated.

    Parameters and result are as in ``convolve``.

    Examples
    --------
    >>> from fastconv.compat import scipy_signal
    >>> scipy_signal.correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    a, b = _arrays(in1, in2)
    if a is not None and a.ndim == b.ndim > 0 and mode in MODES and method in ("auto", "direct", "fft"):
        try:
            return _convolved(*_ordered(a, _reversed(b).conj(), mode), mode)
        except UnservedError:
            pass
    return _scipy.correlate(in1, in2, mode, method)


def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Array:
    """Convolve two matrices, as ``scipy.signal.convolve2d``.

    Parameters
    ----------
    in1, in2 : array, (H, W) and (kH, kW)
    mode : {"full", "valid", "same"}
    boundary : {"fill", "wrap", "symm"}
        What lies outside of in1: ``fillvalue``, its other end, or its mirror image.
    fillvalue : number

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import scipy_signal
    >>> scipy_signal.convolve2d(np.eye(3, dtype=int), [[1, 2], [3, 4]], "same", "symm")
    array([[10,  5,  7],
           [ 8, 10,  5],
           [ 3,  8, 10]])
    """
    a, b = _arrays(in1, in2)
    if a is not None and a.ndim == b.ndim == 2 and mode in MODES and _fits(fillvalue, np.result_type(a, b)):
        try:
            return _bounded(*_ordered(a, b, mode), mode, boundary, fillvalue)
        except UnservedError:
            pass
    _check_empty(in1, in2, boundary)
    return _scipy.convolve2d(in1, in2, mode, boundary, fillvalue)


def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Array:
    """Cross-correlate two matrices, as ``scipy.signal.correlate2d``: in2 is conjugated.

    Parameters and result are as in ``convolve2d``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import scipy_signal
    >>> scipy_signal.correlate2d(np.eye(3, dtype=int), [[1, 2], [3, 4]], "valid")
    array([[5, 3],
           [2, 5]])
    """
    a, b = _arrays(in1, in2)
    if a is not None and a.ndim == b.ndim == 2 and mode in MODES and _fits(fillvalue, np.result_type(a, b)):
        try:
            first, second = _ordered(a, b, mode)
            y = _bounded(first, _reversed(second).conj(), mode, boundary, fillvalue, is_correlation=True)
            return y if first is a else np.ascontiguousarray(_reversed(y))
        except UnservedError:
            pass
    _check_empty(in1, in2, boundary)
    return _scipy.correlate2d(in1, in2, mode, boundary, fillvalue)


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Array:
    """Convolve two N-dimensional arrays along some axes, as ``scipy.signal.fftconvolve``.

    Parameters
    ----------
    in1, in2 : array
        With as many axes; those that are not convolved are broadcast. Integers become float64.
    mode : {"full", "valid", "same"}
    axes : int or sequence of int, optional
        Default: all.

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import scipy_signal
    >>> scipy_signal.fftconvolve(np.ones((5, 100)), np.ones((5, 9)), axes=1).shape
    (5, 108)
    """
    y = _along(in1, in2, mode, axes)
    return _scipy.fftconvolve(in1, in2, mode, axes) if y is None else y


def oaconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Array:
    """Convolve a long array with a short one along some axes, as ``scipy.signal.oaconvolve``.

    Parameters and result are as in ``fftconvolve``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import scipy_signal
    >>> scipy_signal.oaconvolve(np.ones(1000), np.ones(9), mode="same").shape
    (1000,)
    """
    y = _along(in1, in2, mode, axes)
    return _scipy.oaconvolve(in1, in2, mode, axes) if y is None else y


def install() -> None:
    """Put these functions in the place of those in ``scipy.signal``."""
    for name in FUNCTIONS:
        setattr(signal, name, globals()[name])


def _check_empty(in1: Any, in2: Any, boundary: str) -> None:
    """SciPy divides by zero here, which ends the process."""
    for name, array in (("in1", in1), ("in2", in2)):
        if 0 in np.shape(array) and boundary not in ("fill", "pad"):
            raise ValueError(f"{name}: got shape {np.shape(array)}; allowed with boundary {boundary!r}: no axis of 0")


def _arrays(in1: Any, in2: Any) -> tuple[Any, Any]:
    """As arrays, if they are of NumPy and not empty; else nothing."""
    if hasattr(in1, "__array_namespace__") and not isinstance(in1, np.ndarray):
        return None, None
    if isinstance(in1, np.ma.MaskedArray) or isinstance(in2, np.ma.MaskedArray):
        return None, None
    try:
        a, b = np.asarray(in1), np.asarray(in2)
    except (TypeError, ValueError):
        return None, None
    return (a, b) if a.size and b.size else (None, None)


def _ordered(a: Any, b: Any, mode: str, axes: Sequence[int] | None = None) -> tuple[Array, Array]:
    """For "valid", the larger one first."""
    if mode == "valid":
        pairs = [(a.shape[axis], b.shape[axis]) for axis in (range(a.ndim) if axes is None else axes)]
        if not all(m >= n for m, n in pairs):
            if not all(m <= n for m, n in pairs):
                raise UnservedError("neither is the larger one")
            return b, a
    return a, b


def _reversed(array: Array) -> Array:
    return array[(slice(None, None, -1),) * array.ndim]


def _pads(kernel: Sequence[int], mode: str, is_correlation: bool = False) -> Pads:
    """Of the correlation with the reversed kernel."""
    if mode == "full":
        return [(k - 1, k - 1) for k in kernel]
    if mode == "valid":
        return [(0, 0)] * len(kernel)
    sides = [((k - 1) // 2, k // 2) for k in kernel]
    return sides if is_correlation else [(before, after) for after, before in sides]


def _typed(a: Array, b: Array) -> tuple[Array, Array]:
    dtype = np.result_type(a, b)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def _convolved(a: Array, b: Array, mode: str) -> Array:
    if mode == "full" and b.size > a.size:
        a, b = b, a
    a, b = _typed(a, b)
    return correlate_planes(a, _reversed(b), _pads(b.shape, mode))


def _fits(fillvalue: Any, dtype: np.dtype) -> bool:
    return np.ndim(fillvalue) == 0 and np.can_cast(np.asarray(fillvalue).dtype, dtype, "same_kind")


def _bounded(a: Array, b: Array, mode: str, boundary: str, fillvalue: Any, is_correlation: bool = False) -> Array:
    """a convolved with b, with ``boundary`` around a."""
    if boundary not in BOUNDARIES:
        raise UnservedError(boundary)
    a, b = _typed(a, b)
    pads, how = _pads(b.shape, mode, is_correlation), BOUNDARIES[boundary]
    if how != "zeros" or fillvalue == 0:
        return correlate_planes(a, _reversed(b), pads, how)
    return correlate_planes(np.pad(a, pads, constant_values=fillvalue), _reversed(b), [(0, 0)] * 2)


def _along(in1: Any, in2: Any, mode: str, axes: Any) -> Array | None:
    """in1 convolved with in2 along axes; None where that is SciPy's."""
    a, b = _arrays(in1, in2)
    if a is None or a.ndim != b.ndim or mode not in MODES:
        return None
    try:
        convolved = range(a.ndim) if axes is None else [axes] if np.ndim(axes) == 0 else list(axes)
        convolved = [axis + a.ndim * (axis < 0) for axis in convolved]
        whole = all(float(axis).is_integer() and 0 <= axis < a.ndim for axis in convolved)
        if not whole or not 0 < len(convolved) == len(set(convolved)):
            return None
        # Along an axis of one element, a convolution is a product.
        convolved = [int(axis) for axis in convolved if 1 not in (a.shape[int(axis)], b.shape[int(axis)])]
        return _broadcast(*_ordered(a, b, mode, convolved), mode, convolved)
    except (TypeError, ValueError, UnservedError):
        return None


def _broadcast(a: Array, b: Array, mode: str, axes: Sequence[int]) -> Array:
    """a convolved with b along axes; what is broadcast becomes the batch, filters, or groups."""
    a, b = _typed(*(array.astype(np.float64) if array.dtype.kind in "iub" else array for array in (a, b)))
    if a.dtype.name not in FLOATS or not 0 < len(axes) <= 3:
        raise UnservedError(f"{a.dtype}, {len(axes)} axes")
    others = [axis for axis in range(a.ndim) if axis not in axes]
    order = [*others, *axes]
    x, w = a.transpose(order), b.transpose(order)
    lead = np.broadcast_shapes(x.shape[: len(others)], w.shape[: len(others)])
    w = np.flip(w, tuple(range(len(others), w.ndim)))
    sizes, kernel, count = x.shape[len(others) :], w.shape[len(others) :], prod(lead)
    groups = 1
    if prod(w.shape[: len(others)]) == 1:  # a kernel for all
        x, w = np.broadcast_to(x, lead + sizes).reshape((count, 1, *sizes)), w.reshape((1, 1, *kernel))
    elif prod(x.shape[: len(others)]) == 1:  # all kernels for one
        x, w = x.reshape((1, 1, *sizes)), np.broadcast_to(w, lead + kernel).reshape((count, 1, *kernel))
    else:
        x = np.broadcast_to(x, lead + sizes).reshape((1, count, *sizes))
        w, groups = np.broadcast_to(w, lead + kernel).reshape((count, 1, *kernel)), count
    function = getattr(functional.convolution, f"conv{len(axes)}d")
    y = function(x, w, padding=_pads(kernel, mode), groups=groups, precision="highest")
    y = y.reshape(lead + y.shape[2:]).transpose(np.argsort(order))
    return _centered(y, a.shape) if mode == "same" else y


def _centered(y: Array, shape: Sequence[int]) -> Array:
    starts = [(size - wanted) // 2 for size, wanted in zip(y.shape, shape, strict=True)]
    return y[tuple(slice(start, start + wanted) for start, wanted in zip(starts, shape, strict=True))]
