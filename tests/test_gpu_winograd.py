"""The GPU's winograd: exact on small integers, bounds, data that are not finite, choice, mutations."""

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
from emulated_cupy import nvrtc
from fastconv import ConvProblem
from fastconv._backend import find_backend
from fastconv._choose.select import PRECISION_LIMITS, plan_for
from fastconv._gpu.algorithms.winograd import ALGORITHMS
from gpu_steps import alone, computed, expected
from operands import integer_operands

WINOGRAD = ALGORITHMS[0]
pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)


def check(text: str, edit: Any = lambda text: text) -> None:
    problem = ConvProblem.parse(text)
    assert WINOGRAD.supports(problem)
    operands = integer_operands(problem)
    found, names = computed(WINOGRAD, problem, operands, {}, lambda text: edit(alone(text)))
    np.testing.assert_array_equal(found, expected(problem, operands), text)
    assert names[:2] == ["winograd_pack", "winograd_correlate"]


EXACT = (
    "forward 2x3x9x11 5x3x3x3 p1",
    "forward 1x9x6x8 66x9x3x3 p1 +bias+add+relu",
    "forward 3x8x7x10 4x4x3x3 p0:2x-1:1 g2",
    "forward 1x2x3x6x5 3x2x1x3x3 p0x1x1",
    "forward 2x4x5x4 3x4x3x3 p1 channels_last DHWIO +bias",
    "backward_input 2x5x9x11 17x5x3x3 p1",
    "backward_input 1x67x5x6 9x67x3x3 p2:0x1 +add",
    "backward_input 2x8x7x6 6x4x3x3 g2 channels_last ODHWI +bias",
    "backward_input 1x3x6x5 4x3x3x3 p-1:3",
)


@pytest.mark.parametrize("text", EXACT)
def test_exact(text: str) -> None:
    check(text)


def test_offsets_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastconv._gpu.algorithms.winograd import algorithm

    monkeypatch.setattr(algorithm, "OFFSET_LIMIT", 1)
    check(EXACT[0])


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_bounds(direction: str) -> None:
    rng = np.random.default_rng(2)
    problem = ConvProblem.parse(f"{direction} 1x32x9x10 20x32x3x3 p1")
    operands = {role: rng.normal(size=a.shape).astype("f4") for role, a in integer_operands(problem).items()}
    exact = oracle.convolve(problem, {role: array.astype(np.float64) for role, array in operands.items()})
    found, _ = computed(WINOGRAD, problem, operands, {}, alone)
    bound, error = WINOGRAD.error_bound(problem), float(np.abs(found - exact).max())
    assert bound.elementwise is None
    assert 0 < error <= bound.relative * float(np.abs(exact).max())
    assert error <= bound.normwise * math.prod(float(np.linalg.norm(array)) for array in operands.values())
    assert bound.relative < PRECISION_LIMITS["highest"]


@pytest.mark.parametrize("role", ["input", "weight", "output"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinities_are_where_the_definition_has_them(role: str, bad: float) -> None:
    for direction in ("forward", "backward_input"):
        problem = ConvProblem.parse(f"{direction} 2x3x7x6 4x3x3x3 p1 +bias")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        if role not in operands:
            continue
        operands[role].flat[operands[role].size // 2] = bad
        found, _ = computed(WINOGRAD, problem, operands, {})
        np.testing.assert_array_equal(found, expected(problem, operands))


def test_subnormal_numbers_are_kept() -> None:
    """Although CuPy compiles with -ftz=true."""
    problem = ConvProblem.parse("forward 1x1x4x4 1x1x3x3")
    operands = {"input": np.full((1, 1, 1, 4, 4), 2.0**-140), "weight": np.zeros((1, 1, 1, 3, 3))}
    operands["weight"][..., 0, 0] = 4
    found, _ = computed(WINOGRAD, problem, operands, {})
    np.testing.assert_array_equal(found, np.full((1, 1, 1, 2, 2), 2.0**-138, np.float32))


# -- calls
@pytest.fixture
def gpu() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


def test_plans_with_packed_weights(gpu: ArrayModule) -> None:
    draw = np.random.default_rng(0)
    x, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((1, 9, 6, 7), (5, 9, 3, 3)))
    planned = fastconv.plan("conv2d", x.shape, w.shape, padding=1, algorithm="winograd", backend="gpu")
    packed = planned.pack(gpu.to(w))
    np.testing.assert_array_equal(planned(gpu.to(x), packed).get(), fastconv.conv2d(x, w, padding=1))


def test_devices_with_too_little_shared_memory(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 8x64x56x56 64x64x3x3 p1")
    assert WINOGRAD.supports(problem)
    with gpu.module.cuda.Device(1):
        assert not WINOGRAD.supports(problem)


PREFERRED = {
    "forward 32x128x28x28 128x128x3x3 p1": True,
    "backward_input 32x256x56x56 256x256x3x3 p1": True,
    "forward 32x128x28x28 128x128x3x3 p1 ieee": False,
    "forward 32x3x56x56 64x3x3x3 p1": False,
    "forward 1x32x8x8 32x32x3x3 p1": False,
}


@pytest.mark.parametrize("text", PREFERRED)
def test_large_layers_prefer_it_to_implicit_gemm(gpu: ArrayModule, text: str) -> None:
    """On the same units; those of tensor cores may be faster than both."""
    names = [name for name, _ in plan_for(ConvProblem.parse(text), backend=find_backend("gpu")).candidates]
    is_first = "winograd" in names and names.index("winograd") < names.index("implicit_gemm")
    assert is_first == PREFERRED[text]


@pytest.mark.parametrize("text", ["forward 2x8x9x9 8x8x3x3 s2 p1", "forward 2x8x9x9 8x8x3x3 d2",
                                  "backward_weight 2x8x9x9 8x8x3x3", "forward 2x8x9x9x9 8x8x3x3x3"])  # fmt: skip
def test_what_it_does_not_compute(text: str) -> None:
    assert not WINOGRAD.supports(ConvProblem.parse(text))


# -- mutations
MUTATIONS = (
    # problem, what is changed, into what: each must change the result or be reported
    (EXACT[1], "__syncthreads(); // the next step", "// the next step"),
    (EXACT[1], "__syncthreads(); // the first step", "// the first step"),
    (EXACT[1], "__syncthreads(); // the points", "// the points"),
    (EXACT[1], "__syncthreads(); // they are read", "// they are read"),
    (EXACT[1], "transform(step + 1);\n        fc_copy_wait<0>();", "transform(step + 1);"),
    (EXACT[0], "(inside >> i & 1)", "(inside | 1)"),
    (EXACT[0], "if (tile >= c.tiles) inside = 0;", "if (tile >= c.tiles) from += 1 << 20;"),
    (EXACT[1], "step * CHANNELS + warp % CHANNELS < c.channels", "true"),
    (EXACT[1], "if (f < c.filters && tile", "if (tile"),
    (EXACT[0], "|| at.w + w >= c.result_size[1]", ""),
    (EXACT[1], "pass % 2 * 2 + own_warp % 2", "own_warp % 2"),
    (EXACT[1], "if (bias) z", "if (false) z"),
)


@pytest.mark.parametrize(("text", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(text: str, old: str, new: str) -> None:
    changed = []

    def edit(source: str) -> str:
        changed.append(old in source)
        return source.replace(old, new)

    try:
        with emulated_cupy.pretend(seed=3):
            check(text, edit)
    except (AssertionError, emulated_cupy.KernelError):
        assert any(changed)
        return
    pytest.fail("not found")
