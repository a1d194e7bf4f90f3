"""Functions of elements, and of all elements of an axis, as ONNX has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..graph import Value
from .call import Call, Given


def _activation(name: Any, call: Call) -> Value:
    return call.graph.activation(call.x(), name)


def _leaky(call: Call) -> Value:
    return call.graph.activation(call.x(), ("leaky_relu", call.get("alpha", 0.01)))


def _clip(call: Call) -> Value:
    low, high = (call.numbers(name, place) for name, place in (("min", 1), ("max", 2)))
    first, last = (None if each is None else float(each[0]) for each in (low, high))
    if first == 0 and last == 6:
        return call.graph.activation(call.x(), "relu6")
    if first == 0 and (last is None or last >= 3e38):
        return call.graph.activation(call.x(), "relu")
    return call.graph.elementwise("clip", call.x(), low=first, high=last)


def _hard_sigmoid(call: Call) -> Value:
    return call.graph.elementwise("hardsigmoid", call.x(), slope=call.get("alpha", 0.2), offset=call.get("beta", 0.5))


def _gelu(call: Call) -> Value:
    if call.get("approximate", "none") == "tanh":
        return call.graph.elementwise("gelu_tanh", call.x())
    return call.graph.activation(call.x(), "gelu")


def _binary(name: str, function: Callable[..., Any], call: Call) -> Given:
    """Of two; of more, one after another. A constant of one number for every channel becomes a scale."""
    if len(call.given) != 2:
        first, *others = call.given
        for other in others:
            first = _binary(name, function, call.of(first, other))
        return first
    if call.all_known():
        first, second = (call.known(place) for place in (0, 1))
        if name == "divide" and np.result_type(first, second).kind in "iu":
            return first // second
        return function(first, second)
    graph = call.graph
    constant = next((place for place in (0, 1) if not isinstance(call.given[place], Value)), None)
    if (constant is not None and name in ("add", "multiply")) or (constant == 1 and name in ("subtract", "divide")):
        x, array = call.x(1 - constant), call.known(constant).astype(np.float64)
        number = _channel_axis(x, array) if x.dtype.kind == "f" else None
        if number is not None:
            flat = np.broadcast_to(array.reshape(-1), (x.shape[number],))
            one, zero = np.ones_like(flat), np.zeros_like(flat)
            scale, shift = {
                "add": (one, flat),
                "subtract": (one, -flat),
                "multiply": (flat, zero),
                "divide": (1 / flat if name == "divide" else one, zero),
            }[name]
            return graph.scale(x, scale, shift, number)
    if constant is None:
        x, y = call.x(0), call.x(1)
    else:
        other = call.x(1 - constant)
        held = graph.constant(call.known(constant).astype(other.dtype, copy=False))
        x, y = (held, other) if constant == 0 else (other, held)
    if constant is None and name == "add":
        return graph.add(x, y)
    return graph.multiply(x, y) if constant is None and name == "multiply" else graph.elementwise(name, x, y)


def _channel_axis(x: Value, array: np.ndarray) -> int | None:
    """The axis along which a constant has one number for every place."""
    if x.ndim < 2 or array.ndim > x.ndim:
        return None
    if array.size == 1:
        return 1
    shape = (1,) * (x.ndim - array.ndim) + array.shape
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    return axes[0] if len(axes) == 1 and axes[0] > 0 and shape[axes[0]] == x.shape[axes[0]] else None


def _unary(name: str, call: Call) -> Given:
    if call.all_known() and name != "erf":
        return getattr(np, name)(call.known(0))
    return call.graph.elementwise(name, call.x())


def _softmax(call: Call) -> Value:
    x = call.x()
    axis = call.get("axis", 1 if call.opset < 13 else -1)
    if call.opset >= 13 or axis % x.ndim == x.ndim - 1:
        return call.graph.softmax(x, axis)
    flat = call.graph.reshape(x, (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))))
    return call.graph.reshape(call.graph.softmax(flat, 1), x.shape)


def _reduce(name: str, call: Call) -> Given:
    axes = call.numbers("axes", 1)
    if call.all_known():
        return getattr(np, name)(call.known(0), axis=None if axes is None else tuple(axes))
    x = call.x()
    if axes is None and call.get("noop_with_empty_axes", 0):
        return x
    return call.graph.reduce(name, x, axes or range(x.ndim), bool(call.get("keepdims", 1)))


ELEMENTS: dict[str, Callable[[Call], Any]] = {
    "Relu": partial(_activation, "relu"),
    "Sigmoid": partial(_activation, "sigmoid"),
    "Tanh": partial(_activation, "tanh"),
    "Swish": partial(_activation, "silu"),
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Add": partial(_binary, "add", np.add),
    "Sum": partial(_binary, "add", np.add),
    "Sub": partial(_binary, "subtract", np.subtract),
    "Mul": partial(_binary, "multiply", np.multiply),
    "Div": partial(_binary, "divide", np.divide),
    "Max": partial(_binary, "maximum", np.maximum),
    "Min": partial(_binary, "minimum", np.minimum),
    "Pow": partial(_binary, "power", np.power),
    "Sqrt": partial(_unary, "sqrt"),
    "Exp": partial(_unary, "exp"),
    "Log": partial(_unary, "log"),
    "Neg": partial(_unary, "negative"),
    "Abs": partial(_unary, "abs"),
    "Reciprocal": partial(_unary, "reciprocal"),
    "Erf": partial(_unary, "erf"),
    "Softmax": _softmax,
    "ReduceMean": partial(_reduce, "mean"),
    "ReduceSum": partial(_reduce, "sum"),
    "ReduceMax": partial(_reduce, "max"),
    "HardSwish": lambda call: call.graph.elementwise("hardswish", call.x()),
}
