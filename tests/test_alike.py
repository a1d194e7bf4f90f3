"""Choices that problems of nearly the same sizes share."""

import random

import numpy as np
import pytest

import fastconv
from fastconv._backend import CPU
from fastconv._choose import alike, select
from fastconv._problem import ConvProblem

FAMILIES = [
    "forward 1x1x{n} 1x1x64 float32",
    "forward 2x3x{n} 4x3x5 p2 float64",
    "backward_input 1x2x{n} 3x2x31 p15 float32",
    "backward_weight 3x1x{n} 1x1x129 float32",
    "forward 1x3x{n}x{m} 16x3x3x3 s2 p1 float32",
    "backward_input 1x8x{n}x{m} 8x1x5x5 p2 g8 float32",
    "backward_weight 1x16x{n}x{m} 32x16x3x3 p1 float32 channels_last",
    "forward {n}x8x9 4x8x3 p1 float32 highest",
    "forward 1x2x{n} 2x2x{m} float32",
]


def problems(family: str, seed: int, number: int = 40) -> list[ConvProblem]:
    rng = random.Random(seed)
    found = []
    for _ in range(number):
        n = rng.randint(1, 600)
        found.append(ConvProblem.parse(family.format(n=n, m=rng.randint(1, max(n // 2, 1)))))
    return [problem for problem in found if not problem.is_empty]


def chosen(problem: ConvProblem, threads: int = 1) -> tuple[str, dict[str, object]]:
    plan = select.estimated_plan(problem, threads)
    return plan.algorithm.name, dict(plan.params)


@pytest.mark.parametrize("family", FAMILIES)
def test_choices_do_not_depend_on_what_was_asked_before(family: str) -> None:
    asked = problems(family, 1)
    alike.forget()
    first = [chosen(problem) for problem in asked]
    alike.forget()
    assert [chosen(problem) for problem in reversed(asked)] == first[::-1]
    for problem, choice in zip(asked, first, strict=True):
        alike.forget()
        assert chosen(problem) == choice


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_choices_are_about_as_cheap_as_a_problems_own(family: str) -> None:
    constants = select.machine()
    for problem in problems(family, 2):
        plan = select.estimated_plan(problem, 1)
        assert plan.candidates[0][0] == plan.algorithm.name
        assert CPU.accepts(plan.algorithm, problem)
        assert select.admitted(plan.algorithm, problem)
        shared = plan.algorithm.cost(plan.target, plan.params, 1, constants)
        least = select.candidates(problem, 1)[0][2]
        assert shared <= max(1.4 * least, least + alike.SHORT_SECONDS), (str(problem), str(plan))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    contenders = select._contenders

    def recorded(problem, *arguments):
        asked.append(str(problem))
        return contenders(problem, *arguments)

    monkeypatch.setattr(select, "_contenders", recorded)
    select.forget_plans()
    return asked


def test_one_problem_of_all_that_are_alike_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    w = np.ones((1, 1, 9), np.float32)
    for length in range(4096, 4608):
        fastconv.conv1d(np.ones((1, 1, length), np.float32), w)
    assert set(asked) == {"forward 1x1x4096 1x1x9 float32"}
    assert len(asked) <= 2  # once for itself


@pytest.mark.parametrize("text", ["forward 1x8x{n}x{n} 8x8x3x3 p1 float32", "forward 1x1x{n} 1x1x3 float32"])
def test_small_sizes_are_estimated_one_by_one(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    wanted = [text.format(n=n) for n in range(alike.EXACT_SIZE - 5, alike.EXACT_SIZE + 1)]
    for problem in wanted:
        select.plan_for(ConvProblem.parse(problem))
    assert asked == wanted


def test_sizes_of_few_pixels_are_estimated_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels nearly as large as the image: outputs differ by far more than inputs."""
    asked = counted(monkeypatch)
    wanted = [f"forward 1x1x{n} 1x1x220 float32" for n in (241, 245, 249)]
    for problem in wanted:
        select.plan_for(ConvProblem.parse(problem))
    assert [text for text in asked if "x240 " not in text] == wanted


@pytest.mark.parametrize(
    "text",
    [
        "backward_weight 3x16x{n}x{n} 16x16x3x3 p1 float32",
        "forward 1x16x{n}x{n} 64x16x3x3 p1 float32",
        "forward 1x1x{n}x{n} 1x1x31x31 float64",
    ],
)
def test_parameters_that_need_more_scratch_memory_than_allowed_are_not_shared(text: str) -> None:
    limit = fastconv.get_workspace_limit()
    largest, like = (ConvProblem.parse(text.format(n=n)) for n in (319, 288))
    needed = select.estimated_plan(like, 1).workspace_bytes
    try:
        for size in (needed, needed // 2, needed // 16):
            fastconv.set_workspace_limit(max(size, 1))
            assert select.estimated_plan(largest, 1).workspace_bytes <= size
    finally:
        fastconv.set_workspace_limit(limit)
