"""The GPU's gemm: which arrays are taken where they lie, slices, TF32, capture, data that are not finite, mutations."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import fastconv
from array_modules import ArrayModule, array_module
from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.gemm import ALGORITHMS, products
from fastconv._problem import RESULT
from gpu_launches import layout_of
from gpu_steps import computed, device_arrays, expected, run
from operands import integer_operands

GEMM, TF32 = ALGORITHMS


ALL = 2**31
"""Images of a slice."""


def check(text: str, images: int = ALL, edit: Any = lambda text: text) -> list[str]:
    """The names of the steps that computed it exactly."""
    problem, operands = (made := ConvProblem.parse(text)), integer_operands(made)
    found, names = computed(GEMM, problem, operands, {"images": images}, edit)
    np.testing.assert_array_equal(found, expected(problem, operands), text)
    return names


@pytest.fixture(autouse=True)
def _many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small images here count as large."""
    monkeypatch.setattr(products, "FEW_PIXELS", 4)


# -- where matrices lie
IN_PLACE = (
    "forward 3x8x5x6 7x8x1x1",
    "forward 3x8x5x6 7x8x1x1 channels_last DHWIO",
    "forward 3x8x5x6 6x4x1x1 g2 channels_last bfloat16",
    "forward 2x3x40 5x3x1 s4 channels_last",
    "backward_input 3x8x5x6 7x8x1x1 float16",
    "backward_input 1x8x5x6 6x4x1x1 g2 ODHWI float64",
    "backward_weight 3x8x5x6 7x8x1x1 channels_last",
    "backward_weight 1x8x5x6 6x4x1x1 g2",
)


@pytest.mark.parametrize("text", IN_PLACE)
def test_pointwise_layers_are_one_product(text: str) -> None:
    assert check(text) == ["product"]


OF_FEW_CHANNELS = ("forward 2x3x5x14 4x3x2x11 p0x2", "forward 2x4x3x7x6 4x2x2x3x2 s1x2x1 d2x1x2 p1 g2")
"""Whole planes of taps are unfolded by a thread: longer rows in two parts, several planes."""
OTHERS = {
    OF_FEW_CHANNELS[0]: ["gemm_unfold", "product"],
    OF_FEW_CHANNELS[1]: ["gemm_unfold", "product", "product"],
    "forward 3x8x5x6 6x4x1x1 g2": ["product"] * 2,
    "forward 3x8x5x6 7x8x1x1 +bias+add+relu": ["product", "gemm_fold"],
    "forward 3x8x5x6 7x8x1x1 bfloat16 +bias": ["product", "gemm_fold"],
    "forward 2x3x8x12 5x3x4x4 s4": ["gemm_unfold", "product"],
    "forward 2x3x7x8 5x3x3x3 p1 channels_last ODHWI": ["gemm_unfold", "product"],
    "forward 2x3x7x8 5x3x3x3 p1 channels_last": ["gemm_unfold", "gemm_unfold", "product"],
    "backward_input 2x3x8x12 5x3x4x4 s4": ["product", "gemm_fold"],
    "backward_input 2x6x7x8 4x3x3x2 s2 p1 g2 +bias": ["product", "product", "gemm_fold"],
    "backward_weight 2x3x7x8 5x3x2x2": ["gemm_unfold", "product", "gemm_fold"],
    "backward_weight 2x6x5x4 4x6x3x3 p1 float16": ["gemm_unfold", "gemm_unfold", "product", "gemm_fold"],
}


@pytest.mark.parametrize("text", OTHERS)
def test_what_else_there_is_to_do(text: str) -> None:
    assert check(text) == OTHERS[text]


def test_images_of_few_pixels_are_put_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "FEW_PIXELS", 512)
    for text in ("forward 3x8x5x6 6x4x1x1 g2", "backward_input 3x8x5x6 6x4x1x1 g2 +add"):
        assert check(text) == ["gemm_unfold", "product", "gemm_fold"]
    assert check("forward 3x8x5x6 6x4x1x1 g2 channels_last") == ["product"]


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
def test_slices(direction: str) -> None:
    for shape in ("5x4x7x8 6x4x3x3 p1 float32", "5x4x4x5 6x2x3x3 g2 channels_last bfloat16"):
        steps = check(f"{direction} {shape}", images=2)
        assert steps.count("product") == 3
        assert max(steps.count("gemm_unfold"), steps.count("gemm_fold")) >= 3


