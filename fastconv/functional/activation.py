"""Activations of whole arrays, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._docs import documented
from .._execute import normalization as run
from .._normalize import normalization as normalize

Array = np.ndarray


@documented
def activate(
    x: Any, activation: Any, *, add: Any = None, threads: int | None = None, out: Array | None = None
) -> Array:
    """``activation(x + add)``, element by element.

    Parameters
    ----------
    x : array
        float32, float64, float16 or bfloat16, the latter computed in float32.
    activation : str, ("leaky_relu", slope) or None
        "relu", "relu6", "leaky_relu" (slope 0.01), "silu", "gelu" (exact), "tanh" or "sigmoid"; None: x itself.
    add : array, optional
        Of the shape and dtype of x.
    {threads}
    {out}

    Returns
    -------
    array of the shape and dtype of x

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.activate(np.array([-1.0, 2.0, 7.0]), "relu6")
    array([0., 2., 6.])
    """
    return run.activate(normalize.activation(x, activation, add, out), threads)


@documented
def activate_backward(
    dy: Any, x: Any, activation: Any, *, threads: int | None = None, out: Array | None = None
) -> Array:
    """Gradient of ``activate`` with respect to its input: dy times the activation's slope at ``x``.

    Parameters
    ----------
    dy : array
        Gradient with respect to the forward function's result, and of its shape.
    x : array
        What the activation was applied to. For "relu" and "relu6" its result will do as well.
    activation : str, ("leaky_relu", slope) or None
        As in the forward function. Of the kinks of "relu" and "relu6" the slope is 0.
    {threads}
    {out}

    Returns
    -------
    array of the shape and dtype of x

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.activate_backward(np.ones(3), np.array([-1.0, 2.0, 7.0]), "relu6")
    array([0., 1., 0.])
    """
    return run.activate(normalize.activation_gradient(dy, x, activation, out), threads)
