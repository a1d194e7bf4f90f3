"""Evaluation: a network's loss, metrics and predictions over data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .losses import Loss
from .module import Array, Module
from .parameter import array_module
from .precision import MixedPrecision

Metric = Callable[[Array, Array], float]


def accuracy(prediction: Array, target: Array) -> float:
    """The part of targets, numbers of classes, whose class has the largest logit."""
    return float((prediction.argmax(axis=1) == target).mean())


def evaluate(
    model: Module,
    data: Iterable[tuple[Array, Array]],
    loss: Loss | None = None,
    metrics: Mapping[str, Metric] | None = None,
    precision: MixedPrecision | None = None,
) -> dict[str, float]:
    """Means of the loss and the metrics over data, in evaluation mode; the network is in its mode again afterwards.

    Parameters
    ----------
    model : Module
    data : iterable of pairs (x, target)
    loss : Loss, optional
    metrics : mapping of names to functions, optional
    precision : MixedPrecision, optional
        Where the network computes in half floats.
    """
    means = Means()
    with evaluating(model), iterated(data) as batches:
        for x, target in batches:
            x, target = placed_like(model, x), placed_like(model, target)
            prediction = model(x if precision is None else precision.cast(x))
            values = {} if loss is None else {"loss": loss(prediction, target)}
            means.add(len(x), {**values, **measured(metrics or {}, prediction, target)})
    return means.values()


def predict(model: Module, x: Array, batch_size: int = 64) -> Array:
    """What a network says of an array, in evaluation mode, a batch at a time."""
    if not len(x):
        raise ValueError("x: it is empty")
    with evaluating(model):
        parts = [model(placed_like(model, x[first : first + batch_size])) for first in range(0, len(x), batch_size)]
    return array_module(parts[0]).concatenate(parts)


class Means:
    """Means of values over batches of different sizes."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, float] = {}

    def add(self, count: int, values: Mapping[str, float]) -> None:
        """Add the means of a batch."""
        self.count += count
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + count * value

    def values(self) -> dict[str, float]:
        """The means of all."""
        return {name: total / self.count for name, total in self._sums.items()}


def measured(metrics: Mapping[str, Metric], prediction: Array, target: Array) -> dict[str, float]:
    """All metrics of a batch."""
    return {name: float(metric(prediction, target)) for name, metric in metrics.items()}


def placed_like(model: Module, x: Array) -> Array:
    """The array, of the module that the network's parameters are arrays of."""
    parameter = next(model.parameters(), None)
    xp: Any = np if parameter is None else array_module(parameter.data)
    return x if array_module(x) is xp else xp.asarray(x)


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode for the time of a block."""
    before = [(module, module.training, module._keeps) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training, keeps in before:
            module.training, module._keeps = training, keeps


@contextmanager
def iterated(data: Iterable[tuple[Array, Array]]) -> Iterator[Iterator[tuple[Array, Array]]]:
    """An iterator that is closed at the end, with the thread that may be behind it."""
    batches = iter(data)
    try:
        yield batches
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
