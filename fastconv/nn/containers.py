"""Containers: modules that compute by others, one after another or side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..functional.activation import activate
from .activation import Activation, ReLU, ReLU6
from .module import Array, Module
from .normalization import Normalization
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
        self._steps = tuple(_steps(self._modules))

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, index: int) -> Module:
        return self._modules[index]

    def forward(self, x: Array) -> Array:
        for module, activation in self._steps:
            if activation is None:
                x = module(x)
            elif self.training:
                x = module.then(activation.activation, x)  # type: ignore[attr-defined]
            else:
                x = activation(module(x))
        return x

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        # The steps from here on take part: before the first that is trained, there is nothing to compute.
        trained = [number for number, (module, _) in enumerate(self._steps) if module.is_trained()]
        first = 0 if wants_dx else min(trained, default=len(self._steps))
        gradient: Array | None = dy
        for number in range(len(self._steps) - 1, first - 1, -1):
            module, activation = self._steps[number]
            if activation is not None and not self.training:
                gradient = activation.backward(gradient)
            gradient = module.backward(gradient, wants_dx or number > first)
        for module, _ in self._steps[:first]:
            module.forget()
        return gradient if wants_dx else None

    def lower(self, graph: Graph, x: Value) -> Value:
        for module in self._modules:
            x = graph.lower(module, x)
        return x


def _steps(modules: Sequence[Module]) -> Iterator[tuple[Module, Activation | None]]:
    """Modules, each with the activation that follows it where both are one pass in training."""
    following = (*modules[1:], None)
    is_taken = False
    for module, after in zip(modules, following, strict=False):
        if is_taken:
            is_taken = False
            continue
        is_taken = isinstance(module, Normalization) and _is_known(after)
        yield module, after if is_taken else None  # type: ignore[misc]


def _is_known(module: Module | None) -> bool:
    """Whether a module is one of the library's activations, not one that computes otherwise."""
    return isinstance(module, Activation) and type(module).forward is Activation.forward


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
        # The gradient of such an activation is found from its result; the sum is kept nowhere.
        if self.training and isinstance(self.activation, (ReLU, ReLU6)) and _is_known(self.activation):
            y = activate(y, self.activation.activation, add=passed)
            self.activation.keep(y)
            return y
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
        y = graph.lower(self.body, x)
        passed = x if self.shortcut is None else graph.lower(self.shortcut, x)
        y = graph.add(y, passed)
        return y if self.activation is None else graph.lower(self.activation, y)


class Branches(Module):
    """Several modules that get one input."""

    def __init__(self, *branches: Module) -> None:
        for number, branch in enumerate(branches):
            if not isinstance(branch, Module):
                raise TypeError(f"{type(self).__name__}'s branch {number} is {branch!r}, which is not a Module")
            setattr(self, str(number), branch)
        self._branches = branches

    def gradient(self, parts: list[Array], wants_dx: bool) -> Array | None:
        """That of the input, from those of the branches' results, which the branches may overwrite."""
        total: Any = None
        for branch, part in zip(reversed(self._branches), reversed(parts), strict=True):
            dx = branch.backward(part, wants_dx)
            if wants_dx:
                total = dx if total is None else total + dx
        return total


class Add(Branches):
    """The sum of what several modules make of one input.

    Parameters
    ----------
    *branches : Module
    """

    def forward(self, x: Array) -> Array:
        first, *others = (branch(x) for branch in self._branches)
        for part in others:
            if part.shape != first.shape:
                raise ValueError(f"the branches return shapes {first.shape} and {part.shape}; they are added")
            first = first + part
        return first

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        return self.gradient([dy, *(dy.copy() for _ in self._branches[1:])], wants_dx)

    def lower(self, graph: Graph, x: Value) -> Value:
        first, *others = (graph.lower(branch, x) for branch in self._branches)
        for part in others:
            first = graph.add(first, part)
        return first


class Multiply(Branches):
    """The product of what two modules make of one input; the second may have size 1 where the first has more.

    Parameters
    ----------
    first, second : Module
    """

    def __init__(self, first: Module, second: Module) -> None:
        super().__init__(first, second)

    def forward(self, x: Array) -> Array:
        first, second = (branch(x) for branch in self._branches)
        pairs = zip(first.shape, second.shape, strict=False)
        if first.ndim != second.ndim or any(size not in (1, whole) for whole, size in pairs):
            raise ValueError(f"the branches return shapes {first.shape} and {second.shape}; they are multiplied")
        self.keep((first, second))
        return first * second

    def lower(self, graph: Graph, x: Value) -> Value:
        first, second = (graph.lower(branch, x) for branch in self._branches)
        return graph.multiply(first, second)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        first, second = self.kept()
        summed = tuple(axis for axis in range(dy.ndim) if second.shape[axis] < dy.shape[axis])
        of_second = (dy * first).sum(axis=summed, keepdims=True)
        dy = dy * second
        return self.gradient([dy, of_second], wants_dx)


class Concatenate(Branches):
    """What several modules make of one input, one behind another on an axis; ``Identity`` is a skip connection.

    Parameters
    ----------
    *branches : Module
    axis : int, default 1
        The channels'.
    """

    def __init__(self, *branches: Module, axis: int = 1) -> None:
        super().__init__(*branches)
        self.axis = axis

    def forward(self, x: Array) -> Array:
        parts = [branch(x) for branch in self._branches]
        self.keep([part.shape[self.axis] for part in parts])
        return array_module(x).concatenate(parts, axis=self.axis)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        parts, begin = [], 0
        for size in self.kept():
            taken = (slice(None),) * (self.axis % dy.ndim) + (slice(begin, begin + size),)
            parts.append(dy[taken].copy())
            begin += size
        return self.gradient(parts, wants_dx)

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.concatenate([graph.lower(branch, x) for branch in self._branches], self.axis)
