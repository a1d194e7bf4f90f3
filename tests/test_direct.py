"""The direct kernels where the general tests do not reach: lanes along either axis, bands, parts of gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._backend import find_algorithm
from fastconv._choose.select import plan_for
from fastconv._cpu import backend
from fastconv._cpu.algorithms.direct import blocking as direct_blocking
from fastconv._problem import DIRECTIONS
from operands import RESULT, exact_case, place, placed, shapes
from problems import conv_problems

SHAPES = (
    "2x11x10x19 11x1x3x3 p1 g11",
    "1x35x9x9 35x1x3x3 s2 p1 g35 +bias+add+relu",
    "2x6x23x21 12x1x5x5 p2 g6 +bias",
    "1x3x20x35 9x1x3x5 s1x2 p1x4 g3",
    "1x3x21x33 3x1x7x7 p3 g3 +add",
    "1x2x12x20 2x1x31x31 p15 g2",
    "1x1x20x70 9x1x7x7 p3 +bias",
    "2x1x17x41 10x1x5x5 s2 p2",
    "1x3x25x66 8x3x3x3 p1",
    "1x5x25x26 1x5x3x3 p1",
    "1x8x20x20 16x2x3x3 p1 g4",
    "1x4x19x31 4x1x3x3 p6 d6 g4",
    "1x4x19x31 8x1x3x3 s2x3 p6 d4x2 g4",
    "1x3x28x27 3x1x4x4 s3x2 p2 d2x3 g3",
    "2x5x200 5x1x31 p15 g5",
    "1x6x300 6x1x4 p3:0 g6 +bias+relu6",
    "1x4x150 8x1x9 s3 p40 d10 g4",
    "1x3x9x10x11 3x1x3x3x3 p1 g3",
    "1x4x8x9x10 8x2x2x3x3 s2x1x2 p1 d1x2x1 g2",
    "3x17x7x7 17x1x3x3 p1 g17",
    "1x2x6x6 2x1x3x3 p-1:3x2:-1 g2",
    "0x4x8x8 4x1x3x3 g4",
    "2x4x2x2 4x1x3x3 g4",
)


def cases() -> Iterator[object]:
    for shape in SHAPES:
        for direction in DIRECTIONS:
            plain = shape.partition("+")[0] if direction == "backward_weight" else shape
            yield pytest.param(f"{direction} {plain}", id=f"{direction}_{shape}".replace(" ", "_"))


@pytest.fixture(params=["whole", "bands"])
def blocking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Items as they are, and so small that every axis is cut into bands and every gradient into parts."""
    if request.param == "bands":
        cut(monkeypatch)
    direct_blocking.blocking_of.cache_clear()
    yield
    direct_blocking.blocking_of.cache_clear()


def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_blocking, "SCRATCH_BYTES", 2**12)
    monkeypatch.setattr(direct_blocking, "MIN_MULTIPLY_ADDS", 2**10)
    monkeypatch.setattr(direct_blocking, "MAX_MULTIPLY_ADDS", 2**14)


def compute(
    problem: ConvProblem,
    lanes: str,
    operands: dict[str, np.ndarray],
    threads: int = 1,
    result: np.ndarray | None = None,
) -> np.ndarray:
    role = RESULT[problem.direction]
    if result is None:
        result = place(problem, role, np.full(shapes(problem)[role], 77))
    plan = plan_for(problem, "direct", threads, {"lanes": lanes})
    backend.execute(plan, Operands(**operands, **{role: result}))
    return result


@pytest.mark.parametrize("text", list(cases()))
@pytest.mark.parametrize("lanes", ["width", "channels"])
@pytest.mark.usefixtures("blocking")
def test_exact(text: str, lanes: str) -> None:
    for settings, threads in (("", 1), (" channels_last DHWIO", 2), (" float64 ODHWI", 2)):
        head, plus, tail = text.partition(" +")
        problem = ConvProblem.parse(head + settings + plus + tail)
        operands, expected = exact_case(problem)
        np.testing.assert_array_equal(compute(problem, lanes, operands, threads), expected)


