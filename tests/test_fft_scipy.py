"""fft where its tiles matter: every size of tile, many blocks, both ways of multiplying, NaN, memory, choice."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._backend import find_algorithm
from fastconv._choose import select
from fastconv._cpu import backend, nonfinite
from fastconv._cpu.algorithms.fft_scipy import algorithm as fft
from fastconv._cpu.algorithms.fft_scipy import overlap_save
from fastconv._cpu.engine import workspace
from fastconv._problem import DIRECTIONS
from operands import RESULT, compute, exact_case, placed, rounded, shapes
from problems import SHAPES, describe, problems

LONG = (
    "2x3x500 4x3x33 p16",
    "1x2x61x47 3x2x9x13 p4x6",
    "2x4x21x19 6x4x5x5 s2 p2",
    "2x6x40x9 4x3x11x1 p5x0 g2",
    "1x5x23x31 5x1x7x9 p3x4 g5",
    "5x8x90 8x8x5 d7 s3 p14",
    "1x4x9x10x30 4x4x3x1x7 p1x0x3",
    "3x2x17x16 8x2x6x5 s1x2 p-2:3x4:-1 channels_last",
)
FFT = find_algorithm("fft_scipy")


@pytest.fixture(params=["planes", "matrices"])
def tiny_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of one tile, or two and more rows, with either way of multiplying spectra."""
    monkeypatch.setattr(overlap_save, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(overlap_save, "MATRIX_BLOCK_BYTES", 10_000)
    monkeypatch.setattr(overlap_save, "ROW_POINTS", 50)
    monkeypatch.setattr(overlap_save, "MIN_MATRIX_CHANNELS", 1 if request.param == "matrices" else 100)
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for cached in (overlap_save.tiling, overlap_save.blocking, fft._sides):
        cached.cache_clear()
    select.forget_plans()


def real_operands(problem: ConvProblem, scale: float = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    made = {role: scale * rng.standard_normal(shape) for role, shape in shapes(problem).items()}
    if problem.dtype.startswith("complex"):
        made = {role: array + 1j * rng.standard_normal(array.shape) for role, array in made.items()}
    return placed(problem, made)


def compute_with_tile(problem: ConvProblem, operands: dict[str, np.ndarray], tile: int, threads: int = 1) -> np.ndarray:
    role = RESULT[problem.direction]
    result = np.full(shapes(problem)[role], 77, operands[next(iter(operands))].dtype)
    arrays = {name: array for name, array in operands.items() if name != role}
    backend.execute(
        select.plan_for(problem, "fft_scipy", threads, {"tile": tile}), Operands(**arrays, **{role: result})
    )
    return result


@pytest.mark.parametrize("problem", problems(LONG), ids=describe)
def test_every_tile(problem: ConvProblem) -> None:
    operands, expected = exact_case(problem)
    tiles = [params["tile"] for params in FFT.parameters(problem)]
    for tile in tiles:
        assert (rounded(compute_with_tile(problem, operands, tile)) == expected).all(), tile


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("problem", problems(LONG), ids=describe)
def test_many_blocks(problem: ConvProblem, dtype: str) -> None:
    problem = problem.replace(dtype=dtype)
    operands, expected = exact_case(problem)
    blocks = overlap_save.blocking(problem, 16)
    assert len(blocks.tasks()) == blocks.task_count > 1
    for threads in (1, 3):
        assert (rounded(compute_with_tile(problem, operands, 16, threads)) == expected).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("problem", problems(LONG[:5]), ids=describe)
def test_threads_do_not_change_the_bits(problem: ConvProblem, dtype: str) -> None:
    problem = problem.replace(dtype=dtype)
    operands = real_operands(problem)
    one = compute_with_tile(problem, operands, 32, 1)
    for threads in (2, 5):
        assert compute_with_tile(problem, operands, 32, threads).tobytes() == one.tobytes()


@pytest.mark.parametrize("problem", problems(LONG, directions=("forward", "backward_input")), ids=describe)
def test_packed_spectra_give_the_same_bits(problem: ConvProblem) -> None:
    operands = real_operands(problem)
    role = RESULT[problem.direction]
    plan = select.plan_for(problem, "fft_scipy", 2)
    packed = backend.pack(plan.algorithm, problem, plan.params, operands["weight"], 2)
    assert packed is not None
    arrays = {name: array for name, array in operands.items() if name != role}
    result = np.empty_like(operands[role])
    backend.execute(plan, Operands(**arrays, **{role: result}, packed=packed))
    assert result.tobytes() == compute(problem, "fft_scipy", operands, 2).tobytes()


@pytest.mark.parametrize("algorithm", ["fft_scipy", "fft_fused", "winograd"])
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_only_the_images_that_hold_nan_are_computed_again(
    direction: str, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = ConvProblem.parse(f"{direction} 6x2x40x40 3x2x5x5 p2")
    operands = real_operands(problem)
    operands["output" if direction == "backward_input" else "input"][4, 1, 0, 20, 20] = np.nan
    again = []
    direct = nonfinite.recompute
    monkeypatch.setattr(nonfinite, "recompute", lambda *arguments: (again.append(arguments[0]), direct(*arguments)))
    found = np.isnan(compute(problem, algorithm, operands))
    assert [part.batch for part in again] == [1]
    assert np.array_equal(found, np.isnan(compute(problem, "reference", operands)))
    assert found[4].any()
    assert not found[4].all()


@pytest.mark.parametrize("algorithm", ["fft_scipy", "fft_fused"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_overflow_on_the_way_is_not_overflow(direction: str, algorithm: str) -> None:
    """Spectra of these arrays exceed float32 while no result does."""
    problem = ConvProblem.parse(f"{direction} 1x1x64x64 1x1x5x5")
    operands = real_operands(problem)
    largest = {"forward": "input", "backward_input": "output", "backward_weight": "input"}[direction]
    operands[largest] = np.abs(operands[largest])
    operands[largest] *= np.float32(3e37) / operands[largest].max()
    for role in operands.keys() - {largest}:
        operands[role] *= np.float32(1e-3)
    found, wanted = compute(problem, algorithm, operands), compute(problem, "reference", operands)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("shape", ["4x16x120x120 16x16x15x15 p7", "2x64x96x96 64x1x21x21 p10 g64"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_memory_is_what_the_plan_says(direction: str, shape: str) -> None:
    problem = ConvProblem.parse(f"{direction} {shape}")
    plan = select.plan_for(problem, "fft_scipy", 2)
    operands = real_operands(problem)
    result = np.empty(problem.result_shape, np.float32)
    compute(problem, "fft_scipy", operands, 2, result)
    workspace.drop()
    tracemalloc.start()
    compute(problem, "fft_scipy", operands, 2, result)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kernels, *per_block = fft._scratch_bytes(overlap_save.blocking(problem, plan.params["tile"]), 2)
    # The workspace counts what scipy.fft allocates for the blocks at hand; traced, that is there twice.
    assert peak < plan.workspace_bytes + 2 * sum(per_block) + kernels // 4 + 6e6
    assert plan.workspace_bytes < 60e6


@pytest.mark.parametrize("least", [1, 2, 7, 17, 97, 131, 1000, 1025, 40_000])
def test_fast_lengths(least: int) -> None:
    length = overlap_save.fast_length(least)
    assert least <= length <= max(2, 1.25 * least + 1)
    assert length % 2 == 0
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1


TILED = [p for p in problems((*LONG, *SHAPES["strided"], *SHAPES["1-D"], *SHAPES["3-D"])) if FFT.supports(p)]


@pytest.mark.parametrize("problem", TILED, ids=describe)
def test_tiles_cover_every_position_once(problem: ConvProblem) -> None:
    tiling = overlap_save.tiling(problem, 16)
    count = np.zeros((problem.batch, *tiling.positions), int)
    tiles = tiling.tiles()
    assert len(tiles) == tiling.tile_count
    for n, start in tiles:
        begin = [a - first for a, first in zip(start, tiling.first, strict=True)]
        count[(n, *(slice(a, a + size) for a, size in zip(begin, tiling.valid, strict=True)))] += 1
    assert (count == 1).all()


def test_what_it_declines() -> None:
    for shape in ("1x3x8x8 4x3x1x1", "1x3x8x8 4x3x2x2 s2", "0x3x8x8 4x3x3x3", "1x3x8x8 4x3x3x3 s3"):
        assert not FFT.supports(ConvProblem.parse(f"forward {shape}")), shape
    assert FFT.supports(ConvProblem.parse("forward 1x3x8x8 4x3x2x2"))
    assert not FFT.supports(ConvProblem.parse("forward 1x1x9000000 1x1x5000000"))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_is_chosen_where_it_wins(direction: str) -> None:
    """By the cost model: long and large kernels that `fft_fused` declines, with strides or three axes, or very long."""
    for shape in (
        "4x64x8000 64x64x129 s2 float64",  # in float32 bfloat16 matrices are faster
        "1x1x1024x1024 1x1x63x63 s2",
        "1x1x64x64x64 1x1x15x15x15",
        "1x1x3000000 1x1x100000",
    ):
        plan = select.plan_for(ConvProblem.parse(f"{direction} {shape}"), "auto", 1)
        assert plan.algorithm.name == "fft_scipy", plan
    for shape in (
        "1x1x16 1x1x5",
        "8x64x56x56 64x64x3x3 s2",
        "1x1x1024x1024 1x1x5x5 s2",
        "1x1x65536 1x1x9 s2",
        "4x3x99x99 8x3x3x3 s2",
    ):
        plan = select.plan_for(ConvProblem.parse(f"{direction} {shape}"), "auto", 1)
        assert plan.algorithm.name != "fft_scipy", plan


def test_ieee_excludes_it() -> None:
    problem = ConvProblem.parse("forward 4x64x8000 64x64x128 ieee")
    assert "fft_scipy" not in [algorithm.name for algorithm, _, _ in select.candidates(problem, 1)]
    assert "fft_scipy" in [
        algorithm.name for algorithm, _, _ in select.candidates(problem.replace(precision="highest"), 1)
    ]
