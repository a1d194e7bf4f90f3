"""NaN and infinities come out where the definition puts them, whatever the algorithm; everything else is unharmed.

Padding is made of real zeros, so that 0 * inf is NaN at the borders of forward and backward_weight; backward_input sums
only the products that exist.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import fastconv
import oracle
from fastconv import ConvProblem
from fastconv._backend import find_algorithm
from operands import ALGORITHMS, RESULT, accepted, compute, integer_operands, placed, repro, rounded
from problems import NARROW, SHAPES, describe, problems

LISTS = ("basic", "tails", "dilated", "strided", "grouped", "depthwise", "planes", "padded", "1-D", "3-D", "1x1")
LISTS += (
    "channels last",
    "depthwise, channels last",
    "grouped, channels last",
    "grouped, channels first",
    "strided, several channels",
    "unusual axes",
)
VALUES = (np.nan, np.inf, -np.inf)


def planted(problem: ConvProblem, role: str, count: int) -> dict[str, np.ndarray]:
    """Integer operands in float64 (or complex128) with some zeros, and NaN or infinities in one of them."""
    rng = np.random.default_rng(zlib.crc32(f"{problem} {role} {count}".encode()))
    operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
    for name, array in operands.items():
        array.flat[rng.integers(0, array.size, array.size // 5)] = 0
        if name == role:
            array.flat[rng.integers(0, array.size, count)] = rng.choice(VALUES, count)
    return operands


def check(problem: ConvProblem, role: str, count: int) -> None:
    operands = planted(problem, role, count)
    with np.errstate(invalid="ignore"):
        plain = oracle.convolve(problem, operands)
        expected = oracle.finish(problem, plain, operands.get("bias"), operands.get("add"))
        arrays = placed(problem, operands)
    finite = np.isfinite(expected)
    for algorithm in accepted(problem):
        with np.errstate(invalid="ignore", over="ignore"):
            result = compute(problem, algorithm, arrays, threads=2)
        told = f"{count} in {role}: {repro(problem, algorithm)}"
        if problem.dtype.startswith("complex"):
            np.testing.assert_array_equal(np.isfinite(result), finite, told)
        else:
            for found in (np.isnan, np.isposinf, np.isneginf):
                np.testing.assert_array_equal(found(result.astype(np.float64)), found(expected), told)
        if not find_algorithm(algorithm).exact_on_integers:
            result = rounded(result)
        np.testing.assert_array_equal(result[finite], expected[finite].astype(result.dtype), told)


@pytest.mark.parametrize("problem", problems(shape for name in LISTS for shape in SHAPES[name]), ids=describe)
def test_float32(problem: ConvProblem) -> None:
    for role in {"input", "weight", "output"} - {RESULT[problem.direction]}:
        for count in (1, 3):
            check(problem, role, count)


@pytest.mark.parametrize(
    "problem",
    [p for dtype in ("float64", "float16", "bfloat16", "complex64") for p in problems(NARROW, dtype)],
    ids=str,
)
def test_other_dtypes(problem: ConvProblem) -> None:
    for role in {"input", "weight", "output"} - {RESULT[problem.direction]}:
        check(problem, role, 2)


@pytest.mark.parametrize("activation", ["", "+relu", "+relu6", "+leaky_relu=0.5"])
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_epilogue(direction: str, activation: str) -> None:
    """NaN stays NaN through every activation; infinities become what its formula says."""
    for shape in ("2x3x8x8 4x3x3x3 p1", "1x17x6x7 13x17x3x3 p1 channels_last"):
        problem = ConvProblem.parse(f"{direction} {shape} +bias+add{activation}")
        for role in ("weight", "bias", "add"):
            check(problem, role, 2)


@pytest.mark.parametrize("activation", ["silu", "gelu", "tanh", "sigmoid"])
def test_smooth_activations_of_infinities(activation: str) -> None:
    problem = ConvProblem.parse(f"forward 1x1x6 1x1x1 +add+{activation}")
    values = np.array([np.nan, np.inf, -np.inf, 0, 1, -1]).reshape(problem.input_shape)
    with np.errstate(invalid="ignore"):
        expected = oracle.activate(values, activation, 0.01)
        for algorithm in accepted(problem):
            zeros = np.zeros(problem.input_shape, np.float32)
            operands = {
                "input": zeros,
                "weight": np.ones((1, 1, 1, 1, 1), np.float32),
                "add": values.astype(np.float32),
            }
            result = compute(problem, algorithm, operands)
            np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7, err_msg=algorithm)


def test_all_nan_input() -> None:
    for direction in RESULT:
        problem = ConvProblem.parse(f"{direction} 1x5x9x11 7x5x3x3 p1")
        for algorithm in accepted(problem):
            operands = {role: np.full_like(a, np.nan) for role, a in placed(problem, integer_operands(problem)).items()}
            assert np.isnan(compute(problem, algorithm, operands)).all(), algorithm


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinity_in_a_single_pixel_stays_infinity(dtype: str) -> None:
    """Kernels that sum along the reduction meet every element once, wherever their vectors end."""
    for channels in (2, 3, 5, 9, 17, 18, 33, 34, 47, 66):
        problem = ConvProblem.parse(f"forward 1x{channels}x1 5x{channels}x1 {dtype}")
        x, w = np.ones(problem.input_shape, dtype), np.ones(problem.weight_shape, dtype)
        for place in {0, 1, channels // 2, channels - 2, channels - 1}:
            of_x, of_w = x.copy(), w.copy()
            of_x[0, place], of_w[-1, place] = np.inf, np.inf
            for algorithm in accepted(problem):
                found = compute(problem, algorithm, {"input": of_x, "weight": w}).ravel().tolist()
                assert found == [np.inf] * 5, (algorithm, channels, place)
                found = compute(problem, algorithm, {"input": x, "weight": of_w}).ravel().tolist()
                assert found == [channels] * 4 + [np.inf], (algorithm, channels, place)


@pytest.mark.parametrize("algorithm", [a.name for a in ALGORITHMS if a.reads_padding])
def test_infinite_weights_beside_padding_in_public_calls(algorithm: str) -> None:
    """First calls and repeated ones."""
    computed = 0
    for channels, groups, layout in (
        (16, 1, "NCHW"),
        (3, 1, "NCHW"),
        (1, 1, "NCHW"),
        (16, 16, "NCHW"),
        (16, 16, "NHWC"),
        (64, 16, "NHWC"),
    ):
        shapes = {"NCHW": (1, channels, 17, 17), "NHWC": (1, 17, 17, channels)}
        w = np.ones((16 if groups == 1 else channels, channels // groups, 3, 3), np.float32)
        w[3, 0, 0, 0] = np.inf
        dy = np.ones((1, len(w), 17, 17) if layout == "NCHW" else (1, 17, 17, len(w)), np.float32)
        settings = {"padding": 1, "groups": groups, "layout": layout}
        expected = fastconv.grad.conv2d_input(shapes[layout], w, dy, **settings, algorithm="reference")
        for _ in range(3):
            try:
                result = fastconv.grad.conv2d_input(shapes[layout], w, dy, **settings, algorithm=algorithm)
            except ValueError:
                break
            computed += 1
            np.testing.assert_array_equal(result, expected)
    assert computed
