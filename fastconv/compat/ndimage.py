"""``scipy.ndimage``'s linear filters, with its signatures and results, computed by fastconv.

Sums are exact for integers and otherwise of float64, as SciPy's are. Integer results are cut off as SciPy's: where
rounding could decide which integer comes out, SciPy has the word. So it has on what fastconv does not compute (kernels
over more than three axes, other dtypes) and on errors.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import ndimage

from ._filters import filtered
from ._planes import UnservedError

Array = Any

FUNCTIONS = (
    "correlate",
    "convolve",
    "correlate1d",
    "convolve1d",
    "uniform_filter1d",
    "uniform_filter",
    "gaussian_filter1d",
    "gaussian_filter",
)
_scipy: Any = SimpleNamespace(**{name: getattr(ndimage, name) for name in FUNCTIONS})
"""SciPy's own, whatever ``install`` has put in their places."""


def correlate(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Correlate an array with weights of as many axes, as ``scipy.ndimage.correlate``.

    Parameters
    ----------
    input, weights : array
    output : array or dtype, optional
        What is filled and returned, or its dtype. Default: the dtype of ``input``.
    mode : {"reflect", "constant", "nearest", "mirror", "wrap"} or their grid names
        What lies outside: (d c b a | a b c d), ``cval``, (a a a a | a b c d), (d c b | a b c d), (b c d | a b c d).
    cval : number
    origin : int or one int per axis
        How far the weights' middle is moved.
    axes : int or sequence of int, optional
        Those that ``weights`` has. Default: all.

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import ndimage
    >>> ndimage.correlate(np.arange(5), [1, 0, 2])
    array([ 2,  4,  7, 10, 11])
    """
    try:
        return _over_axes(input, weights, output, mode, cval, origin, axes, is_convolution=False)
    except UnservedError:
        more = {} if axes is None else {"axes": axes}
        return _scipy.correlate(input, weights, output, mode, cval, origin, **more)


def convolve(
    input: Any,
    weights: Any,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Convolve an array with weights of as many axes, as ``scipy.ndimage.convolve``.

    Parameters and result are as in ``correlate``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import ndimage
    >>> ndimage.convolve(np.arange(5), [1, 0, 2])
    array([ 1,  2,  5,  8, 10])
    """
    try:
        return _over_axes(input, weights, output, mode, cval, origin, axes, is_convolution=True)
    except UnservedError:
        more = {} if axes is None else {"axes": axes}
        return _scipy.convolve(input, weights, output, mode, cval, origin, **more)


def correlate1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Correlate an array with a row of weights along one axis, as ``scipy.ndimage.correlate1d``.

    Parameters and result are as in ``correlate``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import ndimage
    >>> ndimage.correlate1d(np.eye(3), [1, 2], axis=0)
    array([[3., 0., 0.],
           [1., 2., 0.],
           [0., 1., 2.]])
    """
    try:
        w = _row(weights)
        w = w.conj() if w.dtype.kind == "c" else w
        return _along(input, w, axis, output, mode, cval, origin)
    except UnservedError:
        return _scipy.correlate1d(input, weights, axis, output, mode, cval, origin)


def convolve1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Convolve an array with a row of weights along one axis, as ``scipy.ndimage.convolve1d``.

    Parameters and result are as in ``correlate``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import ndimage
    >>> ndimage.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], [1, 3])
    array([14, 24,  4, 13, 12, 36, 27,  0])
    """
    try:
        w = _row(weights)
        return _along(input, w[::-1], axis, output, mode, cval, -origin - (w.size % 2 == 0))
    except (UnservedError, TypeError):
        return _scipy.convolve1d(input, weights, axis, output, mode, cval, origin)


def uniform_filter1d(
    input: Any,
    size: int,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Replace each element by the mean of ``size`` along one axis, as ``scipy.ndimage.uniform_filter1d``.

    Parameters and result are as in ``correlate``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import ndimage
    >>> ndimage.uniform_filter1d([2, 8, 0, 4, 1, 9, 9, 0], 3)
    array([4, 3, 4, 1, 4, 6, 6, 3])
    """
    try:
        if not 1 <= size <= MAX_UNIFORM or size != int(size):
            raise UnservedError(f"size {size}")
        return _along(input, np.ones(int(size)), axis, output, mode, cval, origin, divisor=int(size))
    except (UnservedError, TypeError):
        return _scipy.uniform_filter1d(input, size, axis, output, mode, cval, origin)


def uniform_filter(
    input: Any,
    size: Any = 3,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    origin: Any = 0,
    *,
    axes: Any = None,
) -> Array:
    """Replace each element by the mean of a box around it, as ``scipy.ndimage.uniform_filter``.

    Parameters and result are as in ``correlate``; size, mode and origin are for all axes, or one for each.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import ndimage
    >>> ndimage.uniform_filter(np.eye(3), 3)[1]
    array([0.33333333, 0.33333333, 0.33333333])
    """

    def along(x: Array, axis: int, size: Any, origin: Any, mode: Any, output: Any) -> Array:
        return uniform_filter1d(x, size, axis, output, mode, cval, origin)

    try:
        return _each_axis(input, output, axes, along, (size, origin, mode), lambda size: size > 1)
    except UnservedError:
        more = {} if axes is None else {"axes": axes}
        return _scipy.uniform_filter(input, size, output, mode, cval, origin, **more)


def gaussian_filter1d(
    input: Any,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> Array:
    """Blur, or differentiate, with a Gaussian along one axis, as ``scipy.ndimage.gaussian_filter1d``.

    Parameters and result are as in ``correlate``; ``sigma``, ``order`` of the derivative, ``truncate`` and ``radius``
    are SciPy's.

    Examples
    --------
    >>> from fastconv.compat import ndimage
    >>> ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(2)
    array([1.43, 2.07, 3.  , 3.93, 4.57])
    """
    weights = _gaussian(float(sigma), order, float(truncate), radius)
    return correlate1d(input, weights, axis, output, mode, cval, 0)


def gaussian_filter(
    input: Any,
    sigma: Any,
    order: Any = 0,
    output: Any = None,
    mode: Any = "reflect",
    cval: Any = 0.0,
    truncate: float = 4.0,
    *,
    radius: Any = None,
    axes: Any = None,
) -> Array:
    """Blur, or differentiate, with a Gaussian, as ``scipy.ndimage.gaussian_filter``.

    Parameters and result are as in ``gaussian_filter1d``; sigma, order, mode and radius are for all axes, or one for
    each.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.compat import ndimage
    >>> ndimage.gaussian_filter(np.eye(3), 1).round(2)[1]
    array([0.31, 0.38, 0.31])
    """

    def along(x: Array, axis: int, sigma: Any, order: Any, mode: Any, radius: Any, output: Any) -> Array:
        return gaussian_filter1d(x, sigma, axis, order, output, mode, cval, truncate, radius=radius)

    try:
        return _each_axis(input, output, axes, along, (sigma, order, mode, radius), lambda sigma: sigma > 1e-15)
    except UnservedError:
        more = {} if axes is None else {"axes": axes}
        return _scipy.gaussian_filter(input, sigma, order, output, mode, cval, truncate, radius=radius, **more)


def install() -> None:
    """Put these functions in the place of those in ``scipy.ndimage``."""
    for name in FUNCTIONS:
        setattr(ndimage, name, globals()[name])


MAX_UNIFORM = 64
"""SciPy keeps a running sum, whose time does not depend on the size."""


@functools.lru_cache(maxsize=256)
def _gaussian(sigma: float, order: int, truncate: float, radius: int | None) -> Array:
    """Weights for ``correlate1d``: SciPy's answer to an impulse."""
    reach = int(truncate * sigma + 0.5) if radius is None else radius
    if not isinstance(reach, (int, np.integer)):
        raise ValueError(f"radius: got {radius!r}; allowed: ints of 0 or more")
    impulse = np.zeros(2 * max(reach, 0) + 1)
    impulse[impulse.size // 2] = 1
    answer = _scipy.gaussian_filter1d(impulse, sigma, order=order, mode="constant", truncate=truncate, radius=radius)
    answer[::-1].setflags(write=False)
    return answer[::-1]


def _row(weights: Any) -> Any:
    w = np.asarray(weights)
    if w.ndim != 1 or w.size < 1:
        raise UnservedError("no row")
    return w


def _over_axes(
    input: Any, weights: Any, output: Any, mode: Any, cval: Any, origin: Any, axes: Any, is_convolution: bool
) -> Array:
    x, w = np.asarray(input), np.asarray(weights)
    used = _axes(axes, x.ndim)
    origins = _for_each(origin, len(used))
    if w.ndim != len(used) or 0 in w.shape:
        raise UnservedError("weights")
    if is_convolution:
        origins = [-o - (k % 2 == 0) for o, k in zip(origins, w.shape, strict=True)]
        w = np.flip(w)
    elif w.dtype.kind == "c":
        w = w.conj()
    shape, moved = [1] * x.ndim, [0] * x.ndim
    for axis, k, own in zip(used, w.shape, origins, strict=True):
        shape[axis], moved[axis] = k, own
    return filtered(x, w.reshape(shape), output, mode, cval, moved, skips_zeros=True)


def _along(input: Any, w: Any, axis: Any, output: Any, mode: Any, cval: Any, origin: Any, divisor: int = 1) -> Array:
    x = np.asarray(input)
    (axis,) = _axes(axis, x.ndim)
    shape, moved = [1] * x.ndim, [0] * x.ndim
    shape[axis], moved[axis] = w.size, origin
    return filtered(x, w.reshape(shape), output, mode, cval, moved, divisor=divisor)


def _each_axis(
    input: Any,
    output: Any,
    axes: Any,
    along: Callable[..., Array],
    settings: Sequence[Any],
    is_needed: Callable[[Any], bool],
) -> Array:
    """One axis after the other, each but the first from the result so far, as SciPy does."""
    x = np.asarray(input)
    if x.dtype.kind == "c" and isinstance(output, (type, np.dtype, str)) and np.dtype(output).kind != "c":
        raise UnservedError("real from complex")
    used = _axes(axes, x.ndim)
    each = list(zip(used, *(_for_each(setting, len(used)) for setting in settings), strict=True))
    try:
        each = [own for own in each if is_needed(own[1])]
    except TypeError:
        raise UnservedError("settings") from None
    if not each:
        raise UnservedError("nothing to do")
    for axis, *own in each:
        output = x = along(x, axis, *own, output=output)
    return output


def _axes(axes: Any, rank: int) -> list[int]:
    """Those given, ascending; SciPy takes the others, and refuses what is none."""
    try:
        given = list(range(rank)) if axes is None else [axes] if np.ndim(axes) == 0 else list(axes)
        used = [operator.index(axis) + rank * (axis < 0) for axis in given]
    except TypeError:
        raise UnservedError("axes") from None
    if not used or used != sorted(set(used)) or not 0 <= used[0] <= used[-1] < rank:
        raise UnservedError("axes")
    return used


def _for_each(value: Any, count: int) -> list[Any]:
    values = [value] * count if isinstance(value, str) or not np.iterable(value) else list(value)
    if len(values) != count:
        raise UnservedError("as many as axes")
    return values
