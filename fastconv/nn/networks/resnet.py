"""ResNet (He et al., 2015) and ResNeXt (Xie et al., 2016), strides in the 3x3 layers as everybody has them now."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..activation import ReLU
from ..containers import Residual, Sequential
from ..convolution import Conv2d
from ..linear import Flatten, Linear
from ..module import Composite, Module
from ..normalization import BatchNorm2d
from ..pooling import AdaptiveAvgPool2d, MaxPool2d
from .weights import draw_kaiming


def _shortcut(in_channels: int, channels: int, stride: int) -> Sequential | None:
    """What brings the input of a block to the shape of its result; None where it has that."""
    if stride == 1 and in_channels == channels:
        return None
    return Sequential(Conv2d(in_channels, channels, 1, stride=stride, bias=False), BatchNorm2d(channels))


class BasicBlock(Composite):
    """Two 3x3 convolutions and the sum with the input."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, groups: int, group_width: int) -> None:
        self.conv1 = Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.relu = ReLU()
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)
        body = Sequential(self.conv1, self.bn1, self.relu, self.conv2, self.bn2)
        self._route = Residual(body, self.downsample, self.relu)


class Bottleneck(Composite):
    """1x1, 3x3 and 1x1 convolutions and the sum with the input; the result has four times the width."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, groups: int, group_width: int) -> None:
        # group_width is that of a group where the first stage is 64 wide.
        inner, channels = width * group_width // 64 * groups, self.expansion * width
        self.conv1 = Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = BatchNorm2d(inner)
        self.conv2 = Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = BatchNorm2d(inner)
        self.conv3 = Conv2d(inner, channels, 1, bias=False)
        self.bn3 = BatchNorm2d(channels)
        self.relu = ReLU()
        self.downsample = _shortcut(in_channels, channels, stride)
        convolutions = (self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu, self.conv3, self.bn3)
        self._route = Residual(Sequential(*convolutions), self.downsample, self.relu)


class ResNet(Composite):
    """A stem, four stages of residual blocks, the mean of every channel, and a linear layer.

    Parameters
    ----------
    block : type of BasicBlock or Bottleneck
    depths : four ints
        Blocks of the stages.
    num_classes : int, default 1000
    in_channels : int, default 3
    width : int, default 64
        Channels of the stem and within the first stage; every stage doubles them.
    groups : int, default 1
        Groups of the 3x3 convolutions in a ``Bottleneck``.
    group_width : int, default 64
        Channels of a group in the first stage of a network of width 64.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        width: int = 64,
        groups: int = 1,
        group_width: int = 64,
    ) -> None:
        if width * group_width % 64:
            step = 64 // math.gcd(64, group_width)
            raise ValueError(f"width: got {width} with groups {group_width} wide; allowed: multiples of {step}")
        self.conv1 = Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        channels, stages = width, []
        for stage, depth in enumerate(depths):
            blocks: list[Module] = []
            for number in range(depth):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(block(channels, width << stage, stride, groups, group_width))
                channels = block.expansion * (width << stage)
            stages.append(Sequential(*blocks))
            setattr(self, f"layer{stage + 1}", stages[-1])
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(channels, num_classes)
        stem = (self.conv1, self.bn1, self.relu, self.maxpool)
        self._route = Sequential(*stem, *stages, self.avgpool, Flatten(), self.fc)
        draw_kaiming(self)


def resnet18(num_classes: int = 1000, in_channels: int = 3, width: int = 64) -> ResNet:
    """ResNet-18, names and shapes as torchvision's; 11.7 million parameters.

    Parameters
    ----------
    num_classes : int, default 1000
    in_channels : int, default 3
    width : int, default 64
        Channels of the stem and of the first stage; every stage doubles them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.networks.resnet18(num_classes=10, width=8).eval()
    >>> model(np.zeros((1, 3, 64, 64), np.float32)).shape
    (1, 10)
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, width)


def resnet50(num_classes: int = 1000, in_channels: int = 3, width: int = 64) -> ResNet:
    """ResNet-50, names and shapes as torchvision's; 25.6 million parameters; arguments as ``resnet18``."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, width)


def resnext50_32x4d(num_classes: int = 1000, in_channels: int = 3, width: int = 64) -> ResNet:
    """ResNeXt-50 32x4d, names and shapes as torchvision's; 25.0 million parameters; arguments as ``resnet18``."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, width, groups=32, group_width=4)
