"""Patterns: activations and normalizations that files spell out by elementary operators, put together again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .fusion import remove_unused, replace
from .graph import Graph, Node, Value


def fuse_patterns(graph: Graph) -> None:
    """GELU by erf, and x * sigmoid(x), as single activations."""
    for node in list(graph.nodes):
        x = _gelu_input(node) or _silu_input(node)
        if x is None:
            continue
        name = "silu" if node.operator == "multiply" and _silu_input(node) is not None else "gelu"
        made = Node("activation", (x,), {"activation": name}, node.path)
        made.output = Value(node.output.shape, node.output.dtype, made)
        graph.nodes.insert(graph.nodes.index(node), made)
        replace(graph, node.output, made.output)
    remove_unused(graph)


def _silu_input(node: Node) -> Value | None:
    """x of ``x * sigmoid(x)``."""
    if node.operator != "multiply":
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        gate = other.node
        is_gate = gate is not None and gate.operator == "activation" and gate.settings["activation"] == "sigmoid"
        if is_gate and gate is not None and gate.inputs[0] is x:
            return x
    return None


def _gelu_input(node: Node) -> Value | None:
    """x of ``x * (1 + erf(x / sqrt(2))) / 2``, whatever is multiplied first."""
    # Factors that are constant, and the computed ones, of a product.
    factor, values = _product(node)
    if len(values) != 2:
        return None
    for x, other in (values, values[::-1]):
        sum_node = other.node
        if sum_node is None or sum_node.operator != "scale":
            continue
        if not _is(sum_node.settings["scale"], 1.0) or not _is(sum_node.settings["shift"], 1.0):
            continue
        erf = sum_node.inputs[0].node
        if erf is None or erf.operator != "elementwise" or erf.settings["function"] != "erf":
            continue
        inner, inside = _product(erf.inputs[0].node)
        if inside == [x] and math.isclose(inner * math.sqrt(2), 1, rel_tol=1e-4) and math.isclose(factor, 0.5):
            return x
    return None


def _product(node: Node | None) -> tuple[float, list[Value]]:
    """The constant factor, and what is multiplied besides."""
    if node is None:
        return math.nan, []
    if node.operator == "multiply":
        factor, values = 1.0, []
        for value in node.inputs:
            is_factor = value.node is not None and value.node.operator == "scale" and _is_number(value.node)
            if is_factor and value.node is not None:
                factor *= float(value.node.settings["scale"].flat[0])
                values.append(value.node.inputs[0])
            else:
                values.append(value)
        return factor, values
    if node.operator == "scale" and _is_number(node):
        source = node.inputs[0]
        number = float(node.settings["scale"].flat[0])
        inner = source.node
        if inner is not None and inner.operator == "multiply":
            factor, values = _product(inner)
            return factor * number, values
        return number, [source]
    return math.nan, []


def _is_number(node: Node) -> bool:
    """Whether a scale is the product with one number."""
    scale, shift = node.settings["scale"], node.settings["shift"]
    return bool(np.all(scale == scale.flat[0]) and np.all(np.asarray(shift) == 0))


def _is(array: Any, number: float) -> bool:
    return bool(np.all(np.asarray(array) == number))
