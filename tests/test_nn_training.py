"""Training: steps are torch's; what goes on from a checkpoint goes on to the same bits; losses that are NaN stop it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import nn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 1, 8, 8)).astype(np.float32)
Y = (X[:, 0, :4].mean((1, 2)) > X[:, 0, 4:].mean((1, 2))).astype(np.int64)


def network(seed: int = 0, dropout: float = 0.3) -> nn.Sequential:
    nn.seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(256, 2),
    )


def data(**options: Any) -> nn.Batches:
    return nn.Batches(X, Y, batch_size=16, shuffle=True, **options)


def test_fit_learns_and_writes_down_how(capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    history = nn.fit(
        model,
        data(),
        nn.CrossEntropyLoss(),
        nn.Adam(model.parameters(), lr=0.01),
        epochs=12,
        validation=nn.Batches(X, Y, batch_size=32),
        metrics={"accuracy": nn.accuracy},
    )
    assert list(history) == ["loss", "accuracy", "validation_loss", "validation_accuracy", "lr"]
    assert all(len(values) == 12 for values in history.values())
    assert history["validation_accuracy"][-1] > 0.95
    assert history["loss"][-1] < history["loss"][0] / 2
    assert not model.training
    checked = nn.evaluate(model, [(X, Y)], nn.CrossEntropyLoss(), {"accuracy": nn.accuracy})
    assert checked["loss"] == pytest.approx(history["validation_loss"][-1], rel=1e-5)
    assert nn.accuracy(nn.predict(model, X, batch_size=7), Y) == checked["accuracy"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12
    assert lines[-1].startswith("epoch 12/12  loss ")
    assert "validation_accuracy" in lines[-1]


def test_steps_are_torch_s() -> None:
    """With a schedule, a penalty and clipping, parameter by parameter."""
    torch = pytest.importorskip("torch")
    model = network(dropout=0.0).astype(np.float64)
    other = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.0),
        torch.nn.Linear(256, 2),
    ).double()
    other.load_state_dict({name: torch.tensor(array) for name, array in model.state_dict().items()})
    optimizer = nn.SGD(model.parameters(), lr=0.3, momentum=0.9)
    schedule = nn.CosineAnnealingLR(optimizer, 10)
    batches = nn.Batches(X.astype(np.float64), Y, batch_size=45, shuffle=True)
    theirs = torch.optim.SGD(other.parameters(), lr=0.3, momentum=0.9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 10)

    class Compare(nn.Callback):
        steps = 0

        def after_step(self, training: nn.Training) -> None:
            self.steps += 1
            x, y = next(pairs)
            theirs.zero_grad()
            loss = torch.nn.functional.cross_entropy(other(torch.tensor(x)), torch.tensor(y))
            loss = loss + 0.01 / 2 * sum((parameter**2).sum() for parameter in other.parameters())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(other.parameters(), 0.4)
            theirs.step()
            cosine.step()
            assert training.last_loss == pytest.approx(loss.item(), rel=1e-12)
            for name, parameter in other.named_parameters():
                wanted = parameter.detach().numpy()
                np.testing.assert_allclose(model.state_dict()[name], wanted, rtol=1e-9, atol=1e-12)

    def all_pairs() -> Any:
        same = nn.Batches(*batches.arrays, batch_size=45, shuffle=True)
        for _ in range(5):
            yield from same

    pairs = all_pairs()
    compare = Compare()
    nn.fit(
        model,
        batches,
        nn.CrossEntropyLoss(),
        optimizer,
        epochs=5,
        schedule=schedule,
        schedule_by="step",
        penalty=nn.L2(0.01),
        max_norm=0.4,
        callbacks=[compare],
        progress=False,
    )
    assert compare.steps == 10


# -- checkpoints


def everything(seed: int, **options: Any) -> tuple[nn.Module, nn.Optimizer, dict[str, Any]]:
    """A training in which all that has a state takes part."""
    model = network(seed)
    transform = nn.Compose(nn.RandomFlip(), nn.RandomCrop(8, padding=1), nn.RandomRotation(10), nn.RandomNoise(0.1))
    optimizer = nn.AdamW(model.parameters(), lr=0.01, amsgrad=True)
    arguments = {
        "data": data(transform=transform, prefetch=2, seed=seed),
        "loss": nn.CrossEntropyLoss(label_smoothing=0.1),
        "validation": nn.Batches(X, Y),
        "metrics": {"accuracy": nn.accuracy},
        "schedule": nn.ReduceLROnPlateau(optimizer, patience=0),
        "stopping": nn.EarlyStopping(patience=100),
        "penalty": nn.L1(1e-4),
        "max_norm": 1.0,
        "progress": False,
        **options,
    }
    return model, optimizer, arguments


def assert_same(one: Any, two: Any, path: str = "") -> None:
    """The same tree, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == two.keys(), path
        for key in one:
            assert_same(one[key], two[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), path
        for number, (first, second) in enumerate(zip(one, two, strict=True)):
            assert_same(first, second, f"{path}.{number}")
    elif hasattr(one, "tobytes"):
        assert (one.dtype, one.shape, one.tobytes()) == (two.dtype, two.shape, two.tobytes()), path
    else:
        assert one == two, path


@pytest.mark.parametrize("precision", [None, "float16", "bfloat16"])
def test_going_on_from_a_checkpoint_is_going_on(tmp_path: Path, precision: str | None) -> None:
    """Four epochs at once are two, and two more of another process: shuffled, augmented, with dropout."""
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    whole, optimizer, arguments = everything(0, precision=precision)
    history = nn.fit(whole, optimizer=optimizer, epochs=4, checkpoint=tmp_path / "whole", **arguments)
    first, optimizer, arguments = everything(0, precision=precision)
    nn.fit(first, optimizer=optimizer, epochs=2, checkpoint=tmp_path / "half", **arguments)
    # Other initial weights, random numbers and order: all of it comes from the file.
    second, optimizer, arguments = everything(1, precision=precision)
    going_on = nn.fit(second, optimizer=optimizer, epochs=4, checkpoint=tmp_path / "half", resume=True, **arguments)
    assert_same(dict(history), dict(going_on))
    assert_same(whole.state_dict(), second.state_dict())
    assert_same(nn.load_checkpoint(tmp_path / "whole"), nn.load_checkpoint(tmp_path / "half"))
    third, optimizer, arguments = everything(2, precision=precision)
    nn.fit(third, optimizer=optimizer, epochs=4, checkpoint=tmp_path / "half", resume=True, **arguments)
    assert_same(whole.state_dict(), third.state_dict())


def test_what_goes_on_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    model, optimizer, arguments = everything(0)
    nn.fit(model, optimizer=optimizer, epochs=1, checkpoint=path, **arguments)

    def go_on(model: nn.Module, optimizer: nn.Optimizer, **options: Any) -> None:
        nn.fit(model, optimizer=optimizer, epochs=2, checkpoint=path, resume=True, **{**arguments, **options})

    other = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="checkpoint, model: the state does not fit Sequential: unknown: 1"):
        go_on(other, nn.AdamW(other.parameters()))
    with pytest.raises(ValueError, match="checkpoint, optimizer: the state does not fit SGD"):
        go_on(model, nn.SGD(model.parameters()), schedule=None)
    with pytest.raises(ValueError, match="checkpoint: there is no precision; there is data, generator, history"):
        go_on(model, optimizer, precision="float16")
    nn.save_checkpoint(path, **{"model": network()})
    with pytest.raises(ValueError, match="checkpoint: there is no data, history, optimizer"):
        go_on(model, optimizer)


