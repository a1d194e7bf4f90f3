"""Training: ``fit`` and what goes with it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from .checkpoint import load_checkpoint, save_checkpoint
from .clipping import Penalty, clip_grad_norm_, clip_grad_value_
from .evaluation import Means, Metric, evaluate, iterated, measured, placed_like
from .generator import generator_state, set_generator_state
from .history import History
from .losses import Loss
from .module import Array, Module
from .nonfinite import first_nonfinite, nonfinite_gradients
from .optimizers import Optimizer
from .precision import MixedPrecision
from .progress import Progress
from .schedules import EarlyStopping, ReduceLROnPlateau, Schedule


class Callback:
    """What is called while a network is trained; it may change the ``Training``, and set ``should_stop``."""

    def after_backward(self, training: Training) -> None:
        """The gradients of a batch are there; they are neither clipped nor unscaled yet."""

    def after_step(self, training: Training) -> None:
        """A batch is done."""

    def after_epoch(self, training: Training) -> None:
        """An epoch is done, and in the history; the checkpoint is not written yet."""


def fit(
    model: Module,
    data: Iterable[tuple[Array, Array]],
    loss: Loss,
    optimizer: Optimizer,
    *,
    epochs: int = 1,
    validation: Iterable[tuple[Array, Array]] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    schedule: Schedule | None = None,
    schedule_by: str = "epoch",
    stopping: EarlyStopping | None = None,
    penalty: Penalty | None = None,
    max_norm: float | None = None,
    max_value: float | None = None,
    precision: str | MixedPrecision | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> History:
    """Train a network; it is in evaluation mode afterwards.

    Parameters
    ----------
    model : Module
    data : iterable of pairs (x, target)
        Gone through once an epoch, as ``nn.Batches``. What it gives is moved to the network's kind of arrays.
    loss : Loss
    optimizer : Optimizer
        Of the model's parameters.
    epochs : int, default 1
        In all: those that a checkpoint has done count.
    validation : iterable of pairs, optional
        Looked at after every epoch, in evaluation mode.
    metrics : mapping of names to functions, optional
        ``function(prediction, target)`` is a mean over a batch, as ``nn.accuracy``.
    schedule : Schedule, optional
        ``ReduceLROnPlateau`` looks at the loss of the validation, or of the training where there is none.
    schedule_by : {"epoch", "step"}, default "epoch"
        When the schedule goes on.
    stopping : EarlyStopping, optional
    penalty : Penalty, optional
        ``nn.L1`` or ``nn.L2`` of all parameters that are trained; a part of the loss.
    max_norm, max_value : float, optional
        Gradients are clipped to this norm, or to this size of each element.
    precision : {"bfloat16", "float16"} or MixedPrecision, optional
        Compute in half floats. By name, the network is in single precision again afterwards.
    checkpoint : path, optional
        Written after every ``checkpoint_every`` epochs and after the last.
    checkpoint_every : int, default 1
    resume : bool, default False
        Go on from the checkpoint if there is one: to the same bits as if nothing had happened.
    callbacks : sequence of Callback, optional
    progress : bool, default True
        A bar on a terminal where rich is installed, else a line for each epoch; on stderr.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        When the loss is not finite: with the step, and the first layer whose output is not; or when gradients that
        are clipped by their norm are not. The parameters are those before the step, the last checkpoint is as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    >>> model = nn.Linear(3, 2)
    >>> data = nn.Batches(x, (x[:, 0] > 0).astype(int), batch_size=16, shuffle=True)
    >>> optimizer = nn.SGD(model.parameters(), lr=1.0)
    >>> history = nn.fit(model, data, nn.CrossEntropyLoss(), optimizer, epochs=20, progress=False)
    >>> history["loss"][-1] < 0.3
    True
    """
    if schedule_by not in ("epoch", "step"):
        raise ValueError(f"schedule_by: {schedule_by!r}; 'epoch' or 'step' is wanted")
    if schedule_by == "step" and isinstance(schedule, ReduceLROnPlateau):
        raise ValueError("schedule_by: ReduceLROnPlateau looks at the loss of an epoch")
    if epochs < 0 or checkpoint_every < 1:
        raise ValueError(f"epochs, checkpoint_every: {epochs!r}, {checkpoint_every!r}; 0, 1 or more are wanted")
    if resume and checkpoint is None:
        raise ValueError("resume: there is no checkpoint to go on from; give its path")
    mixed = MixedPrecision(model, optimizer, precision) if isinstance(precision, str) else precision
    training = Training(model, loss, optimizer, mixed, data, metrics or {}, schedule, stopping, list(callbacks))
    training.penalty, training.max_norm, training.max_value = penalty, max_norm, max_value
    training.steps_schedule = schedule_by == "step"
    try:
        if resume and checkpoint is not None and Path(checkpoint).exists():
            training.load(checkpoint)
        with Progress(epochs, len(data) if isinstance(data, Sized) else None, progress) as shown:
            while training.epoch < epochs and not training.should_stop:
                training.run_epoch(validation, shown)
                if checkpoint is not None and (
                    training.epoch % checkpoint_every == 0 or training.epoch == epochs or training.should_stop
                ):
                    training.save(checkpoint)
    finally:
        if isinstance(precision, str) and mixed is not None:
            mixed.finish()
    if stopping is not None:
        stopping.restore(model)
    model.eval()
    return training.history


class Training:
    """A training that goes on; callbacks are given it.

    Attributes
    ----------
    model, loss, optimizer, precision
    epoch, step : int
        Epochs and batches that are done.
    history : History
    last_loss : float
        Of the last batch.
    should_stop : bool
        A callback may set it: training ends with this epoch.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        precision: MixedPrecision | None,
        data: Iterable[tuple[Array, Array]],
        metrics: Mapping[str, Metric],
        schedule: Schedule | None,
        stopping: EarlyStopping | None,
        callbacks: list[Callback],
    ) -> None:
        self.model, self.loss, self.optimizer, self.precision = model, loss, optimizer, precision
        self.data, self.metrics, self.schedule, self.stopping = data, metrics, schedule, stopping
        self.callbacks = callbacks
        self.penalty: Penalty | None = None
        self.max_norm: float | None = None
        self.max_value: float | None = None
        self.steps_schedule = False
        self.epoch = self.step = 0
        self.history = History()
        self.last_loss = math.nan
        self.should_stop = False

    def run_epoch(self, validation: Iterable[tuple[Array, Array]] | None, shown: Progress) -> None:
        """One epoch, and what comes after it."""
        shown.begin(self.epoch)
        self.model.train()
        means = Means()
        rate = self.optimizer.groups[0]["lr"]
        with iterated(self.data) as batches:
            for x, target in batches:
                x, target = self._placed(x), placed_like(self.model, target)
                prediction = self.run_batch(x, target)
                means.add(len(x), {"loss": self.last_loss, **measured(self.metrics, prediction, target)})
                shown.advance(self.last_loss)
        if not means.count:
            raise ValueError("data: it has given no batch")
        values = means.values()
        if validation is not None:
            checked = evaluate(self.model, validation, self.loss, self.metrics, self.precision)
            values |= {f"validation_{name}": value for name, value in checked.items()}
        self.history.append({**values, "lr": rate})
        shown.end(self.epoch, values)
        self.epoch += 1
        self._after_epoch(values)

    def _after_epoch(self, values: Mapping[str, float]) -> None:
        if self.schedule is not None and not self.steps_schedule:
            self.schedule.step(values.get("validation_loss", values["loss"]))
        if self.stopping is not None:
            if self.stopping.monitor not in values:
                raise ValueError(f"monitor: {self.stopping.monitor!r} is none of {', '.join(map(repr, values))}")
            if self.stopping.should_stop(values[self.stopping.monitor], self.model):
                self.should_stop = True
        for callback in self.callbacks:
            callback.after_epoch(self)

    def run_batch(self, x: Array, target: Array) -> Array:
        """One step; what the network has predicted before it."""
        self.optimizer.zero_grad()
        self.model.zero_grad()
        prediction = self.model(x)
        value = self.loss(prediction, target)
        if not isinstance(value, float):
            raise ValueError(f"loss: its reduction is {self.loss.reduction!r}; 'mean' or 'sum' is wanted")
        if not math.isfinite(value):
            self._stop_at(value, x)
        scale = 1.0 if self.precision is None else self.precision.scale
        self.model.backward(self.loss.backward(scale), wants_dx=False)
        for callback in self.callbacks:
            callback.after_backward(self)
        if self.precision is None or self.precision.unscale():
            value += self._move()
        self.step += 1
        self.last_loss = value
        if self.schedule is not None and self.steps_schedule:
            self.schedule.step()
        for callback in self.callbacks:
            callback.after_step(self)
        return prediction

    def _move(self) -> float:
        """Penalise, clip and step; the penalty."""
        parameters = self.optimizer.parameters()
        price = 0.0 if self.penalty is None else self.penalty(parameters)
        if self.max_value is not None:
            clip_grad_value_(parameters, self.max_value)
        if self.max_norm is not None:
            norm = clip_grad_norm_(parameters, self.max_norm)
            if not math.isfinite(norm):
                raise FloatingPointError(
                    f"the norm of the gradients is {norm} at step {self.step + 1}, in epoch {self.epoch + 1}: "
                    f"{nonfinite_gradients(self.model)}"
                )
        if self.precision is None:
            self.optimizer.step()
        else:
            self.precision.step()
        return price

    def _placed(self, x: Array) -> Array:
        x = placed_like(self.model, x)
        return x if self.precision is None else self.precision.cast(x)

    def _stop_at(self, value: float, x: Array) -> None:
        reason = first_nonfinite(self.model, x)
        raise FloatingPointError(f"the loss is {value} at step {self.step + 1}, in epoch {self.epoch + 1}: {reason}")

    # Checkpoints.

    def _parts(self) -> dict[str, Any]:
        parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "history": self.history,
            "schedule": self.schedule,
            "stopping": self.stopping,
            "precision": self.precision,
            "data": self.data if hasattr(self.data, "load_state_dict") else None,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the training goes on from."""
        own = {"epoch": self.epoch, "step": self.step, "should_stop": self.should_stop}
        save_checkpoint(path, training=own, generator=generator_state(), **self._parts())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint."""
        states = load_checkpoint(path, **self._parts())
        try:
            own = states["training"]
            self.epoch, self.step, self.should_stop = own["epoch"], own["step"], own["should_stop"]
            set_generator_state(states["generator"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)}: this checkpoint is not one of nn.fit") from error
