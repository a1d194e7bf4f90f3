"""HIPS autograd: its own convolve, and the gradient of a layer through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.compat import autograd as of_autograd

from .case import Case


def cases() -> list[Case]:
    """float64, in the layout of convolve's own example, a network of LeNet's kind."""
    import autograd.numpy as anp
    from autograd import grad
    from autograd.scipy.signal import convolve

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((16, 6, 14, 14)), rng.standard_normal((6, 16, 5, 5))
    how: dict[str, Any] = {"axes": ([2, 3], [2, 3]), "dot_axes": ([1], [0]), "mode": "valid"}

    def gradient(function: Callable[..., Any]) -> Callable[[], Any]:
        of_weight = grad(lambda w: anp.sum(anp.tanh(function(x, w, **how))))
        return lambda: of_weight(w)

    return [
        Case(
            "convolve 5x5, 6 to 16 channels", lambda: of_autograd.convolve(x, w, **how), lambda: convolve(x, w, **how)
        ),
        Case("gradient of it for the kernel", gradient(of_autograd.convolve), gradient(convolve)),
    ]
