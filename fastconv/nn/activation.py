"""Activations: functions of single elements, whose gradients need one array to be kept."""

from __future__ import annotations

from typing import Any

from ..functional.activation import activate, activate_backward
from .module import Array, Module


class Activation(Module):
    """A function of every element, by the name that fastconv's functions know it by.

    ``inplace`` is accepted as ``torch.nn`` has it; memory is used again where nothing else needs it.
    """

    activation: Any = None
    _keeps_result = False
    """Whether the gradient is found from the result, which the next layer keeps anyway."""

    def forward(self, x: Array) -> Array:
        y = activate(x, self.activation)
        self.keep(y if self._keeps_result else x)
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        kept = self.kept()
        return activate_backward(dy, kept, self.activation, out=dy if dy.flags.c_contiguous else None)


class ReLU(Activation):
    """``max(x, 0)``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    activation = "relu"
    _keeps_result = True

    def __init__(self, inplace: bool = False) -> None:
        pass


class ReLU6(Activation):
    """``min(max(x, 0), 6)``."""

    activation = "relu6"
    _keeps_result = True

    def __init__(self, inplace: bool = False) -> None:
        pass


class LeakyReLU(Activation):
    """x, or ``negative_slope * x`` where that is negative."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope
        self.activation = ("leaky_relu", negative_slope)

    def describe(self) -> str:
        return f"negative_slope={self.negative_slope}"


class SiLU(Activation):
    """``x * sigmoid(x)``."""

    activation = "silu"

    def __init__(self, inplace: bool = False) -> None:
        pass


class GELU(Activation):
    """x times the normal distribution function at x; exactly, not by tanh.

    Parameters
    ----------
    approximate : "none"
        As ``torch.nn`` has it; "tanh" is not offered.
    """

    activation = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        if approximate != "none":
            raise ValueError(f"approximate: got {approximate!r}; allowed: 'none'")


class Tanh(Activation):
    """The hyperbolic tangent."""

    activation = "tanh"


class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``."""

    activation = "sigmoid"
