"""Module: what computes forward and backward, and owns parameters and other modules by the names of its attributes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .parameter import Parameter, Tensor

if TYPE_CHECKING:
    from .inference.graph import Graph, Value

Array = Any
"""NumPy's or CuPy's."""
M = TypeVar("M", bound="Module")


class Calls(threading.local):
    """How deep in calls of modules a thread is."""

    depth = 0


CALLS = Calls()


class Module:
    """A layer, or a network of them, with explicit ``forward`` and ``backward``: there is no graph recorder.

    Attributes that hold a ``Parameter``, a ``Buffer`` or a ``Module`` are part of the module under their names, as in
    ``torch.nn``; those whose names begin with an underscore are not.

    A module keeps what ``backward`` needs while it is in training mode, or within ``with nn.gradients(model)``. What
    is kept lies on a stack, so that a layer may be used several times in one network: ``backward`` takes from it in
    the opposite order. A new call of the outermost module forgets what an earlier one has left there.

    A subclass writes ``forward(x)``, ``backward(dy, wants_dx)``, and ``lower(graph, x)`` if it can be compiled.
    """

    training: bool = True
    _keeps: bool = True
    _kept: list[Any]

    def forward(self, x: Array) -> Array:
        """Compute; where ``self.keep`` is given something, ``backward`` finds it again."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        """Add to the gradients of the parameters, and return that of the input, or None where it is not wanted.

        Parameters
        ----------
        dy : array
            The gradient of the loss for what ``forward`` has returned last. It may be overwritten.
        wants_dx : bool, default True
            Whether the gradient of the input is computed. A network that is trained does not need that of its data.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def lower(self, graph: Graph, x: Value) -> Value:
        """Describe what ``forward`` computes in evaluation mode, as operators of a graph; for ``nn.compile``."""
        raise NotImplementedError(f"{type(self).__name__} cannot be compiled: it has no lower")

    def __call__(self, x: Array) -> Array:
        """``forward``, with the module's path in the message of an error.

        Raises
        ------
        ValueError, TypeError
            If a layer cannot compute what it is given: with its path in the network that was called.
        """
        is_outermost = CALLS.depth == 0
        if is_outermost and self._keeps:
            self.forget()
        CALLS.depth += 1
        try:
            return self.forward(x)
        except (ValueError, TypeError) as error:
            if not hasattr(error, "module"):
                error.module = self  # type: ignore[union-attr]
            if not is_outermost:
                raise
            raise self._with_path(error, x) from error
        finally:
            CALLS.depth -= 1

    def _with_path(self, error: Exception, x: Array) -> Exception:
        """The error with the path of the layer that it comes from."""
        layer = error.module  # type: ignore[attr-defined]
        path = next((name for name, module in self.named_modules() if module is layer), "")
        where = f"{path} ({layer.brief()})" if path else layer.brief()
        return type(error)(f"{where}: {error} (the network's input has shape {getattr(x, 'shape', None)})")

    # What backward needs.

    def keep(self, value: Any) -> None:
        """Keep something for ``backward``, where gradients are wanted."""
        if self._keeps:
            self.__dict__.setdefault("_kept", []).append(value)

    def kept(self) -> Any:
        """Take back what was kept last.

        Raises
        ------
        RuntimeError
            If nothing is left: ``forward`` did not run, or not for gradients, or ``backward`` has run already.
        """
        if not self.__dict__.get("_kept"):
            raise RuntimeError(
                f"{self!r} has nothing to compute gradients from: call the network first, in training mode or within "
                "'with nn.gradients(model)', and backward once for each call"
            )
        return self._kept.pop()

    def forget(self) -> None:
        """Drop all that was kept for ``backward``, here and in the modules within."""
        for module in self.modules():
            module.__dict__.pop("_kept", None)

    # Names.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Modules that are attributes of this one."""
        for name, value in vars(self).items():
            if isinstance(value, Module) and not name.startswith("_"):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, whose name is the prefix, and all within it; one that is used twice comes twice."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all within it."""
        yield self
        for _, child in self.named_children():
            yield from child.modules()

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers by their names, each once, those of a module before those within it."""
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and not name.startswith("_") and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """What is trained."""
        for name, tensor in self.named_tensors():
            if isinstance(tensor, Parameter):
                yield name, tensor

    def parameters(self) -> Iterator[Parameter]:
        """What is trained."""
        return (parameter for _, parameter in self.named_parameters())

    def is_trained(self) -> bool:
        """Whether any parameter here or within takes gradients."""
        return any(parameter.is_trained for parameter in self.parameters())

    # States.

    def train(self: M, mode: bool = True) -> M:
        """Go to training mode: batch statistics, dropout, and ``backward`` is possible."""
        for module in self.modules():
            module.training = module._keeps = mode
            module.__dict__.pop("_kept", None)
        return self

    def eval(self: M) -> M:
        """Go to evaluation mode: running statistics, no dropout, nothing is kept for gradients."""
        return self.train(False)

    def freeze(self: M, is_frozen: bool = True) -> M:
        """Let the parameters take no gradients, or take them again."""
        for parameter in self.parameters():
            parameter.is_trained = not is_frozen
        return self

    def zero_grad(self) -> None:
        """Have the next gradients replace those that are there, in the same memory."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def astype(self: M, dtype: Any) -> M:
        """Convert parameters and buffers of floating point numbers, in place."""
        for _, tensor in self.named_tensors():
            tensor.astype(dtype)
        return self

    def to(self: M, array_module: Any) -> M:
        """Move parameters and buffers to the arrays of ``numpy`` or ``cupy``, in place: ``model.to(cupy)``."""
        for _, tensor in self.named_tensors():
            tensor.to(array_module)
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """All parameters and buffers by their names as in ``torch.nn``: the arrays themselves, not copies."""
        return {name: tensor.data for name, tensor in self.named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy parameters and buffers from arrays of the same names.

        Parameters
        ----------
        state : mapping of names to arrays
            As ``state_dict`` gives it, or that of a ``torch.nn`` module with the same names, its tensors as arrays.
        strict : bool, default True
            Whether names that are missing here or there are errors.

        Raises
        ------
        ValueError
            Where names or shapes do not fit; nothing is copied then.
        """
        own = dict(self.named_tensors())
        faults = []
        if strict:
            faults += [f"missing: {', '.join(sorted(own.keys() - state.keys()))}"] * bool(own.keys() - state.keys())
            faults += [f"unknown: {', '.join(sorted(state.keys() - own.keys()))}"] * bool(state.keys() - own.keys())
        for name in own.keys() & state.keys():
            values, wanted = state[name], own[name].data.shape
            shape = tuple(values.shape if hasattr(values, "shape") else np.shape(values))
            if shape != wanted:
                faults.append(f"{name} has shape {shape}, the network's is {wanted}")
        if faults:
            raise ValueError(f"the state does not fit {type(self).__name__}: {'; '.join(faults)}")
        for name in own.keys() & state.keys():
            own[name].load(state[name])

    # Looking at it.

    def describe(self) -> str:
        """The arguments, for repr."""
        return ""

    def brief(self) -> str:
        """``repr`` in one line: of a module with others within, only its class."""
        return type(self).__name__ if any(True for _ in self.named_children()) else repr(self)

    def __repr__(self) -> str:
        children = list(self.named_children())
        if not children:
            return f"{type(self).__name__}({self.describe()})"
        lines = "\n".join(f"({name}): {child!r}" for name, child in children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {lines}\n)"


class Composite(Module):
    """A module that names its layers as it likes and computes by a route of containers over them.

    A subclass sets its layers as attributes, and ``self._route`` to a module that uses them: forward, backward and
    lower are the route's.

    Examples
    --------
    >>> from fastconv import nn
    >>> class Block(nn.Composite):
    ...     def __init__(self) -> None:
    ...         self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    ...         self._route = nn.Residual(nn.Sequential(self.conv1, nn.ReLU(), self.conv2))
    >>> sorted(Block().state_dict())
    ['conv1.bias', 'conv1.weight', 'conv2.bias', 'conv2.weight']
    """

    _route: Module

    def forward(self, x: Array) -> Array:
        return self._route(x)

    def backward(self, dy: Array, wants_dx: bool = True) -> Array | None:
        return self._route.backward(dy, wants_dx)

    def lower(self, graph: Graph, x: Value) -> Value:
        return graph.lower(self._route, x)

    def modules(self) -> Iterator[Module]:
        """The layers, and the containers of the route, which have no names."""
        seen = {id(module): module for module in (*super().modules(), *self._route.modules())}
        return iter(seen.values())


@contextmanager
def gradients(model: M) -> Iterator[M]:
    """Keep what ``backward`` needs for the time of a block, in evaluation mode, too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Conv2d(1, 1, 3).eval()
    >>> with nn.gradients(model):
    ...     y = model(np.ones((1, 1, 5, 5), np.float32))
    ...     dx = model.backward(np.ones_like(y))
    >>> dx.shape
    (1, 1, 5, 5)
    """
    before = [(module, module._keeps) for module in model.modules()]
    for module, _ in before:
        module._keeps = True
    try:
        yield model
    finally:
        for module, keeps in before:
            module._keeps = keeps
            module.__dict__.pop("_kept", None)
