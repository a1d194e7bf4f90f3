"""Layers: gradients against differences, everything against ``torch.nn`` where it is installed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from fastconv import nn
from nn_layer_cases import CASES, OWN, LayerCase, case, data, made
from subprocesses import python

EVERY = [*CASES, *OWN]


def layer_of(one: LayerCase) -> Any:
    """The layer with float64 parameters that are not what it begins with, the scales and shifts of norms among them."""
    nn.seed(1)
    layer = made(nn, one).astype("float64")
    random = np.random.default_rng(2)
    for name, tensor in layer.named_tensors():
        if "num_batches" not in name:
            tensor.data[...] = random.uniform(0.5, 1.5, tensor.shape)
    return layer


@pytest.mark.parametrize("is_training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("one", EVERY, ids=str)
def test_gradients_are_those_of_differences(one: LayerCase, is_training: bool) -> None:
    """Along random directions of x and of every parameter; dy is neither contiguous nor left as it was."""
    layer, x = layer_of(one).train(is_training), data(one)
    random = np.random.default_rng(3)

    def loss(x: np.ndarray) -> Any:
        return float((layer(x) * weights).sum())

    with nn.gradients(layer):
        y = layer(x)
        weights = random.standard_normal((*y.shape[::-1],)).T
        dx = layer.backward(weights.copy("K"))
    assert dx.shape == x.shape
    gradients = [(x, dx), *((parameter.data, parameter.grad) for parameter in layer.parameters())]
    for array, gradient in gradients:
        assert gradient.shape == array.shape
        direction, before = random.standard_normal(array.shape), array.copy()
        step = 1e-6 if one.name != "MaxPool" else 1e-7
        array += step * direction
        above = loss(x)
        array[...] = before - step * direction
        below = loss(x)
        array[...] = before
        expected = float((gradient * direction).sum())
        assert (above - below) / (2 * step) == pytest.approx(expected, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize("one", EVERY, ids=str)
def test_what_is_not_wanted_is_not_computed(one: LayerCase) -> None:
    """No gradient of x; frozen parameters get none; a second gradient is added to the first."""
    layer, x = layer_of(one), data(one)
    dy = np.ones_like(layer(x))
    wanted = layer.backward(dy.copy(), wants_dx=True)
    first = [parameter.grad.copy() for parameter in layer.parameters()]
    layer(x)
    layer.backward(dy.copy(), wants_dx=False)
    for parameter, gradient in zip(layer.parameters(), first, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * gradient, rtol=1e-12)
    memory = [parameter.grad for parameter in layer.parameters()]
    layer.zero_grad()
    layer(x)
    again = layer.backward(dy.copy())
    np.testing.assert_array_equal(again, wanted)
    for parameter, gradient, array in zip(layer.parameters(), first, memory, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)
        if parameter.grad.ndim > 1 and "Norm" not in one.name:
            assert parameter.grad is array, "weights' gradients are written where the last one was"
    layer.zero_grad()
    layer.freeze()
    layer(x)
    layer.backward(dy.copy())
    assert all(parameter.grad is None for parameter in layer.parameters())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("one", CASES, ids=str)
def test_torch_computes_the_same(one: LayerCase, is_training: bool, dtype: str) -> None:
    """Results, every gradient, running statistics after three steps, and names and shapes of the state, both ways."""
    torch = pytest.importorskip("torch")
    layer, peer = layer_of(one).astype(dtype), made(torch.nn, one).to(getattr(torch, dtype))
    assert {n: t.shape for n, t in layer.named_tensors()} == {n: tuple(t.shape) for n, t in peer.state_dict().items()}
    peer.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in layer.state_dict().items()})
    layer.train(is_training)
    peer.train(is_training)
    tolerance = {"float32": 2e-5, "float64": 1e-10}[dtype]
    if one.name == "Hardsigmoid":
        tolerance = max(tolerance, 1e-7)  # its gradient there is multiplied by a sixth in float32
    for seed in range(3):
        x = data(one, seed).astype(dtype)
        theirs = torch.from_numpy(x.copy()).requires_grad_()
        expected = peer(theirs)
        dy = np.random.default_rng(seed).standard_normal(tuple(expected.shape)).astype(dtype)
        expected.backward(torch.from_numpy(dy.copy()))
        with nn.gradients(layer):
            y = layer(x)
            assert y.dtype == dtype
            np.testing.assert_allclose(y, expected.detach(), rtol=tolerance, atol=tolerance)
            dx = layer.backward(dy)
        assert dx.dtype == dtype
        np.testing.assert_allclose(dx, theirs.grad, rtol=tolerance, atol=tolerance)
    state = peer.state_dict()
    for name, tensor in layer.named_tensors():
        np.testing.assert_allclose(tensor.data, state[name], rtol=tolerance, atol=tolerance)
    for name, parameter in layer.named_parameters():
        gradient = peer.get_parameter(name).grad
        np.testing.assert_allclose(parameter.grad, gradient, rtol=tolerance * 10, atol=tolerance * 10)
    layer.load_state_dict(state)


@pytest.mark.parametrize("one", [c for c in CASES if c.name not in ("Flatten", "Identity", "Dropout")], ids=str)
def test_torch_begins_with_weights_of_the_same_spread(one: LayerCase) -> None:
    """Initial weights differ by the generator only."""
    torch = pytest.importorskip("torch")
    layer, peer = made(nn, one), made(torch.nn, one).state_dict()
    for name, tensor in layer.named_tensors():
        theirs = peer[name].numpy().astype(float)
        assert tensor.dtype == peer[name].numpy().dtype
        if theirs.size > 50:
            assert np.std(tensor.data) == pytest.approx(np.std(theirs), rel=0.35)
            assert abs(tensor.data).max() == pytest.approx(abs(theirs).max(), rel=0.15)
        elif not name.endswith(("weight", "bias")) or "Norm" in one.name:
            np.testing.assert_array_equal(tensor.data, theirs)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("one", [c for c in EVERY if c.name not in ("Softmax", "GELU", "Hardsigmoid")], ids=str)
def test_16_bits(one: LayerCase, dtype: str) -> None:
    """Results and gradients have the dtype, and are near those of the same numbers in float32."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    small = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    layer, wide = layer_of(one).astype(small), layer_of(one).astype(small).astype("float32")
    x = data(one).astype(small)
    y, expected = layer(x), wide(x.astype("float32"))
    assert y.dtype == small
    coarse = {"float16": 2e-3, "bfloat16": 2e-2}[dtype] * max(1, float(abs(expected).max()))
    np.testing.assert_allclose(y.astype("float32"), expected, atol=2 * coarse, rtol=0)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(small)
    dx, exact = layer.backward(dy.copy()), wide.backward(dy.astype("float32"))
    assert dx.dtype == small
    np.testing.assert_allclose(dx.astype("float32"), exact, atol=4 * coarse * max(1, float(abs(exact).max())), rtol=0)
    for one_of_ours, one_of_wide in zip(layer.parameters(), wide.parameters(), strict=True):
        assert one_of_ours.grad.dtype == small
        limit = 4 * coarse * max(1, float(abs(one_of_wide.grad).max()))
        np.testing.assert_allclose(one_of_ours.grad.astype("float32"), one_of_wide.grad, atol=limit, rtol=0)


