"""Half floats: single precision copies are moved, the loss is scaled, and steps that overflow are left out."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from fastconv import nn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 6)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
DTYPES = ["float16", "bfloat16"]


def half(name: str) -> np.dtype:
    return np.dtype(getattr(pytest.importorskip("ml_dtypes"), name, name))


def network() -> nn.Sequential:
    nn.seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))


def step_of(model: nn.Module, mixed: nn.MixedPrecision, loss: Any) -> bool:
    """Forward, backward and step; whether it was one."""
    model.zero_grad()
    loss(model(mixed.cast(X)), Y)
    model.backward(loss.backward(mixed.scale), wants_dx=False)
    return mixed.unscale() and mixed.step()


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_move_and_are_rounded(dtype: str) -> None:
    model = network()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    optimizer = nn.SGD(model.parameters(), lr=1e-4)
    mixed = nn.MixedPrecision(model, optimizer, dtype)
    assert all(parameter.dtype == half(dtype) for parameter in model.parameters())
    loss = nn.CrossEntropyLoss()
    for _ in range(5):
        assert step_of(model, mixed, loss)
    copies = [parameter.data for parameter in optimizer.parameters()]
    for parameter, copy, (_, first) in zip(model.parameters(), copies, before.items(), strict=True):
        assert copy.dtype == np.float32
        np.testing.assert_array_equal(parameter.data, copy.astype(half(dtype)))
        assert (copy != first).any()
    # Steps that are too small for a half float are not lost: few numbers have changed, all copies have.
    same = model.state_dict()["0.weight"] == before["0.weight"].astype(half(dtype))
    assert same.mean() > 0.8
    assert (copies[0] != before["0.weight"]).mean() > 0.8
    mixed.finish()
    assert optimizer.parameters() == list(model.parameters())
    for parameter, copy in zip(model.parameters(), copies, strict=True):
        np.testing.assert_array_equal(parameter.data, copy)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_those_of_single_precision(dtype: str) -> None:
    model, other = network(), network()
    mixed = nn.MixedPrecision(model, nn.SGD(model.parameters()), dtype)
    loss = nn.CrossEntropyLoss()
    loss(model(mixed.cast(X)), Y)
    model.backward(loss.backward(mixed.scale), wants_dx=False)
    assert mixed.unscale()
    loss(other(X), Y)
    other.backward(loss.backward(), wants_dx=False)
    rounding = 6 * float(np.finfo(np.float16).eps if dtype == "float16" else 2**-7)
    for copy, parameter in zip(mixed.optimizer.parameters(), other.parameters(), strict=True):
        assert np.linalg.norm(copy.grad - parameter.grad) < rounding * np.linalg.norm(parameter.grad)


def test_small_gradients_are_kept_by_the_scale() -> None:
    """Of a loss of 1e-7 float16 knows nothing, unless it is scaled."""

    class Small(nn.MSELoss):
        def backward(self, scale: Any = 1.0) -> Any:
            return super().backward(scale * 1e-7)

    target = np.ones((64, 2), np.float32)
    found = []
    for scale in (1.0, 2.0**16):
        model = network()
        mixed = nn.MixedPrecision(model, nn.SGD(model.parameters()), "float16", scale=scale)
        loss = Small()
        loss(model(mixed.cast(X)), target)
        model.backward(loss.backward(mixed.scale), wants_dx=False)
        assert mixed.unscale()
        found.append(float(np.abs(mixed.optimizer.parameters()[0].grad).max()))
    assert found[0] == 0
    assert 1e-10 < found[1] < 1e-6


def test_the_scale_falls_where_gradients_overflow_and_grows_again() -> None:
    model = network()
    optimizer = nn.Adam(model.parameters())
    mixed = nn.MixedPrecision(model, optimizer, "float16", scale=2.0**24, growth_interval=4)
    before = [parameter.data.copy() for parameter in optimizer.parameters()]
    loss = nn.CrossEntropyLoss()
    skipped = 0
    while not step_of(model, mixed, loss):
        skipped += 1
        assert skipped < 20
        for parameter, first in zip(optimizer.parameters(), before, strict=True):
            np.testing.assert_array_equal(parameter.data, first)
        assert not optimizer.state_dict()["state"]
    assert skipped >= 3
    assert mixed.scale == 2.0 ** (24 - skipped)
    for _ in range(3):
        assert mixed.scale == 2.0 ** (24 - skipped)
        assert step_of(model, mixed, loss)
    assert mixed.scale == 2.0 ** (25 - skipped)


def test_a_gradient_that_is_nan_is_left_out_too() -> None:
    model = network()
    mixed = nn.MixedPrecision(model, nn.SGD(model.parameters()), "float16")
    for parameter in model.parameters():
        parameter.grad = np.zeros_like(parameter.data)
    model[2].bias.grad[1] = np.nan  # type: ignore[attr-defined]
    assert not mixed.unscale()
    model[2].bias.grad[:] = np.inf, -np.inf  # type: ignore[attr-defined]
    assert not mixed.unscale()


@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_learn_in_half_floats(dtype: str) -> None:
    half(dtype)
    model = network()
    optimizer = nn.Adam(model.parameters(), lr=0.02)
    data = nn.Batches(X, Y, batch_size=16, shuffle=True)
    history = nn.fit(
        model,
        data,
        nn.CrossEntropyLoss(),
        optimizer,
        epochs=40,
        metrics={"accuracy": nn.accuracy},
        precision=dtype,
        max_norm=5.0,
        progress=False,
    )
    assert history["accuracy"][-1] > 0.95
    assert all(parameter.dtype == np.float32 for parameter in model.parameters())
    assert nn.accuracy(nn.predict(model, X), Y) > 0.95


def test_frozen_parameters_stay() -> None:
    model = network()
    optimizer = nn.SGD(model.parameters(), lr=0.5, weight_decay=0.1)
    mixed = nn.MixedPrecision(model, optimizer, "float16")
    model[0].freeze()
    before = optimizer.parameters()[0].data.copy()
    assert step_of(model, mixed, nn.CrossEntropyLoss())
    np.testing.assert_array_equal(optimizer.parameters()[0].data, before)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = nn.SGD(model.parameters())
    with pytest.raises(ValueError, match="dtype: 'float32' is none of 'bfloat16', 'float16'"):
        nn.MixedPrecision(model, optimizer, "float32")
    with pytest.raises(ValueError, match="scale: -1; a number above 0"):
        nn.MixedPrecision(model, optimizer, "float16", scale=-1)
    with pytest.raises(ValueError, match="growth_interval: 0"):
        nn.MixedPrecision(model, optimizer, "float16", growth_interval=0)
    with pytest.raises(ValueError, match="optimizer: it has parameters that are not the model's"):
        nn.MixedPrecision(network(), optimizer, "float16")
    mixed = nn.MixedPrecision(model, optimizer, "float16")
    with pytest.raises(ValueError, match="the state does not fit MixedPrecision"):
        mixed.load_state_dict({"scale": 1})
    state = mixed.state_dict()
    with pytest.raises(ValueError, match="other numbers or shapes"):
        mixed.load_state_dict({**state, "copies": {}})
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="pip install ml_dtypes"):
        nn.MixedPrecision(network(), optimizer, "bfloat16")
