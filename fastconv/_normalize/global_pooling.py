"""Pooling over whole images: adaptive pooling to a size of 1, over any number of spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import as_array
from .._errors import bad_type, bad_value, unfit
from . import pooling
from .arguments import LAYOUT_LETTERS, is_channels_last, shape_and_array
from .arrays import check_out
from .call import check_shape
from .pooling import AdaptiveSettings, PoolCall, boolean


@dataclass(frozen=True)
class WholeImages:
    """The shapes of a call as the user sees them, and with spatial axes beyond three folded into the first one."""

    shape: tuple[int, ...]
    channels_last: bool
    keepdims: bool

    @classmethod
    def of(cls, x: Any, layout: Any, keepdims: Any) -> WholeImages:
        """The shapes of a call for ``x``, an array or a shape."""
        shape, _ = shape_and_array("x", x)
        if len(shape) < 3:
            raise unfit("x", f"shape {shape}", "3 or more axes: batch, channels and spatial axes")
        rank = len(shape) - 2
        if rank in LAYOUT_LETTERS:
            channels_last = is_channels_last(layout, rank)
        elif layout is None or (isinstance(layout, str) and layout in ("channels_first", "channels_last")):
            channels_last = layout == "channels_last"
        else:
            raise bad_value("layout", layout, "channels_first (default) or channels_last")
        return cls(shape, channels_last, boolean("keepdims", keepdims))

    @property
    def result_shape(self) -> tuple[int, ...]:
        batch, channels = self.shape[0], self.shape[-1 if self.channels_last else 1]
        ones = (1,) * (len(self.shape) - 2 if self.keepdims else 0)
        return (batch, *ones, channels) if self.channels_last else (batch, channels, *ones)

    @property
    def folded_shape(self) -> tuple[int, ...]:
        """The input's shape with at most three spatial axes."""
        first = 1 if self.channels_last else 2
        excess = max(len(self.shape) - 5, 0)
        folded = self.shape[first : first + excess + 1]
        return (*self.shape[:first], math.prod(folded), *self.shape[first + excess + 1 :])

    @property
    def folded_result_shape(self) -> tuple[int, ...]:
        first = 1 if self.channels_last else 2
        rank = len(self.folded_shape) - 2
        return (*self.folded_shape[:first], *(1,) * rank, *self.folded_shape[first + rank :])

    @property
    def settings(self) -> AdaptiveSettings:
        return AdaptiveSettings(1, "channels_last" if self.channels_last else None)

    @property
    def rank(self) -> int:
        """Spatial axes of the folded arrays."""
        return len(self.folded_shape) - 2

    def forward(self, dtypes: Sequence[str], x: Any, out: Any) -> PoolCall:
        """A pooling of ``x``."""
        x = as_array("x", x)
        folded = x if self.shape == self.folded_shape else x.reshape(self.folded_shape)
        call = pooling.forward(self.rank, self.settings, dtypes, folded)
        call.user_shape = self.result_shape
        if out is not None:
            # Axes of size 1 come and go without a copy, whatever the strides.
            call.out = check_out(out, self.result_shape, x.dtype, x).reshape(self.folded_result_shape)
        return call

    def average_gradient(self, dy: Any) -> PoolCall:
        """The gradient for the input of an average."""
        return pooling.average_gradient(
            self.rank, self.settings, pooling.MEAN_DTYPES, self._folded_gradient(dy), self.folded_shape
        )

    def maximum_gradient(self, dy: Any, x: Any) -> PoolCall:
        """The gradient for ``x`` of a maximum."""
        _, given = shape_and_array("x", x)
        if given is None:
            raise bad_type("x", x, "an array; its maxima are looked for")
        folded = given.reshape(self.folded_shape)
        return pooling.maximum_gradient(self.rank, self.settings, self._folded_gradient(dy), folded)

    def _folded_gradient(self, dy: Any) -> np.ndarray:
        dy = as_array("dy", dy)
        check_shape("dy", dy, self.result_shape)
        return dy.reshape(self.folded_result_shape)


def forward(dtypes: Sequence[str], layout: Any, keepdims: Any, x: Any, out: Any = None) -> PoolCall:
    """A pooling of the whole images ``x``."""
    return WholeImages.of(x, layout, keepdims).forward(dtypes, x, out)


def average_gradient(layout: Any, keepdims: Any, dy: Any, x: Any) -> PoolCall:
    """The gradient for the whole images ``x`` (or their shape) of an average."""
    images = WholeImages.of(x, layout, keepdims)
    call = images.average_gradient(dy)
    call.gradient_shape = images.shape
    return call


def maximum_gradient(layout: Any, keepdims: Any, dy: Any, x: Any) -> PoolCall:
    """The gradient for the whole images ``x`` of a maximum."""
    images = WholeImages.of(x, layout, keepdims)
    call = images.maximum_gradient(dy, x)
    call.gradient_shape = images.shape
    return call