def test_embedding() -> None:
    """Rows, their gradient where a row comes twice, the row of padding, wrong numbers."""
    layer = nn.Embedding(7, 3, padding_idx=2)
    assert not layer.weight.data[2].any()
    x = np.array([[1, 2, 6], [6, 6, 0]])
    y = layer(x)
    np.testing.assert_array_equal(y, layer.weight.data[x])
    dy = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    assert layer.backward(dy) is None
    expected = np.zeros((7, 3))
    for place in np.ndindex(x.shape):
        if x[place] != 2:
            expected[x[place]] += dy[place]
    np.testing.assert_array_equal(layer.weight.grad, expected)
    with pytest.raises(ValueError, match="0 to 6"):
        layer(np.array([7]))
    with pytest.raises(TypeError, match="integers"):
        layer(np.array([1.0]))
    with pytest.raises(ValueError, match="padding_idx"):
        nn.Embedding(7, 3, padding_idx=7)


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "StochasticDepth"])
def test_dropout(name: str) -> None:
    """What is dropped together, how much, the scale of the rest, the gradient; nothing in evaluation mode."""
    layer = getattr(nn, name)(0.25)
    nn.seed(5)
    x = np.ones((40, 50, 2, 2, 2), np.float32)
    y = layer(x)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.2 if name == "StochasticDepth" else 0.04)
    together = {"Dropout": 1, "StochasticDepth": 400}.get(name, 8)
    assert (y.reshape(-1, together) == y.reshape(-1, together)[:, :1]).all()
    np.testing.assert_array_equal(layer.backward(2 * x), 2 * y)
    nn.seed(5)
    np.testing.assert_array_equal(layer(x), y)
    assert layer.eval()(x) is x
    assert not getattr(nn, name)(1.0)(x).any()
    with pytest.raises(ValueError, match=r"p: got 1\.5"):
        getattr(nn, name)(1.5)


