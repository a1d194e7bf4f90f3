"""The public functions on CuPy arrays: results are NumPy's, repeated calls wait for nothing, wrong calls say why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from array_modules import ArrayModule, array_module, assert_equal
from gpu_cases import CASES, Case


@pytest.fixture(params=["emulated", "device"])
def gpu(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


@pytest.fixture
def emulated() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


NUMPY = ArrayModule("numpy", np)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results_are_numpys(gpu: ArrayModule, case: Case) -> None:
    expected = case(NUMPY)
    for _ in range(2):
        assert_equal(gpu.host(case(gpu)), expected, case.ulps)


def _count(result: Any) -> int:
    """Arrays of a result."""
    return sum(map(_count, result)) if isinstance(result, tuple) else int(result is not None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_repeated_call_waits_for_nothing(emulated: ArrayModule, case: Case) -> None:
    arguments, options, counts = emulated.to(case.arguments), emulated.to(case.options), emulated.module.system.counts
    kept = case.function(*arguments, **options)
    counts.clear()
    results = [kept, case.function(*arguments, **options)]
    assert counts["host_copy"] == counts["synchronization"] == counts["module"] == 0
    assert counts["allocation"] <= _count(results[1]) + case.scratch
