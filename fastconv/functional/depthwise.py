"""Depthwise convolutions, with any number of kernels per channel, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .._docs import documented
from .._execute import options as with_options
from .._execute.convolution import Gradients, Outs, run, run_backward
from .._normalize import convolution, gradients
from .._normalize.options import ConvOptions

Array = np.ndarray


def _settings(
    stride: Any, padding: Any, dilation: Any, padding_mode: Any, layout: Any, w_layout: Any, precision: Any
) -> tuple[Any, ...]:
    """The fields of Settings: one group that is not read, nothing of a transposed convolution, depthwise."""
    return stride, padding, dilation, 1, padding_mode, layout, w_layout, precision, 0, None, False, True


@documented
def depthwise_conv1d(
    x: Any,
    w: Any,
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
    **options: Unpack[ConvOptions],
) -> Array:
    """Depthwise 1-D convolution: every channel of x has kernels of its own.

    Parameters, result and errors are as in ``depthwise_conv2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 16), np.float32), np.ones((6, 1, 3), np.float32)
    >>> fastconv.depthwise_conv1d(x, w, padding=1).shape
    (2, 6, 16)
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.forward(1, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(convolution.forward, (1, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def depthwise_conv2d(
    x: Any,
    w: Any,
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
    **options: Unpack[ConvOptions],
) -> Array:
    """Depthwise 2-D convolution: every channel of x has kernels of its own.

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W)
    {depthwise_weight}
    bias : array, (C * m,), optional
    {stride}
    {padding_mode}
    {layouts}
    {epilogue}
    {how}
    {out}
    {options}

    Returns
    -------
    array, (N, C * m, oH, oW) or (C * m, oH, oW)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 8, 8), np.float32), np.ones((6, 1, 3, 3), np.float32)
    >>> fastconv.depthwise_conv2d(x, w, padding=1).shape
    (2, 6, 8, 8)
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.forward(2, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(convolution.forward, (2, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def depthwise_conv3d(
    x: Any,
    w: Any,
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
    **options: Unpack[ConvOptions],
) -> Array:
    """Depthwise 3-D convolution: every channel of x has kernels of its own.

    Parameters, result and errors are as in ``depthwise_conv2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 4, 4, 4), np.float32), np.ones((6, 1, 3, 3, 3), np.float32)
    >>> fastconv.depthwise_conv3d(x, w, padding=1).shape
    (2, 6, 4, 4, 4)
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.forward(3, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(convolution.forward, (3, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def depthwise_conv1d_backward(
    dy: Any,
    x: Any,
    w: Any,
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
    needs: Sequence[bool] = (True, True, True),
    out: Outs = None,
    **options: Unpack[ConvOptions],
) -> Gradients:
    """Gradients of ``depthwise_conv1d`` with respect to x, w and bias.

    Parameters, result and errors are as in ``depthwise_conv2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 16), np.float32), np.ones((6, 1, 3), np.float32)
    >>> dy = np.ones((2, 6, 16), np.float32)
    >>> dx, dw, db = fastconv.depthwise_conv1d_backward(dy, x, w, padding=1)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (6,))
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(1, settings, activation, needs, how, arrays, out, options)
    return run_backward(gradients.backward, (1, settings, activation, needs), how, arrays)


@documented
def depthwise_conv2d_backward(
    dy: Any,
    x: Any,
    w: Any,
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
    needs: Sequence[bool] = (True, True, True),
    out: Outs = None,
    **options: Unpack[ConvOptions],
) -> Gradients:
    """Gradients of ``depthwise_conv2d`` with respect to x, w and bias.

    Parameters
    ----------
    dy : array, (N, C * m, oH, oW) or (C * m, oH, oW)
        Gradient with respect to the result.
    x, w, bias, stride, padding, dilation, padding_mode, layout, w_layout, activation, add
        As given to ``depthwise_conv2d``.
    {how}
    {needs}
    {outs}
    {options}

    Returns
    -------
    {gradients}

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 8, 8), np.float32), np.ones((6, 1, 3, 3), np.float32)
    >>> dy = np.ones((2, 6, 8, 8), np.float32)
    >>> dx, dw, db = fastconv.depthwise_conv2d_backward(dy, x, w, padding=1)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (6,))
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(2, settings, activation, needs, how, arrays, out, options)
    return run_backward(gradients.backward, (2, settings, activation, needs), how, arrays)


@documented
def depthwise_conv3d_backward(
    dy: Any,
    x: Any,
    w: Any,
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
    needs: Sequence[bool] = (True, True, True),
    out: Outs = None,
    **options: Unpack[ConvOptions],
) -> Gradients:
    """Gradients of ``depthwise_conv3d`` with respect to x, w and bias.

    Parameters, result and errors are as in ``depthwise_conv2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 4, 4, 4), np.float32), np.ones((6, 1, 3, 3, 3), np.float32)
    >>> dy = np.ones((2, 6, 4, 4, 4), np.float32)
    >>> dx, dw, db = fastconv.depthwise_conv3d_backward(dy, x, w, padding=1)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (6,))
    """
    settings = _settings(stride, padding, dilation, padding_mode, layout, w_layout, precision)
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(3, settings, activation, needs, how, arrays, out, options)
    return run_backward(gradients.backward, (3, settings, activation, needs), how, arrays)
