"""plan: the same bits as the functions, packed weights, efforts, and arrays that do not match."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from definitions import integers
from fastconv import ConvProblem
from fastconv._backend import find_algorithm
from fastconv._choose import tune
from fastconv._cpu import backend
from operands import ALGORITHMS, integer_operands

FUNCTIONS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "conv1d": ("conv1d", (2, 4, 19), (6, 2, 3), {"stride": 2, "padding": "same", "groups": 2}),
    "conv2d": ("conv2d", (2, 3, 8, 9), (4, 3, 3, 2), {"padding": [(1, 0), (2, 1)], "dilation": (1, 2)}),
    "conv2d NHWC": ("conv2d", (2, 8, 9, 3), (3, 3, 3, 4), {"layout": "NHWC", "w_layout": "HWIO", "padding": 1}),
    "conv2d reflect": ("conv2d", (2, 3, 8, 9), (4, 3, 3, 3), {"padding": 2, "padding_mode": "reflect"}),
    "conv2d unbatched": ("conv2d", (3, 8, 9), (4, 3, 3, 3), {"padding": 1}),
    "conv3d": ("conv3d", (1, 2, 4, 5, 6), (3, 2, 2, 3, 2), {"stride": (1, 2, 1)}),
    "conv_transpose1d": ("conv_transpose1d", (2, 4, 7), (4, 3, 4), {"stride": 3, "output_padding": 2, "padding": 1}),
    "conv_transpose2d": ("conv_transpose2d", (2, 4, 5, 6), (4, 1, 3, 3), {"stride": 2, "groups": 2}),
    "conv_transpose3d": ("conv_transpose3d", (1, 2, 3, 3, 3), (2, 2, 2, 2, 2), {"stride": 2, "output_size": (6, 6, 7)}),
    "depthwise_conv1d": ("depthwise_conv1d", (2, 3, 19), (6, 1, 4), {"padding": "causal"}),
    "depthwise_conv2d": ("depthwise_conv2d", (2, 3, 8, 9), (3, 1, 3, 3), {"padding": 1, "stride": 2}),
    "depthwise_conv3d": ("depthwise_conv3d", (1, 2, 4, 5, 6), (4, 1, 2, 2, 2), {}),
}
by_function = pytest.mark.parametrize("case", FUNCTIONS.values(), ids=FUNCTIONS.keys())


def arrays(
    name: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...], settings: dict[str, Any], dtype: str = "float64"
) -> tuple[np.ndarray, ...]:
    """x, w, and of the result's shape dy; bias."""
    rng = np.random.default_rng(0)
    x, w = integers(rng, x_shape, dtype), integers(rng, w_shape, dtype)
    y = getattr(fastconv, name)(x, w, **settings)
    channels = y.shape[-1] if settings.get("layout") == "NHWC" else y.shape[-(len(w_shape) - 1)]
    return x, w, integers(rng, y.shape, dtype), integers(rng, (channels,), dtype)


@by_function
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_a_plan_computes_what_the_function_does(case: tuple[Any, ...], dtype: str) -> None:
    name, x_shape, w_shape, settings = case
    x, w, dy, bias = arrays(*case, dtype)
    function, backward = getattr(fastconv, name), getattr(fastconv, f"{name}_backward")
    dx, dw, _ = backward(dy, x, w, **settings)
    planned = {
        direction: fastconv.plan(name, x_shape, w_shape, dtype, **settings, direction=direction)
        for direction in ("forward", "backward_input", "backward_weight")
    }
    forward = planned["forward"]
    packed, packed_for_input = forward.pack(w), planned["backward_input"].pack(w)
    for weight in (w, packed):
        np.testing.assert_array_equal(forward(x, weight), function(x, w, **settings))
        np.testing.assert_array_equal(forward(x, weight, bias), function(x, w, bias, **settings))
        np.testing.assert_array_equal(forward(x, weight, add=dy), function(x, w, add=dy, **settings))
        np.testing.assert_array_equal(forward(x, weight, bias, dy), function(x, w, bias, add=dy, **settings))
    for weight in (w, packed_for_input):
        np.testing.assert_array_equal(planned["backward_input"](dy, weight), dx)
    np.testing.assert_array_equal(planned["backward_weight"](x, dy), dw)
    for direction, operands, expected in (
        ("forward", (x, packed), function(x, w, **settings)),
        ("backward_input", (dy, packed_for_input), dx),
        ("backward_weight", (x, dy), dw),
    ):
        assert planned[direction].result_shape == expected.shape
        out = np.full_like(expected, 77)
        assert planned[direction](*operands, out=out) is out
        np.testing.assert_array_equal(out, expected)
        assert expected.dtype == out.dtype == dtype


