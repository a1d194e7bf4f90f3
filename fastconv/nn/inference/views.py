"""Views: values that need no memory of their own, because they are another one in another shape, or part of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .graph import Graph, Node, Value
from .layout import is_same_memory
from .operators import CONVOLUTIONS, shape_in_memory

Array = Any
WRITES_ANYWHERE = (*CONVOLUTIONS, "bands", "pool", "activation", "add", "resize", "pad", "elementwise")
"""Operators whose results need not be contiguous."""
READS_ANYWHERE = (*WRITES_ANYWHERE, "concatenate", "lay", "transpose", "part", "reduce", "layer_norm")


class Views:
    """Which values are views, of what."""

    def __init__(self, graph: Graph, last: frozenset[int]) -> None:
        self.graph, self.last = graph, last
        self._sources: dict[int, Value] = {}
        """The value whose memory another one has, in another shape."""
        self._parts: dict[int, tuple[Value, tuple[slice, ...]]] = {}
        """The concatenation that a value is part of, and where in memory."""
        self._users: dict[int, list[Node]] = {}
        for node in graph.nodes:
            for value in node.inputs:
                self._users.setdefault(id(value), []).append(node)
        for node in graph.nodes:
            if node.operator == "concatenate":
                self._concatenate(node)
        for node in graph.nodes:
            if self._is_view(node):
                self._sources[id(node.output)] = node.inputs[0]

    def root(self, value: Value) -> Value:
        """The value whose memory this one has; itself, if it has its own."""
        while True:
            if id(value) in self._sources:
                value = self._sources[id(value)]
            elif id(value) in self._parts:
                value = self._parts[id(value)][0]
            else:
                return value

    def is_outside(self, value: Value) -> bool:
        """Whether its memory is not in the arena."""
        is_constant = value.node is not None and value.node.operator == "constant"
        return value is self.graph.input or value is self.graph.output or is_constant

    def is_free(self, node: Node) -> bool:
        """Whether there is nothing to do for a node."""
        return id(node.output) in self._sources or node.operator == "constant"

    def view(self, value: Value, root: Array) -> Array:
        """The value's array, as it lies in memory, in that of its root."""
        if id(value) in self._sources:
            source = self.view(self._sources[id(value)], root)
            return source.reshape(shape_in_memory(value, id(value) in self.last))
        if id(value) in self._parts:
            whole, index = self._parts[id(value)]
            return self.view(whole, root)[index]
        return root

    def _is_view(self, node: Node) -> bool:
        """Whether a node gives the same memory another shape."""
        if node.operator not in ("reshape", "transpose", "lay"):
            return False
        x, y = node.inputs[0], node.output
        if self.is_outside(self.root(x)) or y is self.graph.output or id(x) in self._parts or id(y) in self._parts:
            return False
        was_last, is_last = id(x) in self.last, id(y) in self.last
        if node.operator == "reshape":
            return (not was_last or is_same_memory(x)) and (not is_last or is_same_memory(y))
        if node.operator == "lay":
            return is_same_memory(x)
        return _is_same_order(node.settings["order"], x.shape, was_last, is_last)

    def _concatenate(self, node: Node) -> None:
        """Have parts computed where they belong."""
        if self.is_outside(node.output):
            return
        is_last, ndim = id(node.output) in self.last, node.output.ndim
        axis, start, in_place = node.settings["axis"], 0, set()
        at = axis if not is_last else (0, ndim - 1, *range(1, ndim - 1))[axis]
        counts = Counter(map(id, node.inputs))
        is_contiguous = all(size == 1 for size in shape_in_memory(node.output, is_last)[:at])
        for value in node.inputs:
            index = (slice(None),) * at + (slice(start, start + value.shape[axis]),)
            start += value.shape[axis]
            if counts[id(value)] > 1 or id(value) in self._parts or self.is_outside(value) or value.node is None:
                continue
            users = [user.operator for user in self._users[id(value)]]
            fits = value.node.operator in WRITES_ANYWHERE and all(user in READS_ANYWHERE for user in users)
            fits = fits or (is_contiguous and value.node.operator in ("scale", "multiply", "group_norm", "layer_norm"))
            if fits and (id(value) in self.last) == is_last:
                self._parts[id(value)] = node.output, index
                in_place.add(id(value))
        node.settings["in_place"] = in_place


def _is_same_order(order: tuple[int, ...], shape: tuple[int, ...], was_last: bool, is_last: bool) -> bool:
    """Whether a transpose's result lies in memory as its source does."""
    ndim = len(order)
    last = (0, *range(2, ndim), 1)
    before = last if was_last else tuple(range(ndim))
    after = tuple(order[axis] for axis in (last if is_last else range(ndim)))
    # Axes of one element may be anywhere.
    return [axis for axis in before if shape[axis] != 1] == [axis for axis in after if shape[axis] != 1]