def test_checkpoints_come_as_often_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    seen = []

    class Look(nn.Callback):
        def after_epoch(self, training: nn.Training) -> None:
            seen.append(nn.load_checkpoint(path)["training"]["epoch"] if path.exists() else 0)

    model, optimizer, arguments = everything(0)
    nn.fit(model, optimizer=optimizer, epochs=6, checkpoint=path, checkpoint_every=4, callbacks=[Look()], **arguments)
    assert seen == [0, 0, 0, 0, 4, 4]
    assert nn.load_checkpoint(path)["training"]["epoch"] == 6


# -- what stops a training


class Overflowing(nn.Module):
    """Returns infinity at its second call."""

    def __init__(self) -> None:
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x + (np.inf if self.calls >= 2 else 0)

    def backward(self, dy: Any, wants_dx: bool = True) -> Any:
        return dy


def test_a_loss_that_is_nan_stops_with_step_and_layer(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    model = network()
    optimizer = nn.SGD(model.parameters(), lr=0.1)

    class Poison(nn.Callback):
        def after_step(self, training: nn.Training) -> None:
            if training.step == 8:
                model[5].weight.data[1, 5] = np.nan  # type: ignore[attr-defined]

    with pytest.raises(FloatingPointError) as caught:
        nn.fit(
            model,
            data(prefetch=2),
            nn.CrossEntropyLoss(),
            optimizer,
            epochs=5,
            checkpoint=path,
            callbacks=[Poison()],
            progress=False,
        )
    assert str(caught.value) == (
        "the loss is nan at step 9, in epoch 2: the first output that is not finite is that of 5 (Linear); its weight "
        "is not finite, either"
    )
    caught = None  # type: ignore[assignment]
    states = nn.load_checkpoint(path, model=model)
    assert states["training"]["epoch"] == 1
    assert all(np.isfinite(array).all() for array in model.state_dict().values())
    assert not [thread for thread in threading.enumerate() if thread.name == "fastconv-batches"]


def test_the_first_layer_is_named() -> None:
    def stop(model: nn.Module, x: Any = X, loss: nn.Loss | None = None, target: Any = Y) -> str:
        with pytest.raises(FloatingPointError) as caught:
            nn.fit(
                model,
                nn.Batches(x, target, batch_size=45),
                loss or nn.CrossEntropyLoss(),
                nn.SGD(model.parameters()),
                progress=False,
            )
        return str(caught.value)

    inner = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten())
    model = nn.Sequential({"body": inner, "middle": Overflowing(), "head": nn.Linear(256, 2)})
    said = stop(model)
    assert "at step 2, in epoch 1: the first output that is not finite is that of middle (Overflowing)" in said
    assert "its input and its parameters are finite" in said
    model = nn.Sequential({"body": inner, "head": nn.Linear(256, 2)})
    inner[0].bias.data[0] = np.inf  # type: ignore[attr-defined]
    assert "is that of body.0 (Conv2d); its bias is not finite, either" in stop(model)
    assert "forward" not in vars(inner[0])
    bad = X.copy()
    bad[3, 0, 2, 2] = np.nan
    assert stop(network(), bad).endswith("at step 1, in epoch 1: the batch itself has numbers that are not finite")
    target = np.full((90, 2), np.nan, np.float32)
    assert "it is the loss itself, or its target" in stop(network(), loss=nn.MSELoss(), target=target)


