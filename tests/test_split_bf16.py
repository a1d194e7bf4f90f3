"""split_bf16 where it differs from others: blocks of every kind, precision levels, magnitudes, and AMX in software."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import emulation
import fastconv
from fastconv import ConvProblem
from fastconv._algorithm import Operands, Params
from fastconv._backend import find_algorithm
from fastconv._choose import select
from fastconv._cpu import backend
from fastconv._cpu.engine import workspace
from fastconv._problem import DIRECTIONS
from operands import RESULT, compute, exact_case, place, result_dtype, shapes
from problems import describe
from real_data import KINDS, RealCase
from subprocesses import HERE, python

SPLIT = find_algorithm("split_bf16")
PRODUCTS = {"medium": 1, "high": 3, "highest": 6}
SHAPES = (
    "2x32x8x8 32x32x3x3 p1",
    "1x33x7x9 35x33x3x3 p1",
    "3x40x9x11 50x40x3x3 p1 s2",
    "5x20x5x6 20x20x3x3 p1",
    "9x17x7x7 40x17x1x1",
    "2x24x10x9 24x24x5x5 p2",
    "3x20x13x14 18x20x3x3 p2 d2",
    "1x20x14x13 18x20x3x3 s2 p2:1x0:3 d3x1",
    "4x16x12x12 16x16x1x1 s2",
    "2x64x6x7 72x32x3x3 p1 g2",
    "2x20x40 33x20x5 p2",
    "1x16x90 16x16x3 s3",
    "3x16x4x5x6 18x16x3x3x3 p1",
    "1x16x6x7x5 18x16x2x3x1 s2x1x2 p1x1x0",
    "17x16x3x3 16x16x3x3 p1",
    "1x16x1x300 16x16x1x7 p0x3",
    "1x16x1x1 40x16x1x1",
    "1x16x3x13 18x16x1x3 p0x10",
)
CASES = [
    ConvProblem.parse(f"{direction} {shape} {layout}".strip())
    for shape in SHAPES
    for direction in DIRECTIONS
    for layout in ("", "channels_last DHWIO")
]

pytestmark = pytest.mark.skipif(not SPLIT.is_available(), reason="the ISA level in use does not multiply bfloat16")


def parameters(problem: ConvProblem) -> list[Params]:
    """Those that the tuner tries, and blocks of a few rows, a few pixels, and a few channels."""
    found = SPLIT.parameters(problem)
    return [*found, *({**found[0], "bytes": size} for size in (2**12, 2**14, 2**16))]


def run(problem: ConvProblem, params: Params, arrays: dict[str, np.ndarray], threads: int = 1) -> np.ndarray:
    role = RESULT[problem.direction]
    result = place(problem, role, np.full(shapes(problem)[role], 77), result_dtype(problem.dtype))
    plan = select.bind(problem, SPLIT, params, threads, "test")
    backend.execute(plan, Operands(**arrays, **{role: result}))
    return result


@pytest.mark.parametrize("problem", CASES, ids=describe)
@pytest.mark.parametrize("level", PRODUCTS)
def test_all_blocks_are_exact_on_integers(problem: ConvProblem, level: str) -> None:
    problem = problem.replace(precision=level)
    arrays, expected = exact_case(problem)
    for params in parameters(problem):
        assert params["products"] == PRODUCTS[level]
        np.testing.assert_array_equal(run(problem, params, arrays, 2), expected, str(params))


@pytest.mark.parametrize("problem", CASES[::5], ids=describe)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_arrays(problem: ConvProblem, dtype: str) -> None:
    """Their sums are in float32, so that only the result is rounded."""
    problem = problem.replace(dtype=dtype)
    case = RealCase(problem, "normal")
    for params in parameters(problem):
        result = run(problem, params, case.operands)
        assert max(case.ratios("split_bf16", result).values()) <= 1


def test_results_and_residuals_whatever_the_order_of_their_axes() -> None:
    """Rows may lie closer together than pixels: the first and the last of 16 pixels do not tell whether they follow."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((5, 9, 1, 1, 6), (9, 3, 2, 2, 2)))
    add = rng.integers(-3, 4, (5, 3, 2, 4, 5)).astype(np.float32)
    padding = [(0, 0), (-1, -1), (1, 1)]
    expected = fastconv.conv_transpose3d(x, w, add=add, padding=padding, algorithm="reference")
    for order in itertools.permutations(range(5)):
        back = np.argsort(order)
        transposed = add.transpose(order).copy().transpose(back)
        out = np.empty_like(add.transpose(order), order="C").transpose(back)
        fastconv.conv_transpose3d(x, w, add=transposed, padding=padding, algorithm="split_bf16", out=out)
        np.testing.assert_array_equal(out, expected, str(order))


