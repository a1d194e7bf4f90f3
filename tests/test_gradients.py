"""The forward and the gradients of conv* and conv_transpose* against their definitions, exactly, in integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastconv
import oracle
from definitions import (
    Convolution,
    TransposedConvolution,
    bias_gradient,
    from_layout,
    inner,
    integers,
    to_layout,
)
from fastconv._backend import algorithm_names
from fastconv._border import Border
from fastconv._cpu.border import add_back

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@dataclass(frozen=True)
class Case:
    """A call of one function, and the definition that it must equal."""

    function: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    dtype: str
    arguments: Mapping[str, Any]
    definition: Convolution | TransposedConvolution

    @property
    def rank(self) -> int:
        return len(self.w) - 2

    def arrays(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """x, w, bias and dy of small integers."""
        rng = np.random.default_rng(seed)
        x, w = integers(rng, self.x, self.dtype), integers(rng, self.w, self.dtype)
        dy = integers(rng, self.definition.forward(x, w).shape, self.dtype)
        return x, w, integers(rng, dy.shape[1:2], self.dtype), dy

    def call(self, name: str, *arrays: Any, **more: Any) -> Any:
        return getattr(fastconv, self.function + name)(*arrays, **self.arguments, **more)


def case(
    function: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    dtype: str = "float64",
    pads: list[tuple[int, int]] | None = None,
    extra: tuple[int, ...] | None = None,
    **arguments: Any,
) -> Case:
    """A case whose definition follows from the arguments; ``pads``, ``extra``: what a word or a size stands for."""
    rank = len(w) - 2

    def per_axis(value: Any) -> tuple[Any, ...]:
        return (value,) * rank if isinstance(value, int) else tuple(value)

    if pads is None:
        pads = [(p, p) if isinstance(p, int) else p for p in per_axis(arguments.get("padding", 0))]
    common = (
        per_axis(arguments.get("stride", 1)),
        pads,
        per_axis(arguments.get("dilation", 1)),
        arguments.get("groups", 1),
    )
    definition: Convolution | TransposedConvolution
    if function.startswith("conv_transpose"):
        definition = TransposedConvolution(*common, extra or per_axis(arguments.get("output_padding", 0)))
    else:
        mode = arguments.get("padding_mode", "zeros")
        definition = Convolution(*common, NUMPY_MODES.get(mode, mode))
    return Case(function, x, w, dtype, arguments, definition)


CASES = {
    "1d": case("conv1d", (2, 3, 9), (4, 3, 3)),
    "1d strided": case("conv1d", (2, 3, 9), (4, 3, 3), stride=2, padding=2, dilation=3),
    "1d causal": case("conv1d", (2, 2, 7), (2, 2, 3), padding="causal", dilation=2, pads=[(4, 0)]),
    "1d full": case("conv1d", (1, 2, 4), (2, 2, 3), padding="full", pads=[(2, 2)]),
    "1d cropped": case("conv1d", (2, 2, 9), (3, 2, 3), padding=[(-2, -1)]),
    "1d complex": case("conv1d", (2, 4, 8), (6, 2, 3), "complex128", stride=2, padding=1, groups=2),
    "2d float32": case("conv2d", (2, 3, 6, 7), (4, 3, 3, 2), "float32"),
    "2d per axis": case("conv2d", (2, 2, 8, 7), (3, 2, 3, 2), stride=(2, 3), padding=(1, 2), dilation=(1, 2)),
    "2d pairs": case("conv2d", (2, 2, 6, 7), (3, 2, 3, 2), padding=[(2, -1), (0, 3)]),
    "2d groups": case("conv2d", (2, 6, 5, 5), (9, 2, 3, 3), padding=1, groups=3),
    "2d same": case("conv2d", (1, 2, 7, 6), (2, 2, 4, 3), stride=(2, 3), padding="same", pads=[(1, 2), (0, 0)]),
    "2d same beyond the kernel": case(
        "conv2d", (1, 2, 8, 8), (2, 2, 1, 2), stride=(3, 4), padding="same", pads=[(0, 0), (0, 0)]
    ),
    "2d same_lower": case("conv2d", (1, 2, 5, 6), (2, 2, 4, 2), padding="same_lower", pads=[(2, 1), (1, 0)]),
    "2d valid": case("conv2d", (1, 2, 5, 6), (2, 2, 4, 2), padding="valid", pads=[(0, 0), (0, 0)]),
    "2d stride beyond the kernel": case("conv2d", (2, 2, 9, 8), (2, 2, 2, 1), stride=(4, 3)),
    "2d complex64": case("conv2d", (2, 2, 5, 4), (3, 2, 2, 3), "complex64", padding=(0, 1)),
    "2d float16": case("conv2d", (1, 2, 4, 4), (2, 2, 2, 2), "float16", padding=1),
    "3d": case(
        "conv3d", (2, 2, 4, 5, 6), (2, 1, 2, 3, 2), stride=(1, 2, 1), padding=(1, 0, 1), dilation=(1, 1, 2), groups=2
    ),
    "3d reflect": case("conv3d", (1, 2, 3, 4, 3), (2, 2, 2, 2, 3), padding=(1, 2, 1), padding_mode="reflect"),
    "transpose 1d": case("conv_transpose1d", (2, 3, 5), (3, 2, 4), stride=3, padding=1, dilation=2, output_padding=2),
    "transpose 1d dilated": case("conv_transpose1d", (2, 3, 5), (3, 2, 3), stride=2, dilation=4, output_padding=3),
    "transpose 1d same": case("conv_transpose1d", (2, 3, 5), (3, 2, 4), stride=2, padding="same", pads=[(1, 1)]),
    "transpose 2d": case("conv_transpose2d", (2, 3, 4, 5), (3, 2, 3, 2)),
    "transpose 2d groups": case(
        "conv_transpose2d",
        (2, 4, 3, 4),
        (4, 3, 3, 2),
        stride=(2, 3),
        padding=(1, 0),
        dilation=(1, 2),
        groups=2,
        output_padding=(1, 0),
    ),
    "transpose 2d pairs": case("conv_transpose2d", (1, 2, 4, 4), (2, 2, 3, 3), stride=(1, 2), padding=[(0, 2), (1, 0)]),
    "transpose 2d output_size": case(
        "conv_transpose2d", (1, 2, 4, 4), (2, 2, 3, 3), stride=2, padding=1, output_size=(8, 7), extra=(1, 0)
    ),
    "transpose 2d complex": case(
        "conv_transpose2d", (2, 2, 3, 4), (2, 3, 2, 3), "complex128", stride=(2, 1), padding=(0, 1)
    ),
    "transpose 3d": case(
        "conv_transpose3d", (2, 2, 2, 3, 3), (2, 1, 2, 3, 2), stride=(2, 1, 2), padding=(0, 1, 0), groups=2
    ),
}
for mode in ("reflect", "replicate", "circular"):
    for pairs in ([(2, 2), (3, 3)], [(0, 4), (3, 0)], [(-1, 2), (2, -3)], [(-1, -1), (0, -2)]):
        CASES[f"2d {mode} {pairs}"] = case(
            "conv2d", (2, 2, 5, 6), (2, 2, 3, 2), padding=pairs, padding_mode=mode, stride=(2, 1)
        )
    CASES[f"1d {NUMPY_MODES[mode]}"] = case("conv1d", (1, 1, 4), (1, 1, 2), padding=3, padding_mode=NUMPY_MODES[mode])

by_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@by_case
def test_forward_equals_the_definition(case: Case) -> None:
    x, w, bias, _ = case.arrays()
    expected = case.definition.forward(x, w)
    np.testing.assert_array_equal(case.call("", x, w), expected)
    expected = expected + bias.reshape(-1, *[1] * case.rank)
    result = case.call("", x, w, bias)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == x.dtype


@by_case
def test_gradients_equal_the_definition(case: Case) -> None:
    x, w, bias, dy = case.arrays()
    dx, dw, db = case.call("_backward", dy, x, w, bias)
    np.testing.assert_array_equal(dx, case.definition.input_gradient(dy, x, w))
    np.testing.assert_array_equal(dw, case.definition.weight_gradient(dy, x, w))
    np.testing.assert_array_equal(db, bias_gradient(dy))
    assert dx.dtype == dw.dtype == db.dtype == x.dtype


@by_case
def test_gradients_are_adjoints(case: Case) -> None:
    """<dy, conv(x, w)> = <dx, x> = <dw, w>; with complex numbers too, since gradients multiply by conjugates."""
    x, w, _, dy = case.arrays(1)
    dx, dw, _ = case.call("_backward", dy, x, w)
    product = inner(dy, case.call("", x, w))
    assert product == inner(dx, x) == inner(dw, w)


@by_case
def test_grad_functions_equal_backward(case: Case) -> None:
    x, w, _, dy = case.arrays()
    dx, dw, db = case.call("_backward", dy, x, w)
    gradient_of = {name: getattr(fastconv.grad, f"{case.function}_{name}") for name in ("input", "weight")}
    np.testing.assert_array_equal(gradient_of["input"](x.shape, w, dy, **case.arguments), dx)
    np.testing.assert_array_equal(gradient_of["weight"](x, w.shape, dy, **case.arguments), dw)
    np.testing.assert_array_equal(getattr(fastconv.grad, f"conv{case.rank}d_bias")(dy), db)
    for name, arguments, expected in (("input", (list(x.shape), w, dy), dx), ("weight", (x, w.shape, dy), dw)):
        out = np.full_like(expected, 77)
        assert gradient_of[name](*arguments, **case.arguments, out=out) is out
        np.testing.assert_array_equal(out, expected)


@by_case
@pytest.mark.parametrize("weight", ["OIHW", "HWIO", "OHWI"])
@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "NHWC"])
def test_layouts_and_single_images(case: Case, last: bool, weight: str) -> None:
    """The same numbers in every layout, with and without a batch axis."""
    x, w, bias, dy = case.arrays()
    x, dy = x[:1], dy[:1]
    axes = "DHW"[3 - case.rank :]
    layouts = {"layout": f"N{axes}C" if last else f"NC{axes}", "w_layout": weight.replace("HW", axes)}
    expected = case.call("", x, w, bias)
    expected_gradients = case.call("_backward", dy, x, w, bias)
    w_given = to_layout(w, last, weight)
    for cut in (slice(None), 0):
        x_given, dy_given = to_layout(x, last)[cut], to_layout(dy, last)[cut]
        result = case.call("", x_given, w_given, bias, **layouts)
        np.testing.assert_array_equal(result, to_layout(expected, last)[cut])
        dx, dw, db = case.call("_backward", dy_given, x_given, w_given, bias, **layouts)
        np.testing.assert_array_equal(dx, to_layout(expected_gradients[0], last)[cut])
        np.testing.assert_array_equal(from_layout(dw, last, weight), expected_gradients[1])
        np.testing.assert_array_equal(db, expected_gradients[2])
        np.testing.assert_array_equal(
            getattr(fastconv.grad, f"conv{case.rank}d_bias")(dy_given, layout=layouts["layout"]), db
        )


@pytest.mark.parametrize("needs", [(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False)])
@pytest.mark.parametrize("name", ["2d groups", "transpose 2d"])
def test_needs(name: str, needs: tuple[bool, bool, bool]) -> None:
    case = CASES[name]
    x, w, bias, dy = case.arrays()
    every = case.call("_backward", dy, x, w, bias, activation="silu")
    for wanted in (needs, list(needs), tuple(np.bool_(need) for need in needs)):
        some = case.call("_backward", dy, x, w, bias, activation="silu", needs=wanted)
        assert [gradient is not None for gradient in some] == list(needs)
        for gradient, expected in zip(some, every, strict=True):
            assert gradient is None or np.array_equal(gradient, expected)


@pytest.mark.parametrize(
    "activation", ["relu", "relu6", "leaky_relu", ("leaky_relu", 0.25), "silu", "gelu", "tanh", "sigmoid"]
)
@pytest.mark.parametrize("name", ["2d groups", "transpose 2d", "2d circular [(2, 2), (3, 3)]"])
def test_gradients_through_activations(name: str, activation: Any) -> None:
    """dy is multiplied by the activation's slope at z, here by central differences of the activation's formula."""
    case = CASES[name]
    rng = np.random.default_rng(2)
    x, w, bias, dy = (array + 0.1 * rng.random(array.shape) for array in case.arrays())
    add = rng.standard_normal(dy.shape)
    word, slope = activation if isinstance(activation, tuple) else (activation, 0.01)
    z = case.definition.forward(x, w) + bias.reshape(-1, *[1] * case.rank) + add
    step = 1e-6
    assert all(np.abs(z - kink).min() > 2 * step for kink in (0, 6)), "a kink inside the difference"
    apart = oracle.activate(z + step, word, slope) - oracle.activate(z - step, word, slope)
    dz = dy * apart / (2 * step)
    dx, dw, db = case.call("_backward", dy, x, w, bias, activation=activation, add=add)
    bound = {"rtol": 1e-7, "atol": 1e-7}
    np.testing.assert_allclose(dx, case.definition.input_gradient(dz, x, w), **bound)
    np.testing.assert_allclose(dw, case.definition.weight_gradient(dz, x, w), **bound)
    np.testing.assert_allclose(db, bias_gradient(dz), **bound)


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
def test_bias_gradient_sums_in_double(dtype: str) -> None:
    """A chain of float32 additions over 40,000 pixels would be off by several units."""
    rng = np.random.default_rng(3)
    dy = rng.random((2, 200, 100, 3)).astype(dtype)
    exact = (
        dy.astype(np.complex128).sum(axis=(0, 1, 2)) if dtype == "complex64" else dy.astype(float).sum(axis=(0, 1, 2))
    )
    db = fastconv.grad.conv2d_bias(dy, layout="NHWC")
    np.testing.assert_array_equal(db, exact.astype(dtype))


def test_bfloat16_gradients_are_rounded_once() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    case = CASES["2d groups"]
    x, w, bias, dy = (array.astype(bfloat16) for array in case.arrays())
    wide = [array.astype(np.float32) for array in (dy, x, w, bias)]
    for activation in (None, "relu"):
        gradients = case.call("_backward", dy, x, w, bias, activation=activation)
        for gradient, exact in zip(gradients, case.call("_backward", *wide, activation=activation), strict=True):
            np.testing.assert_array_equal(gradient, exact.astype(bfloat16))
            assert gradient.dtype == bfloat16


@pytest.mark.parametrize("activation", ["silu", "gelu", "tanh", "sigmoid"])
def test_half_floats_pass_activations_in_single_precision(activation: str) -> None:
    """The slope is worked out in float32 from what the forward would store, and its product with dy is rounded once."""
    rng = np.random.default_rng(4)
    z, dy = (rng.standard_normal((1, 1, 2000)).astype(np.float16) for _ in range(2))
    one = np.ones((1, 1, 1))
    dx, _, _ = fastconv.conv1d_backward(dy, z, one.astype(np.float16), activation=activation)
    wide = (array.astype(np.float32) for array in (dy, z, one))
    expected, _, _ = fastconv.conv1d_backward(*wide, activation=activation)
    np.testing.assert_array_equal(dx, expected.astype(np.float16))


def test_zero_batch_and_zero_channels() -> None:
    x, w = np.zeros((0, 3, 5, 5)), np.ones((4, 3, 3, 3))
    dx, dw, db = fastconv.conv2d_backward(np.zeros((0, 4, 3, 3)), x, w)
    assert dx.shape == x.shape
    np.testing.assert_array_equal(dw, np.zeros(w.shape))
    np.testing.assert_array_equal(db, np.zeros(4))
    x, w = np.zeros((2, 0, 5, 5)), np.ones((4, 0, 3, 3))
    np.testing.assert_array_equal(fastconv.conv2d(x, w, np.arange(4.0))[1, :, 0, 0], np.arange(4.0))
    dx, dw, db = fastconv.conv2d_backward(np.ones((2, 4, 3, 3)), x, w)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)
    np.testing.assert_array_equal(db, np.full(4, 18.0))


@pytest.mark.parametrize("algorithm", ["reference", "im2col", "auto"])
def test_forced_algorithm_and_inputs_kept(algorithm: str) -> None:
    case = CASES["2d circular [(2, 2), (3, 3)]"]
    x, w, bias, dy = case.arrays()
    before = [array.copy() for array in (x, w, bias, dy)]
    for array in (x, w, bias, dy):
        array.setflags(write=False)
    gradients = case.call("_backward", dy, x, w, bias, algorithm=algorithm, threads=1, activation="relu")
    for gradient, expected in zip(gradients, case.call("_backward", dy, x, w, bias, activation="relu"), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-12)
    for array, kept in zip((x, w, bias, dy), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_padding_modes_add_up_half_floats_in_single_precision() -> None:
    """Where half floats were added up, the sum of ones would stay at 2048."""
    x, w = np.zeros((1, 1, 2), np.float16), np.ones((1, 1, 1), np.float16)
    dx = fastconv.grad.conv1d_input(
        x.shape, w, np.ones((1, 1, 3004), np.float16), padding=[(3001, 1)], padding_mode="replicate"
    )
    np.testing.assert_array_equal(dx, [[[3002, 2]]])


def test_padded_half_floats_are_added_up_in_single_precision() -> None:
    """Those that a kernel takes as they are."""
    padded = np.random.default_rng(0).standard_normal((1, 20, 1, 1, 99)).astype(np.float16)
    result = np.empty((1, 20, 1, 1, 1), np.float16)
    expected = padded.sum(axis=-1, keepdims=True, dtype=np.float64)
    add_back(Border((1, 1, 1), (None, None, np.zeros(99, int))), padded, result)
    assert (abs(result - expected) <= 0.501 * np.spacing(result)).all()


@pytest.mark.parametrize("pair", [(-10, 20), (20, -10), (-3, 0), (-1, 6), (5, -3)])
def test_crops_beyond_an_axis_of_repeated_edges(pair: tuple[int, int]) -> None:
    """The crop may take the whole axis where the padding at the other end gives more."""
    x, w = np.arange(1.0, 5.0).reshape(1, 1, 4), np.ones((1, 1, 1))
    seen = np.arange(-pair[0], 4 + pair[1]).clip(0, 3)
    arguments: dict[str, Any] = {"padding": [pair], "padding_mode": "replicate"}
    np.testing.assert_array_equal(fastconv.conv1d(x, w, **arguments)[0, 0], x[0, 0, seen])
    dy = np.arange(1.0, seen.size + 1).reshape(1, 1, -1)
    dx = fastconv.grad.conv1d_input(x.shape, w, dy, **arguments)
    np.testing.assert_array_equal(dx[0, 0], np.bincount(seen, dy[0, 0], 4))


@pytest.mark.parametrize(("activation", "flat"), [("relu", [-1.0, 0.0]), ("relu6", [-1.0, 0.0, 6.0, 7.0])])
@pytest.mark.parametrize("blocked", [np.inf, np.nan])
def test_nothing_passes_the_flat_sides_of_relu(activation: str, flat: list[float], blocked: float) -> None:
    x, w = np.array([[*flat, 3.0]]), np.ones((1, 1, 1))
    dy = np.array([[blocked] * len(flat) + [5.0]])
    dx, dw, _ = fastconv.conv1d_backward(dy, x, w, activation=activation)
    np.testing.assert_array_equal(dx, [[0.0] * len(flat) + [5.0]])
    np.testing.assert_array_equal(dw, [[[15.0]]])


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16, "complex64"])
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_of_other_dtypes_by_every_algorithm(mode: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-2, 3, shape).astype(dtype) for shape in ((2, 4, 7, 6), (8, 4, 3, 3)))
    dy = rng.integers(-2, 3, (2, 8, 7, 6)).astype(dtype)
    settings = {"padding": 1, "padding_mode": mode}
    results = {}
    for algorithm in ("reference", *algorithm_names()):
        try:
            y = fastconv.conv2d(x, w, **settings, algorithm=algorithm)
            gradients = fastconv.conv2d_backward(dy, x, w, **settings, algorithm=algorithm)
        except ValueError:
            continue
        results[algorithm] = [array.astype(np.complex128) for array in (y, *gradients)]
    assert {"implicit_gemm", "im2col"} <= set(results)
    for algorithm, found in results.items():
        for one, exact in zip(found, results["reference"], strict=True):
            np.testing.assert_allclose(one, exact, rtol=1e-2, atol=0.05, err_msg=algorithm)
