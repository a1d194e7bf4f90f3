"""Normalization layers and activations: as torch's, alone and where containers compute both in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import nn

torch = pytest.importorskip("torch")
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("BatchNorm1d", (5,), {}, (6, 5)),
    ("BatchNorm1d", (5,), {"momentum": None}, (3, 5, 7)),
    ("BatchNorm2d", (4,), {"eps": 1e-3, "momentum": 0.3}, (3, 4, 5, 7)),
    ("BatchNorm2d", (4,), {"affine": False}, (2, 4, 3, 3)),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, (1, 4, 3, 3)),
    ("BatchNorm3d", (3,), {}, (2, 3, 4, 2, 5)),
    ("GroupNorm", (2, 6), {}, (3, 6, 5)),
    ("GroupNorm", (6, 6), {"affine": False, "eps": 0.1}, (3, 6, 5, 4)),
    ("LayerNorm", (7,), {}, (3, 5, 7)),
    ("LayerNorm", ((5, 7),), {"bias": False}, (3, 5, 7)),
    ("LayerNorm", ((5, 7),), {"elementwise_affine": False}, (3, 5, 7)),
    ("ReLU", (), {}, (3, 5)),
    ("ReLU6", (), {"inplace": False}, (3, 5)),
    ("LeakyReLU", (0.2,), {}, (3, 5)),
    ("SiLU", (), {}, (3, 5)),
    ("GELU", (), {}, (3, 5)),
    ("Tanh", (), {}, (3, 5)),
    ("Sigmoid", (), {}, (3, 5)),
]


def filled(ours: nn.Module, theirs: Any) -> None:
    """Give both the same random numbers, in float64."""
    random = np.random.default_rng(0)
    ours.astype(np.float64)
    theirs.double()
    state = {}
    for name, tensor in theirs.state_dict().items():
        is_count = not tensor.is_floating_point()
        state[name] = np.zeros((), np.int64) if is_count else 0.5 + random.random(tuple(tensor.shape))
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in state.items()})


def compare(ours: nn.Module, theirs: Any, shape: tuple[int, ...], steps: int = 2) -> None:
    """Forward, every gradient and every buffer, in training and in evaluation mode."""
    filled(ours, theirs)
    random = np.random.default_rng(1)
    for step in range(2 * steps):
        is_training = step < steps
        ours.train(is_training)
        theirs.train(is_training)
        x = 2 + 3 * random.standard_normal(shape)
        dy = random.standard_normal(shape)
        given = torch.tensor(x, requires_grad=True)
        theirs.zero_grad()
        expected = theirs(given)
        expected.backward(torch.tensor(dy))
        ours.zero_grad()
        with nn.gradients(ours):
            np.testing.assert_allclose(ours(x), expected.detach().numpy(), rtol=0, atol=1e-11)
            dx = ours.backward(dy.copy())
        np.testing.assert_allclose(dx, given.grad.numpy(), rtol=0, atol=1e-10)
        for (name, parameter), theirs_too in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(parameter.grad, theirs_too.grad.numpy(), rtol=0, atol=1e-10, err_msg=name)
        for name, value in theirs.state_dict().items():
            np.testing.assert_allclose(ours.state_dict()[name], value.numpy(), rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("name", "arguments", "more", "shape"), LAYERS)
def test_layers(name: str, arguments: Any, more: dict[str, Any], shape: tuple[int, ...]) -> None:
    compare(getattr(nn, name)(*arguments, **more), getattr(torch.nn, name)(*arguments, **more), shape)


@pytest.mark.parametrize("activation", ["ReLU", "ReLU6", "SiLU", "GELU", "Tanh"])
def test_one_pass_of_normalization_and_activation(activation: str) -> None:
    ours, theirs = (
        kind.Sequential(
            kind.BatchNorm2d(4), getattr(kind, activation)(), kind.GroupNorm(2, 4), kind.Tanh(), kind.ReLU()
        )
        for kind in (nn, torch.nn)
    )
    compare(ours, theirs, (3, 4, 5, 6))


class Sum(torch.nn.Module):  # type: ignore[misc,name-defined]
    """As ``nn.Residual``."""

    def __init__(self, body: Any, shortcut: Any, activation: Any) -> None:
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x: Any) -> Any:
        return self.activation(self.body(x) + self.shortcut(x))


@pytest.mark.parametrize("activation", ["ReLU", "ReLU6", "SiLU"])
def test_sum_and_activation(activation: str) -> None:
    def body(kind: Any) -> Any:
        return kind.Sequential(kind.BatchNorm2d(4), kind.ReLU(), kind.BatchNorm2d(4))

    ours = nn.Residual(body(nn), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), getattr(nn, activation)())
    theirs = Sum(
        body(torch.nn),
        torch.nn.Sequential(torch.nn.BatchNorm2d(4), torch.nn.ReLU()),
        getattr(torch.nn, activation)(),
    )
    compare(ours, theirs, (3, 4, 5, 6))


def test_an_activation_that_computes_otherwise_is_called() -> None:
    class Guided(nn.ReLU):
        def forward(self, x: Any) -> Any:
            return super().forward(x) + 1

    model = nn.Sequential(nn.BatchNorm2d(2), Guided())
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    assert model(x).min() == 1
    assert nn.Residual(nn.Identity(), None, Guided())(x).min() >= 1


def test_channels_first() -> None:
    ours = nn.LayerNorm2d(6)
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 5)).astype(np.float32)
    expected = torch.nn.functional.layer_norm(torch.tensor(x).movedim(1, -1), (6,)).movedim(-1, 1)
    np.testing.assert_allclose(ours(x), expected.numpy(), atol=1e-5)


def test_frozen_parameters_take_no_gradients() -> None:
    layer = nn.BatchNorm2d(3).freeze()
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    layer(x)
    assert layer.backward(np.ones_like(x), wants_dx=False) is None
    assert layer.weight is not None
    assert layer.weight.grad is None


def test_inputs_that_do_not_fit_name_the_layer() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    with pytest.raises(ValueError, match=r"^0 \(BatchNorm2d.*shape \(2, 4, 5, 5\); allowed: 4 axes, 3 channels"):
        model(np.ones((2, 4, 5, 5), np.float32))
    with pytest.raises(ValueError, match="two or more values"):
        model(np.ones((1, 3, 1, 1), np.float32))
    with pytest.raises(ValueError, match="divisor"):
        nn.GroupNorm(4, 6)
    with pytest.raises(ValueError, match=r"\(7,\)"):
        nn.LayerNorm(7)(np.ones((3, 5), np.float32))
