"""Plain stacks of convolutions, pooling and linear layers: LeNet-5, AlexNet, VGG."""

from __future__ import annotations

from collections.abc import Sequence

from ..activation import ReLU, Tanh
from ..containers import Sequential
from ..convolution import Conv2d
from ..dropout import Dropout
from ..linear import Flatten, Linear
from ..module import Composite, Module
from ..pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .weights import draw_kaiming


class Stack(Composite):
    """``features``, pooling to a fixed size, and a ``classifier``."""

    def __init__(self, features: Sequential, size: int, classifier: Sequential) -> None:
        self.features = features
        self.avgpool = AdaptiveAvgPool2d(size)
        self.classifier = classifier
        self._route = Sequential(features, self.avgpool, Flatten(), classifier)


class LeNet5(Composite):
    """See ``lenet5``."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        self.c1 = Conv2d(in_channels, 6, 5)
        self.c3 = Conv2d(6, 16, 5)
        self.c5 = Conv2d(16, 120, 5)
        self.f6 = Linear(120, 84)
        self.output = Linear(84, num_classes)
        convolutions = (self.c1, Tanh(), AvgPool2d(2), self.c3, Tanh(), AvgPool2d(2), self.c5, Tanh())
        self._route = Sequential(*convolutions, Flatten(), self.f6, Tanh(), self.output)


def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """LeNet-5 on 32x32 digits (LeCun et al., 1998), its second convolution fully connected, its output linear.

    Parameters
    ----------
    num_classes : int, default 10
    in_channels : int, default 1

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.networks.lenet5()(np.zeros((5, 1, 32, 32), np.float32)).shape
    (5, 10)
    """
    return LeNet5(num_classes, in_channels)


def alexnet(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: int = 64, hidden: int = 4096
) -> Stack:
    """AlexNet in the form of one tower (Krizhevsky, 2014), names and shapes as torchvision's; 61.1 million parameters.

    Parameters
    ----------
    num_classes : int, default 1000
    in_channels : int, default 3
    dropout : float, default 0.5
    width : int, default 64
        Channels of the first convolution; the others are multiples of it.
    hidden : int, default 4096
        Width of the hidden linear layers.
    """
    features: list[Module] = [Conv2d(in_channels, width, 11, stride=4, padding=2), ReLU(), MaxPool2d(3, stride=2)]
    features += [Conv2d(width, 3 * width, 5, padding=2), ReLU(), MaxPool2d(3, stride=2)]
    for inputs, outputs in ((3, 6), (6, 4), (4, 4)):
        features += [Conv2d(inputs * width, outputs * width, 3, padding=1), ReLU()]
    features.append(MaxPool2d(3, stride=2))
    classifier: list[Module] = [Dropout(dropout), Linear(4 * width * 36, hidden), ReLU()]
    classifier += [Dropout(dropout), Linear(hidden, hidden), ReLU(), Linear(hidden, num_classes)]
    return Stack(Sequential(*features), 6, Sequential(*classifier))


def _vgg(depths: Sequence[int], num_classes: int, in_channels: int, dropout: float, width: int, hidden: int) -> Stack:
    """VGG with as many convolutions in its five stages."""
    features: list[Module] = []
    channels = in_channels
    for stage, depth in enumerate(depths):
        for _ in range(depth):
            # The last two stages are of one width.
            outputs = width << min(stage, 3)
            features += [Conv2d(channels, outputs, 3, padding=1), ReLU()]
            channels = outputs
        features.append(MaxPool2d(2))
    classifier: list[Module] = [Linear(channels * 49, hidden), ReLU(), Dropout(dropout)]
    classifier += [Linear(hidden, hidden), ReLU(), Dropout(dropout), Linear(hidden, num_classes)]
    model = Stack(Sequential(*features), 7, Sequential(*classifier))
    draw_kaiming(model, linear_deviation=0.01)
    return model


def vgg11(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: int = 64, hidden: int = 4096
) -> Stack:
    """VGG-11, configuration A of Simonyan and Zisserman (2014); 132.9 million parameters; arguments as ``vgg16``."""
    return _vgg((1, 1, 2, 2, 2), num_classes, in_channels, dropout, width, hidden)


def vgg16(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: int = 64, hidden: int = 4096
) -> Stack:
    """VGG-16, configuration D of Simonyan and Zisserman (2014), as torchvision's; 138.4 million parameters.

    Parameters
    ----------
    num_classes : int, default 1000
    in_channels : int, default 3
    dropout : float, default 0.5
    width : int, default 64
        Channels of the first stage.
    hidden : int, default 4096
        Width of the hidden linear layers.
    """
    return _vgg((2, 2, 3, 3, 3), num_classes, in_channels, dropout, width, hidden)
