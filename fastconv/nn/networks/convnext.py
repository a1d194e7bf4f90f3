"""ConvNeXt-T (Liu et al., 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..activation import GELU
from ..containers import Residual, Sequential
from ..convolution import Conv2d, Convolution
from ..dropout import StochasticDepth
from ..linear import Flatten, Linear, Permute
from ..module import Array, Composite, Module
from ..normalization import LayerNorm, LayerNorm2d
from ..parameter import Parameter, array_module
from ..pooling import AdaptiveAvgPool2d
from .weights import truncated_normal, zero

if TYPE_CHECKING:
    from ..inference.graph import Graph, Value

DEPTHS = (3, 3, 9, 3)


class Scale(Module):
    """The input times a parameter, which belongs to the module that uses it."""

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight

    def forward(self, x: Array) -> Array:
        self.keep(x)
        return x * self.weight.data

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x = self.kept()

        def compute(out: Any) -> Any:
            gradient = (dy * x).sum(axis=(0, *range(2, x.ndim))).reshape(self.weight.shape)
            if out is None:
                return gradient
            out[...] = gradient
            return out

        self.weight.add_gradient(compute)
        return dy * self.weight.data if wants_dx else None

    def lower(self, graph: Graph, x: Value) -> Value:
        scale = self.weight.data.reshape(-1)
        return graph.scale(x, scale, array_module(scale).zeros_like(scale))


class ConvNeXtBlock(Composite):
    """Depthwise 7x7, then two linear layers on every pixel, scaled per channel, and the sum with the input."""

    def __init__(self, channels: int, layer_scale: float, drop_rate: float) -> None:
        self.block = Sequential(
            Conv2d(channels, channels, 7, padding=3, groups=channels),
            Permute((0, 2, 3, 1)),
            LayerNorm(channels, eps=1e-6),
            Linear(channels, 4 * channels),
            GELU(),
            Linear(4 * channels, channels),
            Permute((0, 3, 1, 2)),
        )
        self.layer_scale = Parameter(np.full((channels, 1, 1), layer_scale, np.float32))
        self._route = Residual(Sequential(self.block, Scale(self.layer_scale), StochasticDepth(drop_rate, "row")))


class ConvNeXt(Composite):
    """See ``convnext_tiny``."""

    def __init__(
        self, num_classes: int, in_channels: int, width: int, stochastic_depth: float, layer_scale: float
    ) -> None:
        stem = Sequential(Conv2d(in_channels, width, 4, stride=4), LayerNorm2d(width, eps=1e-6))
        features: list[Module] = [stem]
        last, number, channels = sum(DEPTHS) - 1, 0, width
        for stage, depth in enumerate(DEPTHS):
            if stage > 0:
                shrink = Conv2d(channels, 2 * channels, 2, stride=2)
                features.append(Sequential(LayerNorm2d(channels, eps=1e-6), shrink))
                channels *= 2
            rates = [stochastic_depth * block / last for block in range(number, number + depth)]
            features.append(Sequential(*(ConvNeXtBlock(channels, layer_scale, rate) for rate in rates)))
            number += depth
        self.features = Sequential(*features)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.classifier = Sequential(LayerNorm2d(channels, eps=1e-6), Flatten(), Linear(channels, num_classes))
        self._route = Sequential(self.features, self.avgpool, self.classifier)
        for module in self.modules():
            if isinstance(module, (Convolution, Linear)):
                truncated_normal(module.weight, 0.02)
                zero(module.bias)


def convnext_tiny(
    num_classes: int = 1000,
    in_channels: int = 3,
    width: int = 96,
    stochastic_depth: float = 0.1,
    layer_scale: float = 1e-6,
) -> ConvNeXt:
    """ConvNeXt-T, names and shapes as torchvision's; 28.6 million parameters.

    Parameters
    ----------
    num_classes : int, default 1000
    in_channels : int, default 3
    width : int, default 96
        Channels of the first stage; every stage doubles them.
    stochastic_depth : float, default 0.1
        Share of images for which the deepest block is left out in training; it grows from 0 at the first.
    layer_scale : float, default 1e-6
        What the scales of the blocks' channels begin at.
    """
    return ConvNeXt(num_classes, in_channels, width, stochastic_depth, layer_scale)
