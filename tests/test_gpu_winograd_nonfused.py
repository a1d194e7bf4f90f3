"""The GPU's winograd_nonfused: close to the definition, within its bounds, in slices and parts; choice, mutations."""

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
from fastconv._choose.select import PRECISION_LIMITS, candidates
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.winograd import ALGORITHMS, nonfused, transforms
from fastconv._minimal_filtering import HIGH_LIMIT
from gpu_steps import alone, computed, expected
from operands import integer_operands

NONFUSED = ALGORITHMS[1]
needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)
LARGE = 2**29


def check(text: str, tile_size: int, slice_bytes: int = LARGE, edit: Any = lambda text: text) -> list[str]:
    """Tiles of 4 are exact on integers; those of 6 have coefficients that are no fractions of powers of two."""
    problem = ConvProblem.parse(text)
    with emulated_cupy.installed():
        assert NONFUSED.supports(problem)
    operands, params = integer_operands(problem), {"tile_size": tile_size, "slice_bytes": slice_bytes}
    found, names = computed(NONFUSED, problem, operands, params, lambda text: edit(alone(text)))
    exact = expected(problem, operands)
    allowed = 0.0 if tile_size == 4 else NONFUSED.error_bound(problem).relative * float(np.abs(exact).max())
    np.testing.assert_allclose(found, exact, rtol=0, atol=allowed, err_msg=text)
    return names


CASES = (
    "forward 2x3x9x11 5x3x3x3 p1",
    "forward 1x9x6x8 6x9x3x3 p1 +bias+add+relu",
    "forward 3x8x7x10 4x4x3x3 p0:2x-1:1 g2",
    "forward 1x2x3x6x5 3x2x1x3x3 p0x1x1",
    "forward 2x4x5x8 3x4x3x3 p1 channels_last DHWIO +bias+add",
    "forward 2x5x1x13 3x5x1x3 p0x1",
    "backward_input 2x5x9x11 7x5x3x3 p1",
    "backward_input 1x3x5x12 4x3x3x3 p2:0x1 +add",
    "backward_input 2x8x7x6 6x4x3x3 g2 channels_last ODHWI +bias",
    "backward_input 1x3x6x5 4x3x3x1 p-1:2x0",
    "backward_weight 2x6x9x7 5x6x3x3 p1",
    "backward_weight 2x8x7x6 6x4x3x3 p2:0x1 g2 channels_last ODHWI",
    "backward_weight 1x3x2x5x6 4x3x1x3x3",
    "backward_weight 3x4x15 5x4x3",
)


@needs_nvrtc
@pytest.mark.parametrize("tile_size", [4, 6])
@pytest.mark.parametrize("text", CASES)
def test_close_to_the_definition(text: str, tile_size: int) -> None:
    check(text, tile_size)


@needs_nvrtc
@pytest.mark.parametrize("text", [CASES[1], CASES[10]])
def test_slices_and_offsets_of_64_bits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "OFFSET_LIMIT", 1)
    problem = ConvProblem.parse(text)
    of_tile = 4 * 16 * (problem.in_channels + problem.out_channels)
    assert check(text, 4, 9 * of_tile).count("product") > 1


@needs_nvrtc
@pytest.mark.parametrize("text", CASES[10:12])
def test_parts_of_weight_gradients(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "MAX_CHAIN", 8)
    monkeypatch.setattr(transforms, "WANTED_BLOCKS", 48)
    assert check(text, 4).count("product") > 1


@needs_nvrtc
def test_blocks_with_several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "MAX_MARKS", 2)
    check(CASES[0], 4)


@needs_nvrtc
@pytest.mark.parametrize("direction", ["forward", "backward_weight"])
@pytest.mark.parametrize("tile_size", [4, 6])
def test_bounds(direction: str, tile_size: int) -> None:
    rng = np.random.default_rng(2)
    problem = ConvProblem.parse(f"{direction} 1x24x9x10 20x24x3x3 p1" + (" highest" if tile_size == 4 else ""))
    operands = {role: rng.normal(size=a.shape).astype("f4") for role, a in integer_operands(problem).items()}
    exact = oracle.convolve(problem, {role: array.astype(np.float64) for role, array in operands.items()})
    found, _ = computed(NONFUSED, problem, operands, {"tile_size": tile_size, "slice_bytes": LARGE}, alone)
    bound, error = NONFUSED.error_bound(problem), float(np.abs(found - exact).max())
    assert bound.elementwise is None
    assert 0 < error <= bound.relative * float(np.abs(exact).max())
    assert error <= bound.normwise * math.prod(float(np.linalg.norm(array)) for array in operands.values())
    assert bound.relative < PRECISION_LIMITS[problem.precision]


