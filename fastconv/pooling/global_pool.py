"""Pooling over whole images of any rank, and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import pooling as run
from .._normalize import global_pooling as normalize
from .._normalize.pooling import MAXIMUM_DTYPES, MEAN_DTYPES

Array = np.ndarray


@documented
def global_avg_pool(
    x: Any, *, keepdims: bool = True, layout: str | None = None, threads: int | None = None, out: Array | None = None
) -> Array:
    """The average of every channel over all spatial axes.

    Parameters
    ----------
    x : array, (N, C, ...)
        One or more spatial axes. float32, float64, float16, bfloat16 (summed in float32), complex64 or complex128.
    {keepdims}
    {global_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, 1, ...) or without ``keepdims`` (N, C)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_avg_pool(np.ones((2, 3, 8, 8), np.float32)).shape
    (2, 3, 1, 1)
    """
    return run.average(normalize.forward, (MEAN_DTYPES, layout, keepdims), (threads,), (x,), out)


@documented
def global_avg_pool_backward(
    dy: Any,
    x: Any,
    *,
    keepdims: bool = True,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``global_avg_pool`` with respect to its input: every element of dy is spread evenly over its channel.

    Parameters
    ----------
    dy : array, (N, C, 1, ...) or without ``keepdims`` (N, C)
        Gradient with respect to the forward function's result.
    {average_gradient}
    {keepdims}
    {global_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, ...)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_avg_pool_backward(np.ones((2, 3, 1, 1), np.float32), (2, 3, 8, 8)).shape
    (2, 3, 8, 8)
    """
    return run.average_gradient(normalize.average_gradient, (layout, keepdims), (threads,), (dy, x), out)


@documented
def global_max_pool(
    x: Any, *, keepdims: bool = True, layout: str | None = None, threads: int | None = None, out: Array | None = None
) -> Array:
    """The largest element of every channel over all spatial axes. NaN counts as the largest value.

    Parameters
    ----------
    x : array, (N, C, ...)
        One or more spatial axes. float32, float64, float16, bfloat16 or integers.
    {keepdims}
    {global_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, 1, ...) or without ``keepdims`` (N, C)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_max_pool(np.ones((2, 3, 8, 8), np.float32), keepdims=False).shape
    (2, 3)
    """
    return run.maximum(normalize.forward, (MAXIMUM_DTYPES, layout, keepdims), (False, threads), (x,), out)


@documented
def global_max_pool_backward(
    dy: Any,
    x: Any,
    *,
    keepdims: bool = True,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``global_max_pool`` with respect to its input: every element of dy goes to the first maximum.

    Parameters
    ----------
    dy : array, (N, C, 1, ...) or without ``keepdims`` (N, C)
        Gradient with respect to the forward function's result: float32, float64, float16 or bfloat16.
    x : array, (N, C, ...)
        The forward function's input.
    {keepdims}
    {global_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, ...)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.arange(4.0).reshape(1, 1, 4), np.ones((1, 1, 1))
    >>> fastconv.global_max_pool_backward(dy, x)
    array([[[0., 0., 0., 1.]]])
    """
    return run.maximum_gradient(normalize.maximum_gradient, (layout, keepdims), (threads,), (dy, x), out)
