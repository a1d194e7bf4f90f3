"""Shapes of results without arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._docs import documented
from .._normalize import shapes as normalize


@documented
def output_shape(
    function: str,
    x_shape: Sequence[int],
    w_shape: Sequence[int] | None = None,
    *,
    kernel_size: Any = None,
    stride: Any = None,
    padding: Any = None,
    dilation: Any = None,
    groups: int | None = None,
    output_padding: Any = None,
    output_size: Any = None,
    ceil_mode: bool | None = None,
    padding_mode: str | tuple[str, ...] | None = None,
    layout: str | None = None,
    w_layout: str | None = None,
    input_dilation: Any = None,
    batch_group_count: int | None = None,
    allow_empty: bool | None = None,
) -> tuple[int, ...]:
    """The shape of what a function would return, without arrays and without computing anything.

    Parameters
    ----------
    function : str
        "conv2d", "conv_transpose2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d", "adaptive_max_pool2d" or
        "adaptive_avg_pool2d", or the same in 1-D or 3-D.
    x_shape : ints
        Shape of x, in its layout.
    w_shape : ints, optional
        Shape of w, in its layout; for convolutions.
    kernel_size, stride, padding, dilation, groups, output_padding, output_size, ceil_mode : optional
        As given to the function; None: its default.
    padding_mode, layout, w_layout, input_dilation, batch_group_count, allow_empty : optional
        As given to the function; None: its default.

    Returns
    -------
    tuple of ints

    {raises}

    Examples
    --------
    >>> import fastconv
    >>> fastconv.output_shape("conv2d", (8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    (8, 64, 112, 112)
    >>> fastconv.output_shape("max_pool2d", (8, 64, 112, 112), kernel_size=3, stride=2, padding=1)
    (8, 64, 56, 56)
    """
    given = (
        *(w_shape, kernel_size, stride, padding, dilation, groups, output_padding, output_size, ceil_mode),
        *(padding_mode, w_layout, input_dilation, batch_group_count, allow_empty),
    )
    return normalize.output_shape(function, x_shape, layout, given)
