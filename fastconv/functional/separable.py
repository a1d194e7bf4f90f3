"""Separable convolutions, a depthwise and a pointwise step, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._docs import documented
from .._execute.composed import FourGradients, FourOuts, run_separable, run_separable_backward
from .._execute.options import written
from .._normalize import separable as normalize
from .._normalize.settings import Settings

Array = np.ndarray


def _settings(
    stride: Any, padding: Any, dilation: Any, padding_mode: Any, layout: Any, w_layout: Any, precision: Any
) -> Settings:
    return Settings(stride, padding, dilation, 1, padding_mode, layout, w_layout, precision, depthwise=True)


@documented
def separable_conv1d(
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Separable 1-D convolution: a depthwise one, then one with kernel size 1 that mixes the channels.

    Parameters, result and errors are as in ``separable_conv2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 16), np.float32)
    >>> w_depthwise, w_pointwise = np.ones((6, 1, 3), np.float32), np.ones((4, 6, 1), np.float32)
    >>> fastconv.separable_conv1d(x, w_depthwise, w_pointwise, padding=1).shape
    (2, 4, 16)
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    arguments, arrays = (1, settings, activation), (x, w_depthwise, w_pointwise, bias, add)
    return run_separable(normalize.forward, arguments, (algorithm, threads), arrays, out)


@documented
def separable_conv2d(
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Separable 2-D convolution: a depthwise one, then one with kernel size 1 that mixes the channels.

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W)
    w_depthwise : array, (C * m, 1, kH, kW)
        m kernels for each of the C channels of x.
    w_pointwise : array, (K, C * m, 1, 1)
    bias : array, (K,), optional
    {stride}
        These three are those of the depthwise step.
    {padding_mode}
    {layouts}
    {epilogue}
    {how}
    {out}

    Returns
    -------
    array, (N, K, oH, oW) or (K, oH, oW)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 8, 8), np.float32)
    >>> w_depthwise, w_pointwise = np.ones((6, 1, 3, 3), np.float32), np.ones((4, 6, 1, 1), np.float32)
    >>> fastconv.separable_conv2d(x, w_depthwise, w_pointwise, padding=1).shape
    (2, 4, 8, 8)
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    arguments, arrays = (2, settings, activation), (x, w_depthwise, w_pointwise, bias, add)
    return run_separable(normalize.forward, arguments, (algorithm, threads), arrays, out)


@documented
def separable_conv3d(
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
) -> Array:
    """Separable 3-D convolution: a depthwise one, then one with kernel size 1 that mixes the channels.

    Parameters, result and errors are as in ``separable_conv2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 3, 4, 4, 4), np.float32)
    >>> w_depthwise, w_pointwise = np.ones((6, 1, 3, 3, 3), np.float32), np.ones((4, 6, 1, 1, 1), np.float32)
    >>> fastconv.separable_conv3d(x, w_depthwise, w_pointwise, padding=1).shape
    (2, 4, 4, 4, 4)
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    arguments, arrays = (3, settings, activation), (x, w_depthwise, w_pointwise, bias, add)
    return run_separable(normalize.forward, arguments, (algorithm, threads), arrays, out)


@documented
def separable_conv1d_backward(
    dy: Any,
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    needs: Sequence[bool] = (True, True, True, True),
    out: FourOuts = None,
) -> FourGradients:
    """Gradients of ``separable_conv1d`` with respect to x, the two weights and bias.

    Parameters, result and errors are as in ``separable_conv2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 16), np.float32), np.ones((2, 4, 16), np.float32)
    >>> w_depthwise, w_pointwise = np.ones((6, 1, 3), np.float32), np.ones((4, 6, 1), np.float32)
    >>> gradients = fastconv.separable_conv1d_backward(dy, x, w_depthwise, w_pointwise, padding=1)
    >>> [gradient.shape for gradient in gradients]
    [(2, 3, 16), (6, 1, 3), (4, 6, 1), (4,)]
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    arguments, arrays = (1, settings, activation, needs), (dy, x, w_depthwise, w_pointwise, bias, add)
    return written(out, run_separable_backward(normalize.backward, arguments, (algorithm, threads), arrays))


@documented
def separable_conv2d_backward(
    dy: Any,
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    needs: Sequence[bool] = (True, True, True, True),
    out: FourOuts = None,
) -> FourGradients:
    """Gradients of ``separable_conv2d`` with respect to x, the two weights and bias.

    Parameters
    ----------
    dy : array, (N, K, oH, oW) or (K, oH, oW)
        Gradient with respect to the result.
    x, w_depthwise, w_pointwise, bias, stride, padding, dilation, padding_mode, layout, w_layout, activation, add
        As given to ``separable_conv2d``.
    {how}
    {four_needs}
    {four_outs}

    Returns
    -------
    {separable_gradients}

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 8, 8), np.float32), np.ones((2, 4, 8, 8), np.float32)
    >>> w_depthwise, w_pointwise = np.ones((6, 1, 3, 3), np.float32), np.ones((4, 6, 1, 1), np.float32)
    >>> gradients = fastconv.separable_conv2d_backward(dy, x, w_depthwise, w_pointwise, padding=1)
    >>> [gradient.shape for gradient in gradients]
    [(2, 3, 8, 8), (6, 1, 3, 3), (4, 6, 1, 1), (4,)]
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    arguments, arrays = (2, settings, activation, needs), (dy, x, w_depthwise, w_pointwise, bias, add)
    return written(out, run_separable_backward(normalize.backward, arguments, (algorithm, threads), arrays))


@documented
def separable_conv3d_backward(
    dy: Any,
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    needs: Sequence[bool] = (True, True, True, True),
    out: FourOuts = None,
) -> FourGradients:
    """Gradients of ``separable_conv3d`` with respect to x, the two weights and bias.

    Parameters, result and errors are as in ``separable_conv2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 4, 4, 4), np.float32), np.ones((2, 4, 4, 4, 4), np.float32)
    >>> w_depthwise, w_pointwise = np.ones((6, 1, 3, 3, 3), np.float32), np.ones((4, 6, 1, 1, 1), np.float32)
    >>> gradients = fastconv.separable_conv3d_backward(dy, x, w_depthwise, w_pointwise, padding=1)
    >>> [gradient.shape for gradient in gradients]
    [(2, 3, 4, 4, 4), (6, 1, 3, 3, 3), (4, 6, 1, 1, 1), (4,)]
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    arguments, arrays = (3, settings, activation, needs), (dy, x, w_depthwise, w_pointwise, bias, add)
    return written(out, run_separable_backward(normalize.backward, arguments, (algorithm, threads), arrays))
