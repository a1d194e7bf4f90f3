"""Normalization by the statistics of a batch's channels, of groups of channels, or over axes, and the gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import normalization as run
from .._normalize import normalization as normalize

Array = np.ndarray
Three = tuple[Any, Any, Any]


@documented
def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    mean: Any = None,
    variance: Any = None,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    add: Any = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Three:
    """``activation((x - mean) / sqrt(variance + eps) * weight + bias + add)``, channel by channel.

    Parameters
    ----------
    x : array, (N, C, ...)
        float32, float64, float16 or bfloat16, the latter computed in float32.
    weight, bias : arrays, (C,), optional
        Default: 1 and 0.
    mean, variance : arrays, (C,), optional
        Running statistics, say. Default: those of x, over all axes but the channels.
    {normalized}

    Returns
    -------
    (y, mean, variance) : arrays of the shapes (N, C, ...), (C,), (C,)
        The statistics are those that were given or, in float32 or float64, those of x: the variance is the mean
        square of the deviations, not corrected for the size of a sample. Of no elements, they are NaN.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[1.0, 2.0]], [[3.0, 6.0]]])
    >>> y, mean, variance = fastconv.batch_norm(x)
    >>> mean, variance
    (array([3.]), array([3.5]))
    """
    call = normalize.batch(
        x, weight=weight, bias=bias, mean=mean, variance=variance, eps=eps, activation=activation, add=add, out=out
    )
    return run.normalize(call, threads)


@documented
def batch_norm_backward(
    dy: Any,
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    batch_statistics: bool = True,
    needs: tuple[bool, bool, bool] = (True, True, True),
    threads: int | None = None,
    out: Array | None = None,
) -> Three:
    """Gradients of ``batch_norm`` without ``add``.

    Parameters
    ----------
    dy : array
        Gradient with respect to the forward function's first result, and of its shape.
    x : array, (N, C, ...)
        The forward function's input.
    mean, variance : arrays, (C,)
        As the forward function returned them.
    weight, bias : arrays, (C,), optional
        As in the forward function; bias matters to an activation alone.
    {normalized_gradient}
    batch_statistics : bool, default True
        Whether mean and variance are those of x, and depend on it; running statistics do not.
    {normalized_needs}

    Returns
    -------
    (dx, dweight, dbias) : arrays of the shapes (N, C, ...), (C,), (C,)
        None where ``needs`` is False.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[1.0, 2.0]], [[3.0, 6.0]]])
    >>> y, mean, variance = fastconv.batch_norm(x)
    >>> dx, dweight, dbias = fastconv.batch_norm_backward(np.ones_like(x), x, mean, variance)
    >>> dbias
    array([4.])
    """
    call = normalize.batch(
        *(x,), weight=weight, bias=bias, mean=mean, variance=variance, eps=eps, activation=activation, out=out,
        dy=dy, own=batch_statistics, needs=needs
    )  # fmt: skip
    return run.gradients(call, threads)


@documented
def group_norm(
    x: Any,
    groups: int,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    add: Any = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Three:
    """As ``batch_norm``, but every group of channels of every image by its own mean and variance.

    Parameters
    ----------
    x : array, (N, C, ...)
        float32, float64, float16 or bfloat16, the latter computed in float32.
    groups : int
        A divisor of C; 1: whole images, C: every channel of every image alone.
    weight, bias : arrays, (C,), optional
        Default: 1 and 0.
    {normalized}

    Returns
    -------
    (y, mean, variance) : arrays of the shapes (N, C, ...), (N, groups), (N, groups)
        The statistics are in float32 or float64.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> y, mean, variance = fastconv.group_norm(np.arange(8.0).reshape(1, 4, 2), 2)
    >>> mean
    array([[1.5, 5.5]])
    """
    call = normalize.group(x, groups, weight=weight, bias=bias, eps=eps, activation=activation, add=add, out=out)
    return run.normalize(call, threads)


@documented
def group_norm_backward(
    dy: Any,
    x: Any,
    groups: int,
    mean: Any,
    variance: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
    threads: int | None = None,
    out: Array | None = None,
) -> Three:
    """Gradients of ``group_norm`` without ``add``.

    Parameters
    ----------
    dy : array
        Gradient with respect to the forward function's first result, and of its shape.
    x : array, (N, C, ...)
        The forward function's input.
    groups : int
        As in the forward function.
    mean, variance : arrays, (N, groups)
        As the forward function returned them.
    weight, bias : arrays, (C,), optional
        As in the forward function; bias matters to an activation alone.
    {normalized_gradient}
    {normalized_needs}

    Returns
    -------
    (dx, dweight, dbias) : arrays of the shapes (N, C, ...), (C,), (C,)
        None where ``needs`` is False.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(8.0).reshape(1, 4, 2)
    >>> y, mean, variance = fastconv.group_norm(x, 2)
    >>> dx, dweight, dbias = fastconv.group_norm_backward(np.ones_like(x), x, 2, mean, variance)
    >>> dbias
    array([2., 2., 2., 2.])
    """
    call = normalize.group(
        *(x, groups), weight=weight, bias=bias, mean=mean, variance=variance, eps=eps, activation=activation, out=out,
        dy=dy, own=True, needs=needs
    )  # fmt: skip
    return run.gradients(call, threads)


@documented
def layer_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    axis: Any = -1,
    eps: float = 1e-5,
    activation: Any = None,
    add: Any = None,
    threads: int | None = None,
    out: Array | None = None,
) -> Three:
    """As ``batch_norm``, but over some axes, by a mean and a variance for every place on the other ones.

    Parameters
    ----------
    x : array
        float32, float64, float16 or bfloat16, the latter computed in float32.
    weight, bias : arrays of the sizes that x has on ``axis``, optional
        Default: 1 and 0.
    axis : int or ints, default -1
        The normalized axes; of (N, C, H, W), 1 is a normalization over the channels.
    {normalized}

    Returns
    -------
    (y, mean, variance) : arrays, the statistics of the shape that x has on its other axes
        The statistics are in float32 or float64.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> y, mean, variance = fastconv.layer_norm(np.arange(6.0).reshape(2, 3))
    >>> mean
    array([1., 4.])
    """
    call = normalize.layer(x, axis, weight=weight, bias=bias, eps=eps, activation=activation, add=add, out=out)
    return run.normalize(call, threads)


@documented
def layer_norm_backward(
    dy: Any,
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    axis: Any = -1,
    eps: float = 1e-5,
    activation: Any = None,
    needs: tuple[bool, bool, bool] = (True, True, True),
    threads: int | None = None,
    out: Array | None = None,
) -> Three:
    """Gradients of ``layer_norm`` without ``add``.

    Parameters
    ----------
    dy : array
        Gradient with respect to the forward function's first result, and of its shape.
    x : array
        The forward function's input.
    mean, variance : arrays
        As the forward function returned them.
    weight, bias : arrays of the sizes that x has on ``axis``, optional
        As in the forward function; bias matters to an activation alone.
    axis : int or ints, default -1
        As in the forward function.
    {normalized_gradient}
    {normalized_needs}

    Returns
    -------
    (dx, dweight, dbias) : arrays
        Of the shapes of x and of the weight; None where ``needs`` is False.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(6.0).reshape(2, 3)
    >>> y, mean, variance = fastconv.layer_norm(x)
    >>> dx, dweight, dbias = fastconv.layer_norm_backward(np.ones_like(x), x, mean, variance)
    >>> dbias
    array([2., 2., 2.])
    """
    call = normalize.layer(
        *(x, axis), weight=weight, bias=bias, mean=mean, variance=variance, eps=eps, activation=activation, out=out,
        dy=dy, own=True, needs=needs
    )  # fmt: skip
    return run.gradients(call, threads)
