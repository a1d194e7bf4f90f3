"""Augmentation: batches changed by chance, as ``transform`` of ``nn.Batches``.

A transformation takes a batch, (batch, channels, ...), and a generator of NumPy's, and returns the changed batch in the
same dtype. The generator alone decides what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .parameter import array_module

Array = Any
Transformation = Callable[[Array, np.random.Generator], Array]
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "edge": "edge"}


class Compose:
    """Transformations one after another.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> transform = nn.Compose(nn.RandomFlip(), nn.RandomCrop(28, padding=2), nn.RandomNoise(0.1))
    >>> transform(np.ones((8, 3, 28, 28), np.float32), np.random.default_rng(0)).shape
    (8, 3, 28, 28)
    """

    def __init__(self, *transformations: Transformation) -> None:
        self.transformations = transformations

    def __call__(self, x: Array, generator: np.random.Generator) -> Array:
        for transformation in self.transformations:
            x = transformation(x, generator)
        return x


class RandomFlip:
    """Mirrors each image with some probability.

    Parameters
    ----------
    probability : float, default 0.5
    axis : int, default -1
        Left and right; -2 is up and down.
    """

    def __init__(self, probability: float = 0.5, axis: int = -1) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability: {probability!r} is not between 0 and 1")
        self.probability, self.axis = probability, axis

    def __call__(self, x: Array, generator: np.random.Generator) -> Array:
        xp = _checked(x)
        axis = self.axis % x.ndim
        if axis < 2:
            raise ValueError(f"axis: {self.axis} of shape {x.shape} is no axis of an image")
        chosen = xp.asarray(generator.random(len(x)) < self.probability)
        return xp.where(chosen.reshape(-1, *(1,) * (x.ndim - 1)), xp.flip(x, axis), x)


class RandomCrop:
    """Cuts a window at a random place out of each image, which is padded before.

    Parameters
    ----------
    size : int or sequence of int
        Of the window, for every axis of the image.
    padding : int, default 0
        Elements on each side.
    padding_mode : {"zeros", "reflect", "edge"}, default "zeros"
    """

    def __init__(self, size: int | Sequence[int], padding: int = 0, padding_mode: str = "zeros") -> None:
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode: {padding_mode!r} is none of {', '.join(map(repr, PADDING_MODES))}")
        if padding < 0:
            raise ValueError(f"padding: {padding!r}; 0 or more is wanted")
        self.size, self.padding, self.padding_mode = size, padding, padding_mode

    def __call__(self, x: Array, generator: np.random.Generator) -> Array:
        xp = _checked(x)
        axes = x.ndim - 2
        size = (self.size,) * axes if isinstance(self.size, int) else tuple(self.size)
        padded = [extent + 2 * self.padding for extent in x.shape[2:]]
        if len(size) != axes or not all(0 < wanted <= there for wanted, there in zip(size, padded, strict=False)):
            raise ValueError(f"size: {self.size!r} does not fit images of {x.shape[2:]} padded by {self.padding}")
        if self.padding:
            sides = ((0, 0), (0, 0), *((self.padding, self.padding),) * axes)
            x = xp.pad(x, sides, mode=PADDING_MODES[self.padding_mode])
        begins = [generator.integers(0, there - wanted + 1, len(x)) for wanted, there in zip(size, padded, strict=True)]
        y = xp.empty((*x.shape[:2], *size), x.dtype)
        for number, begin in enumerate(zip(*begins, strict=True)):
            window = tuple(slice(first, first + wanted) for first, wanted in zip(begin, size, strict=True))
            y[number] = x[(number, slice(None), *window)]
        return y


class RandomAffine:
    """Turns and scales each image about its centre, by bilinear interpolation; 0 is outside.

    Parameters
    ----------
    degrees : float, default 0
        Turned by an angle from ``-degrees`` to ``degrees``.
    scale : pair of float, default (1, 1)
        The range of the factor by which what is seen grows.
    shift : float, default 0
        Moved along each axis by up to so many elements.
    """

    def __init__(self, degrees: float = 0.0, scale: tuple[float, float] = (1.0, 1.0), shift: float = 0.0) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale: {scale!r}; two factors above 0 in ascending order are wanted")
        if not (degrees >= 0 and shift >= 0):
            raise ValueError(f"degrees, shift: {degrees!r}, {shift!r}; 0 or more is wanted")
        self.degrees, self.scale, self.shift = degrees, scale, shift

    def __call__(self, x: Array, generator: np.random.Generator) -> Array:
        _checked(x)
        if x.ndim != 4:
            raise ValueError(f"x: shape {x.shape}; images of two axes, (batch, channels, height, width), are wanted")
        angles = np.deg2rad(generator.uniform(-self.degrees, self.degrees, len(x)))
        factors = generator.uniform(*self.scale, len(x))
        shifts = generator.uniform(-self.shift, self.shift, (len(x), 2))
        cos, sin = np.cos(angles) / factors, np.sin(angles) / factors
        # Where each element of the result comes from, about the centre.
        matrices = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
        return sampled(x, matrices, shifts)


class RandomRotation(RandomAffine):
    """Turns each image by an angle from ``-degrees`` to ``degrees``."""

    def __init__(self, degrees: float) -> None:
        super().__init__(degrees=degrees)


class RandomScale(RandomAffine):
    """Makes what is seen larger or smaller by a factor from ``low`` to ``high``."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(scale=(low, high))


