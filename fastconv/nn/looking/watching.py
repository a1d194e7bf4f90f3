"""A network while it is looked into: layers that report what they compute, and gradients of the input alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from ..evaluation import evaluating
from ..module import Array, Module, gradients


def named(model: Module, layer: str) -> Module:
    modules = dict(model.named_modules())
    if layer not in modules:
        near = difflib.get_close_matches(layer, modules, 3)
        names = ", ".join(map(repr, near or list(modules)[1:6]))
        raise ValueError(f"layer: {layer!r} is no layer of the network; there is {names}")
    return modules[layer]


@contextmanager
def watched(model: Module, layer: str) -> Iterator[dict[str, Array]]:
    """What a layer returns, and the gradient of that; copies, since the layers around it may compute in place."""
    module = named(model, layer)
    seen: dict[str, Array] = {}
    forward, backward = module.forward, module.backward

    def forward_seen(x: Array) -> Array:
        y = forward(x)
        seen.pop("gradient", None)
        seen["output"] = y.copy()
        return y

    def backward_seen(dy: Array, wants_dx: bool = True) -> Array | None:
        seen.setdefault("gradient", dy.copy())
        return backward(dy, wants_dx)

    module.__dict__.update(forward=forward_seen, backward=backward_seen)
    try:
        yield seen
    finally:
        del module.__dict__["forward"], module.__dict__["backward"]
    if "output" not in seen:
        raise ValueError(f"layer: {layer!r} is a name in the network, but not called by it")


@contextmanager
def asked(model: Module) -> Iterator[None]:
    """Evaluation mode, gradients of the input and of no parameter."""
    trained = [parameter for parameter in model.parameters() if parameter.is_trained]
    with evaluating(model), gradients(model):
        for parameter in trained:
            parameter.is_trained = False
        try:
            yield
        finally:
            for parameter in trained:
                parameter.is_trained = True
