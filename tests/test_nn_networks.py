"""Networks by themselves: names, sizes, errors, what they begin with, and what they promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import nn
from nn_network_cases import CASES, NAMES, NetworkCase, data

# As published: in torchvision's documentation, or by the papers' tables of layers.
PARAMETERS = {
    "lenet5": 61706,
    "alexnet": 61100840,
    "resnet18": 11689512,
    "resnet50": 25557032,
    "resnext50_32x4d": 25028904,
    "mobilenet_v2": 3504872,
    "efficientnet_b0": 5288548,
    "convnext_tiny": 28589128,
    "unet": 31031810,
}
each_network = pytest.mark.parametrize("case", CASES, ids=NAMES)


def made(case: NetworkCase) -> Any:
    nn.seed(3)
    return nn.networks.build(case.name, **case.arguments)


LARGE = ("alexnet", "resnet50", "resnext50_32x4d", "convnext_tiny", "unet")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name in LARGE)) for name in PARAMETERS]
)
def test_number_of_parameters(name: str) -> None:
    model = nn.networks.build(name, in_channels=1 if name == "lenet5" else 3)
    assert sum(parameter.data.size for parameter in model.parameters()) == PARAMETERS[name]


def test_every_network_is_built_by_its_name() -> None:
    assert {case.name for case in CASES} == set(nn.networks.NAMES)
    assert all(callable(getattr(nn.networks, name)) for name in nn.networks.NAMES)


def test_what_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"name: got 'resnet5' \(is 'resnet50' meant\?\); allowed: lenet5, alexnet"):
        nn.networks.build("resnet5")
    with pytest.raises(TypeError, match="colours"):
        nn.networks.build("resnet50", colours=3)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (lambda: nn.networks.unet(width=4), (1, 1, 33, 32), r"UNet: x: got shape \(1, 1, 33, 32\).* multiples of 16"),
        (lambda: nn.networks.unet(width=4), (1, 2, 32, 32), r"down0.conv1 .*\(1, 2, 32, 32\); allowed: \(N, 1, H, W\)"),
        (lambda: nn.networks.lenet5(), (1, 1, 28, 28), r"c5 \(Conv2d"),
        (lambda: nn.networks.resnet18(width=8), (1, 4, 64, 64), r"conv1 \(Conv2d.*\(1, 4, 64, 64\)"),
        (lambda: nn.networks.wavenet(residual=4), (1, 3, 9), r"embed \(CausalConv1d.*\(1, 3, 9\)"),
    ],
    ids=["unet-size", "unet-channels", "lenet-size", "resnet-channels", "wavenet-channels"],
)
def test_shapes_that_do_not_fit_name_the_layer(make: Callable[[], Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().eval()(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("unet", {"padding": "half"}, "padding: got 'half'; allowed: 'same', 'valid'"),
        ("wavenet", {"depth": 0}, "depth: got 0; allowed: 1 or more"),
        ("wavenet", {"blocks": 0}, "blocks: got 0"),
        ("resnext50_32x4d", {"width": 8}, "width: got 8 .* multiples of 16"),
        ("mobilenet_v2", {"dropout": 2.0}, "p: got 2.0"),
    ],
)
def test_arguments_that_are_not_allowed(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nn.networks.build(name, **arguments)


@each_network
def test_an_image_is_what_it_is_among_others(case: NetworkCase) -> None:
    """In evaluation mode; and float32 stays float32."""
    model, x = made(case).eval(), data(case, "float32")
    whole = model(x)
    assert whole.dtype == np.float32
    assert len(whole) == len(x)
    np.testing.assert_allclose(model(x[-1:]), whole[-1:], rtol=0, atol=2e-5 * np.abs(whole).max())


@each_network
def test_the_same_seed_gives_the_same_network(case: NetworkCase) -> None:
    first, second = made(case).state_dict(), made(case).state_dict()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@each_network
def test_no_gradient_of_the_data_unless_it_is_wanted(case: NetworkCase) -> None:
    """The gradients of parameters are the same; nothing is left over for another call."""
    model, x = made(case).astype("float64").train(), data(case)
    gradients = []
    for wants_dx in (not case.numbers, False):
        model.zero_grad()
        dx = model.backward(np.ones_like(model(x)), wants_dx)
        assert (dx is not None) == wants_dx
        gradients.append({name: each.grad.copy() for name, each in model.named_parameters()})
        with pytest.raises(RuntimeError, match="has nothing to compute gradients from"):
            model.backward(np.ones_like(model.eval()(x)))
        model.train()
    for name, gradient in gradients[0].items():
        np.testing.assert_allclose(gradients[1][name], gradient, rtol=1e-7, atol=1e-9)


def test_unet_without_padding_has_the_size_of_the_paper() -> None:
    model = nn.networks.unet(width=1, padding="valid").eval()
    assert model(np.zeros((1, 1, 572, 572), np.float32)).shape == (1, 2, 388, 388)


def test_unet_without_padding_is_the_same_for_any_tile() -> None:
    """No pixel depends on a border: a part of an image gives a part of the result."""
    model = nn.networks.unet(width=2, depth=2, padding="valid").astype("float64").eval()
    x = np.random.default_rng(1).standard_normal((1, 1, 92, 92))
    whole, part = model(x), model(x[:, :, 8:84, 16:])
    assert whole.shape[2:] == (52, 52)
    assert part.shape[2:] == (36, 36)
    np.testing.assert_allclose(part, whole[:, :, 8:44, 16:], rtol=0, atol=1e-12)


def test_wavenet_depends_on_no_later_sample() -> None:
    model = nn.networks.wavenet(4, 3, residual=4, skip=32, blocks=2, depth=3).astype("float64").eval()
    x = np.random.default_rng(2).standard_normal((1, 3, 40))
    later = x.copy()
    later[:, :, 25:] += 1
    before, after = model(x), model(later)
    assert np.array_equal(before[:, :, :25], after[:, :, :25])
    assert (before[:, :, 25] != after[:, :, 25]).all()


def test_wavenet_sees_as_far_as_its_dilations() -> None:
    """1 + 1 of the first convolution + twice 1 + 2 + 4."""
    model = nn.networks.wavenet(4, 3, residual=4, skip=32, blocks=2, depth=3).astype("float64").eval()
    x = np.random.default_rng(2).standard_normal((1, 3, 40))
    changed = x.copy()
    changed[:, :, 10] += 1
    differs = (model(x) != model(changed)).any(axis=(0, 1))
    assert np.flatnonzero(differs)[[0, -1]].tolist() == [10, 10 + 1 + 2 * (1 + 2 + 4)]


def test_words_that_fill_up_are_not_trained() -> None:
    model = nn.networks.textcnn(20, embedding_dim=6, channels=4, padding_idx=0).train()
    y = model(np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 0, 0]]))
    model.backward(np.ones_like(y), wants_dx=False)
    assert not model.embedding.weight.data[0].any()
    assert not model.embedding.weight.grad[0].any()
    assert model.embedding.weight.grad[1:8].any()


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "mobilenet_v2", "efficientnet_b0", "textcnn", "convnext_tiny"])
def test_what_drops_out_does_so_in_training_alone(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    arguments = {key: value for key, value in case.arguments.items() if key not in ("dropout", "stochastic_depth")}
    model, x = nn.networks.build(name, **arguments).train(), data(case, "float32")
    if name == "convnext_tiny":
        # What is dropped is scaled by 1e-6 at first.
        for key, tensor in model.named_parameters():
            if key.endswith("layer_scale"):
                tensor.data[...] = 1
    assert not np.array_equal(model(x), model(x))
    model.eval()
    assert np.array_equal(model(x), model(x))


def test_widths_are_rounded_to_eights_but_not_below_nine_tenths() -> None:
    """11.2 would be 8, and becomes 16; 5.6 is 8."""
    model = nn.networks.mobilenet_v2(width_mult=0.35)
    shapes = {name: tensor.shape for name, tensor in model.named_parameters()}
    assert shapes["features.0.0.weight"][0] == 16
    assert shapes["features.1.conv.1.weight"][0] == 8


def test_initial_weights_keep_the_size_of_gradients() -> None:
    """Convolutions before ReLUs by the number of their outputs; transposed ones begin as those of ``torch.nn``."""
    nn.seed(0)
    shallow = nn.networks.unet(width=32, depth=1)
    deviation = shallow.down1.conv2.weight.data.std()
    assert deviation == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)
    assert not shallow.down1.conv2.bias.data.any()
    assert shallow.grow0.weight.data.std() == pytest.approx((1 / (32 * 4)) ** 0.5 / 3**0.5, rel=0.05)
    assert shallow.grow0.bias.data.any()
