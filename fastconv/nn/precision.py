"""Training in half floats: single precision copies of the parameters, and a loss that is scaled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .module import Module
from .optimizers import Optimizer
from .parameter import Parameter, array_module

Array = Any
DTYPES = ("bfloat16", "float16")


class MixedPrecision:
    """Has a network compute in half floats while the optimizer moves single precision copies of its parameters.

    The loss is multiplied by ``scale``, so that small gradients are not lost. Where a gradient overflows, the step is
    left out and the scale halved; after ``growth_interval`` good steps it is doubled. Buffers, as running statistics,
    stay as they are.

    Parameters
    ----------
    model : Module
        Its parameters become half floats, in place.
    optimizer : Optimizer
        Of parameters of the model. It gets the copies in their place.
    dtype : {"bfloat16", "float16"}, default "bfloat16"
    scale : float, optional
        The first one. Default: 1 for bfloat16, whose range is that of single precision, and 2**16 for float16.
    growth_interval : int, default 2000

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> model = nn.Linear(4, 2)
    >>> optimizer = nn.SGD(model.parameters(), lr=0.1)
    >>> mixed = nn.MixedPrecision(model, optimizer, "float16")
    >>> loss = nn.CrossEntropyLoss()
    >>> value = loss(model(np.ones((3, 4), np.float16)), np.array([0, 1, 0]))
    >>> _ = model.backward(loss.backward(mixed.scale), wants_dx=False)
    >>> mixed.unscale() and mixed.step()
    True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        dtype: str = "bfloat16",
        scale: float | None = None,
        growth_interval: int = 2000,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype: {dtype!r} is none of {', '.join(map(repr, DTYPES))}")
        if scale is not None and not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"scale: {scale!r}; a number above 0 is wanted")
        if growth_interval < 1:
            raise ValueError(f"growth_interval: {growth_interval!r}; 1 or more is wanted")
        self.dtype = _half(dtype)
        self.scale = float(scale or (1 if dtype == "bfloat16" else 2**16))
        self.growth_interval, self.good_steps, self._is_scaled = growth_interval, 0, self.scale != 1
        self.optimizer = optimizer
        own = {id(parameter) for parameter in model.parameters()}
        if not all(id(parameter) in own for parameter in optimizer.parameters()):
            raise ValueError("optimizer: it has parameters that are not the model's")
        self._model = model
        self._pairs: list[tuple[Parameter, Parameter]] = []
        for group in optimizer.groups:
            copies = []
            for parameter in group["params"]:
                copy = Parameter(parameter.data.astype(np.float32))
                copy.is_trained = parameter.is_trained
                self._pairs.append((parameter, copy))
                copies.append(copy)
            group["params"] = copies
        for parameter in model.parameters():
            parameter.astype(self.dtype)

    def cast(self, x: Array) -> Array:
        """Floating point numbers as the half floats that the network computes with; others as they are."""
        return x.astype(self.dtype, copy=False) if x.dtype.kind == "f" else x

    def unscale(self) -> bool:
        """Bring the gradients to the single precision copies, without the scale.

        Returns
        -------
        bool
            Whether all of them are finite; if not, there is nothing to step by, and the scale is smaller.
        """
        sums = []
        for parameter, copy in self._pairs:
            copy.is_trained = parameter.is_trained
            if not parameter.is_trained or parameter.grad is None:
                copy.zero_grad()
                continue
            xp = array_module(copy.data)
            gradient = copy._gradient if copy._gradient is not None else xp.empty_like(copy.data)
            gradient[...] = parameter.grad
            gradient *= 1 / self.scale
            copy.grad = gradient
            # The sum of finite numbers of single precision, in double precision, is finite.
            with np.errstate(invalid="ignore"):
                sums.append(gradient.sum(dtype=np.float64))
        is_finite = not sums or bool(array_module(sums[0]).isfinite(array_module(sums[0]).stack(sums)).all())
        if not is_finite:
            self.scale, self.good_steps = self.scale / 2, 0
        return is_finite

    def step(self) -> bool:
        """Have the optimizer move the copies, and round them to the network's parameters; True."""
        self.optimizer.step()
        self._round()
        self.good_steps += 1
        if self._is_scaled and self.good_steps >= self.growth_interval:
            self.scale, self.good_steps = min(self.scale * 2, 2.0**24), 0
        return True

    def _round(self) -> None:
        for parameter, copy in self._pairs:
            parameter.data[...] = copy.data

    def finish(self) -> None:
        """Give the network its parameters in single precision, and the optimizer the network's own parameters."""
        for parameter in self._model.parameters():
            parameter.astype(np.float32)
        numbers = iter(self._pairs)
        for group in self.optimizer.groups:
            group["params"] = [next(numbers)[0] for _ in group["params"]]
        for parameter, copy in self._pairs:
            parameter.data[...] = copy.data

    def state_dict(self) -> dict[str, Any]:
        """The scale, and the copies by their numbers."""
        copies = {number: copy.data for number, (_, copy) in enumerate(self._pairs)}
        return {"scale": self.scale, "good_steps": self.good_steps, "copies": copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` has given."""
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(f"the state does not fit MixedPrecision: {sorted(state)}; {sorted(own)} are wanted")
        copies = {int(number): array for number, array in state["copies"].items()}
        if {number: array.shape for number, array in copies.items()} != {
            number: array.shape for number, array in own["copies"].items()
        }:
            raise ValueError("the state does not fit MixedPrecision: the copies have other numbers or shapes")
        for number, (_, copy) in enumerate(self._pairs):
            copy.load(copies[number])
        self.scale, self.good_steps = state["scale"], state["good_steps"]
        self._round()


def _half(name: str) -> np.dtype:
    if name == "float16":
        return np.dtype(np.float16)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError("dtype: 'bfloat16' wants the package ml_dtypes: pip install ml_dtypes") from error
    return np.dtype(ml_dtypes.bfloat16)
