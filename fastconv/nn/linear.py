"""Linear maps of the last axis, and layers that change the shape alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from . import initial
from .module import Array, Module
from .parameter import array_module

if TYPE_CHECKING:
    from .inference.graph import Graph, Value


class Linear(Module):
    """``x @ weight.T + bias``, as ``torch.nn.Linear``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default True
    dtype : dtype or its name, default "float32"

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Linear(4, 2)(np.ones((3, 4), np.float32)).shape
    (3, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = "float32") -> None:
        self.in_features, self.out_features = in_features, out_features
        self.weight = initial.uniform((out_features, in_features), in_features, dtype)
        self.bias = initial.uniform((out_features,), in_features, dtype) if bias else None

    def forward(self, x: Array) -> Array:
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise ValueError(f"x: got shape {x.shape}; allowed: (..., {self.in_features})")
        y = product(x, self.weight.data.T)
        if self.bias is not None:
            y += self.bias.data
        self.keep(x)
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, weight = self.kept(), self.weight
        flat_dy, flat_x = dy.reshape(-1, self.out_features), x.reshape(-1, self.in_features)
        weight.add_gradient(lambda out: product(flat_dy.T, flat_x, out))
        if self.bias is not None:
            self.bias.add_gradient(lambda out: flat_dy.sum(axis=0, dtype=_wide(dy)).astype(dy.dtype, copy=False))
        return product(dy, weight.data) if wants_dx else None

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.linear(x, self.weight.data, None if self.bias is None else self.bias.data)

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ", bias=False" * (self.bias is None)


def _wide(array: Array) -> Any:
    """What sums of an array are computed in."""
    return "float32" if array.dtype.itemsize == 2 else array.dtype


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """The matrix product; of numbers of 16 bits in float32, for which libraries have code."""
    if a.dtype.itemsize > 2:
        return array_module(a).matmul(a, b, out=out)
    result = (a.astype("float32") @ b.astype("float32")).astype(a.dtype)
    if out is None:
        return result
    out[...] = result
    return out


class Flatten(Module):
    """Joins the axes from ``start_dim`` to ``end_dim``; default: all but the batch's.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> nn.Flatten()(np.ones((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the result for a shape of x."""
        rank = len(shape)
        first, last = self.start_dim % max(rank, 1), self.end_dim % max(rank, 1)
        if not -rank <= self.start_dim < rank or not -rank <= self.end_dim < rank or first > last:
            raise ValueError(
                f"x: got shape {shape}; allowed: one with axes {self.start_dim} to {self.end_dim}, which are joined"
            )
        return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])

    def forward(self, x: Array) -> Array:
        y = x.reshape(self.shape(x.shape))
        self.keep(x.shape)
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        return dy.reshape(self.kept())

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.reshape(x, self.shape(x.shape))

    def describe(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Permute(Module):
    """The axes in another order.

    Parameters
    ----------
    dims : ints
        Which axis of x each axis of the result is.
    """

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = tuple(dims)

    def forward(self, x: Array) -> Array:
        if x.ndim != len(self.dims):
            raise ValueError(f"x: got shape {x.shape}; allowed: {len(self.dims)} axes")
        return x.transpose(self.dims)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        order = [axis % len(self.dims) for axis in self.dims]
        return dy.transpose(sorted(range(len(order)), key=order.__getitem__))

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.transpose(x, self.dims)

    def describe(self) -> str:
        return f"{self.dims}"
