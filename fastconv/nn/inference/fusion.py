"""Fusion: passes that leave a graph with fewer operators, which compute the same to rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import Graph, Node, Value

FUSED = ("relu", "relu6", "leaky_relu", "silu", "gelu", "tanh", "sigmoid")
"""Activations that other operators compute along with their own work."""
TAKES_ACTIVATION = ("convolution", "linear", "scale", "add", "layer_norm", "group_norm")


def fuse(graph: Graph) -> None:
    """All passes, until nothing changes."""
    changed = True
    while changed:
        changed = bool(sum(step(graph) for step in (remove_unused, sink_transposes, sink_reshapes, fold)))


class Uses:
    """How often values are used; kept up to date by the passes' own hands."""

    def __init__(self, graph: Graph) -> None:
        self.counts = Counter(id(value) for node in graph.nodes for value in node.inputs)
        self.counts[id(graph.output)] += 1

    def once(self, value: Value) -> bool:
        return self.counts[id(value)] == 1


def replace(graph: Graph, old: Value, by: Value) -> None:
    """Use one value where another was used."""
    for node in graph.nodes:
        if old in node.inputs:
            node.inputs = tuple(by if value is old else value for value in node.inputs)
    if graph.output is old:
        graph.output = by


def remove_unused(graph: Graph) -> bool:
    """Drop nodes whose values nobody uses, and reshapes and transposes that change nothing."""
    before = len(graph.nodes)
    for node in list(graph.nodes):
        if not node.inputs:
            continue
        source = node.inputs[0]
        while node.operator == "reshape" and source.node is not None and source.node.operator == "reshape":
            source = source.node.inputs[0]
            node.inputs = (source,)
        is_plain = node.operator == "reshape" and source.shape == node.output.shape
        if is_plain or (node.operator == "transpose" and node.settings["order"] == tuple(range(source.ndim))):
            replace(graph, node.output, source)
    used = {id(graph.output)}
    kept = []
    for node in reversed(graph.nodes):
        if id(node.output) in used:
            used.update(id(value) for value in node.inputs)
            kept.append(node)
    graph.nodes[:] = reversed(kept)
    return len(kept) < before


# Transposes go down, where they meet others that take them back.


def sink_transposes(graph: Graph) -> bool:
    """Have what follows a transpose to channels last compute with channels first, and transpose its result."""
    uses = Uses(graph)
    for position, node in enumerate(graph.nodes):
        above = node.inputs[0].node if node.inputs else None
        if above is None or above.operator != "transpose":
            continue
        source, order = above.inputs[0], above.settings["order"]
        if node.operator == "transpose":
            node.inputs = (source,)
            node.settings["order"] = tuple(order[axis] for axis in node.settings["order"])
            return True
        last = len(order) - 1
        is_last = last >= 2 and order == (0, *range(2, last + 1), 1)
        if is_last and uses.once(above.output) and _moved(node, source):
            # The node computes channels first now; a transpose of its result has the old value.
            old = node.output
            node.output = Value(_first(old.shape), old.dtype, node)
            below = Node("transpose", (node.output,), {"order": order}, node.path)
            below.output, old.node = old, below
            graph.nodes.insert(position + 1, below)
            return True
    return False


