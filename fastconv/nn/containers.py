"""Containers: modules that compute by others, one after another or side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .module import Array, Module
from .parameter import array_module

if TYPE_CHECKING:
    from .inference.graph import Graph, Value


class Sequential(Module):
    """Modules one after another.

    Parameters
    ----------
    *modules : Module, or one mapping of names to modules
        Named "0", "1"..., or as the mapping has them.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> model(np.ones((2, 1, 8, 8), np.float32)).shape
    (2, 4, 6, 6)
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Mapping[str, Any] = modules[0]
        else:
            named = {str(number): module for number, module in enumerate(modules)}
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(f"Sequential's {name!r} is {module!r}, which is not a Module")
            setattr(self, name, module)
        self._modules = tuple(named.values())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> Module:
        return self._modules[index]

    def forward(self, x: Array) -> Array:
        for module in self._modules:
            x = module(x)
        return x

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        # The modules from here on take part: before the first that is trained, there is nothing to compute.
        trained = [number for number, module in enumerate(self._modules) if module.is_trained()]
        first = 0 if wants_dx else min(trained, default=len(self._modules))
        gradient: Array | None = dy
        for number in range(len(self._modules) - 1, first - 1, -1):
            gradient = self._modules[number].backward(gradient, wants_dx or number > first)
        for module in self._modules[:first]:
            module.forget()
        return gradient if wants_dx else None

    def lower(self, graph: Graph, x: Value) -> Value:
        for module in self._modules:
            x = module.lower(graph, x)
        return x


class Identity(Module):
    """Returns what it is given."""

    def forward(self, x: Array) -> Array:
        return x

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        return dy

    def lower(self, graph: Graph, x: Value) -> Value:
        return x


class Residual(Module):
    """``activation(body(x) + shortcut(x))``.

    Parameters
    ----------
    body : Module
    shortcut : Module, optional
        Default: x itself.
    activation : Module, optional
        Default: none.
    """

    def __init__(self, body: Module, shortcut: Module | None = None, activation: Module | None = None) -> None:
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x: Array) -> Array:
        y = self.body(x)
        passed = x if self.shortcut is None else self.shortcut(x)
        if y.shape != passed.shape:
            raise ValueError(f"the body returns shape {y.shape}, the shortcut {passed.shape}; they are added")
        y = y + passed
        return y if self.activation is None else self.activation(y)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        gradient: Any = dy if self.activation is None else self.activation.backward(dy)
        # A branch may overwrite what it is given.
        passed: Any = gradient.copy()
        if self.shortcut is not None:
            passed = self.shortcut.backward(passed, wants_dx)
        dx = self.body.backward(gradient, wants_dx)
        if not wants_dx:
            return None
        passed += dx
        return passed

    def lower(self, graph: Graph, x: Value) -> Value:
        y = self.body.lower(graph, x)
        passed = x if self.shortcut is None else self.shortcut.lower(graph, x)
        y = graph.add(y, passed)
        return y if self.activation is None else self.activation.lower(graph, y)


class Concatenate(Module):
    """What several modules make of one input, one behind another on an axis; ``Identity`` is a skip connection.

    Parameters
    ----------
    *branches : Module
    axis : int, default 1
        The channels'.
    """

    def __init__(self, *branches: Module, axis: int = 1) -> None:
        for number, branch in enumerate(branches):
            setattr(self, str(number), branch)
        self._branches, self.axis = branches, axis

    def forward(self, x: Array) -> Array:
        parts = [branch(x) for branch in self._branches]
        self.keep([part.shape[self.axis] for part in parts])
        return array_module(x).concatenate(parts, axis=self.axis)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        end, total = dy.shape[self.axis], None
        for branch, size in zip(reversed(self._branches), reversed(self.kept()), strict=True):
            part = dy[(slice(None),) * (self.axis % dy.ndim) + (slice(end - size, end),)]
            end -= size
            dx = branch.backward(part.copy(), wants_dx)
            if wants_dx:
                total = dx if total is None else total + dx
        return total

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.concatenate([branch.lower(graph, x) for branch in self._branches], self.axis)
