"""PyTorch by fastconv: values, gradients, memory formats, transforms and copies of modules are as torch has them."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812
from torch.utils import _pytree as pytree  # noqa: E402

from fastconv.compat import torch as compat  # noqa: E402
from fastconv.compat.torch import functions, modules, override, tensors  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(f"ignore:.*{words}") for words in ("deprecated", "Using padding='same'")]

MEMORY_FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many calls of aten's names fastconv computed while it is installed."""
    counts: dict[str, int] = {}

    def counted(name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            found = compute(*arguments)
            counts[name] = counts.get(name, 0) + (found is not None)
            return found

        return count

    for name, compute in override.KERNELS.items():
        monkeypatch.setitem(override.KERNELS, name, counted(name, compute))
    return counts


def modules_of(axes: int) -> Iterator[Any]:
    def of(name: str, *arguments: Any, **how: Any) -> Any:
        return getattr(nn, f"{name}{axes}d")(*arguments, **how)

    yield of("Conv", 4, 6, 3, 2, 1, groups=2)
    yield of("Conv", 4, 6, 4, padding="same", bias=False)
    yield of("Conv", 4, 4, 3, padding="same", dilation=2, groups=4)
    yield of("Conv", 4, 6, 3, padding="valid")
    yield of("Conv", 4, 6, 3, padding=1, padding_mode="circular")
    yield of("ConvTranspose", 4, 6, 3, 2, 1, 1, 2)
    yield of("MaxPool", 3, 2, 1, ceil_mode=True)
    yield of("MaxPool", 2, return_indices=True)
    yield of("AvgPool", 3, 2, 1, count_include_pad=False, ceil_mode=True)
    yield of("AdaptiveAvgPool", 4)
    yield of("AdaptiveAvgPool", 1)
    yield of("AdaptiveMaxPool", 3)
    yield of("AdaptiveMaxPool", (None,) * axes if axes > 1 else 2)


def all_of(module: Any, x: Any) -> list[Any]:
    """The result without and with gradients, and these and theirs."""
    with torch.no_grad():
        plain = module(x)
    x = x.detach().clone().requires_grad_()
    found = module(x)
    y = found[0] if isinstance(found, tuple) else found
    sources = [x, *module.parameters()]
    first = torch.autograd.grad(y.square().sum(), sources, create_graph=True)
    second = torch.autograd.grad(sum(each.square().sum() for each in first), sources)
    once = torch.autograd.grad((module(x)[0] if isinstance(found, tuple) else module(x)).sin().sum(), sources)
    several = [each if isinstance(each, tuple) else (each,) for each in (plain, found)]
    return [*several[0], *several[1], *first, *second, *once]


def assert_same(found: Any, expected: Any) -> None:
    """Each tensor within a few roundings of its largest element, as convolutions promise it."""
    pairs = zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True)
    for one, other in pairs:
        assert one.shape == other.shape
        assert one.dtype is other.dtype
        error = float((one - other).abs().max())
        assert error <= 3e-5 * max(1, float(other.abs().max())), error


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("is_last", [False, True], ids=["first", "last"])
def test_modules_compute_what_torchs_do(axes: int, is_last: bool) -> None:
    torch.manual_seed(axes)
    image = torch.randn(2, 4, *(9, 8, 7)[:axes])
    if is_last:
        image = image.to(memory_format=MEMORY_FORMATS[axes]) if axes > 1 else image.mT.contiguous().mT
    for module in modules_of(axes):
        other = compat.accelerate(copy.deepcopy(module))
        assert type(other) is modules.ACCELERATED[type(module)]
        assert repr(other) == repr(module)
        assert other.state_dict().keys() == module.state_dict().keys()
        for x in (image, image[0]):
            assert_same(all_of(other, x), all_of(module, x))
        if axes == 2:
            assert other(image).stride() == module(image).stride() if not isinstance(other(image), tuple) else True
        assert type(compat.restore(other)) is type(module)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128])
def test_dtypes(dtype: Any) -> None:
    module = nn.Conv2d(3, 4, 3, padding=1).to(dtype)
    x = torch.randn(2, 3, 7, 7, dtype=dtype)
    y = compat.accelerate(copy.deepcopy(module))(x)
    assert y.dtype is dtype
    torch.testing.assert_close(y, module(x), rtol=2e-2, atol=2e-2)