def test_a_gradient_that_is_nan_stops_where_it_is_clipped() -> None:
    class Broken(nn.ReLU):
        def backward(self, dy: Any, wants_dx: bool = True) -> Any:
            dy = super().backward(dy, wants_dx)
            dy.flat[0] = np.inf
            return dy

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Broken(), nn.Linear(8, 2))
    before = {name: array.copy() for name, array in model.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"gradients is inf at step 1, in epoch 1: those of 1.bias, 1.weight"):
        nn.fit(model, data(), nn.CrossEntropyLoss(), nn.SGD(model.parameters()), max_norm=1.0, progress=False)
    assert_same(model.state_dict(), before)


def test_early_stopping_gives_back_the_best(tmp_path: Path) -> None:
    model = network()
    optimizer = nn.SGD(model.parameters(), lr=0.05)
    states: list[dict[str, np.ndarray]] = []

    class Watch(nn.Callback):
        def after_epoch(self, training: nn.Training) -> None:
            states.append({name: array.copy() for name, array in model.state_dict().items()})
            optimizer.groups[0]["lr"] = -0.5 if training.epoch >= 4 else 0.05

    stopping = nn.EarlyStopping(patience=2)
    arguments: dict[str, Any] = {
        "validation": [(X, Y)],
        "stopping": stopping,
        "checkpoint": tmp_path / "checkpoint",
        "progress": False,
    }
    history = nn.fit(model, data(), nn.CrossEntropyLoss(), optimizer, epochs=50, callbacks=[Watch()], **arguments)
    best = int(np.argmin(history["validation_loss"]))
    assert len(history["loss"]) == best + 4 < 50
    assert_same(model.state_dict(), states[best])
    again = nn.fit(model, data(), nn.CrossEntropyLoss(), optimizer, epochs=50, resume=True, **arguments)
    assert len(again["loss"]) == len(history["loss"]), "a training that was stopped is not gone on with"
    assert_same(model.state_dict(), states[best])