@pytest.mark.parametrize("problem", CASES[::7], ids=describe)
def test_threads_and_items_give_the_same_bits(problem: ConvProblem) -> None:
    arrays = RealCase(problem, "normal").operands
    for params in parameters(problem):
        results = [run(problem, params, arrays, threads).tobytes() for threads in (1, 2, 3)]
        assert len(set(results)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", PRODUCTS)
def test_every_kind_of_data_keeps_the_bound(kind: str, level: str) -> None:
    for shape in ("2x64x9x9 40x64x3x3 p1", "1x300x5x5 20x300x1x1"):
        for direction in DIRECTIONS:
            case = RealCase(ConvProblem.parse(f"{direction} {shape} {level}"), kind)
            result = compute(case.problem, "split_bf16", case.operands, 2)
            assert max(case.ratios("split_bf16", result).values()) <= 1, case.repeat_line("split_bf16")


SCALES = (2.0**-149, 2.0**-126, 1e-36, 1e-30, 2.0**-61, 2.0**-59, 2.0**61, 2.0**63, 1e37, 2.0**126)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("other", [1.0, 2.0**-40])
def test_magnitudes_that_pieces_cannot_hold(scale: float, direction: str, other: float) -> None:
    """Integers times a power of two, or nearly so, are as exact as without: whatever underflows is computed again."""
    problem = ConvProblem.parse(f"{direction} 2x20x6x7 18x20x3x3 p1")
    arrays, expected = exact_case(problem)
    scale = 2.0 ** np.floor(np.log2(scale))
    first, second = arrays
    with np.errstate(over="ignore"):
        scaled = {first: arrays[first] * np.float32(scale), second: arrays[second] * np.float32(other)}
        wanted = (expected * (scale * other)).astype(np.float32)
    if not np.isfinite(wanted).all() or not all(np.isfinite(array).all() for array in scaled.values()):
        pytest.skip("the definition overflows")
    np.testing.assert_array_equal(compute(problem, "split_bf16", scaled), wanted)


def test_an_operand_of_zeros() -> None:
    for direction in DIRECTIONS:
        problem = ConvProblem.parse(f"{direction} 2x20x6x7 18x20x3x3 p1")
        arrays, _ = exact_case(problem)
        for role in arrays:
            zeroed = {**arrays, role: np.zeros_like(arrays[role])}
            assert not compute(problem, "split_bf16", zeroed).any()


def test_subnormal_results_of_bfloat16_stay() -> None:
    """The dot products have no subnormal sums, but an addend may be one."""
    problem = ConvProblem.parse("forward 1x32x5x5 32x32x1x1 bfloat16 +add")
    zeros = np.zeros(problem.input_shape, ml_dtypes.bfloat16)
    weight = np.ones(problem.weight_shape, ml_dtypes.bfloat16)
    add = np.full(problem.output_shape, 2.0**-130).astype(ml_dtypes.bfloat16)
    result = compute(problem, "split_bf16", {"input": zeros, "weight": weight, "add": add})
    np.testing.assert_array_equal(result.astype(np.float64), 2.0**-130)


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("shape", ["2x40x9x11 50x40x3x3 p1 s2", "2x40x6x6 33x40x1x1"])
def test_packed_weights_give_the_same_bits(direction: str, shape: str) -> None:
    problem = ConvProblem.parse(f"{direction} {shape}")
    arrays = RealCase(problem, "normal").operands
    params = SPLIT.parameters(problem)[0]
    packed = SPLIT.pack(problem, params, arrays["weight"], 2)
    role = RESULT[direction]
    result = np.empty_like(run(problem, params, arrays))
    plan = select.bind(problem, SPLIT, params, 2, "test")
    backend.execute(plan, Operands(**arrays, **{role: result}, packed=packed))
    assert result.tobytes() == run(problem, params, arrays).tobytes()


def test_precision_decides_the_products() -> None:
    problem = ConvProblem.parse("forward 1x64x14x14 64x64x3x3 p1")
    for level, products in PRODUCTS.items():
        assert {params["products"] for params in SPLIT.parameters(problem.replace(precision=level))} == {products}
    assert not SPLIT.supports(problem.replace(precision="ieee"))
    for level in ("high", "medium"):
        assert select.admitted(SPLIT, problem.replace(precision=level))
    assert SPLIT.error_bound(problem).relative > select.PRECISION_LIMITS["highest"]


@pytest.mark.skipif(emulation.LIBRARY in os.environ, reason="this is already a run in emulation")
def test_matrix_tiles_in_software(tmp_path: Path) -> None:
    """The code of the level "amx", compiled with emulated tile instructions, passes these tests and the exact ones."""
    if not emulation.can_run():
        pytest.skip("the emulation is written in AVX-512")
    library = emulation.compile_library(tmp_path)
    if library is None:
        pytest.skip("no C compiler that knows AMX")
    files = [
        str(HERE / name) for name in ("test_split_bf16.py", "test_exact.py", "test_guarded.py", "test_nonfinite.py")
    ]
    options = ("-x", "-p", "no:cacheprovider", "-k", "split_bf16 or nonfinite")
    outcome = python("-m", "pytest", *options, *files, timeout=900, **{emulation.LIBRARY: str(library)})
    assert outcome.returncode == 0, outcome.stdout[-6000:] + outcome.stderr[-2000:]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "shape", ["1x16x2x29 17x16x1x3", "1x3x3x13 3x3x1x3", "3x16x3x9 16x16x3x4", "1x16x4x1 16x16x2x16"]
)
def test_padding_wider_than_the_kernel(shape: str, direction: str) -> None:
    """Rows share the zeros between them, and each pixel's sums are there when it is stored; scratch memory is NaN."""

    def full_of_nan(size: int) -> np.ndarray:
        memory: np.ndarray = workspace.aligned(size)
        memory.fill(0xFF)
        return memory

    for padding in range(16):
        try:
            problem = ConvProblem.parse(f"{direction} {shape} p0x{padding}")
        except ValueError:
            continue  # a kernel that is wider than the image
        operands, expected = exact_case(problem)
        with workspace.watched(full_of_nan, lambda memory: None):
            result = compute(problem, "split_bf16", operands, 1)
        np.testing.assert_array_equal(result, expected, err_msg=str(padding))
