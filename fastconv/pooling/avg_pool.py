"""Average pooling and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import pooling as run
from .._normalize import pooling as normalize
from .._normalize.pooling import PoolSettings

Array = np.ndarray


@documented
def avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """1-D average pooling.

    Parameters, result and errors are as in ``avg_pool2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8), np.float32)
    >>> fastconv.avg_pool1d(x, 2).shape
    (2, 3, 4)
    """
    settings = PoolSettings(
        kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
    )
    return run.average(normalize.forward, (1, settings, normalize.AVERAGE_DTYPES), (threads,), (x,), out)


@documented
def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """2-D average pooling.

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W)
        float32, float64, float16, bfloat16 (summed in float32), complex64, complex128, or int64, whose averages are
        rounded towards zero.
    {pool}
    {ceil_mode}
    {divisor}
    {pool_dilation}
    {data_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, oH, oW) or (C, oH, oW)
        ``o = (size + before + after - dilation * (k - 1) - 1) // stride + 1`` on every axis. What a window
        covers beyond the padding (see ``ceil_mode``) never counts.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8), np.float32)
    >>> fastconv.avg_pool2d(x, 2).shape
    (2, 3, 4, 4)
    """
    settings = PoolSettings(
        kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
    )
    return run.average(normalize.forward, (2, settings, normalize.AVERAGE_DTYPES), (threads,), (x,), out)


@documented
def avg_pool3d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """3-D average pooling.

    Parameters, result and errors are as in ``avg_pool2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8, 8), np.float32)
    >>> fastconv.avg_pool3d(x, 2).shape
    (2, 3, 4, 4, 4)
    """
    settings = PoolSettings(
        kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
    )
    return run.average(normalize.forward, (3, settings, normalize.AVERAGE_DTYPES), (threads,), (x,), out)


@documented
def avg_pool1d_backward(
    dy: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``avg_pool1d`` with respect to its input: every element of dy is spread evenly over its window.

    Parameters, result and errors are as in ``avg_pool2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> dy = np.ones((2, 3, 4), np.float32)
    >>> fastconv.avg_pool1d_backward(dy, (2, 3, 8), 2).shape
    (2, 3, 8)
    """
    settings = PoolSettings(
        kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
    )
    return run.average_gradient(
        normalize.average_gradient, (1, settings, normalize.MEAN_DTYPES), (threads,), (dy, x), out
    )


@documented
def avg_pool2d_backward(
    dy: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``avg_pool2d`` with respect to its input: every element of dy is spread evenly over its window.

    Parameters
    ----------
    dy : array, (N, C, oH, oW) or (C, oH, oW)
        Gradient with respect to the forward function's result, of any dtype that it takes but int64.
    {average_gradient}
    {pool}
    {ceil_mode}
    {divisor}
    {pool_dilation}
    {data_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, H, W) or (C, H, W)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> dy = np.ones((2, 3, 4, 4), np.float32)
    >>> fastconv.avg_pool2d_backward(dy, (2, 3, 8, 8), 2).shape
    (2, 3, 8, 8)
    """
    settings = PoolSettings(
        kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
    )
    return run.average_gradient(
        normalize.average_gradient, (2, settings, normalize.MEAN_DTYPES), (threads,), (dy, x), out
    )


@documented
def avg_pool3d_backward(
    dy: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``avg_pool3d`` with respect to its input: every element of dy is spread evenly over its window.

    Parameters, result and errors are as in ``avg_pool2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> dy = np.ones((2, 3, 4, 4, 4), np.float32)
    >>> fastconv.avg_pool3d_backward(dy, (2, 3, 8, 8, 8), 2).shape
    (2, 3, 8, 8, 8)
    """
    settings = PoolSettings(
        kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override, layout
    )
    return run.average_gradient(
        normalize.average_gradient, (3, settings, normalize.MEAN_DTYPES), (threads,), (dy, x), out
    )