def _first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with channels first."""
    return (shape[0], shape[-1], *shape[1:-1])


def _moved(node: Node, source: Value) -> bool:
    """Whether a node was changed to compute of channels first what it computes of channels last."""
    last, settings = source.ndim - 1, node.settings
    if node.operator == "linear" and source.ndim <= 5:
        dimensions = source.ndim - 2
        weight = settings["weight"]
        node.operator = "convolution"
        settings |= {
            "function": f"conv{dimensions}d",
            "weight": weight.reshape(*weight.shape, *(1,) * dimensions),
            "call": {},
        }
    elif node.operator == "layer_norm" and settings["axis"] == (last,):
        settings["axis"] = (1,)
    elif node.operator == "scale" and settings["axis"] == last:
        settings["axis"] = 1
    elif node.operator != "activation":
        return False
    node.inputs = (source, *node.inputs[1:])
    return True


def sink_reshapes(graph: Graph) -> bool:
    """Compute a scale or an activation before a reshape that has split or dropped a batch of one."""
    uses = Uses(graph)
    for node in graph.nodes:
        above = node.inputs[0].node if node.inputs else None
        if (
            node.operator == "activation"
            and above is not None
            and above.operator == "reshape"
            and uses.once(above.output)
        ):
            source, result = above.inputs[0], node.output
            node.inputs, node.output = (source,), Value(source.shape, source.dtype, node)
            above.inputs, above.output, result.node = (node.output,), result, above
            graph.nodes.remove(node)
            graph.nodes.insert(graph.nodes.index(above), node)
            return True
    return False


# Work that the operator before does along with its own.


def fold(graph: Graph) -> bool:
    """Put scales into weights, and activations and sums into what comes before them."""
    changed = False
    uses = Uses(graph)
    for node in list(graph.nodes):
        into = FOLDINGS.get(node.operator)
        taker = None if into is None else into(node, uses)
        if taker is None:
            continue
        # The taker computes what the node did, at its place: all that it is given is there by then.
        graph.nodes.remove(taker)
        graph.nodes[graph.nodes.index(node)] = taker
        taker.output, node.output.node = node.output, taker
        changed = True
    return changed


def _scale(node: Node, uses: Uses) -> Node | None:
    """A scale in the weights of a convolution or a linear map before it, or in those of another scale."""
    before, settings = node.inputs[0].node, node.settings
    if before is None or not uses.once(before.output) or before.settings.get("activation") is not None:
        return None
    if len(before.inputs) > 1 or not _is_same_axis(before, settings["axis"]):
        return None
    scale, shift = settings["scale"], settings["shift"]
    own = before.settings
    if before.operator == "scale":
        own["scale"], own["shift"] = own["scale"] * scale, own["shift"] * scale + shift
    else:
        weight, bias = own["weight"], own["bias"]
        own["weight"] = (weight * _along(before, weight, scale)).astype(weight.dtype)
        own["bias"] = ((0.0 if bias is None else bias) * scale + shift).astype(weight.dtype)
    own["activation"] = settings["activation"]
    return before


def _is_same_axis(before: Node, axis: int) -> bool:
    if before.operator == "scale":
        return bool(before.settings["axis"] == axis)
    if before.operator == "convolution":
        return axis == 1
    return before.operator == "linear" and axis == before.output.ndim - 1


def _along(node: Node, weight: Any, scale: Any) -> Any:
    """The scale of result channels in the shape in which it multiplies the weight."""
    is_transposed = node.operator == "convolution" and "transpose" in node.settings["function"]
    if not is_transposed:
        return scale.reshape(-1, *(1,) * (weight.ndim - 1))
    # (in, out / groups, ...): the inputs of a group have their own results.
    groups = node.settings["call"].get("groups", 1)
    by_group = np.repeat(scale.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return by_group.reshape(*by_group.shape, *(1,) * (weight.ndim - 2))


def _activation(node: Node, uses: Uses) -> Node | None:
    before, activation = node.inputs[0].node, node.settings["activation"]
    name = activation if isinstance(activation, str) else activation[0]
    if before is None or before.operator not in TAKES_ACTIVATION or name not in FUSED or not uses.once(before.output):
        return None
    if before.settings["activation"] is not None:
        return None
    before.settings["activation"] = activation
    return before


def _add(node: Node, uses: Uses) -> Node | None:
    """The sum along with the convolution that has computed one of its parts, the later one if it is two."""
    if node.inputs[0] is node.inputs[1]:
        return None
    for value, other in (node.inputs, node.inputs[::-1]):
        before = value.node
        if (
            before is not None
            and before.operator in ("convolution", "linear")
            and uses.once(value)
            and len(before.inputs) == 1
            and before.settings["activation"] is None
        ):
            before.inputs = (before.inputs[0], other)
            before.settings["activation"] = node.settings["activation"]
            return before
    return None


FOLDINGS: dict[str, Callable[[Node, Uses], Node | None]] = {"scale": _scale, "activation": _activation, "add": _add}


def gate(graph: Graph) -> None:
    """Multiply weights in the place of channels, where there are fewer of them: the last pass, for one image only."""
    uses = Uses(graph)
    for node in graph.nodes:
        product = node.inputs[0].node if node.operator == "convolution" else None
        if product is None or product.operator != "multiply" or not uses.once(product.output):
            continue
        whole, factor = sorted(product.inputs, key=lambda value: -value.size)
        is_gate = whole.shape[0] == 1 and factor.shape == (*whole.shape[:2], *(1,) * (whole.ndim - 2))
        is_plain = node.settings["function"].startswith("conv") and "transpose" not in node.settings["function"]
        is_dense = is_plain and node.settings["call"].get("groups", 1) == 1
        if is_gate and is_dense and 2 * node.settings["weight"].size <= whole.size:
            node.operator = "gated_convolution"
            node.inputs = (whole, factor, *node.inputs[1:])
    remove_unused(graph)
