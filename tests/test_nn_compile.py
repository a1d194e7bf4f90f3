"""Compiled networks: the same results as in evaluation mode, without allocations, from several threads."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

from fastconv import nn
from fastconv.nn import networks
from fastconv.nn.inference.memory import Block, arrange

RNG = np.random.default_rng(0)


def settled(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, with statistics, scales and biases that are not those that layers begin with."""
    for name, tensor in model.named_tensors():
        if name.endswith("running_var"):
            tensor.data[...] = RNG.uniform(0.5, 2, tensor.shape)
        elif name.endswith(("running_mean", "bias", "layer_scale")):
            tensor.data[...] = RNG.standard_normal(tensor.shape) * 0.3
    return model.eval()


def check(model: nn.Module, shape: tuple[int, ...], dtype: str = "float32", **how: object) -> nn.Compiled:
    """Whether a compiled network computes what the network does, twice."""
    model = settled(model.astype(dtype))
    x = RNG.standard_normal(shape).astype(dtype)
    wanted = model(x)
    compiled = nn.compile(model, shape, dtype=dtype, **how)
    for _ in range(2):
        found = compiled(x)
        assert found.shape == wanted.shape == compiled.output_shape
        assert found.dtype == wanted.dtype
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=scale * (1e-12 if dtype == "float64" else 2e-5))
    return compiled


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("size", [1, 3])
def test_gates_multiply_weights(size: int, layout: str) -> None:
    """Of one image; of two every image would have weights of its own, and few pixels are fewer than weights."""

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.SqueezeExcite(8, 4), nn.Conv2d(8, 5, size, padding=size // 2), nn.ReLU()
        )

    assert "gated_convolution + relu" in check(model(), (1, 3, 24, 25), layout=layout).describe()
    assert "gated" not in check(model(), (2, 3, 24, 25), layout=layout).describe()
    assert "gated" not in check(model(), (1, 3, 4, 4), layout=layout).describe()


def mixed() -> nn.Module:
    """Most layers, and shapes that are odd."""
    return nn.Sequential(
        nn.Concatenate(nn.Identity(), nn.Conv2d(3, 7, 3, padding=1), nn.Sequential(nn.Conv2d(3, 6, 1), nn.GELU())),
        nn.BatchNorm2d(16),
        nn.ConvTranspose2d(16, 6, 2, stride=2, groups=2),
        nn.BatchNorm2d(6),
        nn.SiLU(),
        nn.Residual(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)), activation=nn.ReLU()),
        nn.Residual(nn.Identity(), nn.Conv2d(6, 6, 1)),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.SqueezeExcite(6, 3),
        nn.GroupNorm(2, 6),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Conv2d(6, 6, 3, groups=6, stride=2),
        nn.LayerNorm2d(6),
        nn.Hardswish(),
        nn.MaxPool2d(3, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Softmax(1),
    )


