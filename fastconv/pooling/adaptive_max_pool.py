"""Max pooling to a given size and its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import pooling as run
from .._normalize import pooling as normalize
from .._normalize.pooling import AdaptiveSettings

Array = np.ndarray


@documented
def adaptive_max_pool1d(
    x: Any,
    output_size: Any,
    return_indices: bool = False,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Any:
    """1-D max pooling to a given size.

    Parameters, result and errors are as in ``adaptive_max_pool2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8), np.float32)
    >>> fastconv.adaptive_max_pool1d(x, 3).shape
    (2, 3, 3)
    """
    arguments = (1, AdaptiveSettings(output_size, layout), normalize.MAXIMUM_DTYPES)
    return run.maximum(normalize.forward, arguments, (return_indices, threads), (x,), out)


@documented
def adaptive_max_pool2d(
    x: Any,
    output_size: Any,
    return_indices: bool = False,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Any:
    """2-D max pooling to a given size.

    Along an axis, element o of the n in the result is the largest of ``x[o * size // n : ceil((o + 1) * size / n)]``.

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W)
        float32, float64, float16, bfloat16 or integers.
    {output_size}
    {return_indices}
    {data_layout}
    {threads}
    {out}

    Returns
    -------
    array, (N, C, oH, oW) or (C, oH, oW)
        With ``return_indices`` a pair: this array and the indices.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8), np.float32)
    >>> fastconv.adaptive_max_pool2d(x, 3).shape
    (2, 3, 3, 3)
    """
    arguments = (2, AdaptiveSettings(output_size, layout), normalize.MAXIMUM_DTYPES)
    return run.maximum(normalize.forward, arguments, (return_indices, threads), (x,), out)


@documented
def adaptive_max_pool3d(
    x: Any,
    output_size: Any,
    return_indices: bool = False,
    *,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Any:
    """3-D max pooling to a given size.

    Parameters, result and errors are as in ``adaptive_max_pool2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8, 8), np.float32)
    >>> fastconv.adaptive_max_pool3d(x, 3).shape
    (2, 3, 3, 3, 3)
    """
    arguments = (3, AdaptiveSettings(output_size, layout), normalize.MAXIMUM_DTYPES)
    return run.maximum(normalize.forward, arguments, (return_indices, threads), (x,), out)


@documented
def adaptive_max_pool1d_backward(
    dy: Any,
    x: Any,
    output_size: Any,
    *,
    indices: Any = None,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``adaptive_max_pool1d`` with respect to its input.

    Parameters, result and errors are as in ``adaptive_max_pool2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 8), np.float32), np.ones((2, 3, 3), np.float32)
    >>> fastconv.adaptive_max_pool1d_backward(dy, x, 3).shape
    (2, 3, 8)
    """
    settings = AdaptiveSettings(output_size, layout)
    return run.maximum_gradient(normalize.maximum_gradient, (1, settings), (threads,), (dy, x, indices), out)


@documented
def adaptive_max_pool2d_backward(
    dy: Any,
    x: Any,
    output_size: Any,
    *,
    indices: Any = None,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``adaptive_max_pool2d`` with respect to its input.

    Parameters
    ----------
    dy : array, (N, C, oH, oW) or (C, oH, oW)
        Gradient with respect to the forward function's result: float32, float64, float16 or bfloat16.
    {maximum_gradient}
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
    >>> x, dy = np.ones((2, 3, 8, 8), np.float32), np.ones((2, 3, 3, 3), np.float32)
    >>> fastconv.adaptive_max_pool2d_backward(dy, x, 3).shape
    (2, 3, 8, 8)
    """
    settings = AdaptiveSettings(output_size, layout)
    return run.maximum_gradient(normalize.maximum_gradient, (2, settings), (threads,), (dy, x, indices), out)


@documented
def adaptive_max_pool3d_backward(
    dy: Any,
    x: Any,
    output_size: Any,
    *,
    indices: Any = None,
    layout: str | None = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Gradient of ``adaptive_max_pool3d`` with respect to its input.

    Parameters, result and errors are as in ``adaptive_max_pool2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 8, 8, 8), np.float32), np.ones((2, 3, 3, 3, 3), np.float32)
    >>> fastconv.adaptive_max_pool3d_backward(dy, x, 3).shape
    (2, 3, 8, 8, 8)
    """
    settings = AdaptiveSettings(output_size, layout)
    return run.maximum_gradient(normalize.maximum_gradient, (3, settings), (threads,), (dy, x, indices), out)
