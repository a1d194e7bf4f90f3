"""Looking into networks: results are those of torch, attacks keep to their ball, and nothing is left behind."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_modules import DEVICE, array_module
from fastconv import nn
from fastconv.nn import looking

RNG = np.random.default_rng(0)
X = RNG.random((5, 3, 9, 8))
TARGET = np.array([0, 3, 1, 2, 2])


class Block(nn.Composite):
    """Its layers have names, its containers none."""

    def __init__(self, channels: int) -> None:
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self._route = nn.Residual(nn.Sequential(self.conv1, self.bn1, self.relu, self.conv2), None, self.relu)


def network(dtype: Any = np.float64) -> nn.Sequential:
    """With running statistics that are not those at the beginning."""
    nn.seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Block(6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(6, 4),
    ).astype(dtype)
    rng = np.random.default_rng(1)
    for _ in range(3):
        model(rng.random((8, 3, 9, 8)).astype(dtype))
    return model


def in_torch(model: nn.Module) -> Any:
    torch = pytest.importorskip("torch")

    class TorchBlock(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = torch.nn.Conv2d(channels, channels, 3, padding=1), torch.nn.BatchNorm2d(channels)
            self.relu = torch.nn.ReLU()
            self.conv2 = torch.nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return self.relu(self.conv2(self.relu(self.bn1(self.conv1(x)))) + x)

    peer = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        TorchBlock(6),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(6, 4),
    ).double()
    peer.load_state_dict({name: torch.tensor(array) for name, array in model.state_dict().items()})
    return torch, peer.eval()


# Against torch.


@pytest.mark.parametrize("target", [None, 2, TARGET])
def test_gradients_of_logits(target: Any) -> None:
    model = network()
    torch, peer = in_torch(model)
    x = torch.tensor(X, requires_grad=True)
    y = peer(x)
    chosen = y.argmax(1) if target is None else torch.tensor(np.broadcast_to(target, 5).copy())
    y.gather(1, chosen[:, None]).sum().backward()
    np.testing.assert_allclose(looking.logit_gradient(model, X, target), x.grad, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(looking.saliency(model, X, target), x.grad.abs().amax(1), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("layer", ["0", "3", "4", "4.conv1", "4.bn1", "4.relu", "4.conv2"])
def test_feature_maps_and_grad_cam(layer: str) -> None:
    model = network()
    torch, peer = in_torch(model)
    maps = {}

    def hook(module: Any, given: Any, y: Any) -> None:
        y.retain_grad()
        maps["y"] = y

    peer.get_submodule(layer).register_forward_hook(hook)
    peer(torch.tensor(X)).gather(1, torch.tensor(TARGET)[:, None]).sum().backward()
    y = maps["y"]
    np.testing.assert_allclose(looking.feature_maps(model, X, layer), y.detach(), rtol=1e-10, atol=1e-13)
    heat = (y.grad.mean((2, 3), keepdim=True) * y).sum(1, keepdim=True).relu()
    heat = torch.nn.functional.interpolate(heat, X.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    ours = looking.grad_cam(model, X, layer, TARGET)
    assert heat.max() > 0
    np.testing.assert_allclose(ours, heat.detach(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("towards", [False, True])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_attacks(norm: str, towards: bool) -> None:
    model = network()
    torch, peer = in_torch(model)
    epsilon, steps, size, sign = (0.1 if norm == "inf" else 0.8), 7, 0.04, (-1 if towards else 1)
    target = torch.tensor(TARGET)

    def gradient(x: Any) -> Any:
        x = x.detach().requires_grad_()
        torch.nn.functional.cross_entropy(peer(x), target).backward()
        return x.grad

    start = torch.tensor(X)
    once = (start + sign * epsilon * gradient(start).sign()).clamp(0, 1)
    np.testing.assert_allclose(looking.fgsm(model, X, TARGET, epsilon, towards=towards), once, rtol=0, atol=1e-13)
    x = start
    for _ in range(steps):
        d = gradient(x)
        if norm == "inf":
            x = torch.minimum(torch.maximum(x + sign * size * d.sign(), start - epsilon), start + epsilon)
        else:
            x = x + sign * size * d / d.flatten(1).norm(dim=1)[:, None, None, None] - start
            x = start + x * (epsilon / x.flatten(1).norm(dim=1)).clamp(max=1)[:, None, None, None]
        x = x.clamp(0, 1)
    options: dict[str, Any] = {"steps": steps, "step_size": size, "norm": norm, "towards": towards}
    ours = looking.pgd(model, X, TARGET, epsilon, random_start=False, **options)
    np.testing.assert_allclose(ours, x, rtol=0, atol=1e-12)


# Properties.


def losses(model: nn.Module, x: Any, target: Any) -> Any:
    with looking.watching.asked(model):
        return nn.CrossEntropyLoss(reduction="none")(model(x), target)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_attacks_stay_in_the_ball_and_the_bounds_and_the_loss_grows(norm: str, dtype: Any) -> None:
    model, x = network(dtype), X.astype(dtype)
    slack = 4 * np.finfo(dtype).eps
    before = losses(model, x, TARGET)
    for epsilon in (0.0, 0.02, 0.3):
        attacked = looking.pgd(model, x, TARGET, epsilon, norm=norm, steps=15)
        assert attacked.dtype == dtype
        change = (attacked - x).reshape(5, -1)
        largest = abs(change).max() if norm == "inf" else np.sqrt((change**2).sum(1)).max()
        assert largest <= epsilon * (1 + 1e-5 * (dtype == np.float32)) + slack
        assert attacked.min() >= 0
        assert attacked.max() <= 1
        if epsilon:
            assert (losses(model, attacked, TARGET) > before).all()
            likely = looking.pgd(model, x, TARGET, epsilon, norm=norm, steps=15, towards=True)
            assert (losses(model, likely, TARGET) < before).all()
    assert (losses(model, looking.fgsm(model, x, TARGET, 0.01), TARGET) > before).all()
    wide = looking.pgd(model, 5 * x - 2, TARGET, 0.3, norm=norm, bounds=None)
    assert wide.max() > 1


def test_random_starts_are_those_of_the_seed() -> None:
    model = network()
    results = []
    for seed in (1, 1, 2):
        nn.seed(seed)
        results.append(looking.pgd(model, X, TARGET, 0.1, steps=1, step_size=0.01))
    assert (results[0] == results[1]).all()
    assert (results[0] != results[2]).any()


def test_nothing_is_left_behind() -> None:
    model = network()
    model[0].freeze()
    loss = nn.CrossEntropyLoss()
    loss(model(X), TARGET)
    model.backward(loss.backward())
    model[4].eval()
    names = dict(model.named_parameters())
    gradients = {name: None if p.grad is None else p.grad.copy() for name, p in names.items()}
    state = {name: array.copy() for name, array in model.state_dict().items()}
    modes = [(module.training, module._keeps) for module in model.modules()]
    x = X.copy()
    looking.saliency(model, x)
    looking.grad_cam(model, x, "4")
    looking.feature_maps(model, x, "4.conv1")
    looking.pgd(model, x, TARGET, 0.1)
    looking.fgsm(model, x, TARGET, 0.1)
    with pytest.raises(ValueError, match="target"):
        looking.grad_cam(model, x, "4", 17)
    assert (x == X).all()
    assert [(module.training, module._keeps) for module in model.modules()] == modes
    assert not any("forward" in vars(module) or "backward" in vars(module) for module in model.modules())
    assert not any(module.__dict__.get("_kept") for module in model.modules())
    for name, parameter in names.items():
        assert parameter.is_trained == (not name.startswith("0."))
        assert (parameter.grad is None) == (gradients[name] is None)
        if parameter.grad is not None:
            assert (parameter.grad == gradients[name]).all()
    assert all((array == state[name]).all() for name, array in model.state_dict().items())


class InPlace(nn.Module):
    """Overwrites what it is given."""

    def forward(self, x: Any) -> Any:
        x *= 0
        return x

    def backward(self, dy: Any, wants_dx: bool = True) -> Any:
        return dy


def test_a_layer_that_computes_in_place_changes_no_map() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), InPlace(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).astype(np.float64)
    assert abs(looking.feature_maps(model, X, "0")).min() > 0
    assert looking.grad_cam(model, X, "0", 1).shape == (5, 9, 8)


def test_logits_of_every_pixel_are_summed() -> None:
    nn.seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)).astype(np.float64)
    # Of a convolution the sum's gradient does not depend on the image: inside, the sum of all its weights.
    wanted = model[0].weight.data[2].sum((1, 2))
    gradient = looking.logit_gradient(model, X, 2)
    np.testing.assert_allclose(gradient[:, :, 4, 4], np.tile(wanted, (5, 1)))


def test_signals_and_volumes() -> None:
    nn.seed(0)
    for axes, (conv, pool) in enumerate(((nn.Conv1d, nn.MaxPool1d), (nn.Conv3d, nn.MaxPool3d))):
        shape = (2, 2, 12) if axes == 0 else (2, 2, 6, 8, 4)
        model = nn.Sequential(conv(2, 3, 3, padding=1), nn.ReLU(), pool(2), nn.Flatten(), nn.Dropout(0.1))
        features = model(np.zeros(shape, np.float32)).shape[1]
        model = nn.Sequential(*model, nn.Linear(features, 3))
        x = RNG.random(shape).astype(np.float32)
        assert looking.saliency(model, x).shape == (2, *shape[2:])
        heat = looking.grad_cam(model, x, "2")
        assert heat.shape == (2, *shape[2:])
        assert heat.max() > 0
        target = np.array([0, 1])
        assert (losses(model, looking.pgd(model, x, target, 0.1), target) > losses(model, x, target)).all()


# Sheets.


def test_sheets() -> None:
    images = np.arange(5.0)[:, None, None] * np.ones((5, 2, 3))
    page = looking.sheet(images, columns=2, gap=1, background=-1)
    assert page.shape == (3 * 3 + 1, 2 * 4 + 1)
    assert [page[1, 1], page[1, 5], page[4, 1], page[4, 5], page[7, 1], page[7, 5]] == [0, 1, 2, 3, 4, -1]
    assert (page == -1).sum() == page.size - 5 * 6
    colour = looking.sheet(np.ones((4, 3, 2, 3)) * np.array([1, 2, 3])[None, :, None, None], gap=0)
    assert colour.shape == (4, 6, 3)
    assert (colour == [1, 2, 3]).all()


def test_filters() -> None:
    nn.seed(0)
    model = nn.Sequential(nn.Conv2d(3, 7, 5), nn.Conv2d(7, 4, 3), nn.Conv2d(4, 8, 3, groups=4), nn.Flatten())
    colour = looking.filters(model, "0", columns=4)
    assert colour.shape == (2 * 6 + 1, 4 * 6 + 1, 3)
    weight = model[0].weight.data[5]
    np.testing.assert_allclose(colour[7:12, 7:12], 0.5 + 0.5 * weight.transpose(1, 2, 0) / abs(weight).max(), rtol=1e-6)
    rows = looking.filters(model, "1", gap=2)
    assert rows.shape == (4 * 5 + 2, 7 * 5 + 2)
    weight = model[1].weight.data[2]
    np.testing.assert_allclose(rows[12:15, 7:10], 0.5 + 0.5 * weight[1] / abs(weight).max(), rtol=1e-6)
    assert looking.filters(model, "2").shape == (3 * 4 + 1, 3 * 4 + 1)
    model[0].weight.data[...] = 0
    assert (looking.filters(model, "0", gap=0)[:5, :5] == 0.5).all()


# Training.


def test_adversarial_training_makes_attacks_harder() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((256, 1, 6, 6)).astype(np.float32)
    # A few pixels decide a little, all together decide much: attacks move the latter.
    y = (x[:, 0, :3].mean((1, 2)) > x[:, 0, 3:].mean((1, 2))).astype(np.int64)
    x[:, 0, 0, 0] = 0.1 + 0.8 * y
    attack = partial(looking.fgsm, epsilon=0.15)
    accuracies = {}
    for is_adversarial in (False, True):
        nn.seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 2))
        loss, optimizer = nn.CrossEntropyLoss(), nn.Adam(model.parameters(), lr=0.01)
        for _ in range(30):
            for first in range(0, 256, 64):
                part = slice(first, first + 64)
                if is_adversarial:
                    value = looking.adversarial_step(model, x[part], y[part], loss, optimizer, attack)
                    assert np.isfinite(value)
                    assert model.training
                else:
                    optimizer.zero_grad()
                    loss(model.train()(x[part]), y[part])
                    model.backward(loss.backward(), wants_dx=False)
                    optimizer.step()
        attacked = looking.pgd(model, x, y, 0.15)
        accuracies[is_adversarial] = nn.accuracy(nn.predict(model, attacked), y)
    assert accuracies[True] > accuracies[False] + 0.1


def test_fit_on_adversarial_batches_is_the_steps() -> None:
    x, y = X.astype(np.float32), TARGET
    attack = partial(looking.fgsm, epsilon=0.05)
    results = []
    for uses_fit in (False, True):
        model = network(np.float32)
        model[7].p = 0.0
        optimizer, batches = nn.SGD(model.parameters(), lr=0.1), nn.Batches(x, y, batch_size=3)
        if uses_fit:
            attacked = looking.AdversarialBatches(batches, model, attack)
            assert len(attacked) == 2
            nn.fit(model, attacked, nn.CrossEntropyLoss(), optimizer, epochs=2, progress=False)
            assert attacked.state_dict() == {"epoch": 2, "seed": 0}
        else:
            for _ in range(2):
                for part, target in batches:
                    looking.adversarial_step(model, part, target, nn.CrossEntropyLoss(), optimizer, attack)
        results.append(model.state_dict())
    for name, array in results[0].items():
        np.testing.assert_array_equal(array, results[1][name], name)


# What does not fit, and CuPy.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: looking.feature_maps(m, X, "4.conv3"), "layer: '4.conv3' is no layer .*4.conv1"),
        (lambda m: looking.filters(m, "1"), r"layer: '1' has a weight of shape \(6,\)"),
        (lambda m: looking.filters(m, "3"), "layer: '3' has a weight of shape None"),
        (lambda m: looking.grad_cam(m, X, "6"), r"layer: '6' returns shape \(5, 6\)"),
        (lambda m: looking.saliency(m, X, 4), "target: 4 to 4; classes are 0 to 3"),
        (lambda m: looking.saliency(m, X, [0, 1]), r"target: int64 of shape \(2,\)"),
        (lambda m: looking.saliency(m, X, 0.5), "target: float64"),
        (lambda m: looking.fgsm(m, X, TARGET, -1), "epsilon: -1"),
        (lambda m: looking.fgsm(m, X, TARGET, float("nan")), "epsilon: nan"),
        (lambda m: looking.fgsm(m, X - 1, TARGET, 0.1), r"x: numbers from -.* the bounds are \(0.0, 1.0\)"),
        (lambda m: looking.fgsm(m, X, TARGET, 0.1, bounds=(1, 0)), r"bounds: \(1, 0\)"),
        (lambda m: looking.pgd(m, X, TARGET, 0.1, norm="1"), "norm: '1'"),
        (lambda m: looking.pgd(m, X, TARGET, 0.1, steps=0), "steps: 0"),
        (lambda m: looking.sheet(X[0, 0]), r"images: shape \(9, 8\)"),
        (lambda m: looking.sheet(X[:0]), r"images: shape \(0, 3, 9, 8\)"),
        (lambda m: looking.sheet(X, columns=0), "columns, gap: 0, 1"),
        (lambda m: looking.saliency(m[0], X[:, :2]), r"x: got shape \(5, 2, 9, 8\)"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    model = network()
    with pytest.raises(ValueError, match=message):
        call(model)
    assert all(module.training for module in model.modules())


def test_names_that_are_not_called() -> None:
    model = nn.Sequential(nn.Sequential(nn.Flatten()), nn.Linear(216, 4)).astype(np.float64)
    model.spare = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="'spare' is a name in the network, but not called"):
        looking.feature_maps(model, X, "spare")


@pytest.mark.parametrize("gpu", ["emulated", DEVICE])
def test_cupy(gpu: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    x = RNG.random((2, 1, 5, 5)).astype(np.float32)
    target = np.array([0, 1])
    calls: list[Any] = [
        lambda x, t: looking.saliency(model, x),
        lambda x, t: looking.grad_cam(model, x, "1", t),
        lambda x, t: looking.feature_maps(model, x, "0"),
        lambda x, t: looking.fgsm(model, x, t, 0.1),
        lambda x, t: looking.pgd(model, x, t, 0.1, steps=2, norm="2", random_start=False),
        lambda x, t: looking.filters(model, "0"),
    ]
    wanted = [call(x, target) for call in calls]
    with array_module(gpu) as arrays:
        model.to(arrays.module)
        for call, value in zip(calls, wanted, strict=True):
            result = call(arrays.to(x), arrays.to(target))
            assert isinstance(result, arrays.module.ndarray)
            np.testing.assert_allclose(result.get(), value, rtol=1e-4, atol=1e-6)


# The example.


def test_sheets_of_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn", reason='needs pip install ".[examples]"')
    pytest.importorskip("PIL", reason='needs pip install ".[examples]"')
    from PIL import Image

    path = Path(__file__).parent.parent / "examples" / "looking_in.py"
    spec = importlib.util.spec_from_file_location("looking_in", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    digits = example.load()
    assert digits.x.shape[1:] == (1, 16, 16)
    assert 0 <= digits.x.min() < digits.x.max() <= 1
    few = example.Digits(digits.x[:128], digits.y[:128], digits.test_x[:48], digits.test_y[:48])
    monkeypatch.setattr(example, "load", lambda: few)
    monkeypatch.setattr(example, "RADII", (0.0, 0.05, 0.1, 0.15))
    example.main(["--output", str(tmp_path / "sheets"), "--epochs", "1"])
    assert "trained on attacked ones: " in capsys.readouterr().out
    names = {"filters", "feature_maps", "saliency", "grad_cam", "adversarial"}
    assert {file.stem for file in (tmp_path / "sheets").iterdir()} == names
    for name in names:
        page = np.asarray(Image.open(tmp_path / "sheets" / f"{name}.png"))
        lower = page[example.TOP :]
        assert lower.std() > 20, name
        # Captions stay clear of the border, and nothing is cut off by it.
        assert (page[:, -example.MARGIN // 2 :] == example.PAPER).all(), name
        assert (page[-example.MARGIN // 2 :] == example.PAPER).all(), name
