"""Adversarial examples: images changed a little, so that a network takes them for something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

import numpy as np

from ..generator import GENERATOR
from ..losses import CrossEntropyLoss, Loss
from ..module import Array, Module
from ..optimizers import Optimizer
from ..parameter import array_module
from .watching import asked

Attack = Callable[[Module, Array, Array], Array]
"""Makes adversarial examples: ``attack(model, x, target)``."""
Bounds = tuple[float, float] | None


def fgsm(
    model: Module,
    x: Array,
    target: Array,
    epsilon: float,
    *,
    loss: Loss | None = None,
    bounds: Bounds = (0.0, 1.0),
    towards: bool = False,
) -> Array:
    """Adversarial examples by one step along the sign of the gradient (Goodfellow et al., 2014).

    Parameters
    ----------
    model : Module
    x : array
        Images.
    target : array
        What they show.
    epsilon : float
        How much each number is changed.
    loss : Loss, optional
        Default: the cross entropy.
    bounds : (float, float) or None, default (0, 1)
        The range of the images' numbers, which is kept.
    towards : bool, default False
        Whether ``target`` is what the images shall be taken for.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> x = np.full((1, 1, 2, 2), 0.5, np.float32)
    >>> float(abs(nn.looking.fgsm(model, x, np.array([0]), 0.25) - x).max())
    0.25
    """
    _check_attack(x, epsilon, bounds)
    step = math.copysign(epsilon, -1 if towards else 1)
    with asked(model):
        gradient = _loss_gradient(model, x, target, loss or CrossEntropyLoss())
    return _bounded(x + step * array_module(x).sign(gradient), bounds)


def pgd(
    model: Module,
    x: Array,
    target: Array,
    epsilon: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    norm: str = "inf",
    random_start: bool = True,
    loss: Loss | None = None,
    bounds: Bounds = (0.0, 1.0),
    towards: bool = False,
) -> Array:
    """Adversarial examples by several steps along the gradient, within a ball (Madry et al., 2017).

    Parameters
    ----------
    model : Module
    x : array
        Images.
    target : array
        What they show.
    epsilon : float
        Radius of the ball about each image.
    steps : int, default 10
    step_size : float, optional
        Default: ``2.5 * epsilon / steps``.
    norm : {"inf", "2"}, default "inf"
        What the radius is measured by: the largest change of a number, or the root of the sum of their squares.
    random_start : bool, default True
        Begin at a random point of the ball, as ``nn.seed`` has it, not at the image.
    loss : Loss, optional
        Default: the cross entropy.
    bounds : (float, float) or None, default (0, 1)
        The range of the images' numbers, which is kept.
    towards : bool, default False
        Whether ``target`` is what the images shall be taken for.
    """
    _check_attack(x, epsilon, bounds)
    if norm not in ("inf", "2"):
        raise ValueError(f"norm: {norm!r}; 'inf' or '2' is wanted")
    if steps < 1:
        raise ValueError(f"steps: {steps!r}; 1 or more is wanted")
    xp = array_module(x)
    step = (2.5 * epsilon / steps if step_size is None else step_size) * (-1 if towards else 1)
    loss = loss or CrossEntropyLoss()
    change = xp.zeros_like(x)
    if random_start:
        change = _within(xp.asarray(GENERATOR.uniform(-epsilon, epsilon, x.shape).astype(x.dtype)), epsilon, norm)
    with asked(model):
        for _ in range(steps):
            y = _bounded(x + change, bounds)
            gradient = _loss_gradient(model, y, target, loss)
            direction = xp.sign(gradient) if norm == "inf" else gradient / _lengths(gradient)
            change = _within(y - x + step * direction, epsilon, norm)
    return _bounded(x + change, bounds)


def adversarial_step(model: Module, x: Array, target: Array, loss: Loss, optimizer: Optimizer, attack: Attack) -> float:
    """One step of training on adversarial examples, made for the network as it is now; the loss of these.

    Parameters
    ----------
    model : Module
        In training mode afterwards.
    x, target : array
        A batch.
    loss : Loss
    optimizer : Optimizer
    attack : callable
        ``attack(model, x, target)`` returns the examples: ``functools.partial(nn.looking.fgsm, epsilon=0.1)``, say.
    """
    examples = attack(model, x, target)
    model.train()
    optimizer.zero_grad()
    value = loss(model(examples), target)
    model.backward(loss.backward(), wants_dx=False)
    optimizer.step()
    return float(value)


class AdversarialBatches:
    """Batches whose images are attacked when they are used, so that ``nn.fit`` trains on adversarial examples.

    Parameters
    ----------
    batches : iterable of pairs (x, target)
        ``nn.Batches``, say.
    model : Module
        The network that is trained.
    attack : callable
        ``attack(model, x, target)`` returns the examples: ``functools.partial(nn.looking.fgsm, epsilon=0.1)``, say.
    """

    def __init__(self, batches: Iterable[tuple[Array, Array]], model: Module, attack: Attack) -> None:
        self.batches, self.model, self.attack = batches, model, attack

    def __len__(self) -> int:
        if not isinstance(self.batches, Sized):
            raise TypeError(f"batches: {self.batches!r} has no length")
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        for x, target in self.batches:
            yield self.attack(self.model, x, target), target

    def state_dict(self) -> dict[str, Any]:
        """That of the batches."""
        return self.batches.state_dict()  # type: ignore[attr-defined, no-any-return]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` has given."""
        self.batches.load_state_dict(state)  # type: ignore[attr-defined]


def _check_attack(x: Array, epsilon: float, bounds: Bounds) -> None:
    if not epsilon >= 0 or not math.isfinite(epsilon):
        raise ValueError(f"epsilon: {epsilon!r}; 0 or more is wanted")
    if bounds is not None:
        low, high = bounds
        if not low < high:
            raise ValueError(f"bounds: {bounds!r}; a number and a larger one are wanted")
        if x.size and not (low <= float(x.min()) and float(x.max()) <= high):
            raise ValueError(f"x: numbers from {float(x.min()):g} to {float(x.max()):g}; the bounds are {bounds}")


def _loss_gradient(model: Module, x: Array, target: Array, loss: Loss) -> Array:
    loss(model(x), target)
    return model.backward(loss.backward())


def _bounded(x: Array, bounds: Bounds) -> Array:
    return x if bounds is None else x.clip(*bounds)


def _within(change: Array, epsilon: float, norm: str) -> Array:
    """The nearest change within the ball."""
    if norm == "inf":
        return change.clip(-epsilon, epsilon)
    return change * (epsilon / _lengths(change)).clip(0, 1)


def _lengths(x: Array) -> Array:
    """The Euclidean norm of each image, never 0."""
    squares = (x * x).sum(axis=tuple(range(1, x.ndim)), keepdims=True)
    return array_module(x).sqrt(squares).clip(np.finfo(x.dtype).tiny)
