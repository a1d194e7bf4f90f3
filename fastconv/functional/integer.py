"""Convolutions of 8-bit integers with zero points, summed in int32."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute.integer import convolve
from .._normalize.integer import Requantisation
from .._normalize.settings import Settings

Array = np.ndarray


@documented
def conv1d_integer(
    x: Any,
    w: Any,
    x_zero_point: Any = 0,
    w_zero_point: Any = 0,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    layout: str | None = None,
    w_layout: str | None = None,
    bias: Any = None,
    scale: Any = None,
    y_zero_point: int | None = None,
    y_dtype: Any = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """1-D convolution of 8-bit integers, exact in int32, like ConvInteger of ONNX.

    Parameters, result and errors are as in ``conv2d_integer``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.full((1, 2, 16), 130, np.uint8), np.ones((3, 2, 3), np.int8)
    >>> y = fastconv.conv1d_integer(x, w, x_zero_point=128)
    >>> y.dtype, y.shape, int(y.flat[0])
    (dtype('int32'), (1, 3, 14), 12)
    """
    settings = Settings(stride, padding, dilation, groups, "zeros", layout, w_layout)
    zero_points, made = (x_zero_point, w_zero_point), Requantisation(bias, scale, y_zero_point, y_dtype)
    return convolve(1, settings, zero_points, (algorithm, threads), (x, w), out, made)


@documented
def conv2d_integer(
    x: Any,
    w: Any,
    x_zero_point: Any = 0,
    w_zero_point: Any = 0,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    layout: str | None = None,
    w_layout: str | None = None,
    bias: Any = None,
    scale: Any = None,
    y_zero_point: int | None = None,
    y_dtype: Any = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """2-D convolution of 8-bit integers, exact in int32, like ConvInteger of ONNX.

    Parameters
    ----------
    x : array of int8 or uint8, (N, C, H, W) or (C, H, W)
    w : array of int8 or uint8, (K, C / groups, kH, kW)
    {zero_points}
    {stride}
    {groups}
    {layouts}
    bias : array of int32, (K,), optional
        Added to the sums.
    scale : float or (K,) floats, optional
        The sums are multiplied by it in float32, rounded half to even, and saturated: ``QLinearConv`` of ONNX with
        ``x_scale * w_scale / y_scale``. Without it, the result is the sums.
    y_zero_point : int, optional
        Added to the rounded products; default 0.
    y_dtype : "int8" or "uint8", optional
        Of the result, where there is a scale; default that of x.
    {algorithm}
    {out}

    Returns
    -------
    array of int32, with ``scale`` of y_dtype, (N, K, oH, oW) or (K, oH, oW)
        ``x - x_zero_point`` convolved with ``w - w_zero_point``; padding adds elements of value ``x_zero_point``. Sums
        beyond 32 bits wrap around.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.full((1, 2, 8, 8), 130, np.uint8), np.ones((3, 2, 3, 3), np.int8)
    >>> y = fastconv.conv2d_integer(x, w, x_zero_point=128)
    >>> y.dtype, y.shape, int(y.flat[0])
    (dtype('int32'), (1, 3, 6, 6), 36)
    """
    settings = Settings(stride, padding, dilation, groups, "zeros", layout, w_layout)
    zero_points, made = (x_zero_point, w_zero_point), Requantisation(bias, scale, y_zero_point, y_dtype)
    return convolve(2, settings, zero_points, (algorithm, threads), (x, w), out, made)


@documented
def conv3d_integer(
    x: Any,
    w: Any,
    x_zero_point: Any = 0,
    w_zero_point: Any = 0,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    layout: str | None = None,
    w_layout: str | None = None,
    bias: Any = None,
    scale: Any = None,
    y_zero_point: int | None = None,
    y_dtype: Any = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """3-D convolution of 8-bit integers, exact in int32, like ConvInteger of ONNX.

    Parameters, result and errors are as in ``conv2d_integer``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.full((1, 2, 4, 4, 4), 130, np.uint8), np.ones((3, 2, 3, 3, 3), np.int8)
    >>> y = fastconv.conv3d_integer(x, w, x_zero_point=128)
    >>> y.dtype, y.shape, int(y.flat[0])
    (dtype('int32'), (1, 3, 2, 2, 2), 108)
    """
    settings = Settings(stride, padding, dilation, groups, "zeros", layout, w_layout)
    zero_points, made = (x_zero_point, w_zero_point), Requantisation(bias, scale, y_zero_point, y_dtype)
    return convolve(3, settings, zero_points, (algorithm, threads), (x, w), out, made)