class RandomNoise:
    """Adds normal noise.

    Parameters
    ----------
    deviation : float
        Its standard deviation.
    """

    def __init__(self, deviation: float) -> None:
        if not deviation >= 0:
            raise ValueError(f"deviation: {deviation!r}; 0 or more is wanted")
        self.deviation = deviation

    def __call__(self, x: Array, generator: np.random.Generator) -> Array:
        xp = _checked(x)
        noise = generator.standard_normal(x.shape, np.float32)
        noise *= self.deviation
        return _rounded(x.astype(np.result_type(x.dtype, np.float32)) + xp.asarray(noise), x.dtype)


def sampled(x: Array, matrices: np.ndarray, shifts: np.ndarray) -> Array:
    """Images whose element at ``i`` is the input's at ``matrix @ (i - shift - centre) + centre``, 0 outside.

    Parameters
    ----------
    x : array
        (batch, channels, height, width).
    matrices : numpy.ndarray
        (batch, 2, 2).
    shifts : numpy.ndarray
        (batch, 2).
    """
    xp = array_module(x)
    batch, _, height, width = x.shape
    centre = (np.array([height, width]) - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1) - centre
    places = np.einsum("nij,nhwj->nihw", matrices, grid - shifts[:, None, None, :]) + centre[:, None, None]
    below = np.floor(places)
    part = xp.asarray((places - below).astype(np.result_type(np.float32, x.dtype if x.dtype.kind == "f" else "f4")))
    below = xp.asarray(below.astype(np.int64))
    total: Any = 0
    for row in (0, 1):
        for column in (0, 1):
            i, j = below[:, 0] + row, below[:, 1] + column
            weight = (part[:, 0] if row else 1 - part[:, 0]) * (part[:, 1] if column else 1 - part[:, 1])
            weight = weight * ((i >= 0) & (i < height) & (j >= 0) & (j < width))
            i, j = xp.clip(i, 0, height - 1), xp.clip(j, 0, width - 1)
            # An array of indices beside a slice puts its axes first: (batch, height, width, channels).
            corner = x[xp.arange(batch)[:, None, None], :, i, j]
            total = total + corner * weight[..., None]
    return _rounded(xp.ascontiguousarray(xp.moveaxis(total, -1, 1)), x.dtype)


def _checked(x: Array) -> Any:
    """The array's module; refuses what is no batch of images."""
    if x.ndim < 3:
        raise ValueError(f"x: shape {x.shape}; (batch, channels, ...) is wanted")
    return array_module(x)


def _rounded(x: Array, dtype: Any) -> Array:
    """The numbers in a dtype, rounded and held within its range where that is one of integers."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        x = array_module(x).clip(array_module(x).rint(x), limits.min, limits.max)
    return x.astype(dtype, copy=False)
