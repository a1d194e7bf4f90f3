"""Normalizations, activations of whole arrays and their gradients, against their definitions in long double."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from array_modules import ArrayModule, array_module
from fastconv._problem import ACTIVATIONS
from guarded import Edge, guarded
from subprocesses import python

Function = Callable[..., Any]
KINDS = ("batch", "group", "layer", "channels")
# Single elements, rows around vectors and blocks of 1024, many short rows.
SHAPES = [(1, 2, 1), (4, 6), (2, 4, 7, 9), (3, 2, 33, 32), (2, 2, 5, 409), (1, 4, 3, 5, 7), (40, 4, 17)]
TOLERANCE = {"float32": 4e-6, "float64": 2e-14}


def case(kind: str, shape: tuple[int, ...], dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of a call; the mean is a few deviations away from 0."""
    random = np.random.default_rng([len(shape), *shape, seed])
    affine = {"layer": shape[-1:]}.get(kind, shape[1:2])
    arrays = {"x": 3 + 2 * random.standard_normal(shape), "dy": random.standard_normal(shape)}
    arrays |= {name: random.standard_normal(affine) for name in ("weight", "bias")}
    arrays["add"] = random.standard_normal(shape)
    return {name: values.astype(dtype) for name, values in arrays.items()}


def forward(kind: str, x: Any, weight: Any = None, bias: Any = None, **more: Any) -> Any:
    """The public function of a kind."""
    if kind == "batch":
        return fastconv.batch_norm(x, weight, bias, **more)
    if kind == "group":
        return fastconv.group_norm(x, 2, weight, bias, **more)
    return fastconv.layer_norm(x, weight, bias, axis=-1 if kind == "layer" else 1, **more)


def backward(kind: str, dy: Any, x: Any, mean: Any, variance: Any, *affine: Any, **more: Any) -> Any:
    """The public function of its gradients."""
    if kind == "batch":
        return fastconv.batch_norm_backward(dy, x, mean, variance, *affine, **more)
    if kind == "group":
        return fastconv.group_norm_backward(dy, x, 2, mean, variance, *affine, **more)
    return fastconv.layer_norm_backward(dy, x, mean, variance, *affine, axis=-1 if kind == "layer" else 1, **more)


def activated(z: Any, activation: str | None) -> Any:
    """The definition."""
    if activation is None:
        return z
    if activation == "gelu":
        return z * np.vectorize(lambda t: (1 + math.erf(t / math.sqrt(2))) / 2, otypes=[np.longdouble])(z)
    named: dict[str, Callable[[Any], Any]] = {
        "relu": lambda z: np.where(z > 0, z, 0),
        "relu6": lambda z: np.clip(z, 0, 6),
        "leaky_relu": lambda z: np.where(z > 0, z, z * np.longdouble(0.01)),
        "silu": lambda z: z / (1 + np.exp(-z)),
        "tanh": np.tanh,
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    }
    return named[activation](z)


