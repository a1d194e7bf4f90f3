"""Gradients of convolutions and transposed convolutions, all three at once; one at a time in ``fastconv.grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from .._docs import documented
from .._execute import options as with_options
from .._execute.convolution import Gradients, Outs, run_backward
from .._normalize import gradients as normalize
from .._normalize.options import CastOptions, ConvOptions


@documented
def conv1d_backward(
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
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
    """Gradients of ``conv1d`` with respect to x, w and bias.

    Parameters, result and errors are as in ``conv2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 16), np.float32), np.ones((4, 3, 3), np.float32)
    >>> dy = np.ones_like(fastconv.conv1d(x, w, padding=1))
    >>> dx, dw, db = fastconv.conv1d_backward(dy, x, w, padding=1)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (4,))
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(1, settings, activation, needs, how, arrays, out, options)
    return run_backward(normalize.backward, (1, settings, activation, needs), how, arrays)


@documented
def conv2d_backward(
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
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
    """Gradients of ``conv2d`` with respect to x, w and bias.

    Parameters
    ----------
    dy : array, (N, K, oH, oW) or (K, oH, oW)
        Gradient with respect to the result.
    x, w, bias, stride, padding, dilation, groups, padding_mode, layout, w_layout, activation, add
        As given to ``conv2d``.
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
    >>> x, w = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    >>> dy = np.ones_like(fastconv.conv2d(x, w, padding=1))
    >>> dx, dw, db = fastconv.conv2d_backward(dy, x, w, padding=1)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (4,))
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(2, settings, activation, needs, how, arrays, out, options)
    return run_backward(normalize.backward, (2, settings, activation, needs), how, arrays)


@documented
def conv3d_backward(
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
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
    """Gradients of ``conv3d`` with respect to x, w and bias.

    Parameters, result and errors are as in ``conv2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 4, 4, 4), np.float32), np.ones((4, 3, 3, 3, 3), np.float32)
    >>> dy = np.ones_like(fastconv.conv3d(x, w, padding=1))
    >>> dx, dw, db = fastconv.conv3d_backward(dy, x, w, padding=1)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (4,))
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(3, settings, activation, needs, how, arrays, out, options)
    return run_backward(normalize.backward, (3, settings, activation, needs), how, arrays)


@documented
def conv_transpose1d_backward(
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    needs: Sequence[bool] = (True, True, True),
    out: Outs = None,
    **options: Unpack[CastOptions],
) -> Gradients:
    """Gradients of ``conv_transpose1d`` with respect to x, w and bias.

    Parameters, result and errors are as in ``conv_transpose2d_backward``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 4, 16), np.float32), np.ones((4, 3, 3), np.float32)
    >>> dy = np.ones_like(fastconv.conv_transpose1d(x, w, stride=2))
    >>> dx, dw, db = fastconv.conv_transpose1d_backward(dy, x, w, stride=2)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (3,))
    """
    settings = (
        stride,
        padding,
        dilation,
        groups,
        "zeros",
        layout,
        w_layout,
        precision,
        output_padding,
        output_size,
        True,
    )
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(1, settings, activation, needs, how, arrays, out, options)
    return run_backward(normalize.backward, (1, settings, activation, needs), how, arrays)


@documented
def conv_transpose2d_backward(
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    needs: Sequence[bool] = (True, True, True),
    out: Outs = None,
    **options: Unpack[CastOptions],
) -> Gradients:
    """Gradients of ``conv_transpose2d`` with respect to x, w and bias.

    Parameters
    ----------
    dy : array, (N, C, oH, oW) or (C, oH, oW)
        Gradient with respect to the result.
    x, w, bias, stride, padding, output_padding, groups, dilation, output_size, layout, w_layout, activation, add
        As given to ``conv_transpose2d``.
    {how}
    {needs}
    {outs}
    {cast_options}

    Returns
    -------
    {gradients}

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 4, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    >>> dy = np.ones_like(fastconv.conv_transpose2d(x, w, stride=2))
    >>> dx, dw, db = fastconv.conv_transpose2d_backward(dy, x, w, stride=2)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (3,))
    """
    settings = (
        stride,
        padding,
        dilation,
        groups,
        "zeros",
        layout,
        w_layout,
        precision,
        output_padding,
        output_size,
        True,
    )
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(2, settings, activation, needs, how, arrays, out, options)
    return run_backward(normalize.backward, (2, settings, activation, needs), how, arrays)


@documented
def conv_transpose3d_backward(
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    activation: Any = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    needs: Sequence[bool] = (True, True, True),
    out: Outs = None,
    **options: Unpack[CastOptions],
) -> Gradients:
    """Gradients of ``conv_transpose3d`` with respect to x, w and bias.

    Parameters, result and errors are as in ``conv_transpose2d_backward``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 4, 4, 4, 4), np.float32), np.ones((4, 3, 3, 3, 3), np.float32)
    >>> dy = np.ones_like(fastconv.conv_transpose3d(x, w, stride=2))
    >>> dx, dw, db = fastconv.conv_transpose3d_backward(dy, x, w, stride=2)
    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
    (True, True, (3,))
    """
    settings = (
        stride,
        padding,
        dilation,
        groups,
        "zeros",
        layout,
        w_layout,
        precision,
        output_padding,
        output_size,
        True,
    )
    how, arrays = (algorithm, threads), (dy, x, w, bias, add)
    if options or out is not None:
        return with_options.backward(3, settings, activation, needs, how, arrays, out, options)
    return run_backward(normalize.backward, (3, settings, activation, needs), how, arrays)
