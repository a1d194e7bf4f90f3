"""Layers that drop elements, channels or branches at random while a network is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .generator import GENERATOR
from .module import Array, Module
from .parameter import array_module

if TYPE_CHECKING:
    from .inference.graph import Graph, Value


class Dropping(Module):
    """Multiplies by 0 or by what keeps the mean, the same number for all of an element, a channel or an image."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p: got {p}; allowed: a probability from 0 to 1")
        self.p = p

    def dropped_together(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what is drawn for an array of a shape."""
        return shape

    def forward(self, x: Array) -> Array:
        if not self.training or self.p == 0:
            self.keep(None)
            return x
        xp = array_module(x)
        # Drawn on the host for every device, so that a seed gives the same numbers.
        drawn = GENERATOR.random(self.dropped_together(x.shape), np.float32) >= self.p
        scale = xp.asarray(drawn).astype(x.dtype)
        if self.p < 1:
            scale *= scale.dtype.type(1 / (1 - self.p))
        self.keep(scale)
        return x * scale

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        scale = self.kept()
        return dy if scale is None else dy * scale

    def lower(self, graph: Graph, x: Value) -> Value:
        return x

    def describe(self) -> str:
        return f"p={self.p}"


class Dropout(Dropping):
    """Drops single elements (Srivastava et al., 2014), as ``torch.nn.Dropout``.

    Parameters
    ----------
    p : float, default 0.5
        Probability of becoming 0; all others are divided by ``1 - p``. In evaluation mode nothing is done.
    """


class ChannelDropout(Dropping):
    """Drops whole channels, of any dimension."""

    def dropped_together(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], *(1 for _ in shape[2:]))


class Dropout1d(ChannelDropout):
    """Drops whole channels of (N, C, W); arguments as in ``Dropout``."""


class Dropout2d(ChannelDropout):
    """Drops whole channels of (N, C, H, W); arguments as in ``Dropout``."""


class Dropout3d(ChannelDropout):
    """Drops whole channels of (N, C, D, H, W); arguments as in ``Dropout``."""


class StochasticDepth(Dropping):
    """Drops what a residual branch has made of an image (Huang et al., 2016).

    Parameters
    ----------
    p : float
    mode : {"row", "batch"}, default "row"
        Whether images are dropped one by one or all together.
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__(p)
        if mode not in ("row", "batch"):
            raise ValueError(f"mode: got {mode!r}; allowed: 'row', 'batch'")
        self.mode = mode

    def dropped_together(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] if self.mode == "row" else 1, *(1 for _ in shape[1:]))

    def describe(self) -> str:
        return f"p={self.p}, mode={self.mode!r}"
