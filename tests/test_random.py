"""Random problems with shrinking: every algorithm that accepts one equals integer arithmetic.

A failure shrinks to the smallest problem and says how to repeat it: python tests/repeat.py "<problem>" ...
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastconv import ConvProblem
from fastconv._choose.select import plan_for
from fastconv._problem import DTYPES
from operands import accepted, check_exact, compute, exact_case, rounded
from problems import conv_problems


@given(conv_problems(), st.integers(1, 4), st.integers(0, 10**6))
def test_every_algorithm(problem: ConvProblem, threads: int, seed: int) -> None:
    for algorithm in accepted(problem):
        check_exact(problem, algorithm, threads, seed)


@given(conv_problems(("complex64", "complex128"), 20_000), st.integers(0, 10**6))
def test_complex(problem: ConvProblem, seed: int) -> None:
    for algorithm in accepted(problem):
        check_exact(problem, algorithm, 2, seed)


@given(conv_problems(DTYPES[:6], max_multiply_adds=10**12))
def test_text_form(problem: ConvProblem) -> None:
    assert ConvProblem.parse(str(problem)) == problem


@given(conv_problems())
def test_the_default_choice(problem: ConvProblem) -> None:
    """What a user gets who names no algorithm."""
    operands, expected = exact_case(problem)
    result = compute(problem, "auto", operands, 2)
    if not plan_for(problem, "auto", 2).algorithm.exact_on_integers:
        result = rounded(result)
    assert (result == expected).all(), str(problem)