@given(problem=conv_problems(), lanes=st.sampled_from(["width", "channels"]), threads=st.sampled_from([1, 2]))
def test_random_problems(problem: ConvProblem, lanes: str, threads: int) -> None:
    operands, expected = exact_case(problem)
    np.testing.assert_array_equal(compute(problem, lanes, operands, threads), expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("lanes", ["width", "channels"])
@pytest.mark.usefixtures("blocking")
def test_arrays_of_any_strides(direction: str, lanes: str) -> None:
    problem = ConvProblem.parse(f"{direction} 2x6x11x21 12x1x3x3 s1x2 p1 g6")
    operands, expected = exact_case(problem)
    for step in (2, -1, -3):
        strided = {}
        for role, array in [*operands.items(), (RESULT[direction], np.full(expected.shape, 77, np.float32))]:
            parent = np.full([abs(step) * size for size in array.shape[::-1]], 99, array.dtype)
            strided[role] = parent[(slice(None, None, step),) * 5].transpose(4, 3, 2, 1, 0)
            strided[role][...] = array
        result = strided.pop(RESULT[direction])
        np.testing.assert_array_equal(compute(problem, lanes, strided, result=result), expected)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("lanes", ["width", "channels"])
@pytest.mark.parametrize("shape", ["1x4x9x21 4x1x3x3 p1 g4", "1x2x13x37 6x1x5x5 s2 p2 d1x2 g2", "2x1x9x12 5x1x3x3"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_non_finite_elements_reach_what_they_should(direction: str, shape: str, lanes: str, value: float) -> None:
    """Lanes without a pixel and rows without a tap are multiplied by zero in no sum that is kept."""
    problem = ConvProblem.parse(f"{direction} {shape}")
    operands, _ = exact_case(problem)
    random = np.random.default_rng(0)
    # Non-finite weights are left to other algorithms where a gather adds zeros to the definition's terms.
    roles = [role for role in operands if role != "weight" or direction == "forward"]
    for role in roles:
        for _ in range(12):
            spoilt = {name: array.copy() for name, array in operands.items()}
            spoilt[role][tuple(random.integers(size) for size in spoilt[role].shape)] = value
            with np.errstate(invalid="ignore"):
                expected = oracle.convolve(problem, {name: a.astype(np.float64) for name, a in spoilt.items()})
            np.testing.assert_array_equal(compute(problem, lanes, spoilt), expected.astype(np.float32))


@pytest.mark.parametrize("lanes", ["width", "channels"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_same_bits_at_any_number_of_threads(direction: str, lanes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(monkeypatch)
    direct_blocking.blocking_of.cache_clear()
    problem = ConvProblem.parse(f"{direction} 2x3x33x35 6x1x5x5 p2 g3")
    random = np.random.default_rng(0)
    operands = {
        role: random.normal(size=a.shape).astype(a.dtype) for role, a in placed(problem, exact_case(problem)[0]).items()
    }
    first = compute(problem, lanes, operands, 1)
    for threads in (2, 3):
        np.testing.assert_array_equal(compute(problem, lanes, operands, threads), first)
    direct_blocking.blocking_of.cache_clear()


def test_scratch_is_bounded() -> None:
    """Half of a second-level cache whatever the size of the planes; only long reaches need more."""
    for shape in ("1x1x20000x20000 8x1x7x7 p3", "1x64x2000x2000 64x1x3x3 p1 g64", "1x8x100x2000x2000 8x1x3x3x3 p1 g8"):
        for direction in DIRECTIONS:
            for layout in ("", " channels_last"):
                problem = ConvProblem.parse(f"{direction} {shape}{layout}")
                params = find_algorithm("direct").parameters(problem)[0]
                assert (
                    direct_blocking.blocking_of(problem, params["lanes"]).thread_bytes <= direct_blocking.SCRATCH_BYTES
                )
    far = ConvProblem.parse("forward 1x4x8000000 4x1x3 p2000000 d2000000 g4")
    assert not find_algorithm("direct").supports(far)