def test_callbacks_may_stop_it_and_see_gradients() -> None:
    norms = []

    class Stop(nn.Callback):
        def after_backward(self, training: nn.Training) -> None:
            norms.append(max(float(np.abs(p.grad).max()) for p in training.optimizer.parameters()))

        def after_epoch(self, training: nn.Training) -> None:
            training.should_stop = training.epoch == 3

    model = network()
    optimizer = nn.SGD(model.parameters())
    history = nn.fit(
        model, data(), nn.CrossEntropyLoss(), optimizer, epochs=9, callbacks=[Stop()], max_value=1e-3, progress=False
    )
    assert len(history["loss"]) == 3
    assert len(norms) == 18
    assert max(norms) > 1e-3
    assert max(float(np.abs(p.grad).max()) for p in model.parameters()) == np.float32(1e-3)


def test_evaluation_leaves_every_layer_in_its_mode() -> None:
    model = network().train()
    model[4].eval()
    nn.evaluate(model, [(X, Y)])
    assert [module.training for module in model] == [True, True, True, True, False, True]


def test_what_fit_refuses() -> None:
    model = network()
    optimizer = nn.SGD(model.parameters())

    def fit(**options: Any) -> None:
        given = {"data": data(), "loss": nn.CrossEntropyLoss(), "optimizer": optimizer, "progress": False, **options}
        nn.fit(model, **given)

    with pytest.raises(ValueError, match="schedule_by: 'batch'; 'epoch' or 'step'"):
        fit(schedule_by="batch")
    with pytest.raises(ValueError, match="ReduceLROnPlateau looks at the loss of an epoch"):
        fit(schedule_by="step", schedule=nn.ReduceLROnPlateau(optimizer))
    with pytest.raises(ValueError, match="epochs, checkpoint_every: -1, 1"):
        fit(epochs=-1)
    with pytest.raises(ValueError, match="resume: there is no checkpoint"):
        fit(resume=True)
    with pytest.raises(ValueError, match="data: it has given no batch"):
        fit(data=[])
    with pytest.raises(ValueError, match="loss: its reduction is 'none'"):
        fit(loss=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ValueError, match="monitor: 'validation_loss' is none of 'loss'"):
        fit(stopping=nn.EarlyStopping())
    with pytest.raises(ValueError, match="dtype: 'float8' is none of 'bfloat16', 'float16'"):
        fit(precision="float8")
    with pytest.raises(ValueError, match="x: it is empty"):
        nn.predict(model, X[:0])


# -- what is shown


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    pyte = pytest.importorskip("pyte")
    screen = pyte.Screen(100, 30)
    stream = pyte.Stream(screen)
    bars = []

    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            stream.feed(text.replace("\n", "\r\n"))
            bars.extend(line for line in screen.display if "━" in line)
            return len(text)

        def flush(self) -> None:
            """Nothing is held back."""

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    model = network()
    nn.fit(model, data(), nn.CrossEntropyLoss(), nn.SGD(model.parameters()), epochs=3)
    shown = [line.rstrip() for line in screen.display if line.strip()]
    assert len(shown) == 3, "the bar is gone, a line for each epoch stays"
    assert all(line.startswith(f"epoch {number}/3  loss ") for number, line in enumerate(shown, 1))
    assert any("epoch 2/3" in bar for bar in bars)


def test_the_learning_curve(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    history = nn.History()
    for epoch in range(12):
        history.append({"loss": 2 / (1 + epoch), "validation_loss": 1.9 / (1 + epoch) + 0.02 * epoch, "lr": 0.1})
    history.plot(tmp_path / "curve.png")
    pixels = np.asarray(image.open(tmp_path / "curve.png").convert("RGB"))
    assert pixels.shape[1] > pixels.shape[0] > 200
    assert (pixels < 100).any(axis=2).mean() > 0.01
