"""Schedules: the rates of torch's; early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import nn


def ours_of() -> nn.SGD:
    one, two = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    return nn.SGD([{"params": [one]}, {"params": [two], "lr": 0.03}], lr=0.5)


def theirs_of() -> Any:
    torch = pytest.importorskip("torch")
    one, two = (torch.zeros(1, requires_grad=True) for _ in range(2))
    return torch.optim.SGD([{"params": [one]}, {"params": [two], "lr": 0.03}], lr=0.5)


KINDS: dict[str, Callable[[Any, Any], Any]] = {
    "StepLR": lambda module, optimizer: module.StepLR(optimizer, 3, gamma=0.5),
    "MultiStepLR": lambda module, optimizer: module.MultiStepLR(optimizer, [2, 5, 5, 9]),
    "ExponentialLR": lambda module, optimizer: module.ExponentialLR(optimizer, 0.9),
    "LinearLR": lambda module, optimizer: module.LinearLR(optimizer, 0.1, 0.9, total_iters=6),
    "CosineAnnealingLR": lambda module, optimizer: module.CosineAnnealingLR(optimizer, 12, eta_min=0.01),
    "SequentialLR": lambda module, optimizer: module.SequentialLR(
        optimizer,
        [
            module.LinearLR(optimizer, 0.2, total_iters=4),
            module.CosineAnnealingLR(optimizer, 8),
            module.StepLR(optimizer, 2),
        ],
        [4, 12],
    ),
}


def rates(optimizer: Any) -> list[float]:
    groups = optimizer.groups if isinstance(optimizer, nn.Optimizer) else optimizer.param_groups
    return [group["lr"] for group in groups]


@pytest.mark.parametrize("name", KINDS)
def test_rates_are_torch_s(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = ours_of(), theirs_of()
    schedule, other = KINDS[name](nn, ours), KINDS[name](torch.optim.lr_scheduler, theirs)
    # torch's cosine goes up again by steps that lose precision where the rate was least.
    for _ in range(13 if name == "CosineAnnealingLR" else 18):
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-9, atol=1e-12)
        theirs.step()
        schedule.step()
        other.step()


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateaus_are_torch_s(mode: str, threshold_mode: str) -> None:
    torch = pytest.importorskip("torch")
    options: dict[str, Any] = {
        "mode": mode,
        "factor": 0.3,
        "patience": 2,
        "threshold": 0.05,
        "threshold_mode": threshold_mode,
        "cooldown": 1,
        "min_lr": 1e-3,
    }
    ours, theirs = ours_of(), theirs_of()
    schedule = nn.ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    metrics = np.random.default_rng(0).uniform(0.5, 1.5, 60) * np.linspace(1, 0.8 if mode == "min" else 1.2, 60)
    metrics[7] = math.nan
    for metric in metrics:
        schedule.step(float(metric))
        other.step(float(metric))
        np.testing.assert_allclose(rates(ours), rates(theirs), rtol=1e-12)
    assert rates(ours)[1] == 1e-3


def test_warmup_and_cosine() -> None:
    optimizer = ours_of()
    schedule = nn.warmup_cosine(optimizer, warmup=4, total=14, eta_min=0.0)
    seen = []
    for _ in range(15):
        seen.append(rates(optimizer)[0])
        schedule.step()
    np.testing.assert_allclose(seen[:5], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert seen[4] == max(seen)
    assert seen[4:] == sorted(seen[4:], reverse=True)
    assert seen[9] == pytest.approx(0.25)
    assert seen[14] == pytest.approx(0)


@pytest.mark.parametrize("name", [*KINDS, "ReduceLROnPlateau"])
def test_going_on_from_a_state_is_going_on(name: str) -> None:
    def make(optimizer: nn.SGD) -> Any:
        if name == "ReduceLROnPlateau":
            return nn.ReduceLROnPlateau(optimizer, patience=1, cooldown=1)
        return KINDS[name](nn, optimizer)

    metrics = [3.0, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1]
    whole, first, second = ours_of(), ours_of(), ours_of()
    one, two, three = make(whole), make(first), make(second)
    for metric in metrics:
        one.step(metric)
    for metric in metrics[:4]:
        two.step(metric)
    second.load_state_dict(first.state_dict())
    three.load_state_dict(two.state_dict())
    for metric in metrics[4:]:
        three.step(metric)
    assert rates(second) == rates(whole)


def test_early_stopping() -> None:
    model = nn.Sequential()
    model.weight = nn.Parameter(np.zeros(2))  # type: ignore[attr-defined]
    stopping = nn.EarlyStopping(patience=1, min_delta=0.1)
    answers = []
    for epoch, value in enumerate([1.0, 0.5, 0.45, 0.3, math.nan, 0.29, 0.1]):
        model.weight.data[...] = epoch  # type: ignore[attr-defined]
        answers.append(stopping.should_stop(value, model))
        if answers[-1]:
            break
    assert answers == [False, False, False, False, False, True]
    stopping.restore(model)
    np.testing.assert_array_equal(model.state_dict()["weight"], [3, 3])
    other = nn.EarlyStopping(patience=1, min_delta=0.1)
    other.load_state_dict(stopping.state_dict())
    assert (other.best, other.bad_epochs) == (0.3, 2)
    assert nn.EarlyStopping(mode="max").should_stop(-5.0, model) is False


def test_what_schedules_refuse() -> None:
    optimizer = ours_of()
    with pytest.raises(ValueError, match="step_size: 0; 1 or more"):
        nn.StepLR(optimizer, 0)
    with pytest.raises(ValueError, match="T_max: 0"):
        nn.CosineAnnealingLR(optimizer, 0)
    with pytest.raises(ValueError, match="total_iters: 0"):
        nn.LinearLR(optimizer, total_iters=0)
    with pytest.raises(ValueError, match="start_factor, end_factor: 0, 1"):
        nn.LinearLR(optimizer, start_factor=0)
    with pytest.raises(ValueError, match=r"milestones: \[3\] for 1 schedules"):
        nn.SequentialLR(optimizer, [nn.ExponentialLR(optimizer, 0.5)], [3])
    with pytest.raises(ValueError, match="schedulers: ExponentialLR is of another optimizer"):
        nn.SequentialLR(ours_of(), [nn.ExponentialLR(optimizer, 0.5)], [])
    with pytest.raises(ValueError, match="warmup: 0; between 0 and the total of 5"):
        nn.warmup_cosine(optimizer, 0, 5)
    with pytest.raises(ValueError, match=r"factor: 1.5"):
        nn.ReduceLROnPlateau(optimizer, factor=1.5)
    with pytest.raises(ValueError, match="mode: 'up'; 'min' or 'max'"):
        nn.ReduceLROnPlateau(optimizer, mode="up")
    with pytest.raises(ValueError, match="mode: 'up'"):
        nn.EarlyStopping(mode="up")
    with pytest.raises(TypeError, match="metric: None"):
        nn.ReduceLROnPlateau(optimizer).step()
    with pytest.raises(ValueError, match="the state does not fit StepLR"):
        nn.StepLR(optimizer, 1).load_state_dict({"best": 1})
    with pytest.raises(ValueError, match="the state does not fit EarlyStopping"):
        nn.EarlyStopping().load_state_dict({"best": 1})
