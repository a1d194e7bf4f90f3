"""``with fastconv.tuning(effort):`` tunes on first sight, where it was asked for and nowhere else; pinned choices."""

from __future__ import annotations

import contextvars
import dataclasses
import doctest
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, _config, tuning
from fastconv._choose import first_sight, select, tune, tuning_cache
from fastconv._choose.instead import smaller_plan
from fastconv._cpu import backend
from tuning_cases import PROBLEM, record, reread

pytestmark = pytest.mark.usefixtures("cache_folder")

X, W = np.ones((1, 2, 6, 6), np.float32), np.ones((3, 2, 3, 3), np.float32)
DY = np.ones((1, 3, 6, 6), np.float32)
Timed = list[tuple[str, int, str]]


@pytest.fixture(autouse=True)
def timed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Timed]:
    """What was timed: problems, threads and efforts. Nothing takes time: the definition is what is chosen."""
    found: Timed = []

    def tune_problem(problem: ConvProblem, threads: int, effort: str, *more: Any, **how: Any) -> Any:
        found.append((str(problem), threads, effort))
        made = record(problem, threads=threads)
        return type(made)(**{**vars(made), "effort": effort})

    monkeypatch.setattr(tune, "tune_problem", tune_problem)
    yield found
    fastconv.set_deterministic(False)
    fastconv.set_workspace_limit(None)


def conv(**how: Any) -> np.ndarray:
    result: np.ndarray = fastconv.conv2d(X, W, padding=1, threads=1, **how)
    return result


def test_nothing_is_tuned_unasked(timed: Timed) -> None:
    conv()
    fastconv.conv2d_backward(DY, X, W, padding=1)
    fastconv.plan("conv2d", X.shape, W.shape, padding=1)(X, W)
    fastconv.explain(PROBLEM)
    with tuning("estimate"), fastconv.tuning("estimate"):
        conv()
    assert timed == []
    assert tuning_cache.current().content.records() == []


def test_problems_are_tuned_when_first_seen(timed: Timed) -> None:
    conv()
    with fastconv.tuning("measure"):
        conv()
        assert timed == [(str(PROBLEM), 1, "measure")], "although the same call was made before the block"
        for _ in range(3):
            conv()
            conv(activation="relu")
        assert len(timed) == 1
        fastconv.explain(PROBLEM.replace(batch=7))
        assert len(timed) == 1, "to explain measures nothing"
        fastconv.conv2d(X, W, padding=1, threads=2)
        fastconv.conv2d_backward(DY, X, W, padding=1, threads=1)
        expected = [(str(PROBLEM), 1), (str(PROBLEM), 2)]
        expected += [(str(PROBLEM.replace(direction=name)), 1) for name in ("backward_input", "backward_weight")]
        assert [entry[:2] for entry in timed] == expected
    fastconv.conv2d(X[:, :1], W[:, :1])
    assert len(timed) == 4, "the block has ended"
    reread()
    assert select.plan_for(PROBLEM, threads=1).reason == "tuned", "the choice is stored"


def test_a_forced_algorithm_is_not_tuned(timed: Timed) -> None:
    with fastconv.tuning("measure"):
        conv(algorithm="im2col")
    assert timed == []


def test_blocks_nest_and_efforts_rise(timed: Timed) -> None:
    with fastconv.tuning("measure"):
        with fastconv.tuning("estimate"):
            conv()
        assert timed == []
        conv()
        with fastconv.tuning("exhaustive"):
            conv()
        conv()
    assert [effort for _, _, effort in timed] == ["measure", "exhaustive"]


def test_plans_go_by_the_block_or_by_their_own_effort(timed: Timed) -> None:
    arguments: Any = ("conv2d", X.shape, W.shape)
    with fastconv.tuning("measure"):
        assert fastconv.plan(*arguments, padding=1, effort="estimate").choice.reason == "cost model"
        planned = fastconv.plan(*arguments, padding=1, threads=2)
        assert (planned.choice.reason, planned.choice.algorithm.name) == ("tuned", "reference")
        np.testing.assert_array_equal(planned(X, planned.pack(W)), conv(algorithm="reference"))
    with pytest.raises(LookupError, match="no choice is stored"):
        fastconv.plan(*arguments, padding=1, threads=1, effort="pinned")
    # What is measured is what the plan was asked for, also where it runs on fewer threads.
    assert timed == [(str(PROBLEM), 2, "measure")]


def test_a_block_is_its_thread_s_and_that_of_threads_started_in_it(timed: Timed) -> None:
    inside, outside = threading.Event(), threading.Event()

    def elsewhere() -> None:
        inside.wait()
        conv()
        outside.set()

    older = threading.Thread(target=elsewhere)
    older.start()
    with fastconv.tuning("measure"):
        inside.set()
        outside.wait()
        assert timed == []
        younger = threading.Thread(target=conv)
        younger.start()
        younger.join()
    older.join()
    assert len(timed) == 1


