"""Random networks: compiled as in evaluation mode, gradients as by differences, states that go out and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import nn
from fastconv.nn.inference import bands

SHORT, FULL = 40, 400
ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU, nn.ReLU6, lambda: nn.LeakyReLU(0.3), nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.Hardsigmoid,
    lambda: nn.GELU("tanh"),
]  # fmt: skip


class Maker:
    """Makes a network by drawing layer after layer for the shape that the ones before give."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.rank = int(self.random.integers(1, 4))

    def network(self) -> tuple[nn.Module, tuple[int, ...]]:
        """A network and the shape of its input."""
        shape = (int(self.random.integers(1, 4)), self.channels(), *(self.size() for _ in range(self.rank)))
        model = self.sequence(shape, int(self.random.integers(2, 7)), 2)
        ends: list[list[nn.Module]] = [[], [nn.GlobalAvgPool()], [nn.Flatten()], [nn.GlobalMaxPool()]]
        end = ends[self.random.integers(len(ends))]
        if end:
            features = int(nn.Sequential(model, *end)(np.zeros(shape, np.float32)).shape[1])
            end = [*end, nn.Linear(features, 5, bias=bool(self.random.integers(2))), *self.maybe(self.activation)]
        return nn.Sequential(model, *end), shape

    def channels(self) -> int:
        return int(self.random.choice([1, 2, 3, 4, 6, 8, 16, 17]))

    def size(self) -> int:
        return int(self.random.integers(3, {1: 40, 2: 14, 3: 7}[self.rank]))

    def maybe(self, make: Callable[[], nn.Module]) -> list[nn.Module]:
        return [make()] if self.random.integers(2) else []

    def activation(self) -> nn.Module:
        return ACTIVATIONS[self.random.integers(len(ACTIVATIONS))]()

    def sequence(self, shape: tuple[int, ...], length: int, depth: int) -> nn.Sequential:
        modules = []
        for _ in range(length):
            module = self.step(shape, depth)
            shape = module(np.zeros(shape, np.float32)).shape
            modules.append(module)
        return nn.Sequential(*modules)

    def step(self, shape: tuple[int, ...], depth: int) -> nn.Module:
        """One layer or container for a shape."""
        makers: list[Any] = [self.convolution, self.convolution, self.norm, lambda shape: self.activation(), self.pool]
        makers += [self.transposed, self.upsample, lambda shape: nn.Identity(), lambda shape: nn.Dropout(0.0)]
        if depth:
            within = [self.residual, self.concatenate, self.add, self.gate, self.sequence_of]
            makers += [lambda shape, make=make: make(shape, depth - 1) for make in within]
        module: nn.Module = makers[self.random.integers(len(makers))](shape)
        return module

    def convolution(self, shape: tuple[int, ...], out: int | None = None, is_same: bool = False) -> nn.Module:
        name = f"Conv{self.rank}d"
        groups = 1
        channels, out = shape[1], out or self.channels()
        if self.random.integers(3) == 0:
            groups = channels
            out = out if out % channels == 0 else channels
        size, dilation = int(self.random.choice([1, 2, 3, 3, 5])), int(self.random.integers(1, 3))
        if is_same:
            size += size % 2 == 0
        padding = (size // 2) * dilation
        if min(shape[2:]) + 2 * padding < dilation * (size - 1) + 1:
            size, padding = 1, 0
        settings = {"bias": bool(self.random.integers(2)), "groups": groups, "dilation": dilation, "padding": padding}
        if not is_same:
            settings["stride"] = int(self.random.integers(1, 3))
        if padding < min(shape[2:]) and self.random.integers(3) == 0:
            settings["padding_mode"] = str(self.random.choice(["reflect", "replicate", "circular"]))
        return getattr(nn, name)(shape[1], out, size, **settings)

    def transposed(self, shape: tuple[int, ...]) -> nn.Module:
        layer = getattr(nn, f"ConvTranspose{self.rank}d")
        if max(shape[2:]) > 20:
            return nn.Identity()
        return layer(shape[1], self.channels(), int(self.random.integers(1, 4)), stride=int(self.random.integers(1, 3)))

    def norm(self, shape: tuple[int, ...]) -> nn.Module:
        names = [f"BatchNorm{self.rank}d", "GroupNorm", "LayerNorm"] + ["LayerNorm2d"] * (self.rank == 2)
        name = str(self.random.choice(names))
        if name == "GroupNorm":
            divisors = [n for n in range(1, shape[1] + 1) if shape[1] % n == 0]
            return nn.GroupNorm(int(self.random.choice(divisors)), shape[1], eps=0.1)
        if name.startswith("Batch"):
            few = shape[0] * int(np.prod(shape[2:])) < 2
            return nn.Identity() if few else getattr(nn, name)(shape[1], affine=bool(self.random.integers(4)), eps=0.1)
        return getattr(nn, name)(shape[1] if name == "LayerNorm2d" else shape[-1], eps=0.1)

    def pool(self, shape: tuple[int, ...]) -> nn.Module:
        kinds = [("MaxPool", 2), ("AvgPool", 2), ("MaxPool", 3), ("AdaptiveAvgPool", 2), ("AvgPool", 3)]
        kind, size = kinds[self.random.integers(len(kinds))]
        if min(shape[2:]) < size:
            return nn.Identity()
        more = {} if kind == "AdaptiveAvgPool" else {"stride": int(self.random.integers(1, 3)), "padding": size // 2}
        return getattr(nn, f"{kind}{self.rank}d")(size, **more)

    def upsample(self, shape: tuple[int, ...]) -> nn.Module:
        if max(shape[2:]) > 12:
            return nn.Identity()
        mode = str(self.random.choice(["nearest", {1: "linear", 2: "bilinear", 3: "trilinear"}[self.rank]]))
        return nn.Upsample(scale_factor=2, mode=mode)

    def sequence_of(self, shape: tuple[int, ...], depth: int) -> nn.Module:
        return self.sequence(shape, int(self.random.integers(1, 4)), depth)

    def same(self, shape: tuple[int, ...], out: int, depth: int) -> nn.Module:
        """Something that keeps the spatial sizes and gives ``out`` channels."""
        if out == shape[1] and self.random.integers(4) == 0:
            return nn.Identity()
        first = self.convolution(shape, out, is_same=True)
        if first(np.zeros(shape, np.float32)).shape[1:] != (out, *shape[2:]):
            first = getattr(nn, f"Conv{self.rank}d")(shape[1], out, 1)
        between = (shape[0], out, *shape[2:])
        return nn.Sequential(first, *self.maybe(lambda: self.norm(between)), *self.maybe(self.activation))

    def residual(self, shape: tuple[int, ...], depth: int) -> nn.Module:
        out = self.channels() if self.random.integers(2) else shape[1]
        shortcut = None if out == shape[1] and self.random.integers(2) else self.same(shape, out, depth)
        activation = self.activation() if self.random.integers(2) else None
        return nn.Residual(self.same(shape, out, depth), shortcut, activation)

    def add(self, shape: tuple[int, ...], depth: int) -> nn.Module:
        out = self.channels()
        return nn.Add(*(self.same(shape, out, depth) for _ in range(self.random.integers(2, 4))))

    def concatenate(self, shape: tuple[int, ...], depth: int) -> nn.Module:
        return nn.Concatenate(*(self.same(shape, self.channels(), depth) for _ in range(self.random.integers(1, 4))))

    def gate(self, shape: tuple[int, ...], depth: int) -> nn.Module:
        pool = getattr(nn, f"AdaptiveAvgPool{self.rank}d")(1)
        scale = nn.Sequential(pool, getattr(nn, f"Conv{self.rank}d")(shape[1], shape[1], 1), nn.Sigmoid())
        return nn.Multiply(nn.Identity(), scale if self.random.integers(2) else self.same(shape, shape[1], depth))


def made(seed: int) -> tuple[nn.Module, tuple[int, ...], np.random.Generator]:
    """A network with statistics and scales of its own, and the shape of its input."""
    nn.seed(seed)
    maker = Maker(seed)
    model, shape = maker.network()
    for name, tensor in model.named_tensors():
        if "num_batches" not in name:
            low, high = (0.5, 1.5) if name.endswith(("running_var", "weight")) else (-0.5, 0.5)
            if tensor.data.ndim == 1:
                tensor.data[...] = maker.random.uniform(low, high, tensor.shape)
    return model.eval(), shape, maker.random


def seeds(count: int) -> list[Any]:
    """Those of the short run, then those of the long one."""
    return [*range(count), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(count, FULL))]


@pytest.mark.parametrize("seed", seeds(SHORT))
def test_compiled(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In either layout, in the one that is chosen, and from two calls of one object; every other network in bands."""
    if seed % 2:
        monkeypatch.setattr(bands, "LARGE_BYTES", 0)
        monkeypatch.setattr(bands, "BAND_BYTES", 4000)
    model, shape, random = made(seed)
    x = random.standard_normal(shape).astype(np.float32)
    expected = model(x)
    exact = model.astype("float64")(x.astype("float64"))
    model.astype("float32")
    error = 1e-4 * (1 + abs(exact).max())
    np.testing.assert_allclose(expected, exact, rtol=0, atol=error)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    for layout in (None, "channels_first", "channels_last"):
        compiled = nn.compile(model, shape, layout=layout)
        other = random.standard_normal(shape).astype(np.float32)
        kept = x.copy()
        first = compiled(x)
        compiled(other)
        again = compiled(x)
        np.testing.assert_array_equal(x, kept)
        assert first.shape == expected.shape
        np.testing.assert_allclose(first, exact, rtol=0, atol=error, err_msg=compiled.describe())
        np.testing.assert_array_equal(again, first)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("is_training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("seed", seeds(SHORT))
def test_gradients(seed: int, is_training: bool) -> None:
    """Along one direction of the input and all parameters together, in float64, away from kinks."""
    model, shape, random = made(seed)
    model.astype("float64").train(is_training)
    buffers = [(t, t.data.copy()) for _, t in model.named_tensors() if not isinstance(t, nn.Parameter)]
    x = random.standard_normal(shape)

    def value(weights: np.ndarray | None = None) -> Any:
        for tensor, array in buffers:
            tensor.data[...] = array
        y = model(x)
        return y if weights is None else float((y * weights).sum())

    with nn.gradients(model):
        weights = random.standard_normal(value().shape)
        value()
        dx = model.backward(weights.copy())
        parts = [(x, dx), *((parameter.data, parameter.grad) for parameter in model.parameters())]
        directions = [random.standard_normal(array.shape) for array, _ in parts]
        expected = sum(float((grad * way).sum()) for (_, grad), way in zip(parts, directions, strict=True))
        scale = sum(float(abs(grad * way).sum()) for (_, grad), way in zip(parts, directions, strict=True))
        found = []
        # The smaller step is for networks that have a kink within the larger one.
        for step in (1e-6, 1e-7, 1e-8):
            slopes = []
            for sign in (1, -1):
                for (array, _), way in zip(parts, directions, strict=True):
                    array += sign * step * way
                slopes.append(value(weights))
                for (array, _), way in zip(parts, directions, strict=True):
                    array -= sign * step * way
            found.append((slopes[0] - slopes[1]) / (2 * step))
        assert min(abs(slope - expected) for slope in found) <= 1e-5 * (scale + 1), (found, expected)


@pytest.mark.parametrize("seed", range(12))
def test_states(seed: int, tmp_path: Any) -> None:
    """What is saved is what is loaded into another network of the same kind."""
    pytest.importorskip("safetensors")
    model, shape, random = made(seed)
    nn.save(model, tmp_path / "model.safetensors")
    nn.seed(seed + 100)
    other, _ = Maker(seed).network()
    nn.load(other, tmp_path / "model.safetensors")
    x = random.standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(other.eval()(x), model(x))
