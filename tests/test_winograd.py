"""winograd where it differs from others: tiles and blocks of every kind, its table of amplification, exact F(2, 3)."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from fastconv import ConvProblem, grad
from fastconv._algorithm import Operands, Params
from fastconv._backend import find_algorithm
from fastconv._choose import select
from fastconv._cpu import backend
from fastconv._cpu.algorithms.winograd import algorithm as winograd
from fastconv._cpu.engine import workspace
from fastconv._minimal_filtering import ROUNDOFFS, amplification, matrices
from fastconv._problem import DIRECTIONS
from operands import RESULT, integer_operands, place
from problems import describe

WINOGRAD = find_algorithm("winograd")
SHAPES = (
    "2x16x14x14 32x16x3x3 p1",
    "3x5x7x7 7x5x3x3 p1",
    "1x33x13x27 15x33x3x3 p0:1x2:0",
    "2x9x4x5 20x9x3x3 p-1:2x1:0",
    "2x8x11x12 8x8x5x5 p2",
    "2x6x30 18x6x3 p1",
    "2x6x30 18x6x5",
    "2x10x9x8 6x10x3x1",
    "2x9x8x17 20x9x1x7 p0x3",
    "1x20x17x6 9x20x7x1 p1:4x0",
    "2x6x31 18x6x6 p3 d2",
    "1x4x5x9x23 6x2x3x1x7 p1x0x3 g2",
    "1x8x5x9x10 12x8x3x3x3 p1",
    "1x8x6x9x10 12x8x2x1x5 d2x1x1",
    "2x12x10x9 8x6x3x3 p1 g2",
    "40x4x3x3 4x4x3x3 p1",
    "2x9x9x11 20x9x2x2",
    "1x8x13x9 6x8x4x4 p1:2x2:0",
    "2x16x14x14 32x16x3x3 p1 s2",
    "2x5x7x9 7x5x3x3 s2 p0:1x2:1",
    "1x20x12x13 40x20x4x4 s2 p1",
    "1x6x15x12 9x6x5x5 s2 p2",
    "1x4x16x11 5x4x6x6 s2 p2:3x-1:1",
    "2x6x31 18x6x4 s2 p1",
    "2x10x9x8 6x10x3x1 s2x1 p1x0",
    "1x6x4x9x10 12x6x3x3x3 s1x2x2 p1",
    "2x12x10x9 8x6x3x3 p1 s2 g2",
    "1x4x1x2 4x4x3x3 p1 s2",
    "1x3x25x23 20x3x7x7 s2 p3",
    "2x3x21x19 9x3x11x11 s4 p2",
    "1x2x13x17 5x2x8x8 s3 p1:4x2:0",
    "1x20x14x15 33x20x3x3 s2 p1",
    "1x32x9x8 8x8x3x3 s2 p1 g4",
    "2x3x61 18x3x9 s4 p1",
    "1x2x5x9x10 5x2x2x4x4 s1x2x3 p1",
    "2x3x17x14 9x3x3x5 s1x2 p1 d3x1",
    "1x4x14x23 20x2x8x2 s4x1 p2:0x3 d1x5 g2",
    "1x20x13x12 33x20x5x3 s2x1 p1 d1x2",
    # So many channels that the wide levels cut the reduction into blocks.
    "1x200x5x6 40x200x3x3 p1",
    "1x70x9x8 90x70x3x3 s2 p1",
)
CASES = [
    ConvProblem.parse(f"{direction} {shape} {layout}".strip())
    for shape in SHAPES
    for direction in DIRECTIONS
    for layout in ("", "channels_last")
]


def parameters(problem: ConvProblem) -> list[Params]:
    """Those that the tuner tries, and blocks that end in the middle of planes and of panels."""
    found = WINOGRAD.parameters(problem)
    for size in {params["tile_size"] for params in found}:
        for tiles, panels in ((1, 0), (5, 0), (7, 1)):
            found.append({"tile_size": size, "tiles": tiles, "panels": 0 if "weight" in problem.direction else panels})
    return found


def run(problem: ConvProblem, params: Params, operands: dict[str, np.ndarray], threads: int = 1) -> np.ndarray:
    role = RESULT[problem.direction]
    shape = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}[role]
    result = place(problem, role, np.full(shape, 7.0))
    arrays = {name: place(problem, name, array) for name, array in operands.items()}
    plan = select.bind(problem, WINOGRAD, params, threads, "test")
    backend.execute(plan, Operands(**arrays, **{role: result}))
    return result


@functools.cache
def expected(problem: ConvProblem) -> np.ndarray:
    operands = integer_operands(problem)
    reference = problem.replace(dtype="float64")
    role = RESULT[problem.direction]
    shape = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}[role]
    result = np.empty(shape)
    arrays = {name: array.astype(np.float64) for name, array in operands.items()}
    plan = select.plan_for(reference, "reference", 1)
    backend.execute(plan, Operands(**arrays, **{role: result}))
    return result


@pytest.mark.parametrize("problem", CASES, ids=describe)
def test_all_blocks_and_threads_give_the_same_bits(problem: ConvProblem) -> None:
    assert WINOGRAD.supports(problem)
    operands = integer_operands(problem)
    scale = np.abs(expected(problem)).max()
    for tile_size in (4, 5, 6, 8):
        results = {
            (params["tiles"], params["panels"], threads): run(problem, params, operands, threads)
            for params in parameters(problem)
            if params["tile_size"] == tile_size
            for threads in (1, 3)
        }
        for (tiles, panels, threads), result in results.items():
            where = f"tile size {tile_size}, {tiles} tiles, {panels} panels, {threads} threads"
            error = np.abs(result - expected(problem)).max()
            assert error <= WINOGRAD.error_bound(problem.replace(precision="medium")).relative * scale, where
            alone = results[tiles, panels, 1] if "weight" in problem.direction else next(iter(results.values()))
            assert result.tobytes() == alone.tobytes(), where


FEW_TAPS = [case for case in CASES if max(winograd.tiles.taps_of_phase(case)) < 4]


@pytest.mark.parametrize("problem", FEW_TAPS, ids=describe)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_4_are_exact_on_integers(problem: ConvProblem, dtype: str) -> None:
    problem = problem.replace(dtype=dtype, precision="highest")
    if not WINOGRAD.supports(problem):
        pytest.skip("wide strides are for fewer channels than lanes")
    found = [params for params in WINOGRAD.parameters(problem) if params["tile_size"] == 4]
    assert found
    for params in found:
        result = run(problem, params, integer_operands(problem))
        np.testing.assert_array_equal(result, expected(problem.replace(dtype="float32", precision="high")))


@pytest.mark.parametrize(("tile_size", "taps"), ROUNDOFFS)
def test_matrices_filter(tile_size: int, taps: int) -> None:
    to_result, of_weight, of_source = matrices(tile_size, taps)
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal(tile_size), rng.standard_normal(taps)
    np.testing.assert_allclose(to_result @ ((of_weight @ g) * (of_source @ d)), np.correlate(d, g, "valid"), atol=1e-12)
    largest = max(
        sum(abs(row[j]) * np.sqrt((of_weight[j] ** 2).sum() * (of_source[j] ** 2).sum()) for j in range(tile_size))
        for row in to_result
    )
    assert amplification(tile_size, taps) == pytest.approx(largest)


def test_precision_decides_the_tile_size() -> None:
    problem = ConvProblem.parse("forward 1x64x14x14 64x64x3x3 p1")
    assert {params["tile_size"] for params in WINOGRAD.parameters(problem)} == {4, 5, 6}
    assert {params["tile_size"] for params in WINOGRAD.parameters(problem.replace(precision="highest"))} == {4}
    assert select.admitted(WINOGRAD, problem.replace(precision="highest"))
    assert not select.admitted(WINOGRAD, problem.replace(precision="ieee"))
    five = ConvProblem.parse("forward 1x64x14x14 64x64x5x5 p2 highest")
    assert not select.admitted(WINOGRAD, five)


def test_seven_taps_are_for_one_axis_without_stride() -> None:
    line, deep = "forward 1x64x14x14 64x64x1x7 p0x3", "forward 1x1024x14x14 64x1024x7x1 p3x0"
    assert {params["tile_size"] for params in WINOGRAD.parameters(ConvProblem.parse(line))} == {8}
    assert select.admitted(WINOGRAD, ConvProblem.parse(line))
    for less_exact in (f"{line} highest", deep):
        assert not select.admitted(WINOGRAD, ConvProblem.parse(less_exact))
    for other in ("64x64x7x7 p3", "64x64x1x8 p0x4", "64x64x1x7 s1x2 p0x3", "64x64x6x7 p3"):
        assert not WINOGRAD.supports(ConvProblem.parse(f"forward 1x64x14x14 {other}"))


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("panels", [0, 1])
@pytest.mark.parametrize("shape", ["2x9x13x10 20x9x3x3 p1", "2x3x13x11 20x3x3x5 s1x2 p1 d3x1"])
def test_packed_weights_give_the_same_bits(direction: str, shape: str, panels: int) -> None:
    problem = ConvProblem.parse(f"{direction} {shape}")
    params = {"tile_size": 6, "tiles": 9, "panels": panels}
    operands = integer_operands(problem)
    arrays = {name: place(problem, name, array) for name, array in operands.items()}
    packed = WINOGRAD.pack(problem, params, arrays["weight"], 2)
    role = RESULT[direction]
    result = np.empty_like(run(problem, params, operands))
    plan = select.bind(problem, WINOGRAD, params, 2, "test")
    backend.execute(plan, Operands(**arrays, **{role: result}, packed=packed))
    assert result.tobytes() == run(problem, params, operands).tobytes()


@pytest.mark.parametrize("sizes", [(4, 80, 3), (40, 400, 40)], ids=["one round", "two rounds"])
def test_weight_gradients_in_splits_of_passes(sizes: tuple[int, int, int]) -> None:
    """Enough tiles for several splits, and for several rounds over them: the same bits at any number of threads, and
    the sum of them all."""
    channels, size, filters = sizes
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, size, size), np.float32)
    dy = rng.standard_normal((1, filters, size, size), np.float32)
    w_shape, settings = (filters, channels, 3, 3), {"padding": 1}
    dw = grad.conv2d_weight(x, w_shape, dy, **settings, algorithm="winograd", threads=1)

    def full_of_nan(size_bytes: int) -> np.ndarray:
        memory = workspace.aligned(size_bytes)
        memory[...] = 0xFF
        return memory

    with workspace.watched(full_of_nan, lambda memory: None):
        for threads in (1, 2, 3):
            again = grad.conv2d_weight(x, w_shape, dy, **settings, algorithm="winograd", threads=threads)
            np.testing.assert_array_equal(again, dw)
    wide = (x.astype(np.float64), w_shape, dy.astype(np.float64))
    exact = grad.conv2d_weight(*wide, **settings, algorithm="implicit_gemm")
    assert abs(dw - exact).max() <= 1e-5 * abs(exact).max()
