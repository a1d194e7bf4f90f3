"""EfficientNet-B0 (Tan and Le, 2019)."""

from __future__ import annotations

import math

from ..activation import SiLU
from ..containers import Residual, Sequential
from ..convolution import Conv2d
from ..dropout import Dropout, StochasticDepth
from ..linear import Flatten, Linear
from ..module import Composite, Module
from ..normalization import BatchNorm2d
from ..pooling import AdaptiveAvgPool2d
from ..squeeze_excite import SqueezeExcite
from .mobilenet import rounded
from .weights import draw_kaiming, uniform, zero

STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, channels, blocks, stride of the first block, kernel."""


def _convolution(in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Module]:
    """A convolution that keeps the size at stride 1, and batch normalization."""
    padding = kernel // 2
    convolution = Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    return [convolution, BatchNorm2d(channels)]


class MBConv(Composite):
    """1x1 to more channels, depthwise, squeeze-and-excitation, and 1x1 back, with the sum where the shape stays."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, expansion: int, kernel: int, drop_rate: float
    ) -> None:
        wide = in_channels * expansion
        layers: list[Module] = []
        if expansion > 1:
            layers.append(Sequential(*_convolution(in_channels, wide, 1), SiLU()))
        layers.append(Sequential(*_convolution(wide, wide, kernel, stride, groups=wide), SiLU()))
        layers.append(SqueezeExcite(wide, max(1, in_channels // 4), activation=SiLU()))
        layers.append(Sequential(*_convolution(wide, channels, 1)))
        self.block = Sequential(*layers)
        self._route: Module = self.block
        if stride == 1 and in_channels == channels:
            self._route = Residual(Sequential(self.block, StochasticDepth(drop_rate, "row")))


class EfficientNet(Composite):
    """See ``efficientnet_b0``."""

    def __init__(
        self, num_classes: int, in_channels: int, width_mult: float, dropout: float, stochastic_depth: float
    ) -> None:
        channels = rounded(32 * width_mult)
        features: list[Module] = [Sequential(*_convolution(in_channels, channels, 3, stride=2), SiLU())]
        total, number = sum(depth for _, _, depth, _, _ in STAGES), 0
        for expansion, wanted, depth, first_stride, kernel in STAGES:
            outputs, blocks = rounded(wanted * width_mult), []
            for block in range(depth):
                stride, rate = first_stride if block == 0 else 1, stochastic_depth * number / total
                blocks.append(MBConv(channels, outputs, stride, expansion, kernel, rate))
                channels, number = outputs, number + 1
            features.append(Sequential(*blocks))
        features.append(Sequential(*_convolution(channels, 4 * channels, 1), SiLU()))
        linear = Linear(4 * channels, num_classes)
        self.features = Sequential(*features)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.classifier = Sequential(Dropout(dropout), linear)
        self._route = Sequential(self.features, self.avgpool, Flatten(), self.classifier)
        draw_kaiming(self)
        uniform(linear.weight, 1 / math.sqrt(num_classes))
        zero(linear.bias)


def efficientnet_b0(
    num_classes: int = 1000,
    in_channels: int = 3,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
) -> EfficientNet:
    """EfficientNet-B0, names and shapes as torchvision's; 5.3 million parameters.

    Parameters
    ----------
    num_classes : int, default 1000
    in_channels : int, default 3
    width_mult : float, default 1.0
        Factor of all widths, which are rounded to multiples of 8.
    dropout : float, default 0.2
    stochastic_depth : float, default 0.2
        Share of images for which the deepest residual block is left out in training; it grows from 0 at the first.
    """
    return EfficientNet(num_classes, in_channels, width_mult, dropout, stochastic_depth)
