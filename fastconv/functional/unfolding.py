"""unfold and fold: sliding blocks as the columns of a matrix (im2col), and their sum back into an image (col2im)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._normalize import unfolding as normalize
from .._normalize.unfolding import Blocks, BlockSettings

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
    call = normalize.unfold(x, BlockSettings(kernel_size, dilation, padding, stride), out)
    return _stored(_unfolded(call.blocks, call.input), call.out)


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
    call = normalize.fold(x, output_size, BlockSettings(kernel_size, dilation, padding, stride), out)
    return _stored(_folded(call.blocks, call.input), call.out)


@documented
def unfold_backward(dy: Any, x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    """Gradient of ``unfold`` with respect to its input: ``fold`` to the size of x.

    Parameters
    ----------
    dy : array, (N, C * kH * kW, blocks) or (C * kH * kW, blocks)
        Gradient with respect to the forward function's result.
    x : array or its shape
        The forward function's input.
    {block_kernel}
    {blocks}

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
    call = normalize.unfold_gradient(dy, x, settings)
    return _folded(call.blocks, call.input)


@documented
def fold_backward(
    dy: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Array:
    """Gradient of ``fold`` with respect to its input: ``unfold``.

    Parameters
    ----------
    dy : array, (N, C, H, W) or (C, H, W); likewise with (W) or (D, H, W)
        Gradient with respect to the forward function's result, of the spatial size ``output_size``.
    output_size : int or one int per axis
    kernel_size : int or one int per axis
    {blocks}

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
    call = normalize.fold_gradient(dy, output_size, settings)
    return _unfolded(call.blocks, call.input)


def _unfolded(blocks: Blocks, image: Array) -> Array:
    columns = np.zeros(blocks.grid_shape, image.dtype.newbyteorder("="))
    source = image if blocks.batched else image[None]
    for in_image, in_columns in blocks.taps():
        columns[in_columns] = source[in_image]
    return columns.reshape(blocks.columns_shape)


def _folded(blocks: Blocks, columns: Array) -> Array:
    dtype = columns.dtype.newbyteorder("=")
    is_half = dtype.itemsize == 2 and dtype.kind not in "iu"
    image = np.zeros((blocks.batch, blocks.channels, *blocks.sizes), np.float32 if is_half else dtype)
    grid = columns.reshape(blocks.grid_shape)
    for in_image, in_columns in blocks.taps():
        image[in_image] += grid[in_columns]
    with np.errstate(over="ignore"):
        return image.reshape(blocks.image_shape).astype(dtype, copy=False)


def _stored(result: Array, out: Array | None) -> Array:
    if out is None:
        return result
    out[...] = result
    return out
