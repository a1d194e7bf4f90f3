"""Imported: operators of ONNX as those of a graph; what depends on constants alone is computed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Value
from .call import Call, Given
from .elements import ELEMENTS
from .layers import LAYERS
from .shapes import SHAPES

OPERATORS: dict[str, Callable[[Call], Any]] = LAYERS | ELEMENTS | SHAPES
"""By ONNX's name: what appends the operator, and returns its value, or its first values."""


class Importer:
    """Appends ONNX's nodes to a graph, with what their names stand for."""

    def __init__(self, graph: Graph, constants: dict[str, np.ndarray], input_name: str, opset: int) -> None:
        self.graph, self.opset = graph, opset
        self.named: dict[str, Given] = {**constants, input_name: graph.input}

    def add(self, node: Any) -> None:
        """Append what a node computes; errors name it."""
        import onnx

        settings = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        settings = {name: value.decode() if isinstance(value, bytes) else value for name, value in settings.items()}
        settings = {
            name: onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
            for name, value in settings.items()
        }
        self.graph.path = node.name or (node.output[0] if node.output else "")
        try:
            given = [self.named[name] if name else None for name in node.input]
            made = OPERATORS[node.op_type](Call(self, given, settings, len(node.output)))
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError) as error:
            raise ValueError(f"operator {self.graph.path!r} ({node.op_type}): {error}") from error
        for name, value in zip(node.output, made if isinstance(made, list) else [made], strict=False):
            if name:
                self.named[name] = value

    def value(self, name: str) -> Value:
        """The value of a name; of a constant, one that holds it."""
        if name not in self.named:
            raise ValueError(f"output {name!r} is computed by no operator")
        found = self.named[name]
        return found if isinstance(found, Value) else self.graph.constant(np.asarray(found))
