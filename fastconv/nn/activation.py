"""Activations: functions of single elements, whose gradients need one array to be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..functional.activation import activate, activate_backward
from .module import Array, Module
from .parameter import array_module, overwritable

if TYPE_CHECKING:
    from .inference.graph import Graph, Value


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

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.activation(x, self.activation)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        kept = self.kept()
        return activate_backward(dy, kept, self.activation, out=overwritable(dy)) if wants_dx else None


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
    """``x`` times the normal distribution's share below it.

    Parameters
    ----------
    approximate : {"none", "tanh"}, default "none"
        Exact, or by ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))`` (Hendrycks and Gimpel, 2016).
    """

    activation = "gelu"
    SCALE = 0.7978845608028654
    CUBIC = 0.044715

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate: got {approximate!r}; allowed: 'none', 'tanh'")
        self.approximate = approximate

    def forward(self, x: Array) -> Array:
        if self.approximate == "none":
            return super().forward(x)
        self.keep(x)
        return x * (activate(self._inner(x), "tanh") + 1) / 2

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        if self.approximate == "none":
            return super().backward(dy, wants_dx)
        x = self.kept()
        if not wants_dx:
            return None
        t = activate(self._inner(x), "tanh")
        slope = (1 - t * t) * x * self.SCALE * (1 + 3 * self.CUBIC * x * x)
        return dy * (1 + t + slope) / 2

    def _inner(self, x: Array) -> Array:
        return self.SCALE * (x + self.CUBIC * x * x * x)

    def lower(self, graph: Graph, x: Value) -> Value:
        if self.approximate == "none":
            return super().lower(graph, x)
        return graph.elementwise("gelu_tanh", x)

    def describe(self) -> str:
        return f"approximate={self.approximate!r}"


class Tanh(Activation):
    """The hyperbolic tangent."""

    activation = "tanh"


class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``."""

    activation = "sigmoid"


class Hardsigmoid(Module):
    """``min(max(x + 3, 0), 6) / 6``."""

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Array) -> Array:
        self.keep(x)
        return activate(x + 3, "relu6") / 6

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x = self.kept()
        return activate_backward(dy, x + 3, "relu6") / 6 if wants_dx else None

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.elementwise("hardsigmoid", x, slope=1 / 6, offset=0.5)


class Hardswish(Module):
    """``x * min(max(x + 3, 0), 6) / 6``."""

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Array) -> Array:
        self.keep(x)
        return x * activate(x + 3, "relu6") / 6

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x = self.kept()
        if not wants_dx:
            return None
        return (activate(x + 3, "relu6") * dy + activate_backward(x * dy, x + 3, "relu6")) / 6

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.elementwise("hardswish", x)


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` on an axis.

    Parameters
    ----------
    dim : int, default 1
    """

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, x: Array) -> Array:
        xp = array_module(x)
        y = xp.exp(x - x.max(axis=self.dim, keepdims=True))
        y /= y.sum(axis=self.dim, keepdims=True)
        self.keep(y)
        return y

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.softmax(x, self.dim)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        y = self.kept()
        if not wants_dx:
            return None
        return y * (dy - (dy * y).sum(axis=self.dim, keepdims=True))

    def describe(self) -> str:
        return f"dim={self.dim}"
