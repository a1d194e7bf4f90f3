"""Networks against ``torch.nn``: whole and layer by layer, forward and every gradient, and ten steps of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import nn
from nn_network_cases import CASES, NAMES, NetworkCase, both, data, fortran

torch = pytest.importorskip("torch")

DEEP = ("vgg", "resnet50", "resnext", "efficientnet", "convnext")


def networks(most_are_full: bool = False) -> Any:
    """Every network; where that takes long, the deep ones only with --full."""
    marks = [[pytest.mark.full] * (most_are_full and case.name.startswith(DEEP)) for case in CASES]
    return pytest.mark.parametrize(
        "case", [pytest.param(case, marks=m) for case, m in zip(CASES, marks, strict=True)], ids=NAMES
    )


each_network = networks()
each_mode = pytest.mark.parametrize("is_training", [True, False], ids=["train", "eval"])


def close(got: Any, wanted: Any, name: str, tolerance: float = 1e-10) -> None:
    """To a tolerance of the largest element; a shift before batch normalization has a gradient of noise alone."""
    wanted = wanted.detach().numpy()
    assert got.shape == wanted.shape, name
    scale = max(float(np.abs(wanted).max(initial=0)), 1e-3)
    assert float(np.abs(got - wanted).max(initial=0)) <= tolerance * scale, name


def gradients_of(case: NetworkCase, ours: Any, theirs: Any, x: np.ndarray) -> dict[str, tuple[Any, Any]]:
    """Results and all gradients of a weighted sum of the results, of both."""
    given = torch.from_numpy(x.copy())
    given.requires_grad_(not case.numbers)
    result = theirs(given)
    weights = np.random.default_rng(2).standard_normal(result.shape).astype(result.detach().numpy().dtype)
    (result * torch.from_numpy(weights)).sum().backward()
    with nn.gradients(ours):
        y = ours(x)
        dx = ours.backward(fortran(weights), wants_dx=not case.numbers)
    found = {"result": (y, result)}
    if not case.numbers:
        found["dx"] = (dx, given.grad)
    wanted = dict(theirs.named_parameters())
    assert wanted.keys() == dict(ours.named_parameters()).keys()
    return found | {name: (each.grad, wanted[name].grad) for name, each in ours.named_parameters()}


@each_mode
@each_network
def test_results_and_every_gradient(case: NetworkCase, is_training: bool) -> None:
    ours, theirs = both(case, is_training=is_training)
    x = data(case) if is_training else data(case)[:1]
    for name, (got, wanted) in gradients_of(case, ours, theirs, x).items():
        close(got, wanted, name)
    for name, tensor in theirs.state_dict().items():
        close(ours.state_dict()[name], tensor, name)


@networks(most_are_full=True)
def test_gradients_of_two_batches_are_added(case: NetworkCase) -> None:
    ours, theirs = both(case)
    gradients_of(case, ours, theirs, data(case))
    for name, (got, wanted) in gradients_of(case, ours, theirs, data(case, seed=1)).items():
        if name != "dx":
            close(got, wanted, name)


def observe_ours(model: Any, seen: dict[str, list[Any]]) -> None:
    """Write down what every layer returns, and the gradient that comes to it."""

    def observe(name: str, module: Any) -> None:
        forward, backward = module.forward, module.backward

        def observed_forward(x: Any) -> Any:
            y = forward(x)
            seen.setdefault(f"{name} forward", []).append(y.copy())
            return y

        def observed_backward(dy: Any, wants_dx: bool = True) -> Any:
            seen.setdefault(f"{name} backward", []).append(dy.copy())
            return backward(dy, wants_dx)

        module.forward, module.backward = observed_forward, observed_backward

    for name, module in list(model.named_modules()):
        observe(name, module)


def observe_theirs(model: Any, seen: dict[str, list[Any]]) -> None:
    def observe(name: str, module: Any) -> None:
        def hook(module: Any, given: Any, result: Any) -> None:
            seen.setdefault(f"{name} forward", []).append(result.detach().clone())
            result.register_hook(lambda dy: seen.setdefault(f"{name} backward", []).append(dy.clone()))

        module.register_forward_hook(hook)

    for name, module in model.named_modules():
        observe(name, module)


@each_network
def test_layer_by_layer(case: NetworkCase) -> None:
    """In evaluation mode, where no two layers are computed in one."""
    ours, theirs = both(case, is_training=False)
    seen: dict[str, list[Any]] = {}
    wanted: dict[str, list[Any]] = {}
    observe_ours(ours, seen)
    observe_theirs(theirs, wanted)
    gradients_of(case, ours, theirs, data(case))
    layers = [name for name, module in theirs.named_modules() if list(module.parameters(recurse=False))]
    assert len(layers) >= 5
    for name in layers:
        for way in ("forward", "backward"):
            for got, tensor in zip(seen[f"{name} {way}"], wanted[f"{name} {way}"], strict=True):
                close(got, tensor, f"{name} {way}")


def loss_of(result: Any, target: Any) -> Any:
    """Cross entropy of images, pixels or samples, in torch."""
    return torch.nn.functional.cross_entropy(result, torch.from_numpy(target))


OPTIMIZERS = {
    "SGD": {"lr": 1e-4, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"lr": 1e-3},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@networks(most_are_full=True)
def test_ten_steps_parameter_by_parameter(case: NetworkCase, optimizer: str) -> None:
    """With many images: training by the statistics of a few multiplies any rounding, up to a thousandfold per step."""
    case = case._replace(shape=(24 if case.name.startswith("res") else 8, *case.shape[1:]))
    ours, theirs = both(case)
    options = OPTIMIZERS[optimizer]
    step_ours = getattr(nn, optimizer)(ours.parameters(), **options)
    step_theirs = getattr(torch.optim, optimizer)(theirs.parameters(), **options)
    criterion = nn.CrossEntropyLoss()
    for step in range(10):
        x = data(case, seed=step)
        result = theirs(torch.from_numpy(x))
        target = np.random.default_rng(step).integers(0, result.shape[1], (len(x), *result.shape[2:]))
        wanted = loss_of(result, target)
        step_theirs.zero_grad()
        wanted.backward()
        step_theirs.step()
        ours.zero_grad()
        got = criterion(ours(x), target)
        ours.backward(criterion.backward(), wants_dx=False)
        step_ours.step()
        assert float(got) == pytest.approx(wanted.item(), rel=1e-8)
    for name, tensor in theirs.state_dict().items():
        close(ours.state_dict()[name], tensor, name, 1e-8)


@each_mode
@networks(most_are_full=True)
def test_float32_rounds_as_torch_does(case: NetworkCase, is_training: bool) -> None:
    """The errors of results and gradients, against float64, are those of torch's float32, to a small factor."""
    precise = gradients_of(case, *both(case, is_training=is_training), data(case))
    single = gradients_of(case, *both(case, "float32", is_training), data(case, "float32"))
    errors = np.zeros(2)
    for name, (got, tensor) in single.items():
        assert got.dtype == np.float32
        wanted = precise[name][1].detach().numpy()
        scale = np.abs(wanted).max() or 1.0
        errors += [np.abs(each - wanted).max() / scale for each in (got, tensor.detach().numpy())]
    ours, theirs = errors / len(single)
    assert ours <= 4 * theirs + 1e-6
