"""Operators: what computes a node, made once, so that a call is little more than the kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import pooling
from ...functional.activation import activate
from ...functional.normalization import batch_norm, group_norm, layer_norm
from ...planning import PlannedConvolution, plan
from .elementwise import ELEMENTWISE
from .graph import Node, Value

Array = Any
Slots = list[Array]
"""Arrays as they lie in memory, by the numbers of the values."""
Step = Callable[[], Any]
CONVOLUTIONS = ("convolution", "gated_convolution")
PLANNED = (*CONVOLUTIONS, "linear")
"""Operators that have plans."""


@dataclass
class Place:
    """Where values are, and how they lie there."""

    slots: Slots
    numbers: dict[int, int]
    last: frozenset[int]
    """Values whose channels come last in memory, by their identities."""
    threads: int
    plans: dict[int, tuple[PlannedConvolution, Any]]
    """By node: the plan of a convolution, and its packed weight."""

    def number(self, value: Value) -> int:
        return self.numbers[id(value)]

    def is_last(self, value: Value) -> bool:
        return id(value) in self.last

    def view(self, value: Value) -> Callable[[], Array]:
        """What gives the value's array with channels first, however it lies."""
        slots, number = self.slots, self.number(value)
        if not self.is_last(value):
            return lambda: slots[number]
        order = (0, value.ndim - 1, *range(1, value.ndim - 1))
        return lambda: slots[number].transpose(order)


def shape_in_memory(value: Value, is_last: bool) -> tuple[int, ...]:
    """The shape of the array as it lies in memory."""
    return (value.shape[0], *value.shape[2:], value.shape[1]) if is_last else value.shape


