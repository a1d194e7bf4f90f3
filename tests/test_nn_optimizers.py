"""Optimizers: ten steps parameter by parameter as torch's; penalties and clipping; states that fit and that do not."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from fastconv import nn

SHAPES = [(3, 4), (5,), (1, 2, 3, 3), (70001,), ()]
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.3, "amsgrad": True}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in KINDS]


def parameters(dtype: Any = np.float64) -> list[nn.Parameter]:
    rng = np.random.default_rng(1)
    return [nn.Parameter(np.asarray(rng.standard_normal(shape), dtype)) for shape in SHAPES]


def gradients(step: int, dtype: Any = np.float64) -> list[np.ndarray]:
    """They become small, so that the largest second moment is not the last."""
    rng = np.random.default_rng([2, step])
    return [np.asarray(rng.standard_normal(shape) / (1 + step), dtype) for shape in SHAPES]


def run(optimizer: nn.Optimizer, steps: range, dtype: Any = np.float64) -> None:
    for step in steps:
        for parameter, gradient in zip(optimizer.parameters(), gradients(step, dtype), strict=True):
            parameter.grad = gradient
        optimizer.step()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=IDS)
def test_ten_steps_are_torch_s(name: str, options: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    ours = parameters(dtype)
    theirs = [torch.tensor(parameter.data, requires_grad=True) for parameter in ours]
    optimizer = getattr(nn, name)(ours, **options)
    other = getattr(torch.optim, name)(theirs, **options, foreach=False)
    rounding = 20 * np.finfo(dtype).eps
    for step in range(10):
        run(optimizer, range(step, step + 1), dtype)
        for tensor, gradient in zip(theirs, gradients(step, dtype), strict=True):
            tensor.grad = torch.tensor(gradient)
        other.step()
        for parameter, tensor in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(parameter.data, tensor.detach().numpy(), rtol=rounding, atol=rounding)


def test_groups_have_options_of_their_own() -> None:
    torch = pytest.importorskip("torch")
    ours = parameters()
    theirs = [torch.tensor(parameter.data, requires_grad=True) for parameter in ours]

    def groups(all_of_them: list[Any]) -> list[dict[str, Any]]:
        return [
            {"params": all_of_them[:2], "lr": 0.5},
            {"params": all_of_them[2], "momentum": 0.5, "weight_decay": 0.0},
            {"params": all_of_them[3:]},
        ]

    optimizer = nn.SGD(groups(ours), lr=0.1, weight_decay=0.1)
    other = torch.optim.SGD(groups(theirs), lr=0.1, weight_decay=0.1)
    for step in range(3):
        run(optimizer, range(step, step + 1))
        for tensor, gradient in zip(theirs, gradients(step), strict=True):
            tensor.grad = torch.tensor(gradient)
        other.step()
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(parameter.data, tensor.detach().numpy(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("name", "options"), KINDS, ids=IDS)
def test_going_on_from_a_state_is_going_on(name: str, options: dict[str, Any]) -> None:
    whole, first, second = parameters(), parameters(), parameters()
    run(getattr(nn, name)(whole, **options), range(10))
    begun = getattr(nn, name)(first, **options)
    run(begun, range(4))
    state = begun.state_dict()
    going_on = getattr(nn, name)(second, **{**options, "lr": 99.0})
    going_on.load_state_dict(state)
    assert going_on.groups[0]["lr"] == options["lr"]
    for parameter, other in zip(second, first, strict=True):
        parameter.data[...] = other.data
    before = [parameter.data.copy() for parameter in first]
    loaded = [(array, array.copy()) for entry in state["state"].values() for array in entry.values() if np.ndim(array)]
    run(going_on, range(4, 10))
    for one, two, three, kept in zip(whole, second, first, before, strict=True):
        np.testing.assert_array_equal(one.data, two.data)
        np.testing.assert_array_equal(three.data, kept)
    for array, was in loaded:
        np.testing.assert_array_equal(array, was)


def test_parameters_without_gradient_or_frozen_stay() -> None:
    one, two, three = (nn.Parameter(np.ones(2)) for _ in range(3))
    optimizer = nn.Adam([one, two, three])
    one.grad = three.grad = np.ones(2)
    three.is_trained = False
    optimizer.step()
    assert (one.data != 1).all()
    assert (two.data == 1).all()
    assert (three.data == 1).all()
    optimizer.zero_grad()
    assert one.grad is None


@pytest.mark.parametrize(("name", "options"), KINDS, ids=IDS)
def test_no_array_of_a_parameter_s_size_is_made(name: str, options: dict[str, Any]) -> None:
    parameter = nn.Parameter(np.ones(1_000_000, np.float32))
    parameter.grad = np.full(1_000_000, 0.5, np.float32)
    optimizer = getattr(nn, name)([parameter], **options)
    optimizer.step()
    tracemalloc.start()
    try:
        optimizer.step()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 400_000
    assert (parameter.grad == 0.5).all()


def test_what_optimizers_refuse() -> None:
    parameter = nn.Parameter(np.ones(3))
    with pytest.raises(ValueError, match="parameters: there are none"):
        nn.SGD([])
    with pytest.raises(TypeError, match="neither a Parameter nor a mapping"):
        nn.SGD([np.ones(3)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="is there twice"):
        nn.SGD([{"params": [parameter]}, {"params": [parameter]}])
    with pytest.raises(ValueError, match="a group has 'rate', no option"):
        nn.SGD([{"params": [parameter], "rate": 1}])
    with pytest.raises(ValueError, match="lr: -1; 0 or more"):
        nn.SGD([parameter], lr=-1)
    with pytest.raises(ValueError, match="lr: nan"):
        nn.Adam([parameter], lr=math.nan)
    with pytest.raises(ValueError, match="nesterov: it wants a momentum"):
        nn.SGD([parameter], nesterov=True)
    with pytest.raises(ValueError, match=r"betas: \(0.9, 1.0\)"):
        nn.Adam([parameter], betas=(0.9, 1.0))
    half = nn.Parameter(np.ones(3, np.float16))
    half.grad = half.data
    with pytest.raises(TypeError, match=r"train with nn.MixedPrecision"):
        nn.SGD([half]).step()


def test_states_that_do_not_fit() -> None:
    one, two = nn.Parameter(np.ones(3)), nn.Parameter(np.ones((2, 2)))
    optimizer = nn.SGD([one, two], momentum=0.9)
    one.grad, two.grad = np.ones(3), np.ones((2, 2))
    optimizer.step()
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="no state of an optimizer"):
        optimizer.load_state_dict({"a": 1})
    with pytest.raises(ValueError, match=r"groups of \[2\] parameters; here are \[1\]"):
        nn.SGD([one], momentum=0.9).load_state_dict(state)
    with pytest.raises(ValueError, match="does not fit Adam: options amsgrad, betas, dampening"):
        nn.Adam([one, two]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"momentum_buffer of 0 has shape \(3,\), not \(2, 2\)"):
        nn.SGD([two, one], momentum=0.9).load_state_dict(state)


# -- penalties and clipping


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e9])
def test_clipping_by_norm_is_torch_s(norm_type: float, max_norm: float) -> None:
    torch = pytest.importorskip("torch")
    ours = parameters()
    theirs = [torch.tensor(parameter.data, requires_grad=True) for parameter in ours]
    for parameter, tensor, gradient in zip(ours, theirs, gradients(0), strict=True):
        parameter.grad, tensor.grad = gradient.copy(), torch.tensor(gradient)
    norm = nn.clip_grad_norm_(ours, max_norm, norm_type)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)), rel=1e-12)
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(parameter.grad, tensor.grad.numpy(), rtol=1e-12)


def test_clipping_by_value() -> None:
    parameter = nn.Parameter(np.zeros(4))
    gradient = parameter.grad = np.array([-3, -0.5, 0.5, 3])
    nn.clip_grad_value_([parameter, nn.Parameter(np.zeros(2))], 1)
    assert parameter.grad is gradient
    np.testing.assert_array_equal(gradient, [-1, -0.5, 0.5, 1])
    assert nn.clip_grad_norm_([nn.Parameter(np.zeros(2))], 1) == 0
    for call in (nn.clip_grad_norm_, nn.clip_grad_value_):
        with pytest.raises(ValueError, match=r": -1; 0 or more is wanted"):
            call([parameter], -1)
    with pytest.raises(ValueError, match="norm_type: 0"):
        nn.clip_grad_norm_([parameter], 1, 0)


@pytest.mark.parametrize("penalty", [nn.L1(0.3), nn.L2(0.3)])
def test_penalties_add_their_gradients(penalty: Any) -> None:
    ours = parameters()
    ours[1].is_trained = False
    for parameter, gradient in zip(ours, gradients(0), strict=True):
        parameter.grad = gradient.copy()
    ours[0].zero_grad()
    value = penalty(ours)
    trained = [parameter for parameter in ours if parameter.is_trained]
    of_one = (lambda w: 0.3 * np.abs(w).sum()) if isinstance(penalty, nn.L1) else (lambda w: 0.15 * (w * w).sum())
    assert value == pytest.approx(sum(of_one(parameter.data) for parameter in trained))
    for number, (parameter, gradient) in enumerate(zip(ours, gradients(0), strict=True)):
        own = 0.3 * (np.sign(parameter.data) if isinstance(penalty, nn.L1) else parameter.data)
        wanted = gradient if not parameter.is_trained else own if number == 0 else gradient + own
        np.testing.assert_allclose(parameter.grad, wanted, rtol=1e-14)
    with pytest.raises(ValueError, match="strength: -1"):
        type(penalty)(-1)
