"""Recomputed modules: the same numbers to the bit, in less memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import nn


def block(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A network with everything that must not happen twice, and with a layer that is used twice."""
    relu = nn.ReLU()
    inner = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1), relu, nn.BatchNorm2d(4), nn.Dropout(0.4), relu, nn.Conv2d(4, 4, 3, padding=1)
    )
    body = wrap(nn.Residual(wrap(inner), nn.Sequential(nn.BatchNorm2d(4)), nn.ReLU()))
    return nn.Sequential(nn.Conv2d(2, 4, 3), body, nn.BatchNorm2d(4), nn.Dropout2d(0.2), nn.Conv2d(4, 1, 3))


def steps(model: nn.Module) -> list[Any]:
    """What three steps of training and one evaluation leave behind."""
    nn.seed(7)
    found: list[Any] = []
    for number in range(3):
        x = np.random.default_rng(number).standard_normal((3, 2, 12, 11)).astype(np.float32)
        model.zero_grad()
        y = model(x)
        dx = model.backward(np.cos(y))
        found += [y, dx, *(parameter.grad.copy() for parameter in model.parameters())]
        found += [value.copy() for value in model.state_dict().values()]
        found.append(np.array(nn.Dropout(0.5)(np.ones(9, np.float32))))
    return [*found, model.eval()(x)]


def test_the_same_bits() -> None:
    nn.seed(1)
    plain = block(lambda module: module)
    recomputed = block(nn.Recomputed)
    assert list(recomputed.state_dict()) == list(plain.state_dict())
    recomputed.load_state_dict({name: value.copy() for name, value in plain.state_dict().items()})
    for ours, expected in zip(steps(recomputed), steps(plain), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_less_is_kept() -> None:
    peaks = []
    x = np.random.default_rng(0).standard_normal((4, 8, 64, 64)).astype(np.float32)
    for wrap in (lambda module: module, nn.Recomputed):
        layers = [layer for _ in range(3) for layer in (nn.BatchNorm2d(8), nn.GELU())]
        model = nn.Sequential(*(wrap(nn.Sequential(*layers)) for _ in range(4)))
        model.backward(np.ones_like(model(x)))
        tracemalloc.start()
        y = model(x)
        peaks.append(tracemalloc.get_traced_memory()[0] / x.nbytes)
        model.backward(y)
        tracemalloc.stop()
    assert peaks[0] > 10
    assert peaks[1] < 5


def test_what_is_not_trained_is_not_computed_again() -> None:
    class Counting(nn.Identity):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x

    inner = Counting()
    model = nn.Sequential(nn.Recomputed(nn.Sequential(inner, nn.Conv2d(1, 1, 3).freeze())), nn.Conv2d(1, 1, 3))
    y = model(np.ones((1, 1, 8, 8), np.float32))
    model.backward(np.ones_like(y), wants_dx=False)
    assert inner.calls == 1
    with pytest.raises(RuntimeError, match="nothing to compute gradients from"):
        model.backward(np.ones_like(y))
    with pytest.raises(TypeError, match="allowed: a Module"):
        nn.Recomputed(3)  # type: ignore[arg-type]
