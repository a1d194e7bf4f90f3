"""Real data: every algorithm stays within every bound that it declares, every precision level within its promise."""

from __future__ import annotations

import numpy as np
import pytest

import oracle
import worst_errors
from fastconv import ConvProblem
from fastconv._choose.select import PRECISION_LIMITS, candidates
from operands import accepted, compute
from problems import EPILOGUES, NARROW, SHAPES, describe, named, problems
from real_data import KINDS, ROUNDING, TYPICAL, RealCase

LARGER: tuple[str, ...] = (
    "1x64x14x14 32x64x3x3 p1",
    "4x32x12x12 32x32x3x3 s2 p1",
    "1x8x30x31 8x8x7x7 p3",
    "2x48x9x9 48x1x5x5 p2 g48",
    "1x256x8x8 32x256x1x1",
    "1x2x3000 3x2x301 p150",
    "1x4x8x9x10 8x4x3x3x3 p1",
    "1x24x15x15 20x24x3x3 p1 channels_last",
)
"""Enough elements that the largest error over the largest result means something."""


def check(problem: ConvProblem, kind: str) -> None:
    """Every algorithm that takes the problem, on one kind of data."""
    case = RealCase(problem, kind)
    for algorithm in accepted(problem):
        result = compute(problem, algorithm, case.operands, threads=2)
        for name, ratio in case.ratios(algorithm, result).items():
            worst_errors.note(algorithm, problem.dtype, name, ratio, f"{problem} ({kind})")
            assert ratio <= 1, f"{name} bound exceeded {ratio:.3g} times: {case.repeat_line(algorithm)}"


@pytest.mark.parametrize("problem", named(), ids=describe)
def test_float32(problem: ConvProblem) -> None:
    for kind in ("normal", "lognormal", "cancelling"):
        check(problem, kind)


@pytest.mark.parametrize("problem", problems((*SHAPES["basic"], *SHAPES["padded"])), ids=describe)
def test_scales(problem: ConvProblem) -> None:
    for kind in ("tiny", "huge", "relu"):
        check(problem, kind)


@pytest.mark.parametrize("problem", problems(LARGER), ids=describe)
def test_larger_float32(problem: ConvProblem) -> None:
    for kind in TYPICAL:
        check(problem, kind)


@pytest.mark.parametrize("problem", problems((*NARROW, *SHAPES["basic"]), "float64"), ids=describe)
def test_float64(problem: ConvProblem) -> None:
    assert np.finfo(np.longdouble).nmant >= 63, "no oracle for float64"
    for kind in KINDS:
        check(problem, kind)


@pytest.mark.parametrize(
    "problem",
    [p for dtype in ("float16", "bfloat16", "complex64", "complex128") for p in problems(NARROW, dtype)],
    ids=describe,
)
def test_other_dtypes(problem: ConvProblem) -> None:
    for kind in TYPICAL:
        check(problem, kind)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("activation", ["relu6", "leaky_relu=0.1", "silu", "gelu", "tanh", "sigmoid"])
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_activations(dtype: str, activation: str, direction: str) -> None:
    """Slopes are at most 1.13, so that the bound before the activation holds after it, up to its own rounding."""
    for shape in (NARROW[0], NARROW[1], NARROW[6], "1x17x6x7 13x17x3x3 p1"):
        problem = ConvProblem.parse(f"{direction} {shape} {dtype} +bias+add+{activation}")
        case = RealCase(problem, "normal")
        exact = case.exact.astype(np.float64)
        expected = oracle.activate(exact, problem.epilogue.activation, problem.epilogue.slope)
        own = 8 * 2.0 ** (-53 if dtype == "float64" else -24) * (np.abs(exact) + np.abs(expected))
        relative, absolute = ROUNDING.get(dtype, (0.0, 0.0))
        for algorithm in accepted(problem):
            result = compute(problem, algorithm, case.operands, threads=2).astype(np.float64)
            bound = case.bound(algorithm)
            before = bound.normwise * case.norm if bound.elementwise is None else bound.elementwise * case.magnitude
            allowed = 1.2 * before.astype(np.float64) + own + relative * np.abs(expected) + absolute
            assert (np.abs(result - expected) <= allowed).all(), case.repeat_line(algorithm)


@pytest.mark.parametrize("level", PRECISION_LIMITS)
@pytest.mark.parametrize("shape", LARGER)
def test_a_level_admits_only_what_keeps_its_promise(level: str, shape: str) -> None:
    """Measured, not declared: the largest error over the largest result on the data that the levels speak of.

    The definition's own operations are admitted at every level, however long the sum; they keep their own bound.
    """
    for problem in problems((shape,), level):
        for kind in TYPICAL:
            case = RealCase(problem, kind)
            for algorithm, _, _ in candidates(problem, 2):
                bound = algorithm.error_bound(problem)
                limit = PRECISION_LIMITS[level]
                if bound.elementwise is not None:
                    limit = max(limit, bound.relative)
                error = np.abs(compute(problem, algorithm.name, case.operands, threads=2) - case.exact).max()
                ratio = float(error / np.abs(case.exact).max())
                worst_errors.note(
                    algorithm.name, "float32", f"at {level}", ratio / PRECISION_LIMITS[level], str(problem)
                )
                assert ratio <= limit, case.repeat_line(algorithm.name)


@pytest.mark.parametrize("shape", EPILOGUES)
def test_epilogues_stay_in_the_bound(shape: str) -> None:
    for direction in ("forward", "backward_input"):
        problem = ConvProblem.parse(f"{direction} {shape}")
        if problem.epilogue.activation is None:
            for kind in KINDS:
                check(problem, kind)
