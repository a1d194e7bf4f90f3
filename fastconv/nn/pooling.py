"""Pooling layers, with the arguments of ``torch.nn``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import pooling
from .module import Array, Module
from .parameter import array_module

if TYPE_CHECKING:
    from .inference.graph import Graph, Value

Sizes = int | Sequence[int]


def shape_of(x: Array) -> Array:
    """An array of the shape and dtype of x that takes no memory: all that the gradient of an average needs of x."""
    xp = array_module(x)
    return xp.broadcast_to(xp.zeros((), x.dtype), x.shape)


class Pooling(Module):
    """What all have in common: a public function and its gradient by the name."""

    kind: str
    dimensions: int
    needs_x = True
    """Whether the gradient depends on the numbers, or on the shape alone."""

    def settings(self) -> dict[str, Any]:
        """Of the public functions."""
        raise NotImplementedError

    def function(self, suffix: str = "") -> Any:
        """The public function of this layer."""
        return getattr(pooling, f"{self.kind}{self.dimensions}d{suffix}")

    def forward(self, x: Array) -> Array:
        y = self.function()(x, **self.settings())
        self.keep(x if self.needs_x else shape_of(x))
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x = self.kept()
        return self.function("_backward")(dy, x, **self.settings()) if wants_dx else None

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.pool(self.function().__name__, x, **self.settings())

    def describe(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.settings().items())


class MaxPool(Pooling):
    """Maxima of windows, of any dimension."""

    kind = "max_pool"

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def settings(self) -> dict[str, Any]:
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        return {name: getattr(self, name) for name in names}

    def forward(self, x: Array) -> Array:
        if not self._keeps:
            return super().forward(x)
        # The places of the maxima are less than x, and need not be looked for again.
        y, indices = self.function()(x, **self.settings(), return_indices=True)
        self.keep((x.shape, indices))
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        shape, indices = self.kept()
        return self.function("_backward")(dy, shape, **self.settings(), indices=indices) if wants_dx else None


class AvgPool(Pooling):
    """Averages of windows, of any dimension."""

    kind = "avg_pool"
    needs_x = False

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel_size, stride, padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def settings(self) -> dict[str, Any]:
        names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
        return {name: getattr(self, name) for name in names}


class AdaptivePool(Pooling):
    """Maxima or averages of as many windows as are asked for, of any dimension."""

    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def settings(self) -> dict[str, Any]:
        return {"output_size": self.output_size}


class MaxPool1d(MaxPool):
    """1-D maxima of windows; arguments as in ``MaxPool2d``."""

    dimensions = 1


class MaxPool2d(MaxPool):
    """2-D maxima of windows, as ``torch.nn.MaxPool2d``.

    Parameters
    ----------
    kernel_size : int or two ints
    stride : int or two ints, optional
        Default: kernel_size.
    padding, dilation : int or two ints, default 0 and 1
    ceil_mode : bool, default False
        Whether windows that are partly beyond the image count.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.MaxPool2d(2)(np.ones((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    dimensions = 2


class MaxPool3d(MaxPool):
    """3-D maxima of windows; arguments as in ``MaxPool2d``."""

    dimensions = 3


class AvgPool1d(AvgPool):
    """1-D averages of windows; arguments as in ``AvgPool2d``."""

    dimensions = 1


class AvgPool2d(AvgPool):
    """2-D averages of windows, as ``torch.nn.AvgPool2d``.

    Parameters
    ----------
    kernel_size : int or two ints
    stride : int or two ints, optional
        Default: kernel_size.
    padding : int or two ints, default 0
    ceil_mode : bool, default False
    count_include_pad : bool, default True
    divisor_override : int, optional
    """

    dimensions = 2


class AvgPool3d(AvgPool):
    """3-D averages of windows; arguments as in ``AvgPool2d``."""

    dimensions = 3


class AdaptiveMaxPool1d(AdaptivePool):
    """As many 1-D maxima as ``output_size``."""

    kind, dimensions = "adaptive_max_pool", 1


class AdaptiveMaxPool2d(AdaptivePool):
    """As many 2-D maxima as ``output_size``, one number or two; None: the size of x."""

    kind, dimensions = "adaptive_max_pool", 2


class AdaptiveMaxPool3d(AdaptivePool):
    """As many 3-D maxima as ``output_size``, one number or three; None: the size of x."""

    kind, dimensions = "adaptive_max_pool", 3


class AdaptiveAvgPool1d(AdaptivePool):
    """As many 1-D averages as ``output_size``."""

    kind, dimensions, needs_x = "adaptive_avg_pool", 1, False


class AdaptiveAvgPool2d(AdaptivePool):
    """As many 2-D averages as ``output_size``, one number or two; None: the size of x."""

    kind, dimensions, needs_x = "adaptive_avg_pool", 2, False


class AdaptiveAvgPool3d(AdaptivePool):
    """As many 3-D averages as ``output_size``, one number or three; None: the size of x."""

    kind, dimensions, needs_x = "adaptive_avg_pool", 3, False


class GlobalPool(Pooling):
    """Maxima or averages of whole channels, of any dimension."""

    def __init__(self, keepdims: bool = False) -> None:
        self.keepdims = keepdims

    def function(self, suffix: str = "") -> Any:
        return getattr(pooling, self.kind + suffix)

    def settings(self) -> dict[str, Any]:
        return {"keepdims": self.keepdims}


class GlobalAvgPool(GlobalPool):
    """The average of every channel: (N, C, ...) to (N, C), or to (N, C, 1, ...) with ``keepdims=True``."""

    kind, needs_x = "global_avg_pool", False


class GlobalMaxPool(GlobalPool):
    """The maximum of every channel: (N, C, ...) to (N, C), or to (N, C, 1, ...) with ``keepdims=True``."""

    kind = "global_max_pool"