def defined(
    kind: str, x: Any, weight: Any, bias: Any, activation: str | None = None, add: Any = 0, own: Any = None
) -> tuple[Any, Any, Any]:
    """The definition in long double; ``own``: mean and variance that are given."""
    x, weight, bias, add = (np.asarray(array).astype(np.longdouble) for array in (x, weight, bias, add))
    shape = (x.shape[0], 2, x.shape[1] // 2, *x.shape[2:])
    split = x.reshape(shape) if kind == "group" else x
    last = split.ndim - 1
    axes = {
        "batch": tuple({*range(x.ndim)} - {1}),
        "group": tuple(range(2, last + 1)),
        "layer": (last,),
        "channels": (1,),
    }[kind]
    mean = split.mean(axes, keepdims=True)
    variance = ((split - mean) ** 2).mean(axes, keepdims=True)
    if own is not None:
        mean, variance = (each.astype(np.longdouble).reshape(mean.shape) for each in own)
    y = ((split - mean) / np.sqrt(variance + np.longdouble(1e-5))).reshape(x.shape)
    along = (-1,) if kind == "layer" else (1, -1, *(1,) * (x.ndim - 2))
    y = activated(y * weight.reshape(along) + bias.reshape(along) + add, activation)
    return y, np.squeeze(mean, axes), np.squeeze(variance, axes)


def assert_near(found: Any, expected: Any, dtype: str, times: float = 1) -> None:
    """Of the dtype and shape, and within a few roundings of the largest number."""
    assert found.dtype == dtype
    assert found.shape == expected.shape
    if expected.size:
        assert np.abs(found - expected).max() <= times * TOLERANCE[dtype] * (1 + np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward(kind: str, shape: tuple[int, ...], dtype: str) -> None:
    given = case(kind, shape, dtype)
    for activation in (None, *ACTIVATIONS):
        for add in (None, given["add"]):
            found = forward(kind, *(given[name] for name in ("x", "weight", "bias")), activation=activation, add=add)
            more = {} if add is None else {"add": add}
            expected = defined(kind, given["x"], given["weight"], given["bias"], activation, **more)
            # The mean is rounded: what that is of a deviation.
            spread = np.sqrt(expected[2].min() + 1e-5)
            for ours, exact in zip(found, expected, strict=True):
                assert_near(ours, exact, dtype, 1 + float(np.abs(given["x"]).max() / spread) / 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_gradients_are_slopes(kind: str, activation: str | None) -> None:
    """Those of the definition, by differences of a random functional along random directions."""
    for shape in ((2, 4, 7, 9), (3, 4, 5), (2, 2, 3, 1030)):
        given = case(kind, shape, "float64")
        x, weight, bias, dy = (given[name].astype(np.longdouble) for name in ("x", "weight", "bias", "dy"))
        _, mean, variance = forward(kind, given["x"])
        arguments = (given["dy"], given["x"], mean, variance, given["weight"], given["bias"])
        found = backward(kind, *arguments, activation=activation)
        random = np.random.default_rng(5)
        for place, ours in enumerate(found):
            along = random.standard_normal(ours.shape).astype(np.longdouble)
            step = np.longdouble(1e-8)
            values = []
            for sign in (1, -1):
                arrays = [x, weight, bias]
                arrays[place] = arrays[place] + sign * step * along
                values.append((dy * defined(kind, *arrays, activation)[0]).sum())
            slope = (values[0] - values[1]) / (2 * step)
            assert abs((ours * along).sum() - slope) <= 3e-7 * (1 + abs(slope)), (shape, place)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float32_gradients(kind: str, shape: tuple[int, ...]) -> None:
    """As those of the same numbers in float64."""
    given = case(kind, shape, "float32")
    wide = {name: array.astype(np.float64) for name, array in given.items()}
    names = ("weight", "bias")
    for activation in (None, *ACTIVATIONS):
        results = []
        for arrays in (given, wide):
            _, mean, variance = forward(kind, arrays["x"])
            mean, variance = mean.astype(np.float32), variance.astype(np.float32)
            own = [each.astype(arrays["x"].dtype) for each in (mean, variance)]
            affine = (arrays[name] for name in names)
            results.append(backward(kind, arrays["dy"], arrays["x"], *own, *affine, activation=activation))
        for ours, exact in zip(*results, strict=True):
            # One or two elements a set: differences of almost equal numbers, magnified by 1 / sqrt(eps).
            assert_near(ours, exact, "float32", 400 if math.prod(shape) < 8 else 20)


def test_like_torch() -> None:
    torch = pytest.importorskip("torch")
    given = case("batch", (4, 6, 5, 7), "float64")
    x, weight, bias = (torch.tensor(given[name], requires_grad=True) for name in ("x", "weight", "bias"))
    running = [torch.tensor(np.linspace(0.5, 2, 6)) for _ in range(2)]
    named = torch.nn.functional
    for kind, compute in (
        ("batch", lambda: named.batch_norm(x, None, None, weight, bias, True)),
        ("running", lambda: named.batch_norm(x, *running, weight, bias, False)),
        ("group", lambda: named.group_norm(x, 2, weight, bias)),
        ("channels", lambda: named.layer_norm(x.movedim(1, -1), (6,), weight, bias).movedim(-1, 1)),
    ):
        for array in (x, weight, bias):
            array.grad = None
        expected = named.silu(compute())
        expected.backward(torch.tensor(given["dy"]))
        more: dict[str, Any] = {"activation": "silu"}
        if kind == "running":
            statistics = {"mean": running[0].numpy(), "variance": running[1].numpy()}
            y, mean, variance = fastconv.batch_norm(given["x"], given["weight"], given["bias"], **statistics, **more)
            kind, more["batch_statistics"] = "batch", False
        else:
            y, mean, variance = forward(kind, given["x"], given["weight"], given["bias"], **more)
        assert_near(y, expected.detach().numpy(), "float64", 50)
        found = backward(kind, given["dy"], given["x"], mean, variance, given["weight"], given["bias"], **more)
        for ours, theirs in zip(found, (x, weight, bias), strict=True):
            assert_near(ours, theirs.grad.numpy(), "float64", 50)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations(dtype: str) -> None:
    """Of any length; the gradient at the result of relu and relu6 is that at their argument."""
    random = np.random.default_rng(2)
    for size in (0, 1, 5, 16, 33, 1025, 16384, 40000):
        x, dy, add = (4 * random.standard_normal(size).astype(dtype) for _ in range(3))
        for activation in (None, *ACTIVATIONS):
            y = fastconv.activate(x, activation)
            assert_near(y, activated(x.astype(np.longdouble), activation), dtype)
            total = x.astype(np.longdouble) + add
            assert_near(fastconv.activate(x, activation, add=add), activated(total, activation), dtype)
            step = np.longdouble(1e-7 if activation == "gelu" else 1e-9)  # the definition of gelu is a double's
            wide = x.astype(np.longdouble)
            slope = (activated(wide + step, activation) - activated(wide - step, activation)) / (2 * step)
            found = fastconv.activate_backward(dy, x, activation)
            assert found.dtype == dtype
            assert (np.abs(found - dy * slope) <= (1e-5 if dtype == "float32" else 1e-7) * (1 + np.abs(dy))).all()
            if activation in ("relu", "relu6"):
                assert (fastconv.activate_backward(dy, y, activation) == found).all()


def test_kinks_and_what_is_not_a_number() -> None:
    x = np.array([-0.0, 0.0, 6.0, np.nan, np.inf, -np.inf, 3.0, -3.0], np.float32)
    dy = np.full_like(x, np.inf)
    assert (fastconv.activate_backward(dy, x, "relu")[[0, 1, 5, 7]] == 0).all()
    assert np.isposinf(fastconv.activate_backward(dy, x, "relu")[[2, 3, 4, 6]]).all()
    assert (fastconv.activate_backward(dy, x, "relu6")[[0, 1, 2, 4, 5, 7]] == 0).all()
    for activation in ACTIVATIONS:
        assert np.isnan(fastconv.activate(x, activation)[3])
    data = case("batch", (2, 3, 5, 5), "float32")["x"]
    data[0, 1, 2, 3] = np.nan
    y, mean, variance = fastconv.batch_norm(data, activation="relu")
    assert np.isnan([mean[1], variance[1]]).all()
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(y[:, [0, 2]]).all()


def test_a_large_mean_costs_nothing() -> None:
    """Where the squares of float32 have no bit left for the deviations."""
    x = (1e4 + np.random.default_rng(0).standard_normal((8, 3, 50, 50))).astype(np.float32)
    y, mean, variance = fastconv.batch_norm(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(variance, exact.var((0, 2, 3)), rtol=1e-6)
    # The mean itself is rounded.
    np.testing.assert_allclose(y, defined("batch", x, np.ones(3), np.zeros(3))[0], rtol=0, atol=1e-3)
    # An element far from all others does not spoil them either.
    x = np.random.default_rng(0).standard_normal((2, 1, 100, 100)).astype(np.float32)
    x[0, 0, 0, 0] = 1e6
    np.testing.assert_allclose(fastconv.batch_norm(x)[2], x.astype(np.float64).var(), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_strides_and_places(kind: str) -> None:
    """Any order of axes, gaps, steps backwards, odd alignment, foreign byte order, read-only: the same result."""
    given = case(kind, (4, 6, 5, 7), "float32")
    affine = (given["weight"], given["bias"])
    expected = forward(kind, given["x"], *affine, activation="relu", add=given["add"])
    gradients = backward(kind, given["dy"], given["x"], *expected[1:], *affine, activation="relu")

    def forms(array: np.ndarray) -> Iterator[np.ndarray]:
        for order in ((3, 2, 1, 0), (0, 2, 3, 1), (1, 0, 2, 3)):
            yield np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
        larger = np.full((8, 6, 10, 14), 99, array.dtype)
        larger[::2, ::-1, 1::2, ::-2] = array
        yield larger[::2, ::-1, 1::2, ::-2]
        odd = np.frombuffer(bytearray(array.nbytes + 1), np.uint8)[1:].view(array.dtype).reshape(array.shape)
        odd[...] = array
        yield odd
        yield array.astype(array.dtype.newbyteorder())
        spaced = np.zeros((8, 6, 5, 7), array.dtype)[::2]
        spaced[...] = array
        yield spaced

    for x, dy, add in zip(forms(given["x"]), forms(given["dy"]), forms(given["add"]), strict=True):
        found = forward(kind, x, *affine, activation="relu", add=add)
        for ours, same in zip(found, expected, strict=True):
            assert ours.dtype.isnative
            np.testing.assert_array_equal(ours, same)
        for ours, same in zip(backward(kind, dy, x, *expected[1:], *affine, activation="relu"), gradients, strict=True):
            np.testing.assert_array_equal(ours, same)
        out = dy.copy("K")
        assert forward(kind, x, *affine, activation="relu", add=add, out=out)[0] is out
        np.testing.assert_array_equal(out, expected[0])
        np.testing.assert_array_equal(
            fastconv.activate(x, "tanh", add=add), fastconv.activate(given["x"], "tanh", add=given["add"])
        )
        np.testing.assert_array_equal(
            fastconv.activate_backward(dy, x, "tanh"), fastconv.activate_backward(given["dy"], given["x"], "tanh")
        )


@pytest.mark.parametrize("kind", KINDS)
def test_results_over_what_they_are_computed_from(kind: str) -> None:
    given = case(kind, (4, 6, 5, 9), "float32")
    affine = (given["weight"], given["bias"])
    expected = forward(kind, given["x"], *affine, activation="silu", add=given["add"])
    gradient = backward(kind, given["dy"], given["x"], *expected[1:], *affine, activation="silu")[0]
    for name in ("x", "add"):
        arrays = {each: given[each].copy() for each in ("x", "add")}
        forward(kind, arrays["x"], *affine, activation="silu", add=arrays["add"], out=arrays[name])
        np.testing.assert_array_equal(arrays[name], expected[0])
    for name in ("dy", "x"):
        arrays = {each: given[each].copy() for each in ("dy", "x")}
        backward(kind, arrays["dy"], arrays["x"], *expected[1:], *affine, activation="silu", out=arrays[name])
        np.testing.assert_array_equal(arrays[name], gradient)
    # Shifted by one image: not element on element.
    memory = np.zeros((5, 6, 5, 9), np.float32)
    memory[:4] = given["x"]
    forward(kind, memory[:4], *affine, activation="silu", add=given["add"], out=memory[1:])
    np.testing.assert_array_equal(memory[1:], expected[0])
    flat = np.arange(-20, 20, dtype=np.float32)
    once = fastconv.activate(flat[:-1], "gelu")
    np.testing.assert_array_equal(fastconv.activate(flat[:-1], "gelu", out=flat[1:]), once)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_matter(kind: str) -> None:
    given = case(kind, (8, 12, 40, 41), "float32")
    affine = (given["weight"], given["bias"])
    results = []
    for threads in (1, 2, 3, 8):
        y, mean, variance = forward(kind, given["x"], *affine, activation="relu", threads=threads)
        more = backward(kind, given["dy"], given["x"], mean, variance, *affine, activation="relu", threads=threads)
        results.append([y, mean, variance, *more, fastconv.activate(given["x"], "gelu", threads=threads)])
    for other in results[1:]:
        for ours, first in zip(other, results[0], strict=True):
            assert (ours == first).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 0, 3, 3), (2, 4, 0, 3), (2, 4, 3, 0)], ids=str)
def test_no_elements(kind: str, shape: tuple[int, ...]) -> None:
    given = case(kind, shape, "float32")
    affine = (given["weight"], given["bias"])
    y, mean, variance = forward(kind, given["x"], *affine, activation="relu")
    assert y.shape == shape
    assert np.isnan(mean).all()
    assert np.isnan(variance).all()
    dx, dweight, dbias = backward(kind, given["dy"], given["x"], mean, variance, *affine)
    assert dx.shape == shape
    assert (dweight == 0).all()
    assert (dbias == 0).all()
    assert dweight.shape == dbias.shape == given["weight"].shape


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_floats_are_computed_in_float32(dtype: str) -> None:
    name = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    given = {key: array.astype(name) for key, array in case("batch", (2, 3, 9, 11), "float32").items()}
    wide = {key: array.astype(np.float32) for key, array in given.items()}
    found = fastconv.batch_norm(given["x"], wide["weight"], wide["bias"], activation="relu")
    expected = fastconv.batch_norm(wide["x"], wide["weight"], wide["bias"], activation="relu")
    assert (found[0] == expected[0].astype(name)).all()
    assert (found[1] == expected[1]).all()
    assert found[1].dtype == np.float32
    dx, dweight, _ = fastconv.batch_norm_backward(given["dy"], given["x"], *found[1:], given["weight"])
    exact = fastconv.batch_norm_backward(wide["dy"], wide["x"], *found[1:], wide["weight"])
    assert (dx == exact[0].astype(name)).all()
    assert (dweight == exact[1]).all()
    assert (fastconv.activate(given["x"], "silu") == fastconv.activate(wide["x"], "silu").astype(name)).all()


def test_what_is_not_needed_is_not_computed() -> None:
    given = case("batch", (2, 3, 4, 5), "float32")
    _, mean, variance = fastconv.batch_norm(given["x"])
    found = fastconv.batch_norm_backward(given["dy"], given["x"], mean, variance, needs=(False, True, False))
    assert found[0] is None
    assert found[2] is None
    np.testing.assert_array_equal(found[1], fastconv.batch_norm_backward(given["dy"], given["x"], mean, variance)[1])


WRONG: list[tuple[str, Function]] = [
    ("x", lambda x, w: fastconv.batch_norm(x[0, 0, 0])),
    ("x", lambda x, w: fastconv.batch_norm(x.astype(np.int32))),
    ("weight", lambda x, w: fastconv.batch_norm(x, w[:2])),
    ("bias", lambda x, w: fastconv.batch_norm(x, w, x)),
    ("mean", lambda x, w: fastconv.batch_norm(x, w, w, w)),
    ("eps", lambda x, w: fastconv.batch_norm(x, eps=-1)),
    ("eps", lambda x, w: fastconv.batch_norm(x, eps="small")),
    ("add", lambda x, w: fastconv.batch_norm(x, add=x[:1])),
    ("out", lambda x, w: fastconv.batch_norm(x, out=x[:1])),
    ("activation", lambda x, w: fastconv.batch_norm(x, activation="swish")),
    ("dy", lambda x, w: fastconv.batch_norm_backward(x[:1], x, w, w)),
    ("needs", lambda x, w: fastconv.batch_norm_backward(x, x, w, w, needs=(True, True))),
    ("batch_statistics", lambda x, w: fastconv.batch_norm_backward(x, x, w, w, batch_statistics=1)),
    ("groups", lambda x, w: fastconv.group_norm(x, 4)),
    ("groups", lambda x, w: fastconv.group_norm(x, 0)),
    ("axis", lambda x, w: fastconv.layer_norm(x, axis=4)),
    ("axis", lambda x, w: fastconv.layer_norm(x, axis=(1, -3))),
    ("axis", lambda x, w: fastconv.layer_norm(x, axis=())),
    ("activation", lambda x, w: fastconv.activate(x, "swish")),
    ("dy", lambda x, w: fastconv.activate_backward(x.astype(np.float64), x, "relu")),
    ("threads", lambda x, w: fastconv.activate(x, "relu", threads=0)),
]


@pytest.mark.parametrize(("argument", "call"), WRONG)
def test_wrong_calls_name_the_argument(argument: str, call: Function) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}: got .*allowed: "):
        call(np.ones((2, 3, 4, 5), np.float32), np.ones(3, np.float32))


@pytest.fixture
def emulated() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


@pytest.mark.parametrize("kind", KINDS)
def test_cupys_arrays(emulated: ArrayModule, kind: str) -> None:
    given = case(kind, (2, 4, 3, 5), "float32")
    names = ("x", "weight", "bias", "add", "dy")
    there = dict(zip(names, emulated.to([given[name] for name in names]), strict=True))
    for activation in (None, *ACTIVATIONS):
        expected = forward(kind, given["x"], given["weight"], given["bias"], activation=activation, add=given["add"])
        found = forward(kind, there["x"], there["weight"], there["bias"], activation=activation, add=there["add"])
        for ours, exact in zip(emulated.host(found), expected, strict=True):
            assert_near(ours, exact, "float32")
        affine = [arrays[name] for arrays in (given, there) for name in ("weight", "bias")]
        expected = backward(kind, given["dy"], given["x"], *expected[1:], *affine[:2], activation=activation)
        found = backward(kind, there["dy"], there["x"], *found[1:], *affine[2:], activation=activation)
        for ours, exact in zip(emulated.host(found), expected, strict=True):
            assert_near(ours, exact, "float32", 4)
        ours = emulated.host(fastconv.activate_backward(there["dy"], there["x"], activation))
        assert_near(ours, fastconv.activate_backward(given["dy"], given["x"], activation), "float32")


def guard_all(edge: Edge) -> None:
    """Every function on arrays that end or begin at memory that cannot be touched; runs in a process of its own."""
    for kind in KINDS:
        for dtype in ("float32", "float64"):
            for size in (1, 3, 15, 16, 17, 33, 1024, 1027):
                given = case(kind, (2, 4, size), dtype)
                arrays = {name: guarded(array, tuple(range(array.ndim)), edge) for name, array in given.items()}
                print(kind, dtype, size, edge, flush=True)
                results = []
                for each in (given, arrays):
                    affine = (each["weight"], each["bias"])
                    out = guarded(given["x"], (0, 1, 2), edge)
                    own = forward(kind, each["x"], *affine, activation="relu", add=each["add"], out=out)
                    own = (out, *(guarded(array, tuple(range(array.ndim)), edge) for array in own[1:]))
                    out = guarded(given["x"], (0, 1, 2), edge)
                    more = backward(kind, each["dy"], each["x"], *own[1:], *affine, activation="silu", out=out)
                    results.append((*own, *more, fastconv.activate(each["x"], "gelu", out=out.copy())))
                    fastconv.activate_backward(each["dy"], each["x"], "gelu", out=out)
                for ours, same in zip(*results, strict=True):
                    assert (ours == same).all()


@pytest.mark.parametrize("edge", ["start", "end"])
def test_nothing_outside_of_arrays_is_touched(edge: str) -> None:
    run = python("-c", f"import test_normalization; test_normalization.guard_all({edge!r})", timeout=120)
    assert run.returncode == 0, run.stdout[-300:] + run.stderr[-2000:]
