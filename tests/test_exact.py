"""Small integers: every algorithm equals integer arithmetic bit for bit, in every direction, dtype, layout and thread
count; test_isa.py runs this file again at every lower ISA level."""

from __future__ import annotations

import pytest

from fastconv import ConvProblem
from operands import ALGORITHMS, THREADS, accepted, alarm_if_weak, check_exact, exact_case
from problems import EPILOGUES, NARROW, SHAPES, describe, named, problems


def cases(found: list[ConvProblem]) -> list[object]:
    """Every problem with every algorithm that accepts it."""
    return [
        pytest.param(problem, algorithm, id=f"{algorithm}-{describe(problem)}")
        for problem in found
        for algorithm in accepted(problem)
    ]


@pytest.mark.parametrize(("problem", "algorithm"), cases(named()))
def test_float32(problem: ConvProblem, algorithm: str) -> None:
    for threads in THREADS:
        check_exact(problem, algorithm, threads)


@pytest.mark.parametrize(("problem", "algorithm"), cases(named("float64")))
def test_float64(problem: ConvProblem, algorithm: str) -> None:
    check_exact(problem, algorithm, 2)


@pytest.mark.parametrize(
    ("problem", "algorithm"),
    cases(
        [
            p
            for dtype in ("float32", "float64")
            for p in problems(EPILOGUES, dtype, directions=("forward", "backward_input"))
        ]
    ),
)
def test_epilogue(problem: ConvProblem, algorithm: str) -> None:
    for threads in (1, 3):
        check_exact(problem, algorithm, threads)


@pytest.mark.parametrize(
    ("problem", "algorithm"),
    cases([p for dtype in ("complex64", "complex128", "float16", "bfloat16") for p in problems(NARROW, dtype)]),
)
def test_other_floats(problem: ConvProblem, algorithm: str) -> None:
    check_exact(problem, algorithm, 2)


@pytest.mark.parametrize(
    ("problem", "algorithm"),
    cases(
        [
            p
            for dtype in ("complex64", "float16", "bfloat16")
            for p in problems((NARROW[0] + " +bias+add", NARROW[6] + " +bias"), dtype, directions=("forward",))
        ]
    ),
)
def test_epilogue_of_other_floats(problem: ConvProblem, algorithm: str) -> None:
    check_exact(problem, algorithm, 2)


@pytest.mark.parametrize(
    ("problem", "algorithm"), cases(problems((*NARROW, *SHAPES["tails"]), "int8", directions=("forward",)))
)
def test_int8(problem: ConvProblem, algorithm: str) -> None:
    check_exact(problem, algorithm, 2)


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_every_algorithm_is_exercised(algorithm: str) -> None:
    """None of the lists above may pass because an algorithm declined everything."""
    taken = [problem for problem in named() if algorithm in accepted(problem)]
    assert len(taken) >= 10
    assert any(problem.batch > 1 for problem in taken)


def test_seeds_give_different_data() -> None:
    problem = ConvProblem.parse("forward 2x3x8x8 4x3x3x3 p1")
    assert (exact_case(problem, 0)[1] != exact_case(problem, 1)[1]).mean() > 0.5


def test_a_weak_test_raises_the_alarm() -> None:
    problem = ConvProblem.parse("forward 2x3x8x8 4x3x3x3 p1")
    weak = exact_case(problem)[1].copy()
    weak[..., ::2] = 0
    with pytest.raises(AssertionError, match="weak test"):
        alarm_if_weak(problem, weak)
