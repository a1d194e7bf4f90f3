"""Schedules of learning rates, and when to stop."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .module import Module
from .optimizers import Optimizer


class Schedule:
    """Sets the learning rates of an optimizer's groups from those that they had at first.

    A subclass writes ``rate(base, count)``: the rate after so many steps of the schedule.

    Parameters
    ----------
    optimizer : Optimizer
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.count = 0
        for group in optimizer.groups:
            group.setdefault("initial_lr", group["lr"])
        self._set()

    def rate(self, base: float, count: int) -> float:
        """The learning rate of a group that began with ``base``, after ``count`` steps."""
        raise NotImplementedError

    def step(self, metric: float | None = None) -> None:
        """Go on by one step; the metric is for schedules that look at it."""
        self.count += 1
        self._set()

    def _set(self) -> None:
        for group in self.optimizer.groups:
            group["lr"] = self.rate(group["initial_lr"], self.count)

    def state_dict(self) -> dict[str, Any]:
        """What the schedule goes on from; the rates themselves belong to the optimizer's state."""
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` has given."""
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(f"the state does not fit {type(self).__name__}: {sorted(state)}; {sorted(own)} are wanted")
        for name, value in state.items():
            setattr(self, name, value)


class StepLR(Schedule):
    """The rate times ``gamma`` every ``step_size`` steps.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> schedule = nn.StepLR(optimizer, step_size=2)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> optimizer.groups[0]["lr"]
    0.1
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"step_size: {step_size!r}; 1 or more is wanted")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, count: int) -> float:
        return base * self.gamma ** (count // self.step_size)


class MultiStepLR(Schedule):
    """The rate times ``gamma`` at every milestone."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, count: int) -> float:
        return base * self.gamma ** bisect.bisect_right(self.milestones, count)


class ExponentialLR(Schedule):
    """The rate times ``gamma`` every step."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, count: int) -> float:
        return base * self.gamma**count


class LinearLR(Schedule):
    """From ``start_factor`` to ``end_factor`` times the rate in ``total_iters`` steps, along a line: a warm-up."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(f"start_factor, end_factor: {start_factor!r}, {end_factor!r}; from 0 to 1 is wanted")
        if total_iters < 1:
            raise ValueError(f"total_iters: {total_iters!r}; 1 or more is wanted")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def rate(self, base: float, count: int) -> float:
        part = min(count, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * part)


class CosineAnnealingLR(Schedule):
    """From the rate to ``eta_min`` in ``T_max`` steps, along half a wave."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ValueError(f"T_max: {T_max!r}; 1 or more is wanted")
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, count: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * count / self.T_max)) / 2


class SequentialLR(Schedule):
    """One schedule after another, each counting from the milestone at which it begins.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of Schedule
        Of the same optimizer; they depend on the count alone, as all here do but ``ReduceLROnPlateau``.
    milestones : sequence of int
        The count from which on each but the first applies.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]) -> None:
        if len(schedulers) != len(milestones) + 1 or list(milestones) != sorted(milestones):
            raise ValueError(
                f"milestones: {list(milestones)!r} for {len(schedulers)} schedules; one fewer, ascending, is wanted"
            )
        for schedule in schedulers:
            if schedule.optimizer is not optimizer or isinstance(schedule, ReduceLROnPlateau):
                raise ValueError(f"schedulers: {type(schedule).__name__} is of another optimizer, or looks at a metric")
        self._schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def rate(self, base: float, count: int) -> float:
        which = bisect.bisect_right(self.milestones, count)
        begun = self.milestones[which - 1] if which else 0
        return self._schedulers[which].rate(base, count - begun)


def warmup_cosine(optimizer: Optimizer, warmup: int, total: int, eta_min: float = 0.0) -> SequentialLR:
    """Warm up along a line for ``warmup`` steps, then fall to ``eta_min`` along half a wave until ``total``."""
    if not 0 < warmup < total:
        raise ValueError(f"warmup: {warmup!r}; between 0 and the total of {total!r} is wanted")
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    fall = CosineAnnealingLR(optimizer, T_max=total - warmup, eta_min=eta_min)
    return SequentialLR(optimizer, [rise, fall], [warmup])


class Best:
    """The best value of a metric so far, and for how many looks it was not beaten.

    Parameters
    ----------
    mode : {"min", "max"}
    threshold : float
        By how much a value must be better.
    is_relative : bool
        Whether the threshold is a part of the best value.
    """

    def __init__(self, mode: str, threshold: float, is_relative: bool) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode: {mode!r}; 'min' or 'max' is wanted")
        self.mode, self.threshold, self.is_relative = mode, threshold, is_relative

    def is_beaten(self, best: float, value: float) -> bool:
        """Whether a value is better than the best."""
        if math.isinf(best):
            return not math.isnan(value) and value != best
        down = self.mode == "min"
        if self.is_relative:
            return value < best * (1 - self.threshold) if down else value > best * (1 + self.threshold)
        return value < best - self.threshold if down else value > best + self.threshold

    @property
    def worst(self) -> float:
        """What any value beats."""
        return math.inf if self.mode == "min" else -math.inf


class ReduceLROnPlateau(Schedule):
    """The rate times ``factor`` once a metric has not become better for more than ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}, default "min"
    factor : float, default 0.1
    patience : int, default 10
    threshold : float, default 1e-4
        By how much a value must be better.
    threshold_mode : {"rel", "abs"}, default "rel"
    cooldown : int, default 0
        For so many steps after the rate was reduced, nothing is counted.
    min_lr : float, default 0
    eps : float, default 1e-8
        A smaller change of the rate is not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not factor < 1:
            raise ValueError(f"factor: {factor!r}; below 1 is wanted")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode: {threshold_mode!r}; 'rel' or 'abs' is wanted")
        self._better = Best(mode, threshold, threshold_mode == "rel")
        self.factor, self.patience, self.cooldown, self.min_lr, self.eps = factor, patience, cooldown, min_lr, eps
        self.best = self._better.worst
        self.bad_steps = self.resting = 0
        super().__init__(optimizer)

    def _set(self) -> None:
        """The rates stay until the metric says so."""

    def step(self, metric: float | None = None) -> None:
        """Look at a metric, and reduce the rates if it is time."""
        if metric is None:
            raise TypeError("metric: None; ReduceLROnPlateau.step wants the number that it looks at")
        self.count += 1
        if self._better.is_beaten(self.best, metric):
            self.best, self.bad_steps = float(metric), 0
        else:
            self.bad_steps += 1
        if self.resting > 0:
            self.resting -= 1
            self.bad_steps = 0
        if self.bad_steps > self.patience:
            for group in self.optimizer.groups:
                reduced = max(group["lr"] * self.factor, self.min_lr)
                if group["lr"] - reduced > self.eps:
                    group["lr"] = reduced
            self.resting, self.bad_steps = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "best": self.best, "bad_steps": self.bad_steps, "resting": self.resting}


class EarlyStopping:
    """Says when to stop: once a value of the history has not become better for more than ``patience`` epochs.

    Parameters
    ----------
    monitor : str, default "validation_loss"
        A name of the history.
    patience : int, default 5
    min_delta : float, default 0
        By how much a value must be better.
    mode : {"min", "max"}, default "min"
    restore_best : bool, default True
        Whether the network gets back, in the end, the parameters and buffers of the best epoch.
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = True,
    ) -> None:
        self._better = Best(mode, min_delta, is_relative=False)
        self.monitor, self.patience, self.restore_best = monitor, patience, restore_best
        self.best, self.bad_epochs = self._better.worst, 0
        self.best_state: dict[str, Any] = {}

    def should_stop(self, value: float, model: Module) -> bool:
        """Look at the value of one more epoch."""
        if self._better.is_beaten(self.best, value):
            self.best, self.bad_epochs = float(value), 0
            if self.restore_best:
                self.best_state = {name: array.copy() for name, array in model.state_dict().items()}
        else:
            self.bad_epochs += 1
        return self.bad_epochs > self.patience

    def restore(self, model: Module) -> None:
        """Give the network the best epoch's parameters and buffers, where they were kept."""
        if self.best_state:
            model.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """The best value and what belongs to it."""
        return {"best": self.best, "bad_epochs": self.bad_epochs, "best_state": self.best_state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` has given."""
        if state.keys() != self.state_dict().keys():
            raise ValueError(f"the state does not fit EarlyStopping: {sorted(state)}")
        self.best, self.bad_epochs, self.best_state = state["best"], state["bad_epochs"], dict(state["best_state"])
