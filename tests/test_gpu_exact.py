"""Small integers: every algorithm of the GPU equals integer arithmetic bit for bit, as those of the CPU do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import emulated_cupy
from array_modules import DEVICE, ArrayModule, array_module
from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._backend import find_backend
from fastconv._choose.select import plan_for
from fastconv._gpu.algorithms.few_channels import ALGORITHMS as FEW_CHANNELS
from fastconv._gpu.algorithms.implicit_gemm_mma import ALGORITHMS as TENSOR_CORES
from fastconv._gpu.registry import ALGORITHMS
from operands import RESULT, exact_case, place, result_dtype, shapes
from problems import EPILOGUES, NARROW, SHAPES, describe, named, problems

MAX_LOOKED_AT = 60_000
"""Products at most: the machine that stands in for a GPU takes a second for a million."""


@pytest.fixture(params=["emulated", DEVICE])
def gpu(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


def small(found: Iterable[ConvProblem]) -> list[ConvProblem]:
    return [p for p in found if math.prod(p.result_shape) * p.reduction <= MAX_LOOKED_AT]


CASES = small(
    [
        *named(),
        *problems(EPILOGUES, "float64", directions=("forward", "backward_input")),
        *(p for dtype in ("complex64", "float16", "bfloat16") for p in problems(NARROW, dtype)),
        *(p for p in problems((NARROW[6] + " +bias",), "complex64", directions=("forward",))),
        *problems((*NARROW, *SHAPES["tails"]), "int8", directions=("forward",)),
    ]
)


EACH_OF = 17
"""Of so many cases one for each algorithm of SELDOM."""
SELDOM = {*(algorithm.name for algorithm in (*TENSOR_CORES, *FEW_CHANNELS)), "gemm_tf32"}
"""Kernels of tensor cores take long to compile and have tests of their own; gemm_tf32 takes the steps of gemm."""


def accepted() -> Iterator[Any]:
    """Every case with every algorithm that there is where CuPy is."""
    gpu = find_backend("gpu")
    with emulated_cupy.installed():
        for number, problem in enumerate(CASES):
            for algorithm in ALGORITHMS:
                if not algorithm.exact_on_integers or (algorithm.name in SELDOM and number % EACH_OF):
                    continue
                if algorithm is ALGORITHMS[-1] if problem.is_empty else gpu.accepts(algorithm, problem):
                    yield pytest.param(problem, algorithm.name, id=f"{describe(problem)}-{algorithm.name}")


@pytest.mark.parametrize(("problem", "algorithm"), list(accepted()))
def test_exact(gpu: ArrayModule, problem: ConvProblem, algorithm: str) -> None:
    backend, role = find_backend("gpu"), RESULT[problem.direction]
    operands, expected = exact_case(problem)
    plan = plan_for(problem, "auto" if problem.is_empty else algorithm, backend=backend)
    result = gpu.to(place(problem, role, np.full(shapes(problem)[role], 77), result_dtype(problem.dtype)))
    given = {name: gpu.to(array) for name, array in operands.items() if name != role}
    backend.execute(plan, Operands(**given, **{role: result}))
    computed = gpu.host(result)
    np.testing.assert_array_equal(computed, expected.astype(computed.dtype))


def test_cases_are_of_every_kind() -> None:
    assert len(CASES) > 150
    assert {problem.direction for problem in CASES} == {"forward", "backward_input", "backward_weight"}
    assert {problem.layout for problem in CASES} == {"channels_first", "channels_last"}
    assert any(problem.groups > 1 for problem in CASES)
