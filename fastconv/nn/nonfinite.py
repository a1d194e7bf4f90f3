"""Where numbers that are not finite begin in a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from .module import Module
from .parameter import array_module

Array = Any


def is_finite(array: Array) -> bool:
    """Whether all numbers are finite; integers always are."""
    if array.dtype.kind in "iub":
        return True
    if array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    return bool(array_module(array).isfinite(array).all())


def first_nonfinite(model: Module, x: Array) -> str:
    """Say which layer's output is the first that is not finite, by computing the network once more.

    Parameters
    ----------
    model : Module
        In the mode in which it stays.
    x : array
        What it was called with.

    Returns
    -------
    str
        A sentence.
    """
    if not is_finite(x):
        return "the batch itself has numbers that are not finite"
    names: dict[int, str] = {}
    for name, module in model.named_modules():
        names.setdefault(id(module), name)
    found: list[tuple[Module, bool]] = []
    watched = [module for module in model.modules() if id(module) in names]
    for module in watched:
        module.__dict__["forward"] = _watching(module, found)
    try:
        prediction = model(x)
    finally:
        for module in watched:
            module.__dict__.pop("forward", None)
        model.forget()
    if not found:
        if is_finite(prediction):
            return "the output of every layer is finite: it is the loss itself, or its target, that is not"
        return "the network's output is not finite"
    layer, was_finite = found[0]
    name = names[id(layer)]
    where = f"{name} ({type(layer).__name__})" if name else repr(layer)
    parts = [part for part, tensor in layer.named_tensors() if not is_finite(tensor.data)]
    if parts:
        reason = f"its {', '.join(parts)} {'is' if len(parts) == 1 else 'are'} not finite, either"
    else:
        reason = "its input and its parameters are finite" if was_finite else "nor is its input"
    return f"the first output that is not finite is that of {where}; {reason}"


def nonfinite_gradients(model: Module) -> str:
    """Say which parameters have gradients that are not finite; those of the last layers come first, as in backward."""
    named = [(name, parameter.grad) for name, parameter in model.named_parameters()]
    found = [name for name, gradient in reversed(named) if gradient is not None and not is_finite(gradient)]
    return f"those of {', '.join(found[:4])}{' and others' * (len(found) > 4)} are not finite"


def _watching(module: Module, found: list[tuple[Module, bool]]) -> Any:
    """The module's forward, which reports itself where its output is the first that is not finite."""
    forward = type(module).forward

    def watched(x: Array) -> Array:
        # A layer may compute in place of its input.
        was_finite = is_finite(x)
        y = forward(module, x)
        if not found and not is_finite(y):
            found.append((module, was_finite))
        return y

    return watched
