"""What is done to gradients before a step: clipped by norm or value, or added to by a penalty on the parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from .parameter import Parameter, array_module


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients together so that their norm is at most ``max_norm``, in place.

    Parameters
    ----------
    parameters : iterable of Parameter
    max_norm : float
    norm_type : float, default 2.0
        The p of the norm; ``math.inf`` is the largest element.

    Returns
    -------
    float
        The norm before.
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm: {max_norm!r}; 0 or more is wanted")
    gradients = _gradients(parameters)
    norm = gradient_norm(gradients, norm_type)
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for gradient in gradients:
            gradient *= scale
    return norm


def clip_grad_value_(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Bring every element of the gradients between ``-clip_value`` and ``clip_value``, in place."""
    if not clip_value >= 0:
        raise ValueError(f"clip_value: {clip_value!r}; 0 or more is wanted")
    for gradient in _gradients(parameters):
        array_module(gradient).clip(gradient, -clip_value, clip_value, out=gradient)


def gradient_norm(gradients: Iterable[Any], norm_type: float = 2.0) -> float:
    """The norm of all elements of some arrays together."""
    if not norm_type > 0:
        raise ValueError(f"norm_type: {norm_type!r}; above 0 is wanted")
    norms = [_norm(gradient, norm_type) for gradient in gradients if gradient.size]
    if not norms:
        return 0.0
    # Together at last: one synchronisation where the arrays lie on a GPU.
    together = array_module(norms[0]).stack(norms)
    return float(_norm(together, norm_type))


def _norm(array: Any, norm_type: float) -> Any:
    xp, flat = array_module(array), array.reshape(-1)
    if flat.dtype.itemsize < 4:
        flat = flat.astype(np.float32)
    if norm_type == 2:
        return xp.sqrt(xp.dot(flat, flat))
    if math.isinf(norm_type):
        return xp.abs(flat).max()
    return (xp.abs(flat) ** norm_type).sum() ** (1 / norm_type)


def _gradients(parameters: Iterable[Parameter]) -> list[Any]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


class Penalty:
    """A price on the size of parameters, whose gradient is added to theirs."""

    def __init__(self, strength: float) -> None:
        if not strength >= 0:
            raise ValueError(f"strength: {strength!r}; 0 or more is wanted")
        self.strength = strength

    def __call__(self, parameters: Iterable[Parameter]) -> float:
        """The penalty of the parameters that are trained; its gradient is added to theirs."""
        total = 0.0
        for parameter in parameters:
            if parameter.is_trained:
                total += float(self._value(parameter.data))
                parameter.add_gradient(partial(self._gradient, parameter.data))
        return total

    def _value(self, data: Any) -> Any:
        raise NotImplementedError

    def _gradient(self, data: Any, out: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.strength})"


class L1(Penalty):
    """``strength`` times the sum of all elements without their signs: many become 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> p = nn.Parameter(np.array([2.0, -1.0]))
    >>> nn.L1(0.5)([p])
    1.5
    >>> p.grad
    array([ 0.5, -0.5])
    """

    def _value(self, data: Any) -> Any:
        return self.strength * array_module(data).abs(data).sum()

    def _gradient(self, data: Any, out: Any) -> Any:
        out = array_module(data).sign(data, out=out)
        out *= self.strength
        return out


class L2(Penalty):
    """``strength / 2`` times the sum of all squares: the weight decay of ``SGD``, as a part of the loss."""

    def _value(self, data: Any) -> Any:
        flat = data.reshape(-1)
        return self.strength / 2 * array_module(data).dot(flat, flat)

    def _gradient(self, data: Any, out: Any) -> Any:
        return array_module(data).multiply(data, self.strength, out=out)
