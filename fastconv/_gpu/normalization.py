"""Normalizations, activations of whole arrays and their gradients, by CuPy's functions of whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._problem import Epilogue
from . import cupy
from .elementwise.algorithm import activation_gradient


def normalize(call: Any, threads: int) -> tuple[Any, Any, Any]:
    """The result, and the statistics by which it was normalized, in the dtype that was computed in."""
    x = _sets(call, call.x)
    if call.mean is None:
        mean = x.mean((1, 2), keepdims=True)
        variance = ((x - mean) ** 2).mean((1, 2), keepdims=True)
    else:
        mean, variance = (_statistic(call, each) for each in (call.mean, call.variance))
    z = _affine(call, (x - mean) / (variance + call.eps) ** 0.5)
    if call.add is not None:
        z += _sets(call, call.add)
    shape = call.sets.statistics_shape
    return _stored(call, call.sets.back(activated(call.activation, z))), mean.reshape(shape), variance.reshape(shape)


def gradient(call: Any, threads: int) -> tuple[Any, Any, Any]:
    """The gradients for x, weight and bias."""
    x, dy = _sets(call, call.x), _sets(call, call.dy)
    mean, variance = (_statistic(call, each) for each in (call.mean, call.variance))
    inverse = (variance + call.eps) ** -0.5
    y = (x - mean) * inverse
    g = _sloped(call.activation, dy, _affine(call, y.copy()))
    # One number for every weight, but for those that a set or a row has in common.
    axes: Any = {"batch": (1, 2), "group": 2, "layer": 1}[call.sets.kind]
    weight, bias = (call.sets.gathered(each.sum(axes)) for each in (g * y, g))
    if call.weight is not None:
        g = g * call.sets.spread(call.weight.astype(g.dtype, copy=False))
    if call.uses_own:
        g = g - g.mean((1, 2), keepdims=True) - y * (g * y).mean((1, 2), keepdims=True)
    return _stored(call, call.sets.back(g * inverse)), weight, bias


def activate(call: Any, threads: int) -> Any:
    """The activation of a whole array, to which ``add`` was added."""
    z = call.x.astype(_wide(call.x.dtype))
    if call.add is not None:
        z += call.add
    return _stored(call, activated(call.activation, z))


def activate_gradient(call: Any, threads: int) -> Any:
    """``dy`` times the activation's slope."""
    wide = _wide(call.x.dtype)
    return _stored(call, _sloped(call.activation, call.dy.astype(wide), call.x.astype(wide)))


def activated(activation: Epilogue, z: Any) -> Any:
    """The activation of an array of float32 or float64."""
    xp = cupy.module()
    match activation.activation:
        case "relu":
            return xp.maximum(z, 0)
        case "relu6":
            return xp.minimum(xp.maximum(z, 0), 6)
        case "leaky_relu":
            return xp.where(z < 0, z * z.dtype.type(activation.slope), z)
        case "silu":
            return z / (1 + xp.exp(-z))
        case "gelu":
            # The slope is the normal distribution plus z times its density.
            density = xp.exp(z * z * -0.5) * z.dtype.type((2 * np.pi) ** -0.5)
            return z * (_sloped(activation, xp.ones(z.shape, z.dtype), z.copy()) - z * density)
        case "tanh":
            return xp.tanh(z)
        case "sigmoid":
            return 1 / (1 + xp.exp(-z))
    return z


def _sloped(activation: Epilogue, dy: Any, z: Any) -> Any:
    """``dy`` times the activation's slope at z, which is overwritten."""
    if activation.activation is None:
        return dy
    flat = activation_gradient(activation, dy.reshape(-1), z.reshape(-1), 1)
    return flat.reshape(dy.shape)


def _wide(dtype: Any) -> Any:
    return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)


def _sets(call: Any, array: Any) -> Any:
    return call.sets.of(array.astype(_wide(array.dtype), copy=False))


def _statistic(call: Any, array: Any) -> Any:
    return array.astype(_wide(call.x.dtype), copy=False).reshape(-1, 1, 1)


def _affine(call: Any, y: Any) -> Any:
    """``y * weight + bias``, in the place of y."""
    if call.weight is not None:
        y *= call.sets.spread(call.weight.astype(y.dtype, copy=False))
    if call.bias is not None:
        y += call.sets.spread(call.bias.astype(y.dtype, copy=False))
    return y


def _stored(call: Any, result: Any) -> Any:
    if call.out is None:
        return cupy.module().ascontiguousarray(result.astype(call.x.dtype, copy=False))
    call.out[...] = result.astype(call.x.dtype, copy=False)
    return call.out