@pytest.mark.parametrize("activation", ["relu", ("leaky_relu", 0.25), "gelu"])
def test_activation_with_and_without_bias_and_add(activation: Any) -> None:
    x, w, dy, bias = arrays(*FUNCTIONS["conv2d"])
    settings = FUNCTIONS["conv2d"][3]
    planned = fastconv.plan("conv2d", x.shape, w.shape, "float64", **settings, activation=activation)
    for arguments in ({}, {"bias": bias}, {"add": dy}, {"bias": bias, "add": dy}):
        expected = fastconv.conv2d(x, w, **settings, activation=activation, **arguments)
        np.testing.assert_array_equal(planned(x, w, **arguments), expected)


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_packed_weights_of_every_algorithm(algorithm: str, direction: str) -> None:
    """A problem that every algorithm takes, or is left out by name; the packed call has the bits of the plain one."""
    candidates = [
        ("conv2d", (1, 8, 12, 12), (16, 8, 3, 3), {"layout": "NCHW"}),
        ("conv2d", (1, 8, 12, 12), (8, 8, 3, 3), {"layout": "NCHW"}),
        ("conv2d", (1, 12, 12, 8), (3, 3, 8, 16), {"layout": "NHWC", "w_layout": "HWIO"}),
        ("depthwise_conv2d", (1, 8, 12, 12), (8, 1, 3, 3), {"layout": "NCHW"}),
        ("depthwise_conv2d", (1, 12, 12, 20), (20, 1, 3, 3), {"layout": "NHWC"}),
        ("conv2d", (1, 12, 12, 32), (32, 4, 3, 3), {"layout": "NHWC", "groups": 8}),
        ("conv1d", (1, 1, 4096), (1, 1, 512), {"layout": "NCW"}),
    ]
    tried = 0
    for name, x_shape, w_shape, geometry in candidates:
        settings = {"direction": direction, **geometry}
        problem = fastconv.plan(name, x_shape, w_shape, "float32", **settings).choice.problem
        if not backend.accepts(find_algorithm(algorithm), problem):
            continue
        tried += 1
        planned = fastconv.plan(name, x_shape, w_shape, "float32", **settings, algorithm=algorithm)
        assert planned.choice.algorithm.name == algorithm
        rng = np.random.default_rng(1)
        w = rng.standard_normal(w_shape).astype(np.float32)
        forward = fastconv.plan(name, x_shape, w_shape, **geometry)
        shape = x_shape if direction == "forward" else forward.result_shape
        source = rng.standard_normal(shape).astype(np.float32)
        for value in (w.flat[0], np.nan, np.inf):
            w.flat[0] = value
            np.testing.assert_array_equal(planned(source, planned.pack(w)), planned(source, w))
    assert tried, f"{algorithm} accepts none of the problems"


def test_a_packed_weight_is_a_snapshot_and_is_what_is_multiplied_by() -> None:
    x, w, _, _ = arrays(*FUNCTIONS["conv2d"], "float32")
    settings = FUNCTIONS["conv2d"][3]
    planned = fastconv.plan("conv2d", x.shape, w.shape, "float32", **settings, algorithm="implicit_gemm")
    packed = planned.pack(w)
    assert packed.packed is not None
    before = planned(x, w)
    w *= 2
    np.testing.assert_array_equal(planned(x, packed), before)
    np.testing.assert_array_equal(packed.weight * 2, w)
    assert not packed.weight.flags.writeable


def test_packed_weights_of_complex_gradients() -> None:
    """What is packed is the weight, what a gradient multiplies by its conjugate."""
    x, w, dy, _ = arrays(*FUNCTIONS["conv1d"], "complex128")
    name, x_shape, w_shape, settings = FUNCTIONS["conv1d"]
    planned = fastconv.plan(
        name, x_shape, w_shape, "complex128", **settings, direction="backward_input", algorithm="fft_scipy"
    )
    forward = fastconv.plan(name, x_shape, w_shape, "complex128", **settings, algorithm="fft_scipy")
    for plan, source in ((planned, dy), (forward, x)):
        np.testing.assert_array_equal(plan(source, plan.pack(w)), plan(source, w))
    assert forward.pack(w).packed is not None