def test_a_context_keeps_its_block(timed: Timed) -> None:
    with fastconv.tuning("measure"):
        context = contextvars.copy_context()
    conv()
    assert timed == []
    context.run(conv)
    assert len(timed) == 1


def test_threads_that_see_one_problem_tune_it_once(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    told, running, most = tune.tune_problem, 0, 0

    def slow(*arguments: Any, **how: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threading.Event().wait(0.05)
        running -= 1
        return told(*arguments, **how)

    monkeypatch.setattr(tune, "tune_problem", slow)
    with fastconv.tuning("measure"):
        calls: list[Callable[[], object]] = [conv, conv, conv, lambda: fastconv.conv2d(X, W, threads=1)]
        threads = [threading.Thread(target=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(timed), most) == (2, 1)


def test_deterministic_mode_measures_nothing_and_pins_nothing(timed: Timed) -> None:
    fastconv.set_deterministic(True)
    for effort in ("measure", "exhaustive", "pinned"):
        with fastconv.tuning(effort):
            conv()
            planned = fastconv.plan("conv2d", X.shape, W.shape, padding=1, effort=effort)
            assert planned.choice.reason == "cost model"
    assert timed == []


@pytest.mark.parametrize("error", [MemoryError, ArithmeticError])
def test_what_cannot_be_tuned_is_computed(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fails(*arguments: Any, **how: Any) -> None:
        raise error("no way")

    monkeypatch.setattr(tune, "tune_problem", fails)
    with fastconv.tuning("measure"):
        with pytest.warns(RuntimeWarning, match="not tuned.* no way") as warned:
            assert conv()[0, 0, 2, 2] == 18
        assert len(warned) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            conv()


def test_arrays_that_fill_the_memory_are_not_made_again(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "memory_bytes", lambda: first_sight.array_bytes(PROBLEM) * 3 - 1)
    with fastconv.tuning("measure"), pytest.warns(RuntimeWarning, match="too large to be there 3 times"):
        conv()
    assert timed == []


def test_ctrl_c_while_tuning_ends_the_call_and_leaves_no_lock(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tune.tune_problem

    def interrupted(*arguments: Any, **how: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "tune_problem", interrupted)
    with fastconv.tuning("measure"):
        with pytest.raises(KeyboardInterrupt):
            conv()
        assert _config.get_tuning() == "measure"
        monkeypatch.setattr(tune, "tune_problem", told)
        thread = threading.Thread(target=conv)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    assert len(timed) == 1


# Pinned.


def test_pinned_takes_stored_choices_alone() -> None:
    tuning_cache.current().store([record()])
    with fastconv.tuning("pinned"):
        conv()
        conv(activation="relu")
        conv(algorithm="im2col")
        fastconv.conv2d(X[:0], W, padding=1)  # there is nothing to compute
        for call in (
            lambda: fastconv.conv2d(X, W, padding=1, threads=2),
            lambda: fastconv.conv2d(X, W, threads=1),
            lambda: fastconv.conv2d_backward(DY, X, W, padding=1, threads=1),
        ):
            with pytest.raises(LookupError, match=r"^tuning: got \"pinned\" for .*, for which no choice is stored"):
                call()
    fastconv.conv2d(X, W, threads=1)
    with fastconv.tuning("pinned"), pytest.raises(LookupError):
        fastconv.conv2d(X, W, threads=1)  # although the same call was planned outside


def test_pinned_gives_way_to_nothing_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "tries_smaller", lambda: True)
    plan = dataclasses.replace(select.plan_for(PROBLEM), workspace_bytes=2**40)
    assert smaller_plan(plan) is not None
    with fastconv.tuning("pinned"):
        assert smaller_plan(plan) is None


def test_pinned_refuses_a_choice_that_no_longer_applies() -> None:
    tuning_cache.current().store([record(algorithm="no_such_algorithm")])
    with fastconv.tuning("pinned"), pytest.raises(LookupError, match="no stored choice applies here"):
        conv()
    assert conv()[0, 0, 2, 2] == 18


def test_a_choice_that_no_longer_applies_is_measured_again(timed: Timed) -> None:
    tuning_cache.current().store([record(algorithm="no_such_algorithm")])
    fastconv.autotune(PROBLEM, threads=1)
    assert len(timed) == 1
    fastconv.autotune(PROBLEM, threads=1)
    assert len(timed) == 1


# The module that can be called.


def test_the_module_is_one_that_can_be_called() -> None:
    assert fastconv.tuning is tuning
    assert tuning.autotune is fastconv.autotune
    with pytest.raises(ValueError, match="effort: got 'much'; allowed: estimate, measure, exhaustive, pinned"):
        tuning("much").__enter__()
    with pytest.raises(ValueError, match="effort: got 1"):
        tuning(1).__enter__()  # type: ignore[arg-type]


def test_the_example_of_the_docstring() -> None:
    assert tuning.__call__.__doc__ == _config.tuning.__doc__
    example = doctest.DocTestFinder(recurse=False).find(_config.tuning, "tuning", globs={})[0]
    assert doctest.DocTestRunner().run(example).failed == 0
