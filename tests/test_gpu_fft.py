"""The GPU's fft: tiles and slices within its bounds, data that are not finite, capture, choice, mutations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import fastconv
import oracle
from array_modules import ArrayModule, array_module
from fastconv import ConvProblem
from fastconv._choose.select import PRECISION_LIMITS, plan_for
from fastconv._gpu import cufft
from fastconv._gpu.algorithms.fft import ALGORITHMS, algorithm
from fastconv._gpu.algorithms.fft.tiling import Tiling
from gpu_steps import alone, computed, expected
from operands import integer_operands

FFT = ALGORITHMS[0]
DIRECTIONS = ("forward", "backward_input", "backward_weight")
ALL = 2**40
"""Bytes of a slice."""
SHAPES = (
    "2x3x50 4x3x9 p4",
    "1x2x17x13 3x2x5x3 p2x1",
    "2x4x9x11 6x2x3x5 p1:3x0 g2",
    "2x3x12x7 3x1x3x1 p1x0 g3",
    "1x2x5x6x7 2x2x2x3x2 p1x0x1",
    "2x5x21 3x5x4 d3 p-1:7 channels_last",
    "1x2x9x8 5x2x3x3 p1 ODHWI",
)
ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}


@pytest.fixture(autouse=True)
def _few_taps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithm, "MIN_TAPS", 2)


def check(text: str, side: int, slice_bytes: int = ALL, edit: Any = lambda text: text) -> list[str]:
    """The names of the steps that computed small integers with small errors."""
    problem = ConvProblem.parse(text)
    operands = integer_operands(problem)
    params = {"side": side, "slice_bytes": slice_bytes}
    found, names = computed(FFT, problem, operands, params, lambda text: edit(alone(text)))
    exact = expected(problem.replace(dtype="float64"), operands)
    allowed = {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(problem.dtype, 0.0) * np.abs(exact)
    allowed += 100 * ROUNDOFF.get(problem.dtype, 2.0**-24) * np.abs(exact).max()
    assert (np.abs(found.astype(np.float64) - exact) <= allowed).all(), text
    return names


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_tiles_and_slices(shape: str, direction: str) -> None:
    problem = ConvProblem.parse(f"{direction} {shape}")
    most = max(Tiling.of(problem, 64).transformed)
    for side, slice_bytes in ((2, 0), (most // 2, 3000), (64, ALL)):
        names = check(str(problem), side, slice_bytes)
        assert names.count("fft_multiply") == 1 or slice_bytes < ALL


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype: str) -> None:
    for direction in DIRECTIONS:
        check(f"{direction} {SHAPES[1]} {dtype}", 8)
    check(f"forward {SHAPES[2]} {dtype} +bias+add+leaky_relu=0.1", 8)


@pytest.mark.parametrize("epilogue", ["+bias", "+add", "+bias+add+relu6"])
def test_epilogues(epilogue: str) -> None:
    for direction in DIRECTIONS[:2]:
        check(f"{direction} {SHAPES[0]} {epilogue}", 16)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", ["1x3x200 2x3x33 p16", "2x2x20x22 3x2x9x9 p4"])
def test_bounds(shape: str, direction: str) -> None:
    rng = np.random.default_rng(3)
    for dtype, wide in (("float32", np.float64), ("float64", np.longdouble)):
        problem = ConvProblem.parse(f"{direction} {shape} {dtype}")
        operands = {role: rng.normal(size=a.shape).astype(dtype) for role, a in integer_operands(problem).items()}
        exact = oracle.convolve(problem, {role: array.astype(wide) for role, array in operands.items()})
        bound = FFT.error_bound(problem)
        norms = math.prod(float(np.linalg.norm(array.astype(np.float64))) for array in operands.values())
        assert bound.elementwise is None
        assert bound.relative < PRECISION_LIMITS["high"]
        for params in FFT.parameters(problem):
            found, _ = computed(FFT, problem, operands, params, alone)
            error = float(np.abs(found - exact).max())
            assert error <= bound.relative * float(np.abs(exact).max())
            assert error <= bound.normwise * norms


@pytest.mark.parametrize("role", ["input", "weight", "output", "add"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinities_are_where_the_definition_has_them(role: str, bad: float) -> None:
    for direction in DIRECTIONS:
        add = "+add" if role == "add" and direction != "backward_weight" else ""
        problem = ConvProblem.parse(f"{direction} 2x4x9x11 6x2x3x5 p1:3x0 g2 {add}")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        if role not in operands:
            continue
        operands[role].flat[operands[role].size // 2] = bad
        found, _ = computed(FFT, problem, operands, {"side": 6, "slice_bytes": 0})
        exact = expected(problem, operands)
        if role == "add":  # nothing is computed again
            np.testing.assert_allclose(found, exact, atol=1e-4)
        else:
            np.testing.assert_array_equal(found, exact)


def test_marks_of_many_blocks() -> None:
    """A weight gradient of more blocks than a mark's byte is aligned to."""
    problem = ConvProblem.parse("backward_weight 1x1x9 300x1x4")
    operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
    operands["output"][0, 299] = np.inf
    found, _ = computed(FFT, problem, operands, {"side": 16, "slice_bytes": 0})
    np.testing.assert_array_equal(found, expected(problem, operands))


