"""Graph: what a network computes in evaluation mode, as operators on values of known shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...planning import plan
from .results import broadcast_shape, shape_of_result

if TYPE_CHECKING:
    from ..module import Module

Array = Any
Shape = tuple[int, ...]


class Value:
    """An array that a node computes, or the network is given.

    Attributes
    ----------
    shape : tuple of ints
        Channels first, wherever there are channels.
    dtype : dtype
    node : Node or None
        What computes it; None: the network's input.
    """

    __slots__ = ("dtype", "node", "shape")

    def __init__(self, shape: Iterable[int], dtype: Any, node: Node | None = None) -> None:
        self.shape, self.dtype, self.node = tuple(shape), np.dtype(dtype), node

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"{self.shape} {self.dtype}"


class Node:
    """An operator, the values that it is given, its settings and the value that it computes."""

    __slots__ = ("inputs", "operator", "output", "path", "settings")

    def __init__(self, operator: str, inputs: tuple[Value, ...], settings: dict[str, Any], path: str) -> None:
        self.operator, self.inputs, self.settings, self.path = operator, inputs, settings, path
        self.output: Value

    def __repr__(self) -> str:
        told = ", ".join(
            f"{name}={value.shape if hasattr(value, 'shape') else value}"
            for name, value in self.settings.items()
            if value is not None
        )
        return f"{self.path or '-'}: {self.operator}({', '.join(map(repr, self.inputs))}; {told}) -> {self.output}"


class Graph:
    """Nodes in an order in which they can be computed; layers and ONNX models append to it.

    Parameters
    ----------
    shape : ints
        Of the network's input.
    dtype : dtype
        Of the network's input.
    precise : dtype, optional
        Of constants; default: that of the input.
    """

    def __init__(self, shape: Iterable[int], dtype: Any, precise: Any = None) -> None:
        self.nodes: list[Node] = []
        self.input = Value(shape, dtype)
        self.output = self.input
        self.precise = np.dtype(dtype if precise is None else precise)
        self.path = ""
        self._paths: dict[int, str] = {}

    # Layers.

    def of(self, model: Module) -> Graph:
        """Append all that a model computes from the input."""
        self._paths = {}
        for name, module in model.named_modules():
            self._paths.setdefault(id(module), name)
        self.output = self.lower(model, self.input)
        return self

    def lower(self, module: Module, x: Value) -> Value:
        """Append what a module computes from ``x``; errors name its path in the network."""
        before, self.path = self.path, self._paths.get(id(module)) or self.path
        try:
            return module.lower(self, x)
        except (ValueError, TypeError, NotImplementedError) as error:
            if hasattr(error, "is_located"):
                raise
            where = f"{self.path} ({module.brief()})" if self.path else module.brief()
            located = type(error)(f"{where}: {error} (the network's input has shape {self.input.shape})")
            located.is_located = True  # type: ignore[union-attr]
            raise located from error
        finally:
            self.path = before

    def copy(self) -> Graph:
        """The same nodes in the same order, on values of their own; settings are shared."""
        made = Graph(self.input.shape, self.input.dtype, self.precise)
        values = {id(self.input): made.input}
        for node in self.nodes:
            other = Node(node.operator, tuple(values[id(value)] for value in node.inputs), node.settings, node.path)
            other.output = values[id(node.output)] = Value(node.output.shape, node.output.dtype, other)
            made.nodes.append(other)
        made.output = values[id(self.output)]
        return made

    # Operators.

    def append(self, operator: str, inputs: Sequence[Value], shape: Iterable[int], **settings: Any) -> Value:
        """A node, and the value that it computes."""
        node = Node(operator, tuple(inputs), settings, self.path)
        self.nodes.append(node)
        dtype = inputs[0].dtype if inputs else self.precise
        node.output = Value(shape, dtype if operator != "rows" else self.precise, node)
        return node.output

    def constant(self, array: Array) -> Value:
        """An array that is known beforehand."""
        node = Node("constant", (), {"array": array}, self.path)
        self.nodes.append(node)
        node.output = Value(array.shape, array.dtype, node)
        return node.output

    def convolution(self, function: str, x: Value, weight: Array, bias: Array | None = None, **settings: Any) -> Value:
        """A public convolution by its name, with settings as ``plan`` takes them."""
        is_batch = x.ndim == weight.ndim
        if not is_batch:
            x = self.reshape(x, (1, *x.shape))
        weight = weight.astype(x.dtype, copy=False)
        settings = {name: value for name, value in settings.items() if value is not None}
        shape = plan(function, x.shape, weight.shape, x.dtype, **settings).result_shape
        y = self.append(
            "convolution", (x,), shape, function=function, weight=weight, bias=bias, activation=None, call=settings
        )
        return y if is_batch else self.reshape(y, shape[1:])

    def linear(self, x: Value, weight: Array, bias: Array | None = None) -> Value:
        """``x @ weight.T + bias`` on the last axis."""
        if not x.shape or x.shape[-1] != weight.shape[1]:
            raise ValueError(f"x: got shape {x.shape}; allowed: the last axis has {weight.shape[1]} elements")
        weight = weight.astype(x.dtype, copy=False)
        shape = (*x.shape[:-1], weight.shape[0])
        return self.append("linear", (x,), shape, weight=weight, bias=bias, activation=None)

    def scale(self, x: Value, scale: Array, shift: Array, axis: int = 1) -> Value:
        """``x * scale + shift``, each of one element for every place on an axis."""
        axis = axis % x.ndim
        if x.shape[axis] != scale.size:
            raise ValueError(f"x: got shape {x.shape}; allowed: {scale.size} channels")
        return self.append("scale", (x,), x.shape, scale=scale, shift=shift, axis=axis, activation=None)

    def layer_norm(self, x: Value, axis: Sequence[int], weight: Array | None, bias: Array | None, eps: float) -> Value:
        axis = tuple(each % x.ndim for each in axis)
        return self.append(
            "layer_norm", (x,), x.shape, axis=axis, weight=weight, bias=bias, eps=float(eps), activation=None
        )

    def group_norm(self, x: Value, groups: int, weight: Array | None, bias: Array | None, eps: float) -> Value:
        return self.append(
            "group_norm", (x,), x.shape, groups=groups, weight=weight, bias=bias, eps=float(eps), activation=None
        )

    def activation(self, x: Value, activation: Any) -> Value:
        """One of ``fastconv.activate``'s."""
        return self.append("activation", (x,), x.shape, activation=activation)

    def elementwise(self, function: str, *inputs: Value, **settings: Any) -> Value:
        """A function of ``elementwise.ELEMENTWISE``, element by element."""
        return self.append("elementwise", inputs, broadcast_shape(*inputs), function=function, **settings)

    def add(self, x: Value, y: Value) -> Value:
        """The sum."""
        if x.shape == y.shape and x.dtype.kind not in "iub":
            return self.append("add", (x, y), x.shape, activation=None)
        return self.elementwise("add", x, y)

    def multiply(self, x: Value, y: Value) -> Value:
        """The product; one may be of an element for every channel."""
        if x.dtype.kind in "iub":
            return self.elementwise("multiply", x, y)
        return self.append("multiply", (x, y), broadcast_shape(x, y))

    def pool(self, function: str, x: Value, **settings: Any) -> Value:
        """A public pooling by its name."""
        return self.append("pool", (x,), shape_of_result(function, x, settings), function=function, call=settings)

    def reshape(self, x: Value, shape: Iterable[int]) -> Value:
        shape = tuple(int(size) for size in shape)
        if math.prod(shape) != x.size:
            raise ValueError(f"x: got shape {x.shape}, whose elements do not fit into shape {shape}")
        return x if shape == x.shape else self.append("reshape", (x,), shape)

    def transpose(self, x: Value, order: Iterable[int]) -> Value:
        """The axes in another order."""
        order = tuple(axis % x.ndim for axis in order)
        if sorted(order) != list(range(x.ndim)):
            raise ValueError(f"x: got shape {x.shape}; allowed: {len(order)} axes, to be in the order {order}")
        return self.append("transpose", (x,), [x.shape[axis] for axis in order], order=order)

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        """Arrays one behind another on an axis."""
        first = values[0]
        axis = axis % first.ndim
        for value in values:
            if value.shape[:axis] + value.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
                raise ValueError(f"shapes {[value.shape for value in values]} do not fit together on axis {axis}")
        shape = list(first.shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return self.append("concatenate", tuple(values), shape, axis=axis)

    def part(self, x: Value, index: tuple[slice, ...]) -> Value:
        """``x[index]``."""
        sizes = [len(range(*each.indices(size))) for each, size in zip(index, x.shape, strict=True)]
        return self.append("part", (x,), sizes, index=index)

    def resize(self, x: Value, places: Sequence[tuple[Array, Array]], is_nearest: bool) -> Value:
        """Axes from 2 on in other sizes: for each the first of two neighbours, and the share of the second."""
        shape = (*x.shape[:2], *(len(first) for first, _ in places))
        return self.append("resize", (x,), shape, places=list(places), is_nearest=is_nearest)

    def softmax(self, x: Value, axis: int) -> Value:
        return self.append("softmax", (x,), x.shape, axis=axis % x.ndim)

    def reduce(self, function: str, x: Value, axes: Sequence[int], keepdims: bool) -> Value:
        """ "mean", "sum" or "max" over axes."""
        axes = tuple(sorted(axis % x.ndim for axis in axes))
        kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        shape = kept if keepdims else [size for axis, size in enumerate(x.shape) if axis not in axes]
        return self.append("reduce", (x,), shape, function=function, axes=axes, kept=tuple(kept))

    def matmul(self, x: Value, y: Value) -> Value:
        """Of two values that are computed."""
        if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
            raise ValueError(f"got shapes {x.shape} and {y.shape}, which cannot be multiplied as matrices")
        shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
        return self.append("matmul", (x, y), shape)

    def rows(self, x: Value, table: Array) -> Value:
        """Rows of a table by their numbers."""
        return self.append("rows", (x,), (*x.shape, *table.shape[1:]), table=table)

    def pad(self, x: Value, widths: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> Value:
        shape = [before + size + after for size, (before, after) in zip(x.shape, widths, strict=True)]
        return self.append("pad", (x,), shape, widths=tuple(widths), mode=mode, value=value)
