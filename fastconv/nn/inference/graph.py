"""Graph: what a network computes in evaluation mode, as operators on values of known shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Value:
    """An array that a node computes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    node: Node | None = None


@dataclass(eq=False)
class Node:
    """An operator, what it is given, and its settings."""

    operator: str
    inputs: tuple[Value, ...]
    settings: dict[str, Any]


@dataclass
class Graph:
    """Nodes in an order in which they can be computed."""

    nodes: list[Node] = field(default_factory=list)

    def append(self, operator: str, inputs: tuple[Value, ...], shape: tuple[int, ...], **settings: Any) -> Value:
        """A node, and the value that it computes."""
        node = Node(operator, inputs, settings)
        self.nodes.append(node)
        return Value(shape, inputs[0].dtype, node)

    def add(self, x: Value, y: Value) -> Value:
        """The sum of two arrays of one shape."""
        return self.append("add", (x, y), x.shape)

    def concatenate(self, values: list[Value], axis: int) -> Value:
        """Arrays one behind another on an axis."""
        size = sum(value.shape[axis] for value in values)
        shape = tuple(size if i == axis % len(values[0].shape) else n for i, n in enumerate(values[0].shape))
        return self.append("concatenate", tuple(values), shape, axis=axis)
