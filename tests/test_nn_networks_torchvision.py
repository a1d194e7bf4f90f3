"""Networks that torchvision has, too: its state dicts load, and results and gradients are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv import nn

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

# Arguments with which nothing is left to chance, ours and torchvision's, and the size of the images.
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "alexnet": ({"dropout": 0.0}, {"dropout": 0.0}, 71),
    "vgg11": ({"dropout": 0.0}, {"dropout": 0.0}, 39),
    "vgg16": ({"dropout": 0.0}, {"dropout": 0.0}, 33),
    "resnet18": ({}, {}, 65),
    "resnet50": ({}, {}, 65),
    "resnext50_32x4d": ({}, {}, 65),
    "mobilenet_v2": ({"dropout": 0.0}, {"dropout": 0.0}, 65),
    "efficientnet_b0": (
        {"dropout": 0.0, "stochastic_depth": 0.0},
        {"dropout": 0.0, "stochastic_depth_prob": 0.0},
        65,
    ),
    "convnext_tiny": ({"stochastic_depth": 0.0}, {"stochastic_depth_prob": 0.0}, 65),
}
LARGE = ("alexnet", "vgg11", "vgg16")


def pair(name: str) -> tuple[nn.Module, Any]:
    ours, theirs, _ = NETWORKS[name]
    torch.manual_seed(0)
    peer = getattr(torchvision.models, name)(weights=None, **theirs)
    model = nn.networks.build(name, **ours)
    state = {key: value.numpy() for key, value in peer.state_dict().items()}
    assert list(model.state_dict()) == list(state)
    assert {key: value.shape for key, value in model.state_dict().items()} == {k: v.shape for k, v in state.items()}
    assert {key: value.dtype for key, value in model.state_dict().items()} == {k: v.dtype for k, v in state.items()}
    model.load_state_dict(state)
    return model, peer


@pytest.mark.full
@pytest.mark.parametrize("is_training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_results_and_every_gradient(name: str, is_training: bool) -> None:
    model, peer = pair(name)
    model, peer = model.astype(np.float64), peer.double().train(is_training)
    rng = np.random.default_rng(0)
    size = NETWORKS[name][2]
    x = rng.standard_normal((3, 3, size, size - 1))
    x_there = torch.tensor(x, requires_grad=True)
    if not is_training:
        # Running statistics as they are in a network that has learnt.
        model(x), peer.train()(x_there)
        peer.eval(), model.eval()
    dy = rng.standard_normal((3, 1000))
    y_there = peer(x_there)
    y_there.backward(torch.tensor(dy))
    with nn.gradients(model):
        y = model(x)
        dx = model.backward(dy.copy())
    pairs = {"y": (y, y_there), "dx": (dx, x_there.grad)}
    theirs = dict(peer.named_parameters())
    pairs |= {key: (parameter.grad, theirs[key].grad) for key, parameter in model.named_parameters()}
    pairs |= {f"{key} afterwards": (value, peer.state_dict()[key]) for key, value in model.state_dict().items()}
    # The gradient of a bias that batch norm takes away again is 0, but for the rounding of what is summed up.
    floor = 1e-14 * max(abs(gradient).max() for gradient, _ in pairs.values())
    for key, (here, there) in pairs.items():
        there = there.detach().numpy()
        assert abs(here - there).max() <= 1e-9 * abs(there).max() + floor, key


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name in LARGE else ()) for name in NETWORKS]
)
def test_names_shapes_and_the_file_of_weights(name: str, tmp_path: Any) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    model, peer = pair(name)
    safetensors.save_file(peer.state_dict(), tmp_path / "weights.safetensors")
    loaded = nn.networks.build(name)
    nn.load(loaded, tmp_path / "weights.safetensors")
    for key, value in loaded.state_dict().items():
        assert (value == model.state_dict()[key]).all(), key
    size = NETWORKS[name][2]
    x = np.random.default_rng(1).standard_normal((1, 3, size, size)).astype(np.float32)
    with torch.no_grad():
        there = peer.eval()(torch.tensor(x)).numpy()
    assert abs(loaded.eval()(x) - there).max() <= 2e-4 * abs(there).max()