@pytest.mark.parametrize("layout", [None, "channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3])
def test_layers(batch: int, dtype: str, layout: str | None) -> None:
    check(mixed(), (batch, 3, 9, 11), dtype, layout=layout)


@pytest.mark.parametrize("threads", [1, 2])
def test_layers_timed_where_they_are_used(threads: int) -> None:
    check(mixed(), (2, 3, 9, 11), effort="measure", threads=threads)


NETWORKS = {
    "lenet5": (2, 1, 32, 32),
    "resnet18": (2, 3, 33, 47),
    "resnext50_32x4d": (1, 3, 32, 32),
    "mobilenet_v2": (2, 3, 64, 64),
    "efficientnet_b0": (2, 3, 64, 64),
    "convnext_tiny": (2, 3, 64, 64),
    "unet": (1, 1, 64, 48),
    "unet3d": (1, 3, 16, 16, 32),
    "wavenet": (1, 256, 40),
}


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str, layout: str) -> None:
    compiled = check(getattr(networks, name)(), NETWORKS[name], layout=layout)
    assert "scale" not in {node.operator for node in compiled._graph.nodes}


def test_numbers_of_rows() -> None:
    model = settled(networks.textcnn())
    x = RNG.integers(0, 20000, (3, 20))
    compiled = nn.compile(model, x.shape, dtype="int64")
    np.testing.assert_allclose(compiled(x), model(x), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="0 to 19999"):
        compiled(x + 20000)


def test_everything_is_fused() -> None:
    compiled = check(networks.resnet50(), (1, 3, 64, 64), layout="channels_first")
    counted = [node.operator for node in compiled._graph.nodes]
    assert counted.count("convolution") == 53
    assert len(counted) == 57
    assert compiled.describe().count(" + add + relu") == 16


def test_convnext_has_no_transposes() -> None:
    compiled = check(networks.convnext_tiny(), (1, 3, 64, 64), layout="channels_first")
    assert {node.operator for node in compiled._graph.nodes} == {
        "convolution",
        "layer_norm",
        "pool",
        "reshape",
        "linear",
    }


def test_parts_of_a_concatenation_are_computed_in_place() -> None:
    compiled = check(networks.unet(), (1, 1, 64, 64), layout="channels_first")
    wholes = [node for node in compiled._graph.nodes if node.operator == "concatenate"]
    assert wholes
    for node in wholes:
        assert len(node.settings["in_place"]) == 2


def test_no_allocations() -> None:
    model = settled(networks.mobilenet_v2())
    compiled = nn.compile(model, (1, 3, 96, 96), layout="channels_first", threads=1)
    x, out = RNG.standard_normal((1, 3, 96, 96), np.float32), np.empty((1, 1000), np.float32)
    for _ in range(3):
        compiled(x, out=out)
    tracemalloc.start()
    compiled(x, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8192


def test_several_threads_at_once() -> None:
    model = settled(networks.resnet18(num_classes=10))
    compiled = nn.compile(model, (1, 3, 48, 48), threads=1)
    inputs = [RNG.standard_normal((1, 3, 48, 48), np.float32) for _ in range(4)]
    wanted, faults = [compiled(x) for x in inputs], []

    def work(x: np.ndarray, y: np.ndarray) -> None:
        faults.extend(1 for _ in range(10) if not np.array_equal(compiled(x), y))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(inputs, wanted, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_later_changes_of_the_model_are_not_seen() -> None:
    model = settled(nn.Sequential(nn.Conv2d(2, 3, 3), nn.LayerNorm2d(3), nn.Linear(4, 2)))
    compiled = nn.compile(model, (1, 2, 5, 6))
    x = RNG.standard_normal((1, 2, 5, 6), np.float32)
    before = compiled(x)
    for _, tensor in model.named_tensors():
        tensor.data[...] = 7
    np.testing.assert_array_equal(compiled(x), before)


def test_input_is_not_overwritten() -> None:
    compiled = nn.compile(nn.Sequential(nn.ReLU(), nn.Residual(nn.ReLU()), nn.Flatten()).eval(), (2, 3, 4))
    x = RNG.standard_normal((2, 3, 4), np.float32)
    kept = x.copy()
    np.testing.assert_array_equal(compiled(x), 2 * np.maximum(x, 0).reshape(2, 12))
    np.testing.assert_array_equal(x, kept)
    strided = np.asfortranarray(x)
    np.testing.assert_array_equal(compiled(strided), compiled(x))


@pytest.mark.parametrize("model", [nn.Identity(), nn.Flatten(), nn.Permute((0, 2, 1)), nn.Sequential(nn.Dropout())])
def test_nothing_to_compute(model: nn.Module) -> None:
    x = RNG.standard_normal((2, 3, 4), np.float32)
    found = nn.compile(model.eval(), x.shape)(x)
    np.testing.assert_array_equal(found, model(x))
    assert not np.shares_memory(found, x)


def test_shapes_that_do_not_fit() -> None:
    inner = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(9, 8, 1))
    with pytest.raises(ValueError, match=r"1\.body\.2 \(Conv2d\(9.*shape \(1, 8, 4, 4\); allowed: \(N, 9"):
        nn.compile(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Residual(inner)), (1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"conv1 .*allowed: \(N, 3"):
        nn.compile(networks.resnet18(), (1, 4, 64, 64))
    with pytest.raises(ValueError, match="example_shape"):
        nn.compile(nn.ReLU(), (1, 0))
    with pytest.raises(TypeError, match="model"):
        nn.compile(np.ones(3), (1,))
    with pytest.raises(ValueError, match="layout"):
        nn.compile(nn.ReLU(), (1,), layout="nhwc")


def test_arrays_that_do_not_fit() -> None:
    compiled = nn.compile(nn.ReLU(), (2, 3))
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 4\)"):
        compiled(np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="float64"):
        compiled(x.astype("float64"))
    with pytest.raises(TypeError, match="list"):
        compiled([1.0])
    with pytest.raises(ValueError, match="out"):
        compiled(x, out=np.empty((3, 2), np.float32))
    with pytest.raises(ValueError, match="out"):
        compiled(x, out=x)
    with pytest.raises(ValueError, match="out"):
        compiled(x, out=np.empty((3, 2), np.float32).T)


def test_blocks_that_are_needed_at_one_time_do_not_overlap() -> None:
    for _ in range(50):
        starts = RNG.integers(0, 30, 40)
        blocks = [
            Block(int(size), int(first), int(first + length))
            for size, first, length in zip(RNG.integers(1, 5000, 40), starts, RNG.integers(0, 6, 40), strict=True)
        ]
        total = arrange(blocks)
        assert max(block.end for block in blocks) == total
        for number, block in enumerate(blocks):
            for other in blocks[:number]:
                together = block.first <= other.last and other.first <= block.last
                assert not together or block.end <= other.place or other.end <= block.place
        most = max(sum(b.size for b in blocks if b.first <= step <= b.last) for step in range(40))
        assert total <= 2 * most
