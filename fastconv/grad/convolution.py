"""Gradients of convolutions, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .._docs import documented
from .._execute import options as with_options
from .._execute.convolution import run, run_sums
from .._normalize import gradients as normalize
from .._normalize.options import ConvOptions

Array = np.ndarray


@documented
def conv1d_input(
    input_shape: Sequence[int],
    w: Any,
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """Gradient of ``conv1d`` with respect to its input, an array of ``input_shape``.

    Parameters, result and errors are as in ``conv2d_input``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> w, dy = np.ones((4, 3, 3), np.float32), np.ones((2, 4, 8), np.float32)
    >>> fastconv.grad.conv1d_input((2, 3, 16), w, dy, stride=2, padding=1).shape
    (2, 3, 16)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.input_gradient(1, settings, input_shape, (algorithm, threads), w, dy, out, options)
    return run(normalize.input_gradient, (1, settings, input_shape), (algorithm, threads), (w, dy), out)


@documented
def conv1d_weight(
    x: Any,
    weight_shape: Sequence[int],
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """Gradient of ``conv1d`` with respect to its weight, an array of ``weight_shape``.

    Parameters, result and errors are as in ``conv2d_weight``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 16), np.float32), np.ones((2, 4, 8), np.float32)
    >>> fastconv.grad.conv1d_weight(x, (4, 3, 3), dy, stride=2, padding=1).shape
    (4, 3, 3)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.weight_gradient(1, settings, weight_shape, (algorithm, threads), x, dy, out, options)
    return run(normalize.weight_gradient, (1, settings, weight_shape), (algorithm, threads), (x, dy), out)


@documented
def conv1d_bias(dy: Any, *, layout: str | None = None) -> Array:
    """Gradient of ``conv1d`` or ``conv_transpose1d`` with respect to its bias: dy summed over all other axes.

    Parameters, result and errors are as in ``conv2d_bias``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv1d_bias(np.ones((2, 3, 8), np.float32))
    array([16., 16., 16.], dtype=float32)
    """
    return run_sums(normalize.bias_gradient, (1, layout), (), (dy,))


@documented
def conv2d_input(
    input_shape: Sequence[int],
    w: Any,
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """Gradient of ``conv2d`` with respect to its input, an array of ``input_shape``.

    {input_and_dy}
    {of_forward}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> w, dy = np.ones((4, 3, 3, 3), np.float32), np.ones((2, 4, 4, 4), np.float32)
    >>> fastconv.grad.conv2d_input((2, 3, 8, 8), w, dy, stride=2, padding=1).shape
    (2, 3, 8, 8)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.input_gradient(2, settings, input_shape, (algorithm, threads), w, dy, out, options)
    return run(normalize.input_gradient, (2, settings, input_shape), (algorithm, threads), (w, dy), out)


@documented
def conv2d_weight(
    x: Any,
    weight_shape: Sequence[int],
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """Gradient of ``conv2d`` with respect to its weight, an array of ``weight_shape``.

    {weight_and_dy}
    {of_forward}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 8, 8), np.float32), np.ones((2, 4, 4, 4), np.float32)
    >>> fastconv.grad.conv2d_weight(x, (4, 3, 3, 3), dy, stride=2, padding=1).shape
    (4, 3, 3, 3)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.weight_gradient(2, settings, weight_shape, (algorithm, threads), x, dy, out, options)
    return run(normalize.weight_gradient, (2, settings, weight_shape), (algorithm, threads), (x, dy), out)


@documented
def conv2d_bias(dy: Any, *, layout: str | None = None) -> Array:
    """Gradient of ``conv2d`` or ``conv_transpose2d`` with respect to its bias: dy summed over all other axes.

    Parameters
    ----------
    dy : array, (N, K, oH, oW) or (K, oH, oW)
    layout : str, optional
        "NCHW" (default) or "NHWC".

    Returns
    -------
    array, (K,)
        Of dy's dtype, summed in double precision.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv2d_bias(np.ones((2, 3, 4, 4), np.float32))
    array([32., 32., 32.], dtype=float32)
    """
    return run_sums(normalize.bias_gradient, (2, layout), (), (dy,))


@documented
def conv3d_input(
    input_shape: Sequence[int],
    w: Any,
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """Gradient of ``conv3d`` with respect to its input, an array of ``input_shape``.

    Parameters, result and errors are as in ``conv2d_input``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> w, dy = np.ones((4, 3, 3, 3, 3), np.float32), np.ones((2, 4, 2, 2, 2), np.float32)
    >>> fastconv.grad.conv3d_input((2, 3, 4, 4, 4), w, dy, stride=2, padding=1).shape
    (2, 3, 4, 4, 4)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.input_gradient(3, settings, input_shape, (algorithm, threads), w, dy, out, options)
    return run(normalize.input_gradient, (3, settings, input_shape), (algorithm, threads), (w, dy), out)


@documented
def conv3d_weight(
    x: Any,
    weight_shape: Sequence[int],
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str | tuple[str, ...] = "zeros",
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[ConvOptions],
) -> Array:
    """Gradient of ``conv3d`` with respect to its weight, an array of ``weight_shape``.

    Parameters, result and errors are as in ``conv2d_weight``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 3, 4, 4, 4), np.float32), np.ones((2, 4, 2, 2, 2), np.float32)
    >>> fastconv.grad.conv3d_weight(x, (4, 3, 3, 3, 3), dy, stride=2, padding=1).shape
    (4, 3, 3, 3, 3)
    """
    settings = (stride, padding, dilation, groups, padding_mode, layout, w_layout, precision)
    if options:
        return with_options.weight_gradient(3, settings, weight_shape, (algorithm, threads), x, dy, out, options)
    return run(normalize.weight_gradient, (3, settings, weight_shape), (algorithm, threads), (x, dy), out)


@documented
def conv3d_bias(dy: Any, *, layout: str | None = None) -> Array:
    """Gradient of ``conv3d`` or ``conv_transpose3d`` with respect to its bias: dy summed over all other axes.

    Parameters, result and errors are as in ``conv2d_bias``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.grad.conv3d_bias(np.ones((2, 3, 2, 2, 2), np.float32))
    array([16., 16., 16.], dtype=float32)
    """
    return run_sums(normalize.bias_gradient, (3, layout), (), (dy,))
