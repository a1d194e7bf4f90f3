"""Linear maps of the last axis, and layers that change the shape alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import grad
from ..functional.convolution import conv2d
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
        y = multiplied(x.reshape(-1, self.in_features), self.weight.data, None if self.bias is None else self.bias.data)
        self.keep(x)
        return y.reshape(*x.shape[:-1], self.out_features)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, weight = self.kept(), self.weight
        flat_dy, flat_x = dy.reshape(-1, self.out_features), x.reshape(-1, self.in_features)
        weight.add_gradient(lambda out: weight_gradient(flat_x, flat_dy, out))
        if self.bias is not None:
            self.bias.add_gradient(lambda out: flat_dy.sum(axis=0, dtype=_wide(dy)).astype(dy.dtype, copy=False))
        return input_gradient(flat_dy, weight.data).reshape(x.shape) if wants_dx else None

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.linear(x, self.weight.data, None if self.bias is None else self.bias.data)

    def describe(self) -> str:
        return f"{self.in_features}, {self.out_features}" + ", bias=False" * (self.bias is None)


def _wide(array: Array) -> Any:
    """What sums of an array are computed in."""
    return "float32" if array.dtype.itemsize == 2 else array.dtype


# Products of NumPy arrays are convolutions of single pixels: a BLAS has threads of its own, which go on spinning where
# the next layer's want to compute. On a GPU they are cuBLAS's.


def multiplied(x: Array, weight: Array, bias: Array | None) -> Array:
    """``x @ weight.T + bias``"""
    if isinstance(x, np.ndarray):
        y = conv2d(_pixels(x), _pixels(weight), bias)
        return y.reshape(y.shape[:2])
    y = product(x, weight.T)
    if bias is not None:
        y += bias
    return y


def input_gradient(dy: Array, weight: Array) -> Array:
    """``dy @ weight``"""
    if isinstance(dy, np.ndarray):
        shape = (dy.shape[0], weight.shape[1])
        return grad.conv2d_input((*shape, 1, 1), _pixels(weight), _pixels(dy)).reshape(shape)
    return product(dy, weight)


def weight_gradient(x: Array, dy: Array, out: Array | None) -> Array:
    """``dy.T @ x``"""
    if isinstance(x, np.ndarray):
        shape = (dy.shape[1], x.shape[1])
        if out is not None:
            grad.conv2d_weight(_pixels(x), (*shape, 1, 1), _pixels(dy), out=_pixels(out))
            return out
        return grad.conv2d_weight(_pixels(x), (*shape, 1, 1), _pixels(dy)).reshape(shape)
    return product(dy.T, x, out)


def _pixels(matrix: Array) -> Array:
    """A matrix as images, or weights, of single pixels."""
    return matrix.reshape(*matrix.shape, 1, 1)


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