def test_arrays_of_any_strides() -> None:
    """Broadcast, reversed, with gaps, as far as NumPy goes."""
    draw = random.Random(11)
    for text in (
        "forward 2x6x5x6 4x3x3x2 p1 g2 +add",
        "forward 2x4x5x6 3x4x1x1 +bias",
        "backward_input 2x4x5x6 3x4x1x1",
        "backward_input 2x4x5x6 6x2x2x3 s2 g2",
        "backward_weight 2x4x5x6 3x4x1x1",
        "backward_weight 3x4x5x6 6x2x2x3 g2 channels_last",
    ):
        problem, operands = (made := ConvProblem.parse(text)), integer_operands(made)
        for _ in range(4):
            with emulated_cupy.installed():
                arrays = device_arrays(problem, operands)
                for role, array in arrays.items():
                    if array.ndim == 5:
                        arrays[role] = _scattered(array, draw)
                run(GEMM, problem, arrays, {"images": ALL})
            np.testing.assert_array_equal(arrays[RESULT[problem.direction]].get(), expected(problem, operands), text)


def _scattered(array: Any, draw: random.Random) -> Any:
    """The same values with axes in another order, some of them reversed or with gaps."""
    order = draw.sample(range(5), 5)
    steps = [draw.choice([1, 1, 2, -1]) for _ in range(5)]
    shape = [size * abs(step) for size, step in zip((array.shape[axis] for axis in order), steps, strict=True)]
    memory = emulated_cupy.full(shape, 99, array.dtype)
    view = memory[tuple(slice(None, None, step) for step in steps)].transpose(np.argsort(order).tolist())
    view[...] = array
    return view


# -- numerics
@pytest.mark.parametrize("setting", ["0", "1"])
def test_tf32_is_taken_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv("CUPY_TF32", setting)
    problem = ConvProblem.parse("forward 1x1x1x1 1x1x1x1")
    x = np.full((1,) * 5, 1 + 2**-20, np.float32)
    found = []
    with emulated_cupy.installed():
        for algorithm in ALGORITHMS:
            arrays = device_arrays(problem, {"input": x, "weight": np.ones_like(x)})
            run(algorithm, problem, arrays, {"images": ALL})
            found.append(arrays["output"].get().item())
    assert found == [x.item(), 1]


def test_precision_levels() -> None:
    layer = ConvProblem.parse("forward 8x64x56x56 64x64x1x1")
    assert GEMM.error_bound(layer).elementwise is not None
    bound = TF32.error_bound(layer)
    assert bound.elementwise is None
    assert 1e-5 < bound.relative < 1e-2


@pytest.mark.parametrize("role", ["input", "weight", "output"])
@pytest.mark.parametrize("shape", ["2x4x6x5 6x2x3x3 s2 p1 g2", "2x4x6x5 6x4x1x1", "2x3x5x6 4x3x3x2 p2x0"])
def test_nan_and_infinities_are_where_the_definition_has_them(shape: str, role: str) -> None:
    draw = np.random.default_rng(5)
    for direction in ("forward", "backward_input", "backward_weight"):
        problem = ConvProblem.parse(f"{direction} {shape}")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        if role not in operands:
            continue
        operands[role].flat[draw.integers(0, operands[role].size, 2)] = draw.choice([np.nan, np.inf, -np.inf], 2)
        found, _ = computed(GEMM, problem, operands, {"images": ALL})
        np.testing.assert_array_equal(found, expected(problem, operands), str(problem))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_are_of_the_type(dtype: str) -> None:
    problem = ConvProblem.parse(f"forward 1x3x4x5 2x3x3x3 p1 {dtype} +leaky_relu=0.1")
    operands = integer_operands(problem)
    found, _ = computed(GEMM, problem, operands, {"images": ALL})
    np.testing.assert_allclose(found, expected(problem, operands), rtol=2 * np.finfo(dtype).eps)


