"""Gradients of transposed convolutions, one at a time; the one for a bias is that of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from .._docs import documented
from .._execute import options as with_options
from .._execute.convolution import run
from .._normalize import gradients as normalize
from .._normalize.options import CastOptions

Array = np.ndarray


@documented
def conv_transpose1d_input(
    input_shape: Sequence[int],
    w: Any,
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """Gradient of ``conv_transpose1d`` with respect to its input, an array of ``input_shape``.

    Parameters, result and errors are as in ``conv_transpose2d_input``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> w, dy = np.ones((4, 3, 4), np.float32), np.ones((2, 3, 32), np.float32)
    >>> fastconv.grad.conv_transpose1d_input((2, 4, 16), w, dy, stride=2, padding=1).shape
    (2, 4, 16)
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
        return with_options.input_gradient(1, settings, input_shape, (algorithm, threads), w, dy, out, options)
    return run(normalize.input_gradient, (1, settings, input_shape), (algorithm, threads), (w, dy), out)


@documented
def conv_transpose1d_weight(
    x: Any,
    weight_shape: Sequence[int],
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """Gradient of ``conv_transpose1d`` with respect to its weight, an array of ``weight_shape``.

    Parameters, result and errors are as in ``conv_transpose2d_weight``, with axes (W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 4, 16), np.float32), np.ones((2, 3, 32), np.float32)
    >>> fastconv.grad.conv_transpose1d_weight(x, (4, 3, 4), dy, stride=2, padding=1).shape
    (4, 3, 4)
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
        return with_options.weight_gradient(1, settings, weight_shape, (algorithm, threads), x, dy, out, options)
    return run(normalize.weight_gradient, (1, settings, weight_shape), (algorithm, threads), (x, dy), out)


@documented
def conv_transpose2d_input(
    input_shape: Sequence[int],
    w: Any,
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """Gradient of ``conv_transpose2d`` with respect to its input, an array of ``input_shape``.

    {input_and_dy}
    {of_transposed_forward}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> w, dy = np.ones((4, 3, 4, 4), np.float32), np.ones((2, 3, 16, 16), np.float32)
    >>> fastconv.grad.conv_transpose2d_input((2, 4, 8, 8), w, dy, stride=2, padding=1).shape
    (2, 4, 8, 8)
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
        return with_options.input_gradient(2, settings, input_shape, (algorithm, threads), w, dy, out, options)
    return run(normalize.input_gradient, (2, settings, input_shape), (algorithm, threads), (w, dy), out)


@documented
def conv_transpose2d_weight(
    x: Any,
    weight_shape: Sequence[int],
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """Gradient of ``conv_transpose2d`` with respect to its weight, an array of ``weight_shape``.

    {weight_and_dy}
    {of_transposed_forward}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 4, 8, 8), np.float32), np.ones((2, 3, 16, 16), np.float32)
    >>> fastconv.grad.conv_transpose2d_weight(x, (4, 3, 4, 4), dy, stride=2, padding=1).shape
    (4, 3, 4, 4)
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
        return with_options.weight_gradient(2, settings, weight_shape, (algorithm, threads), x, dy, out, options)
    return run(normalize.weight_gradient, (2, settings, weight_shape), (algorithm, threads), (x, dy), out)


@documented
def conv_transpose3d_input(
    input_shape: Sequence[int],
    w: Any,
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """Gradient of ``conv_transpose3d`` with respect to its input, an array of ``input_shape``.

    Parameters, result and errors are as in ``conv_transpose2d_input``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> w, dy = np.ones((4, 3, 4, 4, 4), np.float32), np.ones((2, 3, 8, 8, 8), np.float32)
    >>> fastconv.grad.conv_transpose3d_input((2, 4, 4, 4, 4), w, dy, stride=2, padding=1).shape
    (2, 4, 4, 4, 4)
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
        return with_options.input_gradient(3, settings, input_shape, (algorithm, threads), w, dy, out, options)
    return run(normalize.input_gradient, (3, settings, input_shape), (algorithm, threads), (w, dy), out)


@documented
def conv_transpose3d_weight(
    x: Any,
    weight_shape: Sequence[int],
    dy: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    output_size: Any = None,
    layout: str | None = None,
    w_layout: str | None = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
    **options: Unpack[CastOptions],
) -> Array:
    """Gradient of ``conv_transpose3d`` with respect to its weight, an array of ``weight_shape``.

    Parameters, result and errors are as in ``conv_transpose2d_weight``, with axes (D, H, W) in place of (H, W).

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, dy = np.ones((2, 4, 4, 4, 4), np.float32), np.ones((2, 3, 8, 8, 8), np.float32)
    >>> fastconv.grad.conv_transpose3d_weight(x, (4, 3, 4, 4, 4), dy, stride=2, padding=1).shape
    (4, 3, 4, 4, 4)
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
        return with_options.weight_gradient(3, settings, weight_shape, (algorithm, threads), x, dy, out, options)
    return run(normalize.weight_gradient, (3, settings, weight_shape), (algorithm, threads), (x, dy), out)