# -- calls
@pytest.fixture
def gpu() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


def test_a_call_is_captured(gpu: ArrayModule) -> None:
    cp, draw = gpu.module, np.random.default_rng(0)
    x, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 3, 70), (4, 3, 40)))
    there = gpu.to((x, w))
    fastconv.conv1d(*there, padding=20, algorithm="fft")
    before, stream = len(cufft._plans), cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        result = fastconv.conv1d(*there, padding=20, algorithm="fft")
        graph = stream.end_capture()
    assert len(cufft._plans) == before
    assert np.isnan(result.get()).all()
    there[0][...] = 0
    there[0][...] = gpu.to(x)
    graph.launch(stream)
    np.testing.assert_allclose(result.get(), fastconv.conv1d(x, w, padding=20), atol=2e-4)


def test_plans_live_as_long_as_calls(gpu: ArrayModule) -> None:
    x, w = (np.ones(shape, np.float32) for shape in ((1, 1, 90), (1, 1, 50)))
    before = set(cufft._plans)
    fastconv.conv1d(*gpu.to((x, w)), algorithm="fft")
    assert set(cufft._plans) - before
    from fastconv._choose.select import forget_plans

    forget_plans()
    assert set(cufft._plans) <= before


def test_lengths_are_ones_that_cufft_is_good_at() -> None:
    for least in (1, 2, 11, 97, 1009):
        length = cufft.good_length(least)
        assert least <= length <= 1.2 * least + 2
        for factor in cufft.FACTORS:
            while length % factor == 0:
                length //= factor
        assert length == 1


CHOSEN = {
    "forward 8x64x64000 64x64x1024 p512": True,
    "backward_weight 4x32x4096 32x32x512": True,
    "forward 16x64x64x64 64x64x15x15 p7": True,
    "forward 32x64x56x56 64x64x3x3 p1": False,
    "forward 8x64x2000 64x64x5 p2": False,
    "forward 1x1x64 1x1x33": False,
}


@pytest.mark.parametrize("text", CHOSEN)
def test_long_kernels_choose_it(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    from fastconv._backend import find_backend

    monkeypatch.setattr(algorithm, "MIN_TAPS", 32)
    problem = ConvProblem.parse(text)
    assert (plan_for(problem, backend=find_backend("gpu")).algorithm.name == "fft") == CHOSEN[text]


def test_slices_keep_the_workspace_limit(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 8x64x64000 64x64x128 p64")
    sizes = []
    for limit in (2**30, 2**27, 2**26):
        params = FFT.fitting(problem, limit)
        assert params is not None
        assert FFT.workspace(problem, params, 1) <= limit
        sizes.append(params["slice_bytes"])
    assert sizes == sorted(set(sizes), reverse=True)
    assert FFT.fitting(problem, 2**16) is None


# -- mutations
MUTATIONS = (
    # problem, what is changed, into what: each must change the result or be reported
    ("forward 1x2x17x13 3x2x5x3 p2x1", "(fc_u32)place < (fc_u32)c.array", "place < c.array"),
    ("forward 1x2x17x13 3x2x5x3 p2x1", "* c.apart[axis] - c.before[axis]", "* c.apart[axis]"),
    ("forward 1x2x17x13 3x2x5x3 p2x1", "inside &= place < c.array_size[axis];", ""),
    ("forward 1x2x21 3x2x4 d3", "element * c.step[axis] == at[axis]", "true"),
    ("backward_weight 2x3x50 4x3x9 p4", "at[axis] < c.used[axis]", "true"),
    ("backward_weight 2x3x50 4x3x9 p4", "adds && first_a", "first_a < 0 && first_a"),
    ("forward 2x3x50 5x3x9 p4", "first_b + j < s.b) to", "true) to"),
    ("forward 2x3x50 5x3x9 p4", "min(first_b + j, s.b - 1)", "(first_b + j + 1000)"),
    ("forward 2x3x50 5x3x9 p4", "-x[i].re", "x[i].re"),
    ("forward 2x3x50 5x3x9 p4 +bias", "bias[u.channel + r]", "bias[u.channel]"),
    ("forward 2x3x50 5x3x9 p4", "u.channel + r < c.channels) array", "true) array"),
)


@pytest.mark.parametrize(("text", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(text: str, old: str, new: str) -> None:
    changed = []

    def edit(source: str) -> str:
        changed.append(old in source)
        return source.replace(old, new)

    try:
        check(text, 16, 3000, edit)
    except (AssertionError, emulated_cupy.KernelError):
        assert any(changed)
        return
    pytest.fail("not found")


def test_a_mark_that_is_not_set_is_found() -> None:
    problem = ConvProblem.parse("forward 1x2x30 2x2x5")
    operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
    operands["input"].flat[20] = np.nan
    for old in ("finite &= x[r] - x[r] == 0;", "= !finite;"):
        new = "" if "&=" in old else "= 0;"
        found, _ = computed(FFT, problem, operands, {"side": 16, "slice_bytes": 0},
                            lambda text, old=old, new=new: text.replace(old, new))  # fmt: skip
        assert np.isnan(found).sum() > np.isnan(expected(problem, operands)).sum()
