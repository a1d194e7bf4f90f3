"""unfold and fold: sliding blocks as the columns of a matrix (im2col), and their sum back into an image (col2im)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import unfolding as run
from .._normalize import unfolding as normalize
from .._normalize.unfolding import BlockSettings

Array = np.ndarray


@documented
def unfold(
    x: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    out: Array | None = None,
) -> Array:
    """Copy every sliding block of ``x`` into a column (im2col).

    Parameters
    ----------
    x : array, (N, C, H, W) or (C, H, W); likewise with (W) or (D, H, W)
        Any numeric dtype, or bool.
    {block_kernel}
    {blocks}
    {out}

    Returns
    -------
    array, (N, C * kH * kW, blocks) or (C * kH * kW, blocks)
        Rows in the order (channel, kernel element), columns in the order of the blocks' positions.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.unfold(np.arange(6.0).reshape(1, 2, 3), 2)
    array([[0., 1.],
           [1., 2.],
           [3., 4.],
           [4., 5.]])
    """
    return run.unfold(normalize.unfold, (BlockSettings(kernel_size, dilation, padding, stride),), (), (x,), out)


@documented
def fold(
    x: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    out: Array | None = None,
) -> Array:
    """Sum sliding blocks, given as columns, into an image (col2im); the adjoint of ``unfold``.

    Parameters
    ----------
    x : array, (N, C * kH * kW, blocks) or (C * kH * kW, blocks)
        Any numeric dtype; float16 and bfloat16 are summed in float32.
    output_size : int or one int per axis
        Spatial size of the image. The length of this or of ``kernel_size`` is the number of spatial axes; if both are
        ints, there are two.
    kernel_size : int or one int per axis
    {blocks}
    {out}

    Returns
    -------
    array, (N, C, H, W) or (C, H, W); likewise with (W) or (D, H, W)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.fold(np.ones((4, 4)), (3, 3), 2)
    array([[[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]]])
    """
    settings = BlockSettings(kernel_size, dilation, padding, stride)
    return run.fold(normalize.fold, (output_size, settings), (), (x,), out)


@documented
def unfold_backward(
    dy: Any, x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1, *, out: Array | None = None
) -> Array:
    """Gradient of ``unfold`` with respect to its input: ``fold`` to the size of x.

    Parameters
    ----------
    dy : array, (N, C * kH * kW, blocks) or (C * kH * kW, blocks)
        Gradient with respect to the forward function's result.
    x : array or its shape
        The forward function's input.
    {block_kernel}
    {blocks}
    {out}

    Returns
    -------
    array of the shape of x

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.unfold_backward(np.ones((4, 4)), (1, 3, 3), 2).shape
    (1, 3, 3)
    """
    settings = BlockSettings(kernel_size, dilation, padding, stride)
    return run.fold(normalize.unfold_gradient, (settings,), (), (dy, x), out)


@documented
def fold_backward(
    dy: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    out: Array | None = None,
) -> Array:
    """Gradient of ``fold`` with respect to its input: ``unfold``.

    Parameters
    ----------
    dy : array, (N, C, H, W) or (C, H, W); likewise with (W) or (D, H, W)
        Gradient with respect to the forward function's result, of the spatial size ``output_size``.
    output_size : int or one int per axis
    kernel_size : int or one int per axis
    {blocks}
    {out}

    Returns
    -------
    array, (N, C * kH * kW, blocks) or (C * kH * kW, blocks)

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.fold_backward(np.ones((1, 3, 3)), (3, 3), 2).shape
    (4, 4)
    """
    settings = BlockSettings(kernel_size, dilation, padding, stride)
    return run.unfold(normalize.fold_gradient, (output_size, settings), (), (dy,), out)
