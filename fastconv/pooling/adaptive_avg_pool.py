"""Average pooling to a given size and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import pooling as run
from .._normalize import pooling as normalize
from .._normalize.pooling import AdaptiveSettings

Array = np.ndarray


@documented
def adaptive_avg_pool1d(
    x: Any,
    output_size: Any,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """1-D average pooling to a given size.

    Parameters, result and errors are as in ``adaptive_avg_pool2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8), np.float32)
    >>> fastconv.adaptive_avg_pool1d(x, 3).shape
    (2, 3, 3)
    """
    settings = AdaptiveSettings(output_size, layout)
    return run.average(normalize.forward, (1, settings, normalize.MEAN_DTYPES), (threads,), (x,), out)


@documented
def adaptive_avg_pool2d(
    x: Any,
    output_size: Any,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """2-D average pooling to a given size.

    Along an axis, element o of the n in the result is the mean of ``x[o * size // n : ceil((o + 1) * size / n)]``.

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W)
        float32, float64, float16, bfloat16 (summed in float32), complex64 or complex128.
    {output_size}
    {data_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, oH, oW) or (C, oH, oW)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8), np.float32)
    >>> fastconv.adaptive_avg_pool2d(x, 3).shape
    (2, 3, 3, 3)
    """
    settings = AdaptiveSettings(output_size, layout)
    return run.average(normalize.forward, (2, settings, normalize.MEAN_DTYPES), (threads,), (x,), out)


@documented
def adaptive_avg_pool3d(
    x: Any,
    output_size: Any,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """3-D average pooling to a given size.

    Parameters, result and errors are as in ``adaptive_avg_pool2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8, 8), np.float32)
    >>> fastconv.adaptive_avg_pool3d(x, 3).shape
    (2, 3, 3, 3, 3)
    """
    settings = AdaptiveSettings(output_size, layout)
    return run.average(normalize.forward, (3, settings, normalize.MEAN_DTYPES), (threads,), (x,), out)


@documented
def adaptive_avg_pool1d_backward(
    dy: Any,
    x: Any,
    output_size: Any,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``adaptive_avg_pool1d`` with respect to its input.

    Parameters, result and errors are as in ``adaptive_avg_pool2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> dy = np.ones((2, 3, 3), np.float32)
    >>> fastconv.adaptive_avg_pool1d_backward(dy, (2, 3, 8), 3).shape
    (2, 3, 8)
    """
    settings = AdaptiveSettings(output_size, layout)
    arguments = (1, settings, normalize.MEAN_DTYPES)
    return run.average_gradient(normalize.average_gradient, arguments, (threads,), (dy, x), out)


@documented
def adaptive_avg_pool2d_backward(
    dy: Any,
    x: Any,
    output_size: Any,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``adaptive_avg_pool2d`` with respect to its input.

    Parameters
    ----------
    dy : array, (N, C, oH, oW) or (C, oH, oW)
        Gradient with respect to the forward function's result.
    {average_gradient}
    {output_size}
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
    >>> dy = np.ones((2, 3, 3, 3), np.float32)
    >>> fastconv.adaptive_avg_pool2d_backward(dy, (2, 3, 8, 8), 3).shape
    (2, 3, 8, 8)
    """
    settings = AdaptiveSettings(output_size, layout)
    arguments = (2, settings, normalize.MEAN_DTYPES)
    return run.average_gradient(normalize.average_gradient, arguments, (threads,), (dy, x), out)


@documented
def adaptive_avg_pool3d_backward(
    dy: Any,
    x: Any,
    output_size: Any,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``adaptive_avg_pool3d`` with respect to its input.

    Parameters, result and errors are as in ``adaptive_avg_pool2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> dy = np.ones((2, 3, 3, 3, 3), np.float32)
    >>> fastconv.adaptive_avg_pool3d_backward(dy, (2, 3, 8, 8, 8), 3).shape
    (2, 3, 8, 8, 8)
    """
    settings = AdaptiveSettings(output_size, layout)
    arguments = (3, settings, normalize.MEAN_DTYPES)
    return run.average_gradient(normalize.average_gradient, arguments, (threads,), (dy, x), out)
