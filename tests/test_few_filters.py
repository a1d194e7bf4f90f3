"""The narrow kernels where the general tests do not reach: blocks of channels, boxes, rows run together, phases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._backend import find_algorithm
from fastconv._choose.select import plan_for
from fastconv._cpu import backend
from fastconv._cpu.algorithms.direct import few_filters_blocking
from operands import RESULT, exact_case, place, shapes

SHAPES = (
    "backward_input 2x3x30x33 16x3x3x3 p1",
    "backward_input 1x3x21x64 9x3x3x3 p1 +bias+add+relu",
    "backward_input 1x3x64x61 37x3x11x11 s4 p2",
    "backward_input 1x3x19x130 20x3x5x5 s1x4 p2 +bias+add",
    "backward_input 2x4x35x37 18x4x7x7 s2 p3 +bias",
    "backward_input 1x3x24x20 16x3x2x2 s3",
    "backward_input 1x3x5x3 16x3x3x5 s1x4 p1x2",
    "backward_input 1x8x20x70 34x4x3x5 p1x2 d2x3 g2",
    "backward_input 1x3x26x40 8x3x4x4 s2x4 p-1:2 d3x2",
    "backward_input 1x7x7x9x11 17x7x3x3x2 s1x2x2 p1 d2x1x1",
    "backward_input 3x5x300 16x5x31 s2 p15",
    "forward 2x20x17x90 3x20x3x3 p1 +bias+relu",
    "forward 1x64x12x13 5x64x5x5 p2 d2 +add",
    "forward 1x24x40 8x12x4 p3:0 g2 d5",
    "forward 1x0x9x9 3x0x3x3",
    "backward_input 0x3x9x9 8x3x3x3 s2",
)


@pytest.fixture(params=["whole", "cut"], autouse=True)
def blocking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Items as they are, and with so little scratch that channels and all axes are cut."""
    if request.param == "cut":
        monkeypatch.setattr(few_filters_blocking, "SCRATCH_BYTES", 2**13)
        monkeypatch.setattr(few_filters_blocking, "MIN_MULTIPLY_ADDS", 2**10)
    few_filters_blocking.blocking_of.cache_clear()
    yield
    few_filters_blocking.blocking_of.cache_clear()


def compute(
    problem: ConvProblem, operands: dict[str, np.ndarray], threads: int = 1, result: np.ndarray | None = None
) -> np.ndarray:
    role = RESULT[problem.direction]
    if result is None:
        result = place(problem, role, np.full(shapes(problem)[role], 77))
    backend.execute(plan_for(problem, "few_filters", threads, {}), Operands(**operands, **{role: result}))
    return result


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("settings", ["", " channels_last DHWIO", " float64 ODHWI", " float64 channels_last"])
def test_exact(text: str, settings: str) -> None:
    head, plus, tail = text.partition(" +")
    problem = ConvProblem.parse(head + settings + plus + tail)
    operands, expected = exact_case(problem)
    np.testing.assert_array_equal(compute(problem, operands, 2 if settings else 1), expected)


def test_arrays_of_any_strides() -> None:
    problem = ConvProblem.parse("backward_input 2x3x11x41 36x3x3x3 s1x2 p1")
    operands, expected = exact_case(problem)
    for step in (2, -1, -3):
        strided = {}
        for role, array in [*operands.items(), ("input", np.full(expected.shape, 77, np.float32))]:
            parent = np.full([abs(step) * size for size in array.shape[::-1]], 99, array.dtype)
            strided[role] = parent[(slice(None, None, step),) * 5].transpose(4, 3, 2, 1, 0)
            strided[role][...] = array
        result = strided.pop("input")
        np.testing.assert_array_equal(compute(problem, strided, result=result), expected)


@pytest.mark.parametrize("settings", ["", " channels_last"])
def test_same_bits_at_any_number_of_threads(settings: str) -> None:
    problem = ConvProblem.parse("backward_input 2x3x33x70 40x3x5x5 s2 p2" + settings)
    random = np.random.default_rng(0)
    operands = {}
    for role in ("weight", "output"):
        array = random.normal(size=shapes(problem)[role]).astype(np.float32)
        operands[role] = place(problem, role, array)
    first = compute(problem, operands, 1)
    for threads in (2, 3):
        np.testing.assert_array_equal(compute(problem, operands, threads), first)


def test_scratch_is_bounded() -> None:
    for shape in ("backward_input 1x3x20000x20000 64x3x7x7 s2 p3", "forward 1x4096x3000x3000 8x4096x3x3"):
        for layout in ("", " channels_last"):
            assert few_filters_blocking.blocking_of(ConvProblem.parse(shape + layout)).thread_bytes <= 2**18
    far = ConvProblem.parse("forward 1x4x8000000 4x4x3 p2000000 d2000000")
    assert not find_algorithm("few_filters").supports(far)