def test_what_is_not_ours_is_torchs(calls: dict[str, int]) -> None:
    module = compat.accelerate(nn.Conv2d(3, 4, 3))
    x = torch.randn(2, 3, 7, 7)
    assert module.to("meta")(x.to("meta")).shape == (2, 4, 5, 5)
    with compat.installed():
        integers = torch.arange(48).reshape(1, 3, 4, 4)
        assert F.conv2d(integers, torch.ones(2, 3, 2, 2, dtype=torch.int64))[0, 0, 0, 0] == 3 * (0 + 1 + 4 + 5) + 192
        assert F.max_pool2d(integers, 2).dtype is torch.int64
        assert F.conv2d(x[:0], torch.randn(4, 3, 3, 3)).shape == (0, 4, 5, 5)
        assert F.conv2d(x.to("meta"), torch.randn(4, 3, 3, 3, device="meta")).shape == (2, 4, 5, 5)
        assert not any(calls.values())
        for wrong in (x.double(), x[:, :2], x[0, 0], x[..., :2, :]):
            with pytest.raises(RuntimeError):
                F.conv2d(wrong, torch.randn(4, 3, 3, 3))
        with pytest.raises(RuntimeError, match="pad should be at most half"):
            F.max_pool2d(x, 2, padding=2)


def test_installed_everywhere(calls: dict[str, int]) -> None:
    def run() -> list[Any]:
        torch.manual_seed(0)
        found = []
        for memory_format in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(2, 4, 9, 8).to(memory_format=memory_format).requires_grad_()
            w = torch.randn(6, 2, 3, 3, requires_grad=True)
            y = F.conv2d(x, w, None, 2, 1, 1, 2)
            pooled = [
                F.max_pool2d(y, 2, 2),
                F.avg_pool2d(y, 2, 1, 1),
                F.adaptive_avg_pool2d(y, (2, 3)),
                F.adaptive_max_pool2d(y, 2),
                F.conv_transpose2d(y, w.detach(), None, 2, 1, 1, 2),
            ]
            gradients = torch.autograd.grad(sum(each.square().sum() for each in pooled), (x, w), create_graph=True)
            again = torch.autograd.grad(sum(each.square().sum() for each in gradients), (x, w))
            found += [y, *pooled, *gradients, *again]
        return found

    expected = run()
    with compat.installed(), compat.installed():
        found = run()
    assert calls["convolution"] > 4
    assert min(calls.values()) > 0
    assert len(calls) == 10
    before = dict(calls)
    assert all(torch.equal(one, other) for one, other in zip(run(), expected, strict=True))
    assert calls == before
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)
        assert one.stride() == other.stride() or one.dim() != 4 or one.shape[0] != 2


def test_install_twice_is_once() -> None:
    compat.install()
    compat.install()
    with compat.installed():
        pass
    assert override._library is not None
    compat.uninstall()
    compat.uninstall()
    assert override._library is None


@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize(
    "function", [functions.EagerConvolution.apply, functions.Convolution.apply, functions.operator]
)
def test_numerical_gradients(function: Any, is_transposed: bool) -> None:
    torch.manual_seed(0)
    sizes = (4, 3, 3, 2) if is_transposed else (6, 2, 3, 2)
    arguments = [torch.randn(*each, dtype=torch.float64, requires_grad=True) for each in ((2, 4, 5, 4), sizes, (6,))]
    how = [2, 1], [1, 0], [1, 2], is_transposed, [1, 0] if is_transposed else [0, 0], 2
    assert torch.autograd.gradcheck(lambda *each: function(*each, *how), arguments)
    assert torch.autograd.gradgradcheck(lambda *each: function(*each, *how), arguments)


def test_operator_is_one_that_torch_accepts() -> None:
    x, w = torch.randn(2, 4, 5, 5, requires_grad=True), torch.randn(6, 2, 3, 3, requires_grad=True)
    torch.library.opcheck(functions.operator, (x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 2))