def test_causal_steps() -> None:
    """Pieces of any length are the whole signal."""
    layer = nn.CausalConv1d(4, 6, 3, dilation=4, groups=2).eval()
    x = np.random.default_rng(0).standard_normal((2, 4, 40)).astype(np.float32)
    state, pieces = None, []
    for begin, end in [(0, 1), (1, 4), (4, 4), (4, 30), (30, 40)]:
        y, state = layer.step(x[..., begin:end], state)
        pieces.append(y)
    np.testing.assert_allclose(np.concatenate(pieces, -1), layer(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="state: got shape"):
        layer.step(x, np.zeros((2, 4, 7), np.float32))


WRONG = [
    (case("Conv2d", 3, 4, 3, shape=(1, 5, 8, 8)), r"x: got shape \(1, 5, 8, 8\); allowed: \(N, 3, H, W\)"),
    (case("Conv2d", 3, 4, 3, shape=(8, 8)), r"allowed: \(N, 3, H, W\)"),
    (case("Conv2d", 3, 4, 9, shape=(1, 3, 8, 8)), "Conv2d"),
    (case("BatchNorm2d", 3, shape=(1, 3, 4)), "4 axes"),
    (case("BatchNorm1d", 3, shape=(1, 3)), "two or more values"),
    (case("GroupNorm", 2, 4, shape=(1, 6, 4)), "allowed: 4 channels"),
    (case("LayerNorm", 4, shape=(4, 5)), "the last axes"),
    (case("LayerNorm2d", 4, shape=(4,)), "allowed: 4 channels"),
    (case("Linear", 4, 2, shape=(4, 5)), r"\(\.\.\., 4\)"),
    (case("Flatten", shape=(4,)), "axes 1 to -1"),
    (case("Permute", (0, 2, 1), shape=(4, 5)), "3 axes"),
    (case("Upsample", shape=(4, 5)), "spatial"),
    (case("Upsample", shape=(1, 4, 5), scale_factor=2, mode="bilinear"), "2 spatial"),
    (case("MaxPool2d", 9, shape=(1, 2, 4, 4)), "MaxPool2d"),
]


@pytest.mark.parametrize(("one", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_what_a_layer_cannot_take(one: LayerCase, message: str) -> None:
    """ValueError with the layer's path in the network, the shape, and what it wants."""
    if one.name == "Upsample" and not one.settings:
        one = one._replace(settings={"scale_factor": 2})
    network = nn.Sequential({"stem": nn.Identity(), "body": nn.Residual(nn.Sequential(made(nn, one)))})
    with pytest.raises(ValueError, match=r"body\.body\.0 \(" + one.name) as error:
        network(np.ones(one.shape, np.float32))
    assert error.match(message)
    assert error.match("network's input has shape")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels: got 3 with groups=2"),
        (lambda: nn.Conv2d(4, 0, 3), "out_channels: got 0"),
        (lambda: nn.Conv2d(4, 4, (3, 3, 3)), "kernel_size: got"),
        (lambda: nn.Conv2d(4, 4, 3, stride=(1,)), "stride: got"),
        (lambda: nn.GroupNorm(4, 6), "num_groups: got 4"),
        (lambda: nn.Upsample(), "size, scale_factor"),
        (lambda: nn.Upsample(scale_factor=2, mode="cubic"), "mode: got 'cubic'"),
        (lambda: nn.Upsample(scale_factor=2, align_corners=True), "align_corners"),
        (lambda: nn.GELU("fast"), "approximate: got 'fast'"),
        (lambda: nn.StochasticDepth(0.5, "column"), "mode: got 'column'"),
    ],
)
def test_arguments_that_are_refused(make: Any, message: str) -> None:
    """When the layer is made."""
    with pytest.raises(ValueError, match=message):
        make()


def test_the_layers_need_no_gpu_library() -> None:
    """Importing fastconv imports no ``nn``; importing that imports nothing that is optional."""
    code = "import sys, fastconv; assert 'fastconv.nn' not in sys.modules; from fastconv import nn; " + (
        "print([m for m in ('cupy', 'safetensors', 'rich', 'matplotlib', 'onnx', 'torch') if m in sys.modules])"
    )
    run = python("-c", code)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr
    assert sys.modules["fastconv"].__version__