@needs_nvrtc
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinities_are_where_the_definition_has_them(bad: float) -> None:
    for text in ("forward 2x3x7x6 4x3x3x3 p1 +bias", "backward_weight 2x3x7x6 4x3x3x3 p1"):
        problem = ConvProblem.parse(text)
        for role in set(integer_operands(problem)) - {"bias"}:
            operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
            operands[role].flat[operands[role].size // 2] = bad
            found, _ = computed(NONFUSED, problem, operands, {"tile_size": 6, "slice_bytes": LARGE})
            np.testing.assert_array_equal(found, expected(problem, operands))


def test_high_admits_what_the_level_says() -> None:
    assert HIGH_LIMIT == PRECISION_LIMITS["high"]


# -- choice
@pytest.fixture
def gpu() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


def test_precision_decides_the_tile_size(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 32x64x56x56 64x64x3x3 p1")
    first = {level: NONFUSED.parameters(problem.replace(precision=level))[0] for level in ("highest", "high", "medium")}
    assert {level: params["tile_size"] for level, params in first.items()} == {"highest": 4, "high": 6, "medium": 6}
    assert len(NONFUSED.parameters(problem)) == 6
    assert len(NONFUSED.parameters(ConvProblem.parse("forward 1x8x9x9 8x8x3x3 p1"))) == 2  # of one slice
    wide = ConvProblem.parse("forward 2x1280x14x14 64x1280x3x3 p1")
    assert {params["tile_size"] for params in NONFUSED.parameters(wide)} == {4}
    for text in ("32x64x224x224 64x64x3x3 p1", "1x8x9x9 8x8x3x3"):
        for level in ("highest", "high"):
            gradient = ConvProblem.parse(f"backward_weight {text} {level}")
            assert NONFUSED.error_bound(gradient).relative <= PRECISION_LIMITS[level]


PREFERRED = {
    "forward 32x64x56x56 64x64x3x3 p1": True,
    "backward_input 32x256x14x14 256x256x3x3 p1": True,
    "backward_weight 32x128x28x28 128x128x3x3 p1": True,
    "backward_weight 32x128x28x28 128x128x3x3 p1 highest": True,
    "forward 32x128x28x28 128x128x3x3 p1 ieee": False,
    "forward 32x3x224x224 64x3x3x3 p1": False,
    "forward 1x32x8x8 32x32x3x3 p1": False,
}


@pytest.mark.parametrize("text", PREFERRED)
def test_large_layers_prefer_it(gpu: ArrayModule, text: str) -> None:
    found = [one for one in candidates(ConvProblem.parse(text), 1, backend=find_backend("gpu")) if one[0].is_proven]
    assert (found[0][0] is NONFUSED) == PREFERRED[text], [(one[0].name, one[2]) for one in found[:4]]


def test_planning_does_not_build_all_slices(gpu: ArrayModule) -> None:
    huge = ConvProblem.parse("forward 64x256x2048x2048 256x256x3x3 p1")
    build = transforms.Builder(Operation.contiguous(huge), 4, 2**22)
    assert len(build.slices) > 10_000
    assert len(build.build(slices=1)) == 5
    assert NONFUSED.cost(huge, {"tile_size": 4, "slice_bytes": 2**22}, 1, find_backend("gpu").default_machine()) > 0.1


@needs_nvrtc
def test_slices_become_smaller_until_they_fit(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 32x64x56x56 64x64x3x3 p1")
    params = NONFUSED.fitting(problem, 2**27)
    assert params is not None
    assert NONFUSED.workspace(problem, params, 1) <= 2**27
    assert NONFUSED.fitting(problem, 2**16) is None


@needs_nvrtc
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_plans_with_packed_weights(gpu: ArrayModule, name: str) -> None:
    """However they lie."""
    draw = np.random.default_rng(0)
    x, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((1, 5, 6, 7), (5, 5, 3, 3)))
    settings = {"algorithm": "winograd_nonfused", "backend": "gpu", "precision": "highest"}
    planned = fastconv.plan(name, x.shape, w.shape, padding=1, **settings)
    exact = getattr(fastconv, name)(x, w, padding=1)
    for axes in ((0, 1, 2, 3), (2, 3, 1, 0)):
        weight = gpu.to(np.ascontiguousarray(w.transpose(axes))).transpose(np.argsort(axes).tolist())
        np.testing.assert_array_equal(planned(gpu.to(x), planned.pack(weight)).get(), exact)


@pytest.mark.parametrize("text", ["forward 2x8x9x9 8x8x3x3 s2 p1", "forward 2x8x9x9 8x8x3x3 d2",
                                  "forward 2x8x9x9 8x8x1x1", "forward 2x8x9x9x9 8x8x3x3x3"])  # fmt: skip
def test_what_it_does_not_compute(gpu: ArrayModule, text: str) -> None:
    assert not NONFUSED.supports(ConvProblem.parse(text))
    assert nonfused.WinogradNonfused.capability == (7, 5)


# -- mutations
MUTATIONS = (
    # problem, what is changed, into what: each must change the result or be reported
    (CASES[0], "(fc_u32)(at.h + i) < (fc_u32)c.size[0] &&", ""),
    (CASES[3], "const bool there = c.first + tile < c.tiles;", "const bool there = true;"),
    (CASES[0], "if (!VECTORS && at.w + j >= c.size[1]) continue;", ""),
    (CASES[3], "if (c.first + tile >= c.tiles) continue;", ""),
    (CASES[1], "if (add) z =", "if (false) z ="),
    (CASES[1], "return thread < c.threads;", "return true;"),
    (CASES[2], "points += fc_matrix_offset(tile, channel, c);", "points += fc_matrix_offset(tile, 0, c);"),
    (CASES[8], "bias[blockIdx.y * c.channels + channel]", "bias[channel]"),
    (CASES[8], "const float *from = source + (c.at + ", "const float *from = source + ("),
    (CASES[11], "blockIdx.y * c.matrix_stride + tile", "tile"),
)


@needs_nvrtc
@pytest.mark.parametrize(("text", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(text: str, old: str, new: str) -> None:
    changed = []

    def edit(source: str) -> str:
        changed.append(old in source)
        return source.replace(old, new)

    try:
        with emulated_cupy.pretend(seed=3):
            check(text, 4, edit=edit)
    except (AssertionError, emulated_cupy.KernelError):
        assert any(changed)
        return
    pytest.fail("not found")
