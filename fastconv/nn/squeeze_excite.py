"""Squeeze and excitation: channels that are scaled by what all of an image say."""

from __future__ import annotations

from .activation import ReLU, Sigmoid
from .containers import Identity, Multiply, Sequential
from .convolution import Conv2d
from .module import Composite, Module
from .pooling import AdaptiveAvgPool2d


class SqueezeExcite(Composite):
    """Channels scaled by what a small network makes of their averages (Hu et al., 2018); names as in torchvision.

    Parameters
    ----------
    input_channels, squeeze_channels : int
    activation, scale_activation : Module, optional
        Default: ReLU and Sigmoid.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Module | None = None,
        scale_activation: Module | None = None,
    ) -> None:
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc1 = Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation or ReLU()
        self.scale_activation = scale_activation or Sigmoid()
        scale = Sequential(self.avgpool, self.fc1, self.activation, self.fc2, self.scale_activation)
        self._route = Multiply(Identity(), scale)
