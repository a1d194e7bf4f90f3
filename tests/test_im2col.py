"""im2col where its blocks matter: many of them, on several threads, in bounded memory, with non-finite data."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given

from fastconv import ConvProblem
from fastconv._backend import find_algorithm
from fastconv._choose import select
from fastconv._cpu.algorithms.im2col import algorithm as im2col
from fastconv._cpu.algorithms.im2col import blocking
from operands import RESULT, check_exact, compute, placed, shapes
from problems import NARROW, conv_problems, describe, problems

BLOCKED = ("2x6x19x17 10x3x3x3 p1 g2", "3x5x40 7x5x9 s2 p4", "1x8x6x7x9 6x8x3x2x3 p1 d1x2x1", "5x16x8x9 12x16x1x1")
PATCHES = ("2x6x13x15 10x3x3x4 s3x4 g2", "3x5x41 7x5x5 s5", "1x8x6x7x9 6x8x3x2x1 s3x2x1 d1x1x4", "2x8x9x9 6x8x4x4 s4")
COMPLEX = ("complex64", "complex128")


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of a few columns and parts of a few rows, so that small problems have many."""
    monkeypatch.setattr(blocking, "COLUMN_BYTES", 3000)
    monkeypatch.setattr(blocking, "COPY_ELEMENTS", 1)
    monkeypatch.setattr(blocking, "NARROW", 4)
    monkeypatch.setattr(im2col, "MIN_PIXEL_CHANNELS", 2)
    _forget()
    yield
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    blocking.blocking_of.cache_clear()
    select.forget_plans()


def real_operands(problem: ConvProblem) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    made = {role: rng.standard_normal(shape) for role, shape in shapes(problem).items()}
    if problem.dtype in COMPLEX:
        made = {role: array + 1j * rng.standard_normal(array.shape) for role, array in made.items()}
    return placed(problem, made)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("problem", problems(BLOCKED), ids=describe)
def test_many_blocks_are_exact(problem: ConvProblem, layout: str) -> None:
    problem = problem.replace(layout=layout)
    assert blocking.blocking_of(problem).task_count == len(blocking.blocking_of(problem).tasks()) >= 3
    check_exact(problem, "im2col", 1)
    check_exact(problem, "im2col", 3)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("problem", [*problems(PATCHES), *problems(PATCHES, "complex64")], ids=describe)
def test_patches_side_by_side_are_copied_at_once(
    problem: ConvProblem, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(im2col._Execution, "_windows", None)  # tap by tap
    problem = problem.replace(layout=layout)
    check_exact(problem, "im2col", 1)
    check_exact(problem, "im2col", 3)


@pytest.mark.parametrize("problem", problems(NARROW, "complex64"), ids=describe)
def test_complex_is_native(problem: ConvProblem) -> None:
    assert problem.dtype in find_algorithm("im2col").dtypes
    check_exact(problem, "im2col")


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("problem", [p for dtype in ("float32", *COMPLEX) for p in problems(BLOCKED, dtype)], ids=str)
def test_threads_do_not_change_the_bits(problem: ConvProblem) -> None:
    operands = real_operands(problem)
    one = compute(problem, "im2col", operands, 1)
    for threads in (2, 5):
        assert compute(problem, "im2col", operands, threads).tobytes() == one.tobytes()


@given(conv_problems(("float32", "complex128")))
def test_non_finite_elements_come_out_where_the_definition_puts_them(problem: ConvProblem) -> None:
    operands = real_operands(problem)
    rng = np.random.default_rng(problem.multiply_adds)
    for role, array in operands.items():
        if role in ("input", "weight", "output") and role != RESULT[problem.direction] and rng.random() < 0.7:
            array[tuple(rng.integers(0, array.shape))] = rng.choice([np.nan, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        found, wanted = (np.isfinite(compute(problem, name, operands)) for name in ("im2col", "reference"))
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
def test_memory_is_what_the_plan_says(direction: str) -> None:
    # Columns of the whole problem would take 230 MB.
    problem = ConvProblem.parse(f"{direction} 8x32x160x160 8x32x3x3 p1")
    plan = select.plan_for(problem, "im2col", 2)
    operands = real_operands(problem)
    result = np.empty(problem.result_shape, np.float32)
    compute(problem, "im2col", operands, 2, result)
    tracemalloc.start()
    compute(problem, "im2col", operands, 2, result)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert plan.workspace_bytes < 64e6
    # The workspace itself may be one kept from the call before.
    assert peak < plan.workspace_bytes + 1e6
    assert peak - result.nbytes < plan.workspace_bytes + 1e6


def test_1x1_kernels_read_the_input_in_place() -> None:
    pointwise = blocking.blocking_of(ConvProblem.parse("forward 2x64x56x56 32x64x1x1"))
    assert pointwise.is_pointwise
    assert not blocking.blocking_of(ConvProblem.parse("forward 2x64x56x56 32x64x1x1 s2")).is_pointwise
    assert not blocking.blocking_of(ConvProblem.parse("forward 2x64x56x56 32x64x1x1 p-1")).is_pointwise
