"""Convolutions and transposed convolutions: normalise, plan, execute."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from .._docs import documented
from .._execute import options as with_options
from .._execute.convolution import run
from .._normalize import convolution as normalize
from .._normalize.options import CastOptions, ConvOptions

Array = np.ndarray


@documented
def conv1d(
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
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """1-D convolution as in neural networks: a cross-correlation over all channels; the kernel is not flipped.

    Parameters, result and errors are as in ``conv2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 16), np.float32), np.ones((8, 3, 3), np.float32)
    >>> fastconv.conv1d(x, w, padding=1).shape
    (2, 8, 16)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.forward(1, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(normalize.forward, (1, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def conv2d(
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
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """2-D convolution as in neural networks: a cross-correlation over all channels; the kernel is not flipped.

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W)
        float32, float64, float16, bfloat16 (summed in float32), complex64 or complex128.
    w : array, (K, C / groups, kH, kW)
    bias : array, (K,), optional
    {stride}
    {groups}
    {padding_mode}
    {layouts}
    {epilogue}
    {how}
    {out}
    {options}

    Returns
    -------
    array, (N, K, oH, oW) or (K, oH, oW)
        ``o = (size + before + after - dilation * (k - 1) - 1) // stride + 1`` on every axis.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    >>> fastconv.conv2d(x, w, padding=1).shape
    (2, 4, 8, 8)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.forward(2, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(normalize.forward, (2, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def conv3d(
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
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """3-D convolution as in neural networks: a cross-correlation over all channels; the kernel is not flipped.

    Parameters, result and errors are as in ``conv2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((1, 2, 4, 4, 4), np.float32), np.ones((3, 2, 3, 3, 3), np.float32)
    >>> fastconv.conv3d(x, w, padding=1).shape
    (1, 3, 4, 4, 4)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.forward(3, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(normalize.forward, (3, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def conv_transpose1d(
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
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """1-D transposed convolution: the adjoint of the convolution with the same weight and settings.

    Parameters, result and errors are as in ``conv_transpose2d``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 8, 16), np.float32), np.ones((8, 3, 4), np.float32)
    >>> fastconv.conv_transpose1d(x, w, stride=2, padding=1).shape
    (2, 3, 32)
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
    if options:
        return with_options.forward(1, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(normalize.forward, (1, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def conv_transpose2d(
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
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """2-D transposed convolution: the adjoint of the convolution with the same weight and settings.

    Parameters
    ----------
    x : array, (N, K, H, W) or (K, H, W)
    w : array, (K, C / groups, kH, kW)
        As in torch, the first axis holds the channels of x. ``w_layout`` calls that axis O and the second one I, as in
        the convolution whose adjoint this is.
    bias : array, (C,), optional
    {transposed_stride}
    output_padding : int or one int per axis, default 0
        Elements added at the end of the result.
    {groups}
    output_size : one int per axis, optional
        Spatial size of the result, instead of ``output_padding``. Without either, padding "same" gives size * stride.
    {layouts}
    {epilogue}
    {how}
    {out}
    {cast_options}

    Returns
    -------
    array, (N, C, oH, oW) or (C, oH, oW)
        ``o = (size - 1) * stride - before - after + dilation * (k - 1) + 1 + output_padding`` on every axis.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((2, 4, 8, 8), np.float32), np.ones((4, 3, 4, 4), np.float32)
    >>> fastconv.conv_transpose2d(x, w, stride=2, padding=1).shape
    (2, 3, 16, 16)
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
    if options:
        return with_options.forward(2, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(normalize.forward, (2, settings, activation), (algorithm, threads), (x, w, bias, add), out)


@documented
def conv_transpose3d(
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
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """3-D transposed convolution: the adjoint of the convolution with the same weight and settings.

    Parameters, result and errors are as in ``conv_transpose2d``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.ones((1, 3, 4, 4, 4), np.float32), np.ones((3, 2, 4, 4, 4), np.float32)
    >>> fastconv.conv_transpose3d(x, w, stride=2, padding=1).shape
    (1, 2, 8, 8, 8)
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
    if options:
        return with_options.forward(3, settings, activation, (algorithm, threads), (x, w, bias, add), out, options)
    return run(normalize.forward, (3, settings, activation), (algorithm, threads), (x, w, bias, add), out)
