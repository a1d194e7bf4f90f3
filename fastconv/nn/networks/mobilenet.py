"""MobileNetV2 (Sandler et al., 2018)."""

from __future__ import annotations

from ..activation import ReLU6
from ..containers import Residual, Sequential
from ..convolution import Conv2d
from ..dropout import Dropout
from ..linear import Flatten, Linear
from ..module import Composite, Module
from ..normalization import BatchNorm2d
from ..pooling import AdaptiveAvgPool2d
from .weights import draw_kaiming

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first block."""


def rounded(channels: float) -> int:
    """To the next multiple of 8, but not below 90 %; at least 8."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _convolution(in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Sequential:
    """A convolution that keeps the size at stride 1, batch normalization, and ReLU6."""
    padding = kernel // 2
    convolution = Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    return Sequential(convolution, BatchNorm2d(channels), ReLU6())


class InvertedResidual(Composite):
    """1x1 to more channels, depthwise, and 1x1 back, with the sum where the shape stays."""

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        wide = in_channels * expansion
        layers: list[Module] = [_convolution(in_channels, wide, 1)] if expansion > 1 else []
        layers.append(_convolution(wide, wide, 3, stride, groups=wide))
        layers += [Conv2d(wide, channels, 1, bias=False), BatchNorm2d(channels)]
        self.conv = Sequential(*layers)
        self._route = Residual(self.conv) if stride == 1 and in_channels == channels else self.conv


class MobileNetV2(Composite):
    """See ``mobilenet_v2``."""

    def __init__(self, num_classes: int, in_channels: int, width_mult: float, dropout: float) -> None:
        channels = rounded(32 * width_mult)
        last = rounded(1280 * max(1.0, width_mult))
        features: list[Module] = [_convolution(in_channels, channels, 3, stride=2)]
        for expansion, wanted, depth, first_stride in STAGES:
            outputs = rounded(wanted * width_mult)
            for block in range(depth):
                features.append(InvertedResidual(channels, outputs, first_stride if block == 0 else 1, expansion))
                channels = outputs
        features.append(_convolution(channels, last, 1))
        self.features = Sequential(*features)
        self.classifier = Sequential(Dropout(dropout), Linear(last, num_classes))
        self._route = Sequential(self.features, AdaptiveAvgPool2d(1), Flatten(), self.classifier)
        draw_kaiming(self, linear_deviation=0.01)


def mobilenet_v2(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> MobileNetV2:
    """MobileNetV2, names and shapes as torchvision's; 3.5 million parameters.

    Parameters
    ----------
    num_classes : int, default 1000
    in_channels : int, default 3
    width_mult : float, default 1.0
        Factor of all widths, which are rounded to multiples of 8.
    dropout : float, default 0.2

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.networks.mobilenet_v2(num_classes=10).eval()(np.zeros((1, 3, 64, 64), np.float32)).shape
    (1, 10)
    """
    return MobileNetV2(num_classes, in_channels, width_mult, dropout)
