"""Exact results have the hashes in golden.json, on every machine."""

from __future__ import annotations

import json

import pytest

from fastconv import ConvProblem
from fastconv._backend import find_algorithm
from golden import FILE, fingerprint, golden_problems
from operands import accepted, compute, exact_case, rounded

HASHES = json.loads(FILE.read_text())


def test_every_golden_problem_has_a_hash() -> None:
    assert sorted(HASHES) == sorted(map(str, golden_problems())), "python tests/golden.py --write after a change"
    # The three directions of one 1x1 pixel may agree by chance.
    assert len(set(HASHES.values())) >= len(HASHES) - 3


@pytest.mark.parametrize("text", HASHES)
def test_results_have_their_hashes(text: str) -> None:
    problem = ConvProblem.parse(text)
    operands, expected = exact_case(problem)
    assert fingerprint(expected) == HASHES[text], "the oracle or the integers it is given have changed"
    for algorithm in accepted(problem):
        result = compute(problem, algorithm, operands, threads=2)
        if not find_algorithm(algorithm).exact_on_integers:
            result = rounded(result)
        assert fingerprint(result) == HASHES[text], algorithm
