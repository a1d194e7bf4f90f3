"""What is kept of repeated calls: planned again as soon as a setting or a tuned choice changes, and never too many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import tuning
from fastconv._choose import select
from fastconv._cpu.engine.call_cache import CallCache, Dispatcher
from fastconv._cpu.engine.compiled_call import CompiledCall, GradientsCall
from fastconv._execute import convolution as execute


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What plans were asked for."""
    asked: list[tuple[Any, ...]] = []
    plan_for = execute.plan_for

    def spy(problem: Any, *how: Any, **more: Any) -> Any:
        plan = plan_for(problem, *how, **more)
        asked.append((problem.precision, plan.threads))
        return plan

    monkeypatch.setattr(execute, "plan_for", spy)
    return asked


def test_settings_take_effect_at_once(planned: list[tuple[Any, ...]]) -> None:
    """A change of any of them plans again, and the way back finds what was known."""
    x, w = np.ones((4, 8, 16, 16), np.float32), np.ones((8, 8, 3, 3), np.float32)

    def call() -> list[tuple[Any, ...]]:
        del planned[:]
        fastconv.conv2d(x, w)
        return list(planned)

    before, precision = fastconv.get_num_threads(), fastconv.get_precision()
    limit = fastconv.get_workspace_limit()
    try:
        fastconv.set_workspace_limit(limit)  # by number: another setting than the default, even if as large
        fastconv.set_num_threads(1)
        assert call() == [("high", 1)]
        assert call() == []
        with fastconv.num_threads(3):
            assert call() == [("high", 3)]
            assert call() == []
        assert call() == []
        with fastconv.precision("ieee"):
            assert call() == [("ieee", 1)]
        fastconv.set_precision("highest")
        assert call() == [("highest", 1)]
        fastconv.set_precision(precision)
        fastconv.set_num_threads(2)
        assert call() == [("high", 2)]
        fastconv.set_deterministic(True)
        assert len(call()) == 1
        fastconv.set_deterministic(False)
        assert call() == []
        fastconv.set_workspace_limit(1)
        assert len(call()) == 1
        fastconv.set_workspace_limit(limit)
        assert call() == []
        select.forget_plans()
        assert len(call()) == 1
    finally:
        fastconv.set_num_threads(before)
        fastconv.set_precision(precision)
        fastconv.set_deterministic(False)
        fastconv.set_workspace_limit(None)


@pytest.mark.usefixtures("cache_folder")
def test_tuned_choices_take_effect_at_once(planned: list[tuple[Any, ...]]) -> None:
    x, w = np.ones((1, 2, 6, 6), np.float32), np.ones((2, 2, 3, 3), np.float32)
    for _ in range(2):
        fastconv.conv2d(x, w, threads=1)
    assert len(planned) == 1
    tuning.forget_tuning()
    fastconv.conv2d(x, w, threads=1)
    assert len(planned) == 2


def test_a_block_goes_before_the_process() -> None:
    before, precision = fastconv.get_num_threads(), fastconv.get_precision()
    try:
        fastconv.set_num_threads(2)
        fastconv.set_precision("ieee")
        with fastconv.num_threads(3), fastconv.precision("medium"):
            assert (fastconv.get_num_threads(), fastconv.get_precision()) == (3, "medium")
        assert (fastconv.get_num_threads(), fastconv.get_precision()) == (2, "ieee")
    finally:
        fastconv.set_num_threads(before)
        fastconv.set_precision(precision)


def test_nothing_is_kept_under_settings_that_changed_meanwhile() -> None:
    """A signal handler, say, changes the precision in the middle of a first call: its plan is not for later ones."""
    repeats, precision = CallCache(3), fastconv.get_precision()
    meanwhile = [lambda: None, lambda: fastconv.set_precision("ieee")]

    def first(*_: Any) -> tuple[tuple[None], Callable[[], CompiledCall]]:
        meanwhile.pop()()
        return (None,), lambda: GradientsCall(None)

    entry = Dispatcher(repeats, first)
    try:
        entry.call(None, (1,), (), ())
        assert len(repeats) == 0
        entry.call(None, (1,), (), ())
        assert len(repeats) == 1
    finally:
        fastconv.set_precision(precision)


def test_at_most_so_many_are_kept() -> None:
    """The oldest go first; one that is asked for again is made anew."""
    repeats, made = CallCache(3), list[int]()

    def first(normalise: None, arguments: tuple[int], *_: Any) -> tuple[tuple[None], Callable[[], CompiledCall]]:
        made.append(arguments[0])
        return (None,), lambda: GradientsCall(None)

    entry = Dispatcher(repeats, first)
    for number in (0, 1, 2, 3, 4, 4, 3, 2, 0, 1, 0):
        entry.call(None, (number,), (), ())
        assert len(repeats) <= 3
    assert made == [0, 1, 2, 3, 4, 0, 1]
    repeats.forget()
    assert len(repeats) == 0
