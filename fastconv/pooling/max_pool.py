"""Max pooling and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import pooling as run
from .._normalize import pooling as normalize
from .._normalize.pooling import PoolSettings

Array = np.ndarray


@documented
def max_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Any:
    """1-D max pooling.

    Parameters, result and errors are as in ``max_pool2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8), np.float32)
    >>> fastconv.max_pool1d(x, 3, stride=2, padding=1).shape
    (2, 3, 4)
    """
    settings = PoolSettings(kernel_size, stride, padding, dilation, ceil_mode, layout=layout)
    arguments = (1, settings, normalize.MAXIMUM_DTYPES)
    return run.maximum(normalize.forward, arguments, (return_indices, threads), (x,), out)


@documented
def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Any:
    """2-D max pooling.

    NaN counts as the largest value. A window of nothing but padding gives -inf, or the smallest integer.

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W)
        float32, float64, float16, bfloat16 or integers.
    {pool}
    {pool_dilation}
    {ceil_mode}
    {return_indices}
    {data_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, oH, oW) or (C, oH, oW)
        ``o = (size + before + after - dilation * (k - 1) - 1) // stride + 1`` on every axis. With ``return_indices``
        a pair: this array and the indices, -1 for a window of nothing but padding.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8), np.float32)
    >>> fastconv.max_pool2d(x, 3, stride=2, padding=1).shape
    (2, 3, 4, 4)
    """
    settings = PoolSettings(kernel_size, stride, padding, dilation, ceil_mode, layout=layout)
    arguments = (2, settings, normalize.MAXIMUM_DTYPES)
    return run.maximum(normalize.forward, arguments, (return_indices, threads), (x,), out)


@documented
def max_pool3d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Any:
    """3-D max pooling.

    Parameters, result and errors are as in ``max_pool2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8, 8), np.float32)
    >>> fastconv.max_pool3d(x, 3, stride=2, padding=1).shape
    (2, 3, 4, 4, 4)
    """
    settings = PoolSettings(kernel_size, stride, padding, dilation, ceil_mode, layout=layout)
    arguments = (3, settings, normalize.MAXIMUM_DTYPES)
    return run.maximum(normalize.forward, arguments, (return_indices, threads), (x,), out)


@documented
def max_pool1d_backward(
    dy: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    indices: Any = None,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``max_pool1d`` with respect to its input: every element of dy goes to the maximum of its window.

    Parameters, result and errors are as in ``max_pool2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8), np.float32)
    >>> y, indices = fastconv.max_pool1d(x, 2, return_indices=True)
    >>> fastconv.max_pool1d_backward(y, x.shape, 2, indices=indices).shape
    (2, 3, 8)
    """
    settings = PoolSettings(kernel_size, stride, padding, dilation, ceil_mode, layout=layout)
    return run.maximum_gradient(normalize.maximum_gradient, (1, settings), (threads,), (dy, x, indices), out)


@documented
def max_pool2d_backward(
    dy: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    indices: Any = None,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``max_pool2d`` with respect to its input: every element of dy goes to the maximum of its window.

    Parameters
    ----------
    dy : array, (N, C, oH, oW) or (C, oH, oW)
        Gradient with respect to the forward function's result: float32, float64, float16 or bfloat16.
    {maximum_gradient}
    {pool}
    {pool_dilation}
    {ceil_mode}
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
    >>> x = np.ones((2, 3, 8, 8), np.float32)
    >>> y, indices = fastconv.max_pool2d(x, 2, return_indices=True)
    >>> fastconv.max_pool2d_backward(y, x.shape, 2, indices=indices).shape
    (2, 3, 8, 8)
    """
    settings = PoolSettings(kernel_size, stride, padding, dilation, ceil_mode, layout=layout)
    return run.maximum_gradient(normalize.maximum_gradient, (2, settings), (threads,), (dy, x, indices), out)


@documented
def max_pool3d_backward(
    dy: Any,
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    indices: Any = None,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``max_pool3d`` with respect to its input: every element of dy goes to the maximum of its window.

    Parameters, result and errors are as in ``max_pool2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8, 8), np.float32)
    >>> y, indices = fastconv.max_pool3d(x, 2, return_indices=True)
    >>> fastconv.max_pool3d_backward(y, x.shape, 2, indices=indices).shape
    (2, 3, 8, 8, 8)
    """
    settings = PoolSettings(kernel_size, stride, padding, dilation, ceil_mode, layout=layout)
    return run.maximum_gradient(normalize.maximum_gradient, (3, settings), (threads,), (dy, x, indices), out)
