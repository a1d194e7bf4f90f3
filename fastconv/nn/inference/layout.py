"""Layout: whether channels lie first or last in memory, operator by operator, where it pays."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from .graph import Graph, Node, Value
from .operators import CONVOLUTIONS, planned

BYTES_PER_SECOND = 5.0e9
"""At which channels are moved from first to last, or back, in one thread."""
POOLED_PER_SECOND = (2.0e9, 9.0e9)
"""Elements of windows that are pooled with channels first and last, in one thread."""
FLEXIBLE = (*CONVOLUTIONS, "pool", "activation", "add", "scale", "layer_norm", "multiply", "concatenate", "resize")
"""Operators that compute either way."""
STARTS = 4
"""Choices from which a better one is looked for."""
LONGEST = 24
"""Operators in a row that are changed together when a better choice is looked for."""


def choose(graph: Graph, costs: dict[int, tuple[float, float]], layout: str | None) -> frozenset[int]:
    """The values whose channels come last in memory, after nodes that move them were put in where needed.

    Parameters
    ----------
    graph : Graph
        It is changed.
    costs : dict
        By node for which it matters: seconds with channels first and last.
    layout : {"channels_first", "channels_last"}, optional
        Of all operators that compute either way. Default: what costs least.
    """
    flexible = [node for node in graph.nodes if is_flexible(node)]
    is_last = dict.fromkeys(map(id, graph.nodes), False)
    if layout == "channels_last":
        is_last |= dict.fromkeys(map(id, flexible), True)
    elif layout is None:
        is_last |= _best(graph, flexible, costs)
    return _moved(graph, is_last)


def is_flexible(node: Node) -> bool:
    """Whether channels of all that a node has to do with may lie last."""
    value = node.output
    if node.operator not in FLEXIBLE or not 3 <= value.ndim <= 5:
        return False
    if node.operator == "scale" and node.settings["axis"] != 1:
        return False
    if node.operator == "layer_norm" and node.settings["axis"] != (1,):
        return False
    return all(each.ndim == value.ndim for each in node.inputs)


def is_same_memory(value: Value) -> bool:
    """Whether it makes no difference, with one channel or one pixel."""
    return value.size == 0 or value.size in (value.shape[0] * value.shape[1], value.size // max(value.shape[1], 1))


def estimates(graph: Graph, threads: int, effort: str | None) -> dict[int, tuple[float, float]]:
    """Seconds with channels first and last, of convolutions what the choices of algorithms go by, and of pooling."""
    costs = {}
    known: dict[str, float] = {}
    for node in graph.nodes:
        if node.operator in CONVOLUTIONS and is_flexible(node):
            pair = []
            for last in (False, True):
                choice = planned(node, last, threads, effort).choice
                key = str(choice.problem)
                if key not in known:
                    known[key] = next((seconds for _, seconds in choice.candidates), 0.0)
                pair.append(known[key])
            if all(pair):
                costs[id(node)] = (pair[0], pair[1])
        elif node.operator == "pool" and is_flexible(node) and "kernel_size" in node.settings["call"]:
            taps = math.prod(np.broadcast_to(node.settings["call"]["kernel_size"], node.output.ndim - 2).tolist())
            per_second = [threads * speed for speed in POOLED_PER_SECOND]
            costs[id(node)] = taps * node.output.size / per_second[0], taps * node.output.size / per_second[1]
    return costs


def _best(graph: Graph, flexible: list[Node], costs: dict[int, tuple[float, float]]) -> dict[int, bool]:
    """The cheapest choice that changes of one operator, or of several in a row, lead to."""
    costs = {id(node): costs[id(node)] for node in flexible if id(node) in costs}
    # All one way, or the other way from some operator on; the best of these are where changes begin.
    numbers = [id(node) for node in flexible]
    options = [dict.fromkeys(numbers, last) for last in (False, True)]
    for place in range(1, len(numbers)):
        for last in (False, True):
            options.append({number: (at < place) == last for at, number in enumerate(numbers)})
    options.append({number: number in costs and costs[number][1] < costs[number][0] for number in numbers})
    edges = [(value, node) for node in graph.nodes for value in node.inputs]
    uses: dict[int, list[tuple[Value, Node]]] = {}
    for value, node in edges:
        for end in (value.node, node):
            if end is not None:
                uses.setdefault(id(end), []).append((value, node))

    def moves(value: Value, node: Node, choice: dict[int, bool]) -> float:
        source = value.node
        if source is not None and source.operator == "constant":
            return 0.0
        before = source is not None and choice.get(id(source), False)
        return _moving(value) if before != choice.get(id(node), False) else 0.0

    def total(choice: dict[int, bool]) -> float:
        seconds = sum(pair[choice[number]] for number, pair in costs.items())
        ends = _moving(graph.output) if graph.output.node and choice.get(id(graph.output.node), False) else 0.0
        return seconds + ends + sum(moves(value, node, choice) for value, node in edges)

    def change(choice: dict[int, bool], row: list[Node]) -> float:
        """Seconds that are gained or lost, were these nodes the other way."""
        numbers = {id(node) for node in row}
        other = choice | {number: not choice[number] for number in numbers}
        near = {id(edge): edge for number in numbers for edge in uses.get(number, ())}.values()
        after = sum(costs[number][other[number]] - costs[number][choice[number]] for number in numbers & costs.keys())
        after += sum(moves(*edge, other) - moves(*edge, choice) for edge in near)
        if graph.output.node is not None and id(graph.output.node) in numbers:
            after += _moving(graph.output) * (1 if other[id(graph.output.node)] else -1)
        return after

    options = sorted(options, key=total)[:STARTS]
    for choice in options:
        is_better = True
        while is_better:
            is_better = False
            for length in range(1, LONGEST):
                for start in range(len(flexible) - length + 1):
                    row = flexible[start : start + length]
                    if change(choice, row) < -1e-9:
                        choice |= {id(node): not choice[id(node)] for node in row}
                        is_better = True
    return min(options, key=total)


def _moving(value: Value) -> float:
    """Seconds that it takes to move a value's channels."""
    if not 3 <= value.ndim <= 5 or is_same_memory(value):
        return 0.0
    return value.size * value.dtype.itemsize / BYTES_PER_SECOND


def _moved(graph: Graph, is_last: dict[int, bool]) -> frozenset[int]:
    """Put in a node wherever channels are wanted elsewhere than they lie."""
    last = {id(node.output) for node in graph.nodes if is_last[id(node)]}
    made: dict[tuple[int, bool], Value] = {}
    nodes: list[Node] = []

    def as_wanted(wanted: bool, value: Value) -> Value:
        is_constant = value.node is not None and value.node.operator == "constant"
        if (id(value) in last) == wanted or is_constant or value.ndim < 3:
            return value
        if (id(value), wanted) not in made:
            node = Node("lay", (value,), {}, "")
            node.output = Value(value.shape, value.dtype, node)
            nodes.append(node)
            made[id(value), wanted] = node.output
            if wanted:
                last.add(id(node.output))
        return made[id(value), wanted]

    for node in graph.nodes:
        node.inputs = tuple(map(partial(as_wanted, is_last[id(node)]), node.inputs))
        nodes.append(node)
    graph.output = as_wanted(False, graph.output)
    graph.nodes[:] = nodes
    return frozenset(last)
