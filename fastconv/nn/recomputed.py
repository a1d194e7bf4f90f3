"""Recomputed: less memory for a second forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .generator import generator_state, set_generator_state
from .module import Array, Module, gradients
from .parameter import Buffer

if TYPE_CHECKING:
    from .inference.graph import Graph, Value


class Recomputed(Module):
    """A module of which nothing but the input is kept: ``backward`` computes forward once more.

    Results and gradients are the same to the bit: dropout draws the same numbers again, running statistics move once.
    Parameters keep their names, as if the module stood alone.

    Parameters
    ----------
    module : Module

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Recomputed(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
    >>> y = model(np.ones((2, 1, 8, 8), np.float32))
    >>> model.backward(np.ones_like(y)).shape
    (2, 1, 8, 8)
    >>> sorted(model.state_dict())
    ['0.bias', '0.weight']
    """

    def __init__(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"module: got {module!r}; allowed: a Module")
        self._module = module

    def forward(self, x: Array) -> Array:
        if not self._keeps:
            return self._module(x)
        state, inner = generator_state(), list(self._module.modules())
        before = [module._keeps for module in inner]
        for module in inner:
            module._keeps = False
        try:
            y = self._module(x)
        finally:
            for module, keeps in zip(inner, before, strict=True):
                module._keeps = keeps
        self.keep((x, state))
        return y

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        x, state = self.kept()
        if not wants_dx and not self.is_trained():
            return None
        later = generator_state()
        buffers = [tensor for _, tensor in self._module.named_tensors() if isinstance(tensor, Buffer)]
        moved = [buffer.data.copy() for buffer in buffers]
        with gradients(self._module):
            set_generator_state(state)
            try:
                self._module(x)
            finally:
                set_generator_state(later)
                for buffer, values in zip(buffers, moved, strict=True):
                    buffer.data[...] = values
            del x
            return self._module.backward(dy, wants_dx)

    def lower(self, graph: Graph, x: Value) -> Value:
        return self._module.lower(graph, x)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return self._module.named_children()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        yield prefix, self
        yield from self._module.named_modules(prefix)

    def modules(self) -> Iterator[Module]:
        yield self
        yield from self._module.modules()