def test_packed_weights_go_between_plans_that_agree_only() -> None:
    x, w, dy, _ = arrays(*FUNCTIONS["conv2d"], "float32")
    name, x_shape, w_shape, settings = FUNCTIONS["conv2d"]
    planned = fastconv.plan(name, x_shape, w_shape, **settings)
    again = fastconv.plan(
        name, x_shape, w_shape, **settings, activation="relu", algorithm=planned.choice.algorithm.name
    )
    np.testing.assert_array_equal(again(x, planned.pack(w)), np.maximum(planned(x, w), 0))
    others = (
        fastconv.plan(name, (1, *x_shape[1:]), w_shape, **settings),
        fastconv.plan(name, x_shape, w_shape, **settings, algorithm="reference"),
        fastconv.plan(name, x_shape, w_shape, **{**settings, "padding": 1}),
    )
    for _ in range(2):
        planned(x, planned.pack(w))  # a call that is known by now must not be taken for one of these
    for other in others:
        with pytest.raises(ValueError, match=r"^w: got a weight packed by another plan"):
            planned(x, other.pack(w))
    backward = fastconv.plan(name, x_shape, w_shape, **settings, direction="backward_input")
    with pytest.raises(ValueError, match=r"^w: got a weight packed by another plan"):
        backward(dy, planned.pack(w))
    with pytest.raises(ValueError, match=r"^w: got a weight to pack"):
        fastconv.plan(name, x_shape, w_shape, **settings, direction="backward_weight").pack(w)


@by_function
@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
def test_arrays_that_do_not_match(case: tuple[Any, ...], direction: str) -> None:
    name, x_shape, w_shape, settings = case
    x, w, dy, bias = arrays(*case, "float32")
    planned = fastconv.plan(name, x_shape, w_shape, **settings, direction=direction)
    operands = {
        "forward": {"x": x, "w": w},
        "backward_input": {"dy": dy, "w": w},
        "backward_weight": {"x": x, "dy": dy},
    }
    right = operands[direction]
    out = np.full(planned.result_shape, 77, np.float32)
    for argument, array in right.items():
        for wrong in (array.astype(np.float64), array[:0], array[None], array[..., :-1], array.astype(np.int32)):
            with pytest.raises(ValueError, match=rf"^{argument}: got .* allowed: float32 of shape .* as planned"):
                planned(*{**right, argument: wrong}.values(), out=out)
        with pytest.raises(TypeError, match=rf"^{argument}: "):
            planned(*{**right, argument: None}.values(), out=out)
    for argument, array in (("bias", bias), ("add", dy)):
        wrong = array[:0] if direction == "forward" else array
        with pytest.raises(ValueError, match=rf"^{argument}: "):
            planned(*right.values(), **{argument: wrong}, out=out)
    with pytest.raises(ValueError, match=r"^out: "):
        planned(*right.values(), out=out[..., :-1])
    with pytest.raises(TypeError, match=r"^out: "):
        planned(*right.values(), out=out.astype(np.float64))
    assert (out == 77).all()


