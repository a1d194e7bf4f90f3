"""Losses, optimizers and augmentation compute on CuPy's arrays what they compute on NumPy's, and stay on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_modules import DEVICE, ArrayModule, array_module
from fastconv import nn

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((6, 4, 3)).astype(np.float32)
CLASSES = RNG.integers(0, 4, (6, 3))
CLASSES[1, 1] = -100
WEIGHT = RNG.uniform(0.5, 2, 4).astype(np.float32)
OTHER = RNG.random((6, 4, 3)).astype(np.float32)
LOSSES: dict[str, tuple[Callable[[], nn.Loss], np.ndarray]] = {
    "classes": (lambda: nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1), CLASSES),
    "probabilities": (lambda: nn.CrossEntropyLoss(WEIGHT), OTHER / OTHER.sum(1, keepdims=True)),
    "mse": (nn.MSELoss, OTHER),
    "l1": (nn.L1Loss, OTHER),
    "smooth l1": (nn.SmoothL1Loss, OTHER),
    "bce": (lambda: nn.BCEWithLogitsLoss(WEIGHT[:, None], pos_weight=WEIGHT[:, None]), OTHER),
}


@pytest.fixture(params=["emulated", DEVICE])
def arrays(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


@pytest.mark.parametrize("name", LOSSES)
def test_losses(arrays: ArrayModule, name: str) -> None:
    make, target = LOSSES[name]
    here, there = make(), make()
    assert there(arrays.to(LOGITS), arrays.to(target)) == pytest.approx(here(LOGITS, target), rel=1e-6)
    np.testing.assert_allclose(arrays.host(there.backward(2.0)), here.backward(2.0), rtol=1e-5, atol=1e-7)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], nn.Optimizer]] = {
    "sgd": lambda p: nn.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adam": lambda p: nn.Adam(p, 0.1, weight_decay=0.1, amsgrad=True),
    "adamw": lambda p: nn.AdamW(p, 0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("is_half", [False, True])
def test_steps(arrays: ArrayModule, name: str, is_half: bool) -> None:
    results = []
    for place in (lambda x: x, arrays.to):
        model = nn.Sequential()
        model.weight = nn.Parameter(place(LOGITS.copy()))  # type: ignore[attr-defined]
        optimizer = OPTIMIZERS[name](list(model.parameters()))
        mixed = nn.MixedPrecision(model, optimizer, "float16") if is_half else None
        for number in range(3):
            parameter = model.weight  # type: ignore[attr-defined]
            scale = 1.0 if mixed is None else mixed.scale / 2**10
            parameter.grad = place((OTHER * scale * (number + 1)).astype(parameter.dtype))
            assert mixed is None or mixed.unscale()
            nn.L1(0.1)(optimizer.parameters())
            nn.clip_grad_value_(optimizer.parameters(), 0.9)
            nn.clip_grad_norm_(optimizer.parameters(), 2.0)
            optimizer.step()
        again = OPTIMIZERS[name](optimizer.parameters())
        again.load_state_dict(optimizer.state_dict())
        results.append(optimizer.parameters()[0].data)
    np.testing.assert_allclose(arrays.host(results[1]), results[0], rtol=1e-5, atol=1e-6)


TRANSFORMATIONS = [
    nn.RandomFlip(),
    nn.RandomCrop((8, 5), padding=2, padding_mode="reflect"),
    nn.RandomAffine(20, (0.8, 1.2), 2),
    nn.RandomNoise(0.1),
]


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=lambda t: type(t).__name__)
def test_augmentation(arrays: ArrayModule, transformation: Any) -> None:
    x = RNG.standard_normal((5, 2, 9, 7)).astype(np.float32)
    here = transformation(x, np.random.default_rng(3))
    there = transformation(arrays.to(x), np.random.default_rng(3))
    np.testing.assert_allclose(arrays.host(there), here, rtol=1e-5, atol=1e-5)


def test_accuracy_and_what_is_finite(arrays: ArrayModule) -> None:
    assert nn.accuracy(arrays.to(LOGITS[:, :, 0]), arrays.to(LOGITS[:, :, 0].argmax(1))) == 1
    from fastconv.nn.nonfinite import is_finite

    assert is_finite(arrays.to(LOGITS))
    assert not is_finite(arrays.to(np.array([1, np.inf], np.float32)))


def test_a_training_goes_on_from_its_checkpoint(arrays: ArrayModule, tmp_path: Path) -> None:
    """Data lie on the host; parameters, states and what is kept of the best epoch on the device."""
    pytest.importorskip("safetensors", reason='needs pip install ".[nn]"')
    x = RNG.standard_normal((24, 5)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)

    def train(epochs: int, path: Path, place: Any, resume: bool = False) -> tuple[nn.Module, nn.History]:
        nn.seed(3)
        model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
        if place is not np:
            model.to(place)
        history = nn.fit(
            model,
            nn.Batches(x, y, batch_size=8, shuffle=True),
            nn.CrossEntropyLoss(),
            nn.Adam(model.parameters(), lr=0.05),
            epochs=epochs,
            validation=[(x, y)],
            metrics={"accuracy": nn.accuracy},
            stopping=nn.EarlyStopping(),
            max_norm=1.0,
            checkpoint=path,
            resume=resume,
            progress=False,
        )
        return model, history

    _, wanted = train(4, tmp_path / "host", np)
    train(2, tmp_path / "device", arrays.module)
    model, history = train(4, tmp_path / "device", arrays.module, resume=True)
    assert all(isinstance(parameter.data, arrays.module.ndarray) for parameter in model.parameters())
    for name, values in wanted.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4, atol=1e-6)
    next(model.parameters()).data[...] = float("nan")
    with pytest.raises(FloatingPointError, match=r"the first output that is not finite is that of 0 \(Linear\)"):
        nn.fit(model, [(x, y)], nn.CrossEntropyLoss(), nn.SGD(model.parameters()), progress=False)
