"""Causal depthwise 1-D convolution that carries its state from one piece of a signal to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._docs import documented
from .._execute.composed import FourGradients, FourOuts, run_causal, run_causal_backward
from .._execute.options import written
from .._normalize import causal as normalize

Array = np.ndarray


@documented
def causal_conv1d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    state: Any = None,
    activation: Any = None,
    dilation: int = 1,
    layout: str | None = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """Depthwise 1-D convolution in which an output depends only on the current and earlier elements.

    ``state`` holds the elements before x. Passing the state that is returned to the next call continues the signal:
    pieces of any length give the same values as one call on the whole signal.

    Parameters
    ----------
    x : array, (N, C, W) or (C, W)
    w : array, (C, 1, k) or (C, k)
        One kernel per channel; its last element multiplies the current element of x.
    bias : array, (C,), optional
    state : array, (N, C, (k - 1) * dilation) or (C, (k - 1) * dilation), optional
        The elements before x, oldest first, in x's layout; default zeros.
    dilation : int, default 1
    layout : {"NCW", "NWC"}, optional
        Order of the axes of x, y, ``add`` and the state; default "NCW".
    {epilogue}
    {how}
    {out}

    Returns
    -------
    y : array of x's shape
    state : array of a state's shape
        The last elements of the old state and x, in a new array.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w = np.arange(8.0).reshape(1, 1, 8), np.ones((1, 1, 3))
    >>> first, state = fastconv.causal_conv1d(x[..., :5], w)
    >>> rest, state = fastconv.causal_conv1d(x[..., 5:], w, state=state)
    >>> np.concatenate([first, rest], axis=-1)[0, 0]
    array([ 0.,  1.,  3.,  6.,  9., 12., 15., 18.])
    """
    arguments = (dilation, layout, precision, activation)
    return run_causal(normalize.forward, arguments, (algorithm, threads), (x, w, bias, state, add), out)


@documented
def causal_conv1d_backward(
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    state: Any = None,
    dstate: Any = None,
    activation: Any = None,
    dilation: int = 1,
    layout: str | None = None,
    add: Any = None,
    precision: str | None = None,
    algorithm: str = "auto",
    threads: int | None = None,
    needs: Sequence[bool] = (True, True, True, True),
    out: FourOuts = None,
) -> FourGradients:
    """Gradients of ``causal_conv1d`` with respect to x, w, bias and state.

    Parameters
    ----------
    dy : array of x's shape
        Gradient with respect to y.
    x, w, bias, state, activation, dilation, layout, add
        As given to ``causal_conv1d``.
    dstate : array of a state's shape, optional
        Gradient with respect to the state that was returned; default zeros. For a signal in pieces, taken from the last
        to the first, it is the dstate that the call for the following piece returned.
    {how}
    {four_needs}
    {four_outs}

    Returns
    -------
    (dx, dw, db, dstate) : arrays of the shapes and dtype of x, w, bias and state
        None where ``needs`` is False. dstate is the gradient with respect to the state given, or to the zeros in its
        place.

    {raises}

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, w, dy = np.ones((1, 1, 4)), np.array([[1.0, 2.0, 3.0]]), np.ones((1, 1, 4))
    >>> dx, dw, db, dstate = fastconv.causal_conv1d_backward(dy, x, w)
    >>> dx[0, 0], dstate[0, 0]
    (array([6., 6., 5., 3.]), array([1., 3.]))
    """
    arguments, arrays = (dilation, layout, precision, activation, needs), (dy, x, w, bias, state, dstate, add)
    return written(out, run_causal_backward(normalize.backward, arguments, (algorithm, threads), arrays))
