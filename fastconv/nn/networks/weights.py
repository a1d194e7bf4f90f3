"""Initial weights as the papers draw them: layers by themselves begin as those of ``torch.nn`` do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..convolution import Convolution
from ..generator import GENERATOR
from ..linear import Linear
from ..module import Module
from ..parameter import Parameter


def normal(parameter: Parameter, deviation: float) -> None:
    """Draw from a normal distribution around 0."""
    parameter.load(GENERATOR.standard_normal(parameter.shape, np.float32) * np.float32(deviation))


def truncated_normal(parameter: Parameter, deviation: float, limit: float = 2.0) -> None:
    """Draw from a normal distribution around 0, and again what lies beyond ``limit``."""
    values = GENERATOR.standard_normal(parameter.shape, np.float32) * np.float32(deviation)
    while (beyond := np.abs(values) > limit).any():
        values[beyond] = GENERATOR.standard_normal(int(beyond.sum()), np.float32) * np.float32(deviation)
    parameter.load(values)


def uniform(parameter: Parameter, bound: float) -> None:
    """Draw evenly from -bound to bound."""
    parameter.load(GENERATOR.uniform(-bound, bound, parameter.shape))


def zero(parameter: Parameter | None) -> None:
    """Set a bias to 0."""
    if parameter is not None:
        parameter.load(np.float32(0))


def kaiming_normal(convolution: Any) -> None:
    """Keep the variance of gradients through a convolution that a ReLU follows (He et al., 2015); no bias."""
    channels, _, *kernel = convolution.weight.shape
    normal(convolution.weight, math.sqrt(2 / (channels * math.prod(kernel))))
    zero(convolution.bias)


def draw_kaiming(model: Module, linear_deviation: float | None = None) -> None:
    """``kaiming_normal`` for all convolutions, and normal weights for linear layers where a deviation is given."""
    for module in model.modules():
        if isinstance(module, Convolution) and not module.is_transposed:
            kaiming_normal(module)
        elif isinstance(module, Linear) and linear_deviation is not None:
            normal(module.weight, linear_deviation)
            zero(module.bias)