def test_non_finite_weights_packed() -> None:
    """NaN and infinity come out where the definition puts them, packed or not."""
    x, w, dy, _ = arrays(*FUNCTIONS["conv2d"], "float32")
    name, x_shape, w_shape, settings = FUNCTIONS["conv2d"]
    w[1, 2, 0, 1], w[0, 0, 0, 0] = np.nan, np.inf
    for direction, source in (("forward", x), ("backward_input", dy)):
        exact = fastconv.plan(name, x_shape, w_shape, **settings, direction=direction, algorithm="reference")(source, w)
        planned = fastconv.plan(name, x_shape, w_shape, **settings, direction=direction)
        np.testing.assert_array_equal(planned(source, planned.pack(w)), exact)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The efforts with which problems are timed."""
    found: list[str] = []
    tune_problem = tune.tune_problem

    def spy(problem: Any, threads: int, effort: str = "measure", *more: Any, **how: Any) -> Any:
        found.append(effort)
        return tune_problem(problem, threads, effort, *more, **how)

    monkeypatch.setattr(tune, "tune_problem", spy)
    return found


def test_effort(timed: list[str]) -> None:
    """Only when asked for, and once: what was measured is stored."""
    arguments = ("conv2d", (1, 3, 10, 11), (4, 3, 3, 3))
    x, w = np.ones(arguments[1], np.float32), np.ones(arguments[2], np.float32)
    fastconv.plan(*arguments, threads=1)
    assert timed == []
    measured = fastconv.plan(*arguments, threads=1, effort="measure", activation="relu")
    assert timed == ["measure"]
    assert measured.choice.reason == "tuned"
    np.testing.assert_array_equal(measured(x, measured.pack(w)), fastconv.conv2d(x, w))
    fastconv.plan(*arguments, threads=1, effort="measure")
    assert timed == ["measure"]
    fastconv.plan(*arguments, threads=1, effort="exhaustive")
    assert timed == ["measure", "exhaustive"]
    fastconv.plan(*arguments, threads=1, effort="measure", algorithm="reference")
    assert timed == ["measure", "exhaustive"], "a forced algorithm is not measured"
    assert fastconv.plan(*arguments, threads=1).choice.reason == "tuned"


def test_plans_are_shared_between_threads() -> None:
    x, w, dy, bias = arrays(*FUNCTIONS["conv2d"], "float32")
    settings = FUNCTIONS["conv2d"][3]
    planned = fastconv.plan("conv2d", x.shape, w.shape, **settings)
    packed, expected = planned.pack(w), fastconv.conv2d(x, w, bias, **settings, add=dy)
    failures: list[int] = []

    def compute(number: int) -> None:
        for _ in range(20):
            if not np.array_equal(planned(x, packed, bias, dy), expected):
                failures.append(number)

    workers = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


def test_bfloat16_by_name_and_dtype() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x, w, _, _ = arrays(*FUNCTIONS["conv2d"], "float32")
    settings = FUNCTIONS["conv2d"][3]
    for dtype in ("bfloat16", bfloat16, np.dtype(bfloat16)):
        planned = fastconv.plan("conv2d", x.shape, w.shape, dtype, **settings)
        result = planned(x.astype(bfloat16), planned.pack(w.astype(bfloat16)))
        np.testing.assert_array_equal(result, fastconv.conv2d(x, w, **settings).astype(bfloat16))


def test_text() -> None:
    planned = fastconv.plan(
        "conv2d", (1, 3, 8, 8), (4, 3, 3, 3), algorithm="reference", threads=1, direction="backward_input"
    )
    assert repr(planned) == (
        "<conv2d backward_input: backward_input 1x3x8x8 4x3x3x3 float32: reference, 1 threads (forced)>"
    )


@pytest.mark.parametrize("algorithm", ["fft_scipy", "im2col", "implicit_gemm"])
def test_packed_weights_of_complex_gradients_every_time(algorithm: str) -> None:
    """What is packed is the weight, and the gradient for the input multiplies by its conjugate."""
    rng = np.random.default_rng(0)
    w, dy = (rng.standard_normal((*shape, 2)) @ [1, 1j] for shape in ((4, 3, 3, 3), (2, 4, 6, 6)))
    planned = fastconv.plan(
        "conv2d", (2, 3, 8, 8), w.shape, "complex128", direction="backward_input", algorithm=algorithm
    )
    packed, expected = planned.pack(w), fastconv.grad.conv2d_input((2, 3, 8, 8), w, dy, algorithm="reference")
    for _ in range(3):
        np.testing.assert_allclose(planned(dy, w), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(planned(dy, packed), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("shape", ["1x64x7x7 96x64x1x1", "1x24x14x15 40x24x3x3 p1 s2", "2x6x9x9 8x3x3x3 g2"])
def test_parameters_for_weights_that_are_packed(shape: str, layout: str) -> None:
    """Other ones may be chosen; the results are the same, with the weight packed and as it is."""
    problem = ConvProblem.parse(f"forward {shape} {layout}")
    operands = integer_operands(problem)
    axes = (0, 2, 3, 4, 1) if layout == "channels_last" else (0, 1, 2, 3, 4)
    x, w = np.ascontiguousarray(operands["input"].transpose(axes), np.float32), operands["weight"].astype(np.float32)
    settings = {"stride": problem.stride, "groups": problem.groups, "layout": layout}
    settings["padding"] = problem.padding
    expected = fastconv.conv3d(x, w, **settings)
    for algorithm in ("auto", "implicit_gemm"):
        planned = fastconv.plan("conv3d", x.shape, w.shape, x.dtype, algorithm=algorithm, packed=True, **settings)
        np.testing.assert_array_equal(planned(x, planned.pack(w)), expected)
        np.testing.assert_array_equal(planned(x, w), expected)
        again = pickle.loads(pickle.dumps(planned))
        assert again.choice.params == planned.choice.params
