"""Upsample: images, signals and volumes in another size, by the nearest pixel or linear interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .linear import product
from .module import Array, Module
from .parameter import array_module

if TYPE_CHECKING:
    from .inference.graph import Graph, Value

LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


class Upsample(Module):
    """Spatial axes in another size, as ``torch.nn.Upsample``.

    Parameters
    ----------
    size : int or ints, optional
        Of the result's spatial axes. Either size or scale_factor is given.
    scale_factor : float or floats, optional
        The size of the result over that of x, rounded down.
    mode : {"nearest", "linear", "bilinear", "trilinear"}, default "nearest"
        The linear modes are for one, two and three spatial axes.
    align_corners : bool, optional
        Of the linear modes: whether the outermost pixels' centres, and not their edges, keep their places.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Upsample(scale_factor=2)(np.ones((1, 3, 4, 5), np.float32)).shape
    (1, 3, 8, 10)
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise ValueError(f"size, scale_factor: got {size!r}, {scale_factor!r}; allowed: one of them")
        if mode != "nearest" and mode not in LINEAR:
            raise ValueError(f"mode: got {mode!r}; allowed: 'nearest', {', '.join(map(repr, LINEAR))}")
        if mode == "nearest" and align_corners is not None:
            raise ValueError(f"align_corners: got {align_corners!r}; allowed with mode='nearest': None")
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def resizings(self, shape: tuple[int, ...]) -> list[tuple[int, int, float]]:
        """Of every spatial axis: its size, that of the result, and pixels of x for one of the result."""
        spatial = shape[2:]
        if not spatial or LINEAR.get(self.mode, len(spatial)) != len(spatial):
            allowed = LINEAR.get(self.mode, "one or more")
            raise ValueError(f"x: got shape {shape}; allowed with mode={self.mode!r}: {allowed} spatial axes")
        given: Any = self.size if self.scale_factor is None else self.scale_factor
        each = tuple(given) if isinstance(given, Sequence) else (given,) * len(spatial)
        if len(each) != len(spatial):
            raise ValueError(f"x: got shape {shape}; allowed with {given!r}: {len(each)} spatial axes")
        if self.scale_factor is None:
            return [(before, int(after), before / after) for before, after in zip(spatial, each, strict=True)]
        return [(before, math.floor(before * factor), 1 / factor) for before, factor in zip(spatial, each, strict=True)]

    def places(self, before: int, after: int, step: float) -> tuple[np.ndarray, np.ndarray]:
        """For every pixel of the result: the first of two neighbours in x, and the share of the second."""
        number = np.arange(after)
        if self.mode == "nearest":
            return np.minimum(np.floor(number * np.float32(step)).astype(np.intp), before - 1), np.zeros(after)
        if self.align_corners:
            place = number * ((before - 1) / (after - 1) if after > 1 else 0.0)
        else:
            place = np.maximum((number + 0.5) * step - 0.5, 0)
        first = np.minimum(place.astype(np.intp), before - 1)
        return first, np.where(first < before - 1, place - first, 0.0)

    def forward(self, x: Array) -> Array:
        resizings = self.resizings(x.shape)
        self.keep(resizings)
        xp, y = array_module(x), x
        for axis, (before, after, step) in enumerate(resizings, 2):
            first, share = self.places(before, after, step)
            lower = xp.take(y, xp.asarray(first), axis=axis)
            if self.mode != "nearest":
                upper = xp.take(y, xp.asarray(np.minimum(first + 1, before - 1)), axis=axis)
                upper -= lower
                upper *= xp.asarray(share).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
                lower += upper
            y = lower
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        resizings = self.kept()
        if not wants_dx:
            return None
        xp = array_module(dy)
        for axis, (before, after, step) in enumerate(resizings, 2):
            first, share = self.places(before, after, step)
            # The interpolation of one axis as a matrix, whose transpose takes the gradient back.
            matrix = np.zeros((after, before))
            np.add.at(matrix, (np.arange(after), first), 1 - share)
            np.add.at(matrix, (np.arange(after), np.minimum(first + 1, before - 1)), share)
            moved = xp.moveaxis(dy, axis, -1)
            dy = xp.moveaxis(product(moved, xp.asarray(matrix).astype(dy.dtype)), -1, axis)
        return xp.ascontiguousarray(dy)

    def lower(self, graph: Graph, x: Value) -> Value:
        places = [self.places(*each) for each in self.resizings(x.shape)]
        return graph.resize(x, places, self.mode == "nearest")

    def describe(self) -> str:
        told = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        corners = "" if self.align_corners is None else f", align_corners={self.align_corners}"
        return f"{told}, mode={self.mode!r}{corners}"
