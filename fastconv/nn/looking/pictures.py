"""Pictures of filters and of other small images, side by side."""

from __future__ import annotations

import math

from ..module import Array, Module
from ..parameter import array_module
from .watching import named


def sheet(images: Array, columns: int | None = None, gap: int = 1, background: float = 1.0) -> Array:
    """Images side by side in one.

    Parameters
    ----------
    images : array
        (N, H, W) or, in colour, (N, 3, H, W).
    columns : int, optional
        Images in a row; default: as many as make the sheet about square.
    gap : int, default 1
        Pixels between images and around them.
    background : float, default 1.0
        The value of these pixels.

    Returns
    -------
    array
        (height, width), or (height, width, 3).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.looking.sheet(np.zeros((6, 5, 5)), columns=3).shape
    (13, 19)
    """
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[1] != 3) or not len(images):
        raise ValueError(f"images: shape {images.shape}; (N, H, W) or (N, 3, H, W) is wanted")
    columns = math.ceil(math.sqrt(len(images))) if columns is None else columns
    if columns < 1 or gap < 0:
        raise ValueError(f"columns, gap: {columns!r}, {gap!r}; 1 and 0 or more are wanted")
    rows, (height, width) = -(-len(images) // columns), images.shape[-2:]
    size = rows * (height + gap) + gap, columns * (width + gap) + gap
    page = array_module(images).full((*images.shape[1:-2], *size), background, images.dtype)
    for number, image in enumerate(images):
        top, left = (
            place * (side + gap) + gap for place, side in zip(divmod(number, columns), (height, width), strict=True)
        )
        page[..., top : top + height, left : left + width] = image
    return page if page.ndim == 2 else page.transpose(1, 2, 0)


def filters(model: Module, layer: str, columns: int | None = None, gap: int = 1) -> Array:
    """A sheet of a convolution's filters: 0 is grey, and the largest weight of each filter black or white.

    Parameters
    ----------
    model : Module
    layer : str
        The convolution's name, as in ``model.named_modules()``.
    columns : int, optional
        Filters in a row; default: those that see several channels are a row each, a channel beside another.
    gap : int, default 1
        Pixels between filters.

    Returns
    -------
    array
        From 0 to 1: (height, width), or (height, width, 3) for filters of three channels, which are shown in colour.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.looking.filters(nn.Sequential(nn.Conv2d(3, 16, 5)), "0").shape
    (25, 25, 3)
    """
    weight = getattr(named(model, layer), "weight", None)
    if weight is None or weight.data.ndim != 4:
        shape = None if weight is None else weight.shape
        raise ValueError(f"layer: {layer!r} has a weight of shape {shape}; that of a convolution of images is wanted")
    kernels = weight.data
    largest = abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    kernels = 0.5 + 0.5 * kernels / array_module(kernels).where(largest > 0, largest, 1)
    channels = kernels.shape[1]
    if channels == 3:
        return sheet(kernels, columns, gap)
    if channels > 1 and columns is None:
        columns = channels
    return sheet(kernels.reshape(-1, *kernels.shape[2:]), columns, gap)
