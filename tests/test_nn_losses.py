"""Losses and their gradients: torch's, in double precision; bad input is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import nn

RNG = np.random.default_rng(0)


def against_torch(ours: Any, theirs: Any, prediction: np.ndarray, target: np.ndarray, atol: float = 1e-12) -> None:
    """The loss and its gradient are those of torch, whatever the reduction."""
    torch = pytest.importorskip("torch")
    x = torch.tensor(prediction, requires_grad=True)
    wanted = theirs(x, torch.tensor(target))
    value = ours(prediction, target)
    np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=1e-12, atol=atol)
    if wanted.ndim:
        scale = RNG.standard_normal(wanted.shape)
        (wanted * torch.tensor(scale)).sum().backward()
        gradient = ours.backward(scale)
    else:
        assert isinstance(value, float)
        (wanted * 3).backward()
        gradient = ours.backward(3)
    assert gradient.dtype == prediction.dtype
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-12, atol=atol)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5, 3), (1, 4), (2, 3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("kind", ["classes", "ignored", "probabilities"])
def test_cross_entropy(reduction: str, shape: tuple[int, ...], smoothing: float, has_weight: bool, kind: str) -> None:
    torch = pytest.importorskip("torch")
    logits = RNG.standard_normal(shape) * 4
    weight = RNG.uniform(0.2, 2, shape[1]) if has_weight else None
    if kind == "probabilities":
        target = RNG.dirichlet(np.ones(shape[1]), (shape[0], *shape[2:]))
        target = np.moveaxis(target, -1, 1).copy()
    else:
        target = RNG.integers(0, shape[1], (shape[0], *shape[2:]))
        if kind == "ignored" and target.size > 1:
            target.flat[::3] = -100
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    theirs = torch.nn.CrossEntropyLoss(None if weight is None else torch.tensor(weight), **options)
    against_torch(nn.CrossEntropyLoss(weight, **options), theirs, logits, target)


def test_cross_entropy_of_large_logits() -> None:
    loss = nn.CrossEntropyLoss()
    logits = np.array([[1e4, 0, -1e4], [300, 299, 0]], np.float32)
    assert loss(logits, np.array([0, 0])) == pytest.approx(np.log1p(np.exp(-1)) / 2)
    assert np.isfinite(loss.backward()).all()


ELEMENTWISE: dict[str, Callable[[Any, Any], Any]] = {
    "MSELoss": lambda module, options: module.MSELoss(**options),
    "L1Loss": lambda module, options: module.L1Loss(**options),
    "SmoothL1Loss": lambda module, options: module.SmoothL1Loss(beta=0.7, **options),
    "SmoothL1Loss of beta 0": lambda module, options: module.SmoothL1Loss(beta=0.0, **options),
    "BCEWithLogitsLoss": lambda module, options: module.BCEWithLogitsLoss(**options),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (1, 2, 3, 3)])
def test_elementwise(name: str, reduction: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    options = {"reduction": reduction}
    prediction, target = RNG.standard_normal(shape) * 3, RNG.random(shape)
    against_torch(ELEMENTWISE[name](nn, options), ELEMENTWISE[name](torch.nn, options), prediction, target)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_bce_weights(reduction: str) -> None:
    torch = pytest.importorskip("torch")
    prediction, target = RNG.standard_normal((4, 3)) * 30, RNG.integers(0, 2, (4, 3)).astype(float)
    weight, positive = RNG.random((4, 1)), RNG.uniform(0.5, 4, 3)
    theirs = torch.nn.BCEWithLogitsLoss(torch.tensor(weight), reduction=reduction, pos_weight=torch.tensor(positive))
    against_torch(nn.BCEWithLogitsLoss(weight, reduction, positive), theirs, prediction, target)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_floats_are_computed_with_in_single_precision(dtype: str) -> None:
    half = np.dtype(getattr(pytest.importorskip("ml_dtypes"), dtype, dtype))
    logits, target = RNG.standard_normal((6, 1000)).astype(half), RNG.integers(0, 1000, 6)
    loss, wide = nn.CrossEntropyLoss(), nn.CrossEntropyLoss()
    assert loss(logits, target) == wide(logits.astype(np.float32), target)
    gradient = loss.backward(1024)
    assert gradient.dtype == half
    np.testing.assert_array_equal(gradient, wide.backward(1024).astype(half))


def test_prediction_and_target_stay_as_they_are() -> None:
    prediction, target = RNG.standard_normal((3, 4)), RNG.random((3, 4))
    before = prediction.copy(), target.copy()
    for loss in (nn.CrossEntropyLoss(label_smoothing=0.1), nn.MSELoss(), nn.L1Loss(), nn.BCEWithLogitsLoss()):
        loss(prediction, target)
        loss.backward()
        np.testing.assert_array_equal(prediction, before[0])
        np.testing.assert_array_equal(target, before[1])


def test_what_is_refused() -> None:
    x = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match="reduction: 'max' is none of 'mean', 'sum', 'none'"):
        nn.MSELoss("max")
    with pytest.raises(ValueError, match=r"label_smoothing: 1.5 is not between 0 and 1"):
        nn.CrossEntropyLoss(label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"target: shape \(3,\); that of the prediction is \(3, 4\)"):
        nn.MSELoss()(x, np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"target: classes from 0 to 4; those of the prediction are 0 to 3"):
        nn.CrossEntropyLoss()(x, np.array([0, 4, 1]))
    with pytest.raises(ValueError, match=r"target: classes from -1 to"):
        nn.CrossEntropyLoss()(x, np.array([0, -1, 1]))
    with pytest.raises(ValueError, match=r"target: int64 of shape \(4,\); .* integers of shape \(3,\)"):
        nn.CrossEntropyLoss()(x, np.zeros(4, int))
    with pytest.raises(ValueError, match=r"target: float64 of shape \(3,\)"):
        nn.CrossEntropyLoss()(x, np.zeros(3))
    with pytest.raises(ValueError, match=r"weight: shape \(2,\); the prediction has 4 classes"):
        nn.CrossEntropyLoss(np.ones(2))(x, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"prediction: shape \(3,\) has no axis of classes"):
        nn.CrossEntropyLoss()(x[:, 0], np.zeros(3, int))
    with pytest.raises(TypeError, match="prediction: int64; floating point numbers are wanted"):
        nn.MSELoss()(np.zeros(3, int), np.zeros(3, int))
    with pytest.raises(RuntimeError, match="call it with a prediction and a target first"):
        nn.MSELoss().backward()