# -- calls
@pytest.fixture
def gpu() -> Any:
    with array_module("emulated") as module:
        yield module


def _call(gpu: ArrayModule, x: Any, w: Any) -> Any:
    return fastconv.conv2d(x, w, activation="relu", algorithm="gemm")


def test_a_call_is_captured(gpu: ArrayModule) -> None:
    """With a workspace of its own for cuBLAS; CuPy's own functions for cuBLAS cannot be recorded."""
    cp, draw = gpu.module, np.random.default_rng(0)
    x, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 4, 5, 6), (6, 4, 1, 1)))
    there = gpu.to((x, w))
    _call(gpu, *there)
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        result = _call(gpu, *there)
        graph = stream.end_capture()
    assert np.isnan(result.get()).all()
    graph.launch(stream)
    np.testing.assert_array_equal(result.get(), fastconv.conv2d(x, w, activation="relu"))


def test_what_cublas_refuses_is_an_error(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 2x4x5x6 6x4x1x1")
    arrays = device_arrays(problem, integer_operands(problem))
    layouts = {role: layout_of(array, array.dtype) for role, array in arrays.items()}
    (product,) = GEMM.launches(Operation(problem, layouts), {"images": 2})
    start = product.bind()
    whole = gpu.module.zeros(product.workspace_bytes + 16, np.uint8)
    with pytest.raises(RuntimeError, match=r"^GPU: cublasSetWorkspace failed with status 7"):
        start({**arrays, "workspace": whole[16 - whole.data.ptr % 16 :][8:]})


# -- mutations
MUTATIONS = (
    # problem, what is changed, into what: each must change the result or be reported
    ("forward 2x9x7x8 5x9x3x3 p1", "(fc_u32)c.image_size[axis]", "(fc_u32)c.image_size[axis] + 1"),
    ("forward 2x9x7x8 5x9x3x3 d2", "+ r.t[axis] * c.delta[axis]", "+ r.t[axis]"),
    ("forward 2x3x7x8 5x3x3x3 p1", "(fc_u32)y < (fc_u32)c.image_size[1]", "true"),
    ("forward 2x3x7x8 5x3x3x3 p1", "(fc_u32)at < (fc_u32)c.image_size[2]", "true"),
    ("forward 2x3x7x8 5x3x3x3 d2", "line_step = c.delta[1] * c", "line_step = c"),
    (OF_FEW_CHANNELS[0], "if (i >= left) break;", ""),
    (OF_FEW_CHANNELS[1], "const bool is_plane = ", "const bool is_plane = true || "),
    (OF_FEW_CHANNELS[1], "all = fc_quotient(unit, c.runs)", "all = unit"),
    ("forward 2x9x7x8 5x9x3x3 p1", "inside && i < count ? image", "inside ? image"),
    ("forward 2x9x7x8 5x9x3x3 p1", "FC_EACH_ROW(i) if (i < count) to[", "FC_EACH_ROW(i) to["),
    ("forward 3x3x7x9 5x3x3x3 p1 channels_last ODHWI", "inside && i < count ? image", "inside ? image"),
    ("backward_input 2x3x7x8 5x3x3x3 s2 p1", "p < c.pixels[axis] ?", "true ?"),
    ("backward_input 2x3x7x8 5x3x3x3 s2 p1", "there == p * c.step[axis]", "there >= 0"),
    ("backward_input 2x3x7x8 5x3x3x3 s2 p1 +bias", "if (bias)", "if (false)"),
    ("backward_weight 3x3x7x8 5x3x2x2", "t < c.tap_count.d", "t < 1"),
    ("forward 2x3x7x8 9x3x1x1 +add", "i < count) sum[i] = fc_plus(sum[i], from", "true) sum[i] = fc_plus(sum[i], from"),
)


@pytest.mark.parametrize(("text", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(text: str, old: str, new: str) -> None:
    changed = []

    def edit(source: str) -> str:
        changed.append(old in source)
        return source.replace(old, new)

    try:
        check(text, edit=edit)
    except (AssertionError, emulated_cupy.KernelError):
        assert any(changed)
        return
    pytest.fail("not found")