def network() -> Any:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
    more = nn.Conv2d(8, 8, 3, groups=8, padding="same"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    return nn.Sequential(*layers, *more).eval()


def test_compile_and_export() -> None:
    model, x = network(), torch.randn(2, 3, 12, 12)
    accelerated = compat.accelerate(copy.deepcopy(model))
    seen: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        seen.extend(node.target for node in graph.graph.nodes if "convolution" in str(node.target))
        return graph

    torch._dynamo.reset()
    assert_same(torch.compile(accelerated, fullgraph=True, backend=backend)(x), model(x))
    assert len(seen) == 2
    torch._dynamo.reset()
    compiled = torch.compile(accelerated, fullgraph=True, backend="aot_eager", dynamic=True)
    for each in (x, torch.randn(3, 3, 14, 14)):
        compiled(each).sum().backward()
        model(each).sum().backward()
    for one, other in zip(accelerated.parameters(), model.parameters(), strict=True):
        assert_same(one.grad, other.grad)
    program = torch.export.export(accelerated, (x,))
    assert not any("fastconv" in str(node.target) for node in program.graph.nodes)
    assert_same(program.module()(x), model(x))


def test_transforms() -> None:
    from torch.func import functional_call, grad, hessian, jvp, vmap

    model, x = network(), torch.randn(2, 3, 12, 12)
    accelerated = compat.accelerate(copy.deepcopy(model))

    def per_sample(model: Any) -> Any:
        buffers = dict(model.named_buffers())

        def loss(parameters: Any, x: Any) -> Any:
            return functional_call(model, (parameters, buffers), (x[None],)).square().sum()

        return vmap(grad(loss), (None, 0))({name: each.detach() for name, each in model.named_parameters()}, x)

    assert_same(per_sample(accelerated), per_sample(model))
    assert_same(jvp(accelerated, (x,), (x,)), jvp(model, (x,), (x,)))
    conv, small = nn.Conv2d(3, 2, 3), x[:1, :, :4, :4]
    expected = hessian(lambda x: conv(x).square().sum())(small)
    compat.accelerate(conv)
    assert_same(hessian(lambda x: conv(x).square().sum())(small), expected)


@pytest.mark.parametrize("axes", [(0, 0, 0), (None, 0, None), (0, None, None), (1, 0, None), (None, None, 0)])
def test_vmap(axes: tuple[int | None, ...]) -> None:
    torch.manual_seed(0)
    shapes = zip(((2, 4, 5, 5), (6, 2, 3, 3), (6,)), axes, strict=True)
    arrays = [torch.randn(shape if at is None else (*shape[:at], 3, *shape[at:])) for shape, at in shapes]
    how = [1, 1], [1, 1], [1, 1], False, [0, 0], 2
    found = torch.vmap(lambda *each: functions.Convolution.apply(*each, *how), axes)(*arrays)
    assert_same(found, torch.vmap(lambda *each: torch.convolution(*each, *how), axes)(*arrays))


def test_autocast() -> None:
    model, x = network(), torch.randn(2, 3, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = model(x), compat.accelerate(copy.deepcopy(model))(x)
    assert found.dtype is expected.dtype is torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


def test_copies_hooks_and_state() -> None:
    model, x = network(), torch.randn(2, 3, 12, 12)
    accelerated = compat.accelerate(copy.deepcopy(model))
    accelerated.load_state_dict(model.state_dict())
    for other in (copy.deepcopy(accelerated), pickle.loads(pickle.dumps(accelerated))):
        with torch.no_grad():
            other[0].weight.mul_(2)
            assert not torch.allclose(other(x), accelerated(x))
            accelerated[0].weight.data.mul_(2)
            assert_same(other(x), accelerated(x))
            accelerated[0].weight.data.div_(2)
    shapes = []
    hook = accelerated[0].register_forward_hook(lambda module, inputs, y: shapes.append(y.shape))
    assert_same(accelerated(x), model(x))
    hook.remove()
    assert shapes == [(2, 8, 12, 12)]
    with pytest.raises(TypeError, match="model: got int"):
        compat.accelerate(3)


def test_modes_and_tracers_see_torchs_operators() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, x = network(), torch.randn(2, 3, 12, 12)
    accelerated = compat.accelerate(copy.deepcopy(model))
    flops = []
    for each in (model, accelerated):
        with FlopCounterMode(display=False) as counter:
            each(x)
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] > 0
    assert_same(torch.fx.symbolic_trace(accelerated)(x), model(x))
    assert_same(torch.jit.trace(accelerated, x)(x), model(x))


def test_many_threads() -> None:
    model, x = compat.accelerate(network()), torch.randn(4, 3, 12, 12)
    expected, found = model(x), [None] * 4

    def run(number: int) -> None:
        for _ in range(20):
            found[number] = model(x)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(torch.equal(each, expected) for each in found)


def test_memory_is_shared_and_formats_are_torchs() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert np.shares_memory(tensors.array_of(x), x.numpy())
    for shape in ((2, 3, 4, 5), (1, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1), (2, 1, 1, 5)):
        for each in (torch.randn(shape), torch.randn(shape).to(memory_format=torch.channels_last)):
            y = F.conv2d(each, torch.randn(2, shape[1], 1, 1))
            assert tensors.is_channels_last(each) == (y.stride(1) == 1 < y.stride(3)), (shape, each.stride())
