"""Optimizers: steps of parameters against their gradients, in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .parameter import Parameter, array_module

Array = Any
BLOCK = 1 << 15
"""Elements that a step works on at a time: they and its scratch memory stay in the cache."""


class Optimizer:
    """Moves parameters against their gradients.

    Arguments, groups and steps are those of ``torch.optim``. Parameters and states are changed in place, a block at a
    time; no array as large as a parameter is made but the states.

    Parameters
    ----------
    parameters : iterable of Parameter, or of mappings
        A mapping is a group: its parameters under "params", and whatever differs from the options of the others.
    **options
        Of every group that does not say otherwise.

    Attributes
    ----------
    groups : list of dict
        The parameters under "params", and their options; a schedule changes "lr".
    """

    options: Mapping[str, Any]

    def __init__(self, parameters: Iterable[Parameter | Mapping[str, Any]], **options: Any) -> None:
        given = list(parameters)
        if not given:
            raise ValueError("parameters: there are none to optimize")
        if all(isinstance(entry, Parameter) for entry in given):
            given = [{"params": given}]
        self.groups: list[dict[str, Any]] = []
        seen: set[int] = set()
        for entry in given:
            if not isinstance(entry, Mapping) or "params" not in entry:
                raise TypeError(f"parameters: {entry!r} is neither a Parameter nor a mapping with 'params'")
            unknown = entry.keys() - options.keys() - {"params"}
            if unknown:
                raise ValueError(f"parameters: a group has {', '.join(map(repr, sorted(unknown)))}, no option of these")
            group = {**options, **entry}
            group["params"] = [group["params"]] if isinstance(group["params"], Parameter) else list(group["params"])
            for parameter in group["params"]:
                if not isinstance(parameter, Parameter):
                    raise TypeError(f"parameters: {parameter!r} is no Parameter")
                if id(parameter) in seen:
                    raise ValueError(f"parameters: {parameter!r} is there twice")
                seen.add(id(parameter))
            self._check(group)
            self.groups.append(group)
        self._states: list[dict[str, Any]] = [{} for _ in self.parameters()]
        self._scratch: dict[Any, list[Array]] = {}

    def parameters(self) -> list[Parameter]:
        """All parameters, in the order of the groups."""
        return [parameter for group in self.groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        """Have the next gradients replace those that are there, in the same memory."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def step(self) -> None:
        """Move every parameter that has a gradient.

        Raises
        ------
        TypeError
            Where parameters are half floats, whose steps would be lost: see ``nn.MixedPrecision``.
        """
        number = 0
        for group in self.groups:
            for parameter in group["params"]:
                if parameter.is_trained and parameter.grad is not None:
                    self._move(parameter, self._states[number], group)
                number += 1

    def _move(self, parameter: Parameter, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        data, gradient = parameter.data, parameter.grad
        if data.dtype.itemsize < 4:
            raise TypeError(f"{parameter!r}: steps are lost in {data.dtype}; train with nn.MixedPrecision")
        numbers = self._begin(parameter, state, group)
        names = [
            name for name, value in state.items() if getattr(value, "shape", None) == data.shape and name != "step"
        ]
        arrays = {"p": data, "g": gradient, **{name: state[name] for name in names}}
        if not data.flags.c_contiguous:
            raise ValueError(f"{parameter!r}: its array is not contiguous")
        flat = {name: array.reshape(-1) for name, array in arrays.items()}
        # The GPU has no such cache, and its scratch memory is cheap.
        block = BLOCK if isinstance(data, np.ndarray) else max(data.size, 1)
        for first in range(0, data.size, block):
            part = {name: array[first : first + block] for name, array in flat.items()}
            self._update(part, numbers, group, self._scratch_of(part["p"]))

    def _scratch_of(self, like: Array) -> list[Array]:
        """Two arrays to compute in."""
        xp = array_module(like)
        if not isinstance(like, np.ndarray):
            return [xp.empty_like(like), xp.empty_like(like)]
        if like.dtype not in self._scratch:
            self._scratch[like.dtype] = [np.empty(BLOCK, like.dtype) for _ in range(2)]
        return [array[: like.size] for array in self._scratch[like.dtype]]

    # What a subclass writes.

    def _check(self, group: Mapping[str, Any]) -> None:
        """Refuse options that are out of range."""
        for name in ("lr", "weight_decay", "eps", "momentum"):
            if name in group and not (group[name] >= 0 and math.isfinite(group[name])):
                raise ValueError(f"{name}: {group[name]!r}; 0 or more is wanted")

    def _begin(self, parameter: Parameter, state: dict[str, Any], group: Mapping[str, Any]) -> Any:
        """Make the states of a parameter, and compute what its blocks share."""
        raise NotImplementedError

    def _update(self, part: dict[str, Array], numbers: Any, group: Mapping[str, Any], scratch: list[Array]) -> None:
        """Move a block: "p", its gradient "g", which stays as it is, and the states by their names."""
        raise NotImplementedError

    # States.

    def state_dict(self) -> dict[str, Any]:
        """States of parameters by their numbers, and the options of the groups, as in torch."""
        groups, number = [], 0
        for group in self.groups:
            numbers = list(range(number, number := number + len(group["params"])))
            groups.append({**{key: value for key, value in group.items() if key != "params"}, "params": numbers})
        states = {number: dict(state) for number, state in enumerate(self._states) if state}
        return {"state": states, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` has given.

        Raises
        ------
        ValueError
            Where groups, parameters or shapes are others; nothing is changed then.
        """
        name, own = type(self).__name__, self.state_dict()["param_groups"]
        try:
            groups, states = state["param_groups"], {int(key): dict(value) for key, value in state["state"].items()}
            found = [list(group["params"]) for group in groups]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no state of an optimizer: {error!r}") from error
        if found != [group["params"] for group in own]:
            sizes = [len(group["params"]) for group in own], [len(params) for params in found]
            raise ValueError(f"the state does not fit {name}: groups of {sizes[1]} parameters; here are {sizes[0]}")
        for index, group in enumerate(groups):
            differing = group.keys() ^ own[index].keys()
            differing -= {"initial_lr"}
            if differing:
                raise ValueError(f"the state does not fit {name}: options {', '.join(sorted(map(str, differing)))}")
        parameters = self.parameters()
        for number, entry in states.items():
            for key, value in entry.items():
                shape = tuple(getattr(value, "shape", ()))
                if key != "step" and shape and shape != parameters[number].shape:
                    wanted = parameters[number].shape
                    raise ValueError(
                        f"the state does not fit {name}: {key} of {number} has shape {shape}, not {wanted}"
                    )
        for group, loaded in zip(self.groups, groups, strict=True):
            group.update({key: _plain(value) for key, value in loaded.items() if key != "params"})
        self._states = [_placed(states.get(number, {}), p) for number, p in enumerate(parameters)]

    def __repr__(self) -> str:
        options = {key: value for key, value in self.groups[0].items() if key != "params"}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in options.items())})"


class SGD(Optimizer):
    """Steepest descent, with momentum, as ``torch.optim.SGD``.

    Parameters
    ----------
    parameters : iterable of Parameter, or of mappings
    lr : float, default 1e-3
    momentum, dampening, weight_decay : float, default 0
        The weight decay is that of an L2 penalty.
    nesterov : bool, default False
        Wants a momentum and no dampening.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> p = nn.Parameter(np.ones(2, np.float32))
    >>> p.grad = np.array([1, -1], np.float32)
    >>> nn.SGD([p], lr=0.5).step()
    >>> p.data
    array([0.5, 1.5], dtype=float32)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            parameters, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("nesterov: it wants a momentum above 0 and a dampening of 0")

    def _begin(self, parameter: Parameter, state: dict[str, Any], group: Mapping[str, Any]) -> Any:
        is_first = False
        if group["momentum"] and "momentum_buffer" not in state:
            is_first = True
            state["momentum_buffer"] = array_module(parameter.data).empty_like(parameter.data)
        return is_first

    def _update(self, part: dict[str, Array], numbers: Any, group: Mapping[str, Any], scratch: list[Array]) -> None:
        p, gradient, xp = part["p"], part["g"], array_module(part["p"])
        step, other = scratch
        if group["weight_decay"]:
            xp.multiply(p, group["weight_decay"], out=other)
            other += gradient
            gradient = other
        if group["momentum"]:
            buffer = part["momentum_buffer"]
            if numbers:
                buffer[...] = gradient
            else:
                buffer *= group["momentum"]
                xp.multiply(gradient, 1 - group["dampening"], out=step)
                buffer += step
            if group["nesterov"]:
                xp.multiply(buffer, group["momentum"], out=step)
                step += gradient
                gradient = step
            else:
                gradient = buffer
        xp.multiply(gradient, group["lr"], out=step)
        p -= step


class Adam(Optimizer):
    """Steps by the first two moments of the gradients, as ``torch.optim.Adam``.

    Parameters
    ----------
    parameters : iterable of Parameter, or of mappings
    lr : float, default 1e-3
    betas : pair of floats, default (0.9, 0.999)
        How much of the moments is kept.
    eps : float, default 1e-8
        Added to what is divided by.
    weight_decay : float, default 0
        That of an L2 penalty, which is divided by the second moment, too; see ``AdamW``.
    amsgrad : bool, default False
        Divide by the largest second moment so far.
    """

    is_decoupled = False

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"betas: {group['betas']!r}; two numbers from 0 to below 1 are wanted")

    def _begin(self, parameter: Parameter, state: dict[str, Any], group: Mapping[str, Any]) -> Any:
        if not state:
            state["step"] = 0
            for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]:
                state[name] = array_module(parameter.data).zeros_like(parameter.data)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        first, second = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        return group["lr"] / first, math.sqrt(second)

    def _update(self, part: dict[str, Array], numbers: Any, group: Mapping[str, Any], scratch: list[Array]) -> None:
        p, gradient, xp = part["p"], part["g"], array_module(part["p"])
        mean, square, step, other = part["exp_avg"], part["exp_avg_sq"], *scratch
        rate, root = numbers
        beta1, beta2 = group["betas"]
        if self.is_decoupled:
            p *= 1 - group["lr"] * group["weight_decay"]
        elif group["weight_decay"]:
            xp.multiply(p, group["weight_decay"], out=other)
            other += gradient
            gradient = other
        xp.subtract(gradient, mean, out=step)
        step *= 1 - beta1
        mean += step
        xp.multiply(gradient, gradient, out=step)
        step *= 1 - beta2
        square *= beta2
        square += step
        if group["amsgrad"]:
            xp.maximum(part["max_exp_avg_sq"], square, out=part["max_exp_avg_sq"])
            square = part["max_exp_avg_sq"]
        xp.sqrt(square, out=step)
        step *= 1 / root
        step += group["eps"]
        xp.divide(mean, step, out=step)
        step *= rate
        p -= step


class AdamW(Adam):
    """``Adam`` whose weight decay shrinks the parameters by themselves, as ``torch.optim.AdamW``.

    Parameters
    ----------
    parameters, lr, betas, eps, amsgrad
        As ``Adam``'s.
    weight_decay : float, default 0.01
        Each step takes this part, times ``lr``, of the parameters.
    """

    is_decoupled = True

    def __init__(
        self,
        parameters: Iterable[Parameter | Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, amsgrad)


def _plain(value: Any) -> Any:
    """A list, as files have it, as the tuple that it was."""
    return tuple(value) if isinstance(value, list) else value


def _placed(state: Mapping[str, Any], parameter: Parameter) -> dict[str, Any]:
    """Copies of states, those of the parameter's shape where it lies and of its dtype."""
    xp = array_module(parameter.data)
    return {
        key: int(value) if key == "step" else xp.array(value, dtype=parameter.data.dtype) if value is not None else None
        for key, value in state.items()
    }
