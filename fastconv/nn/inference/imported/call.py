"""Call: one operator of ONNX with what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph import Graph, Value

if TYPE_CHECKING:
    from . import Importer

Given = Any
"""A value, or an array that is known beforehand."""


class Call:
    """One operator: what it is given, and its settings."""

    def __init__(self, importer: Importer, given: list[Given], settings: dict[str, Any], outputs: int) -> None:
        self._importer = importer
        self.graph: Graph = importer.graph
        self.opset: int = importer.opset
        self.given, self.settings, self.outputs = given, settings, outputs

    def of(self, *given: Given) -> Call:
        """The same operator, of something else."""
        return Call(self._importer, list(given), self.settings, self.outputs)

    def get(self, name: str, default: Any = None) -> Any:
        return self.settings.get(name, default)

    def has(self, place: int) -> bool:
        return place < len(self.given) and self.given[place] is not None

    def all_known(self) -> bool:
        """Whether everything given is known beforehand."""
        return not any(isinstance(each, Value) for each in self.given)

    def x(self, place: int = 0) -> Value:
        """What is computed, or a constant as if it were."""
        given = self.given[place]
        if isinstance(given, Value):
            return given
        return self.graph.constant(np.asarray(given).astype(self.graph.precise, copy=False))

    def known(self, place: int, default: Any = None) -> Any:
        """What must be known beforehand."""
        if not self.has(place):
            return default
        if isinstance(self.given[place], Value):
            raise ValueError(f"input {place} is computed; allowed: a constant")
        return np.asarray(self.given[place])

    def numbers(self, name: str, place: int) -> list[Any] | None:
        """Numbers that older models have as a setting, newer ones as an input."""
        if name in self.settings:
            value = self.settings[name]
            return list(value) if isinstance(value, Sequence) else [value]
        found = self.known(place)
        return None if found is None else [each.item() for each in found.reshape(-1)]