def planned(node: Node, is_last: bool, threads: int, effort: str | None, algorithm: str = "auto") -> PlannedConvolution:
    """The plan of a convolution or a linear map, with channels first or last."""
    weight, activation, x = node.settings["weight"], node.settings["activation"], node.inputs[0]
    more: dict[str, Any] = {"activation": activation, "effort": effort, "algorithm": algorithm}
    more |= {"threads": threads, "packed": node.operator != "gated_convolution"}
    if node.operator == "linear":
        # Every row is an element of a signal, whose channels come last.
        shape = (1, x.size // x.shape[-1], x.shape[-1])
        return plan("conv1d", shape, (*weight.shape, 1), x.dtype, layout="channels_last", **more)
    function, call = node.settings["function"], node.settings["call"]
    layout = "channels_last" if is_last else "channels_first"
    return plan(function, shape_in_memory(x, is_last), weight.shape, x.dtype, layout=layout, **call, **more)


def bind(node: Node, place: Place) -> Step:
    """What computes a node from and to the arrays that the slots hold by then."""
    return OPERATORS[node.operator](node, place)


def _convolution(node: Node, place: Place) -> Step:
    planned, weight = place.plans[id(node)]
    bias, slots = node.settings["bias"], place.slots
    x, y = place.number(node.inputs[0]), place.number(node.output)
    if len(node.inputs) == 1:
        return lambda: planned(slots[x], weight, bias, None, slots[y])
    add = place.number(node.inputs[1])
    return lambda: planned(slots[x], weight, bias, slots[add], slots[y])


def _gated_convolution(node: Node, place: Place) -> Step:
    """A convolution whose weights are multiplied by an element for every channel before."""
    planned, weight = place.plans[id(node)][0], np.ascontiguousarray(node.settings["weight"])
    bias, slots, scaled = node.settings["bias"], place.slots, np.empty_like(weight)
    x, factor, *added = map(place.number, node.inputs)
    y, shape = place.number(node.output), (1, -1, *(1,) * (weight.ndim - 2))

    def step() -> None:
        np.multiply(weight, slots[factor].reshape(shape), out=scaled)
        planned(slots[x], scaled, bias, slots[added[0]] if added else None, slots[y])

    return step


def _linear(node: Node, place: Place) -> Step:
    planned, weight = place.plans[id(node)]
    bias, slots = node.settings["bias"], place.slots
    x, y = place.number(node.inputs[0]), place.number(node.output)
    first = (1, node.inputs[0].size // node.inputs[0].shape[-1], node.inputs[0].shape[-1])
    last = (*first[:2], node.output.shape[-1])
    if len(node.inputs) == 1:
        return lambda: planned(slots[x].reshape(first), weight, bias, None, slots[y].reshape(last))
    add = place.number(node.inputs[1])
    return lambda: planned(slots[x].reshape(first), weight, bias, slots[add].reshape(last), slots[y].reshape(last))


def _scale(node: Node, place: Place) -> Step:
    """By the kernel of a normalization whose mean is 0 and variance 1; it takes channels second."""
    x, settings, slots = node.inputs[0], node.settings, place.slots
    scale, shift = (
        np.ascontiguousarray(np.broadcast_to(settings[each], settings["scale"].shape), x.dtype)
        for each in ("scale", "shift")
    )
    zero, one = np.zeros_like(scale), np.ones_like(scale)
    activation, threads = settings["activation"], place.threads
    axis = 1 if not place.is_last(x) else -1
    if settings["axis"] != 1:
        axis = settings["axis"]
    own = shape_in_memory(x, place.is_last(x))
    axis %= len(own)
    # What is before the channels is the batch; what is after them, their elements.
    shape = (math.prod(own[:axis]), own[axis], math.prod(own[axis + 1 :]))
    number, result = place.number(x), place.number(node.output)

    def step() -> None:
        batch_norm(
            *(slots[number].reshape(shape), scale, shift, zero, one),
            eps=0.0,
            activation=activation,
            threads=threads,
            out=slots[result].reshape(shape),
        )

    return step


def _multiply(node: Node, place: Place) -> Step:
    """The product; of channels that are scaled image by image, by the same kernel as scales that are known."""
    whole, factor = node.inputs
    if whole.size < factor.size:
        whole, factor = factor, whole
    is_scale = factor.shape == (*whole.shape[:2], *(1,) * (whole.ndim - 2))
    if not is_scale or whole.shape != node.output.shape or place.is_last(whole) != place.is_last(node.output):
        return _elementwise_of(np.multiply, node, place)
    if place.is_last(whole):
        return _elementwise_of(np.multiply, node, place)
    slots, threads = place.slots, place.threads
    x, by, result = place.number(whole), place.number(factor), place.number(node.output)
    channels = factor.size
    shape = (1, channels, whole.size // channels)
    zero, one = np.zeros(channels, whole.dtype), np.ones(channels, whole.dtype)

    def step() -> None:
        batch_norm(
            *(slots[x].reshape(shape), slots[by].reshape(channels), None, zero, one),
            eps=0.0,
            threads=threads,
            out=slots[result].reshape(shape),
        )

    return step


def _activation(node: Node, place: Place) -> Step:
    slots, threads, activation = place.slots, place.threads, node.settings["activation"]
    x, y = place.number(node.inputs[0]), place.number(node.output)

    def step() -> None:
        activate(slots[x], activation, threads=threads, out=slots[y])

    return step


def _add(node: Node, place: Place) -> Step:
    slots, threads, activation = place.slots, place.threads, node.settings["activation"]
    x, y = (place.number(value) for value in node.inputs)
    result = place.number(node.output)

    def step() -> None:
        activate(slots[x], activation, add=slots[y], threads=threads, out=slots[result])

    return step


def _layer_norm(node: Node, place: Place) -> Step:
    settings, slots, x = node.settings, place.slots, node.inputs[0]
    axis = (-1,) if place.is_last(x) else settings["axis"]
    more = {name: settings[name] for name in ("eps", "activation")} | {"axis": axis, "threads": place.threads}
    weight, bias = settings["weight"], settings["bias"]
    number, result = place.number(x), place.number(node.output)

    def step() -> None:
        layer_norm(slots[number], weight, bias, out=slots[result], **more)

    return step


def _group_norm(node: Node, place: Place) -> Step:
    settings, slots = node.settings, place.slots
    more = {name: settings[name] for name in ("eps", "activation")} | {"threads": place.threads}
    weight, bias, groups = settings["weight"], settings["bias"], settings["groups"]
    number, result = place.number(node.inputs[0]), place.number(node.output)

    def step() -> None:
        group_norm(slots[number], groups, weight, bias, out=slots[result], **more)

    return step


def _pool(node: Node, place: Place) -> Step:
    slots, call = place.slots, dict(node.settings["call"])
    function = getattr(pooling, node.settings["function"])
    call |= {"layout": "channels_last" if place.is_last(node.inputs[0]) else "channels_first", "threads": place.threads}
    x, y = place.number(node.inputs[0]), place.number(node.output)

    def step() -> None:
        function(slots[x], **call, out=slots[y])

    return step


def _copy(node: Node, place: Place) -> Step:
    """Reshapes, transposes and changes of how channels lie that cannot be views."""
    source, y, x = place.view(node.inputs[0]), place.view(node.output), node.inputs[0]
    settings = node.settings
    if node.operator == "reshape":
        return lambda: np.copyto(y(), source().reshape(node.output.shape))
    if node.operator == "transpose":
        return lambda: np.copyto(y(), source().transpose(settings["order"]))
    if node.operator == "part":
        return lambda: np.copyto(y(), source()[settings["index"]])
    assert x.shape == node.output.shape
    return lambda: np.copyto(y(), source())


def _concatenate(node: Node, place: Place) -> Step:
    """Copies of those parts that were not computed where they belong."""
    y, axis = place.view(node.output), node.settings["axis"]
    parts, start = [], 0
    for value in node.inputs:
        index = (slice(None),) * axis + (slice(start, start + value.shape[axis]),)
        start += value.shape[axis]
        if id(value) not in node.settings.get("in_place", ()):
            parts.append((place.view(value), index))

    def step() -> None:
        result = y()
        for part, index in parts:
            result[index] = part()

    return step


def _resize(node: Node, place: Place) -> Step:
    source, y, is_nearest = place.view(node.inputs[0]), place.view(node.output), node.settings["is_nearest"]
    places, dtype, ndim = node.settings["places"], node.inputs[0].dtype, node.inputs[0].ndim
    sizes = node.inputs[0].shape[2:]

    def step() -> None:
        x = source()
        for axis, (first, share) in enumerate(places, 2):
            lower = np.take(x, first, axis=axis)
            if not is_nearest:
                upper = np.take(x, np.minimum(first + 1, sizes[axis - 2] - 1), axis=axis)
                upper -= lower
                upper *= share.astype(dtype).reshape(-1, *(1,) * (ndim - axis - 1))
                lower += upper
            x = lower
        np.copyto(y(), x)

    return step


def _softmax(node: Node, place: Place) -> Step:
    x, result, axis = place.view(node.inputs[0]), place.view(node.output), node.settings["axis"]

    def step() -> None:
        source, y = x(), result()
        np.subtract(source, source.max(axis=axis, keepdims=True), out=y)
        np.exp(y, out=y)
        np.divide(y, y.sum(axis=axis, keepdims=True), out=y)

    return step


def _reduce(node: Node, place: Place) -> Step:
    x, y, settings = place.view(node.inputs[0]), place.view(node.output), node.settings
    function, kept = getattr(np, settings["function"]), settings["kept"]
    return lambda: function(x(), axis=settings["axes"], keepdims=True, out=y().reshape(kept))


def _matmul(node: Node, place: Place) -> Step:
    x, y, result = place.view(node.inputs[0]), place.view(node.inputs[1]), place.view(node.output)
    return lambda: np.matmul(x(), y(), out=result())


def _rows(node: Node, place: Place) -> Step:
    x, y, table = place.view(node.inputs[0]), place.view(node.output), node.settings["table"]

    def step() -> None:
        numbers = x()
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(table):
            raise ValueError(f"x: got numbers from {numbers.min()} to {numbers.max()}; allowed: 0 to {len(table) - 1}")
        np.take(table, numbers, axis=0, out=y(), mode="clip")

    return step


def _pad(node: Node, place: Place) -> Step:
    x, y, settings = place.view(node.inputs[0]), place.view(node.output), node.settings
    widths, mode = settings["widths"], settings["mode"]
    index = tuple(slice(before, before + size) for size, (before, _) in zip(node.inputs[0].shape, widths, strict=True))

    def zeros() -> None:
        result = y()
        result.fill(settings["value"])
        result[index] = x()

    return zeros if mode == "constant" else lambda: np.copyto(y(), np.pad(x(), widths, mode=mode))


def _elementwise(node: Node, place: Place) -> Step:
    settings = {name: value for name, value in node.settings.items() if name != "function"}
    return _elementwise_of(ELEMENTWISE[node.settings["function"]], node, place, **settings)


def _elementwise_of(function: Callable[..., Any], node: Node, place: Place, **settings: Any) -> Step:
    views, y = [place.view(value) for value in node.inputs], place.view(node.output)
    return lambda: function(*[view() for view in views], out=y(), **settings)


OPERATORS: dict[str, Callable[[Node, Place], Step]] = {
    "convolution": _convolution,
    "gated_convolution": _gated_convolution,
    "linear": _linear,
    "scale": _scale,
    "multiply": _multiply,
    "activation": _activation,
    "add": _add,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "pool": _pool,
    "reshape": _copy,
    "transpose": _copy,
    "part": _copy,
    "lay": _copy,
    "concatenate": _concatenate,
    "resize": _resize,
    "softmax": _softmax,
    "reduce": _reduce,
    "matmul": _matmul,
    "rows": _rows,
    "pad": _pad,
    "elementwise": _elementwise,
}
