"""The tuner's decisions, on a clock of its own: algorithms here take the time that the test says."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem
from fastconv._algorithm import ErrorBound
from fastconv._choose import tune, tuning_cache
from fastconv._cli.tuning_table import model_of
from tuner_cases import MILLISECOND
from tuning_cases import PROBLEM, reread

pytestmark = pytest.mark.usefixtures("cache_folder")


def outcomes(record) -> dict[str, str]:
    return {timing.label(): timing.outcome for timing in record.timings}


def test_fastest_wins_whatever_the_cost_model_says(algorithms):
    algorithms(
        {"name": "a", "seconds": 5 * MILLISECOND, "estimate": 1 * MILLISECOND},
        {"name": "b", "seconds": 3 * MILLISECOND, "estimate": 9 * MILLISECOND},
    )
    record = tune.tune_problem(PROBLEM, threads=1)
    assert (record.algorithm, record.default) == ("b", "a")
    assert record.seconds == pytest.approx(3 * MILLISECOND)
    assert outcomes(record) == {"b": "measured", "a": "slower", "reference": "skipped"}


def test_cost_models_choice_stays_unless_another_is_clearly_faster(algorithms):
    algorithms(
        {"name": "a", "seconds": 1.02 * MILLISECOND, "estimate": 1 * MILLISECOND},
        {"name": "b", "seconds": 1.00 * MILLISECOND, "estimate": 2 * MILLISECOND},
    )
    assert tune.tune_problem(PROBLEM, threads=1).algorithm == "a"
    algorithms(
        {"name": "a", "seconds": 1.04 * MILLISECOND, "estimate": 1 * MILLISECOND},
        {"name": "b", "seconds": 1.00 * MILLISECOND, "estimate": 2 * MILLISECOND},
    )
    assert tune.tune_problem(PROBLEM, threads=1).algorithm == "b"


@pytest.mark.parametrize("slow_runs", [{0}, {1}, {2, 3}, {3, 4, 6}])
def test_slow_moments_do_not_decide(algorithms, clock, monkeypatch, slow_runs):
    made = algorithms(
        {"name": "a", "seconds": 2 * MILLISECOND, "estimate": 1 * MILLISECOND},
        {"name": "b", "seconds": 1 * MILLISECOND, "estimate": 2 * MILLISECOND},
    )
    plain = made["b"].execute

    def disturbed(problem, params, operands, resources):
        if len(made["b"].executions) in slow_runs:
            clock.now += 50 * MILLISECOND
        plain(problem, params, operands, resources)

    monkeypatch.setattr(made["b"], "execute", disturbed)
    record = tune.tune_problem(PROBLEM, threads=1)
    assert record.algorithm == "b"
    assert record.seconds == pytest.approx(1 * MILLISECOND)


def test_candidates_are_timed_in_turn(algorithms):
    made = algorithms({"name": "a", "seconds": MILLISECOND}, {"name": "b", "seconds": 1.01 * MILLISECOND})
    order = []
    for name, algorithm in made.items():
        algorithm.executions = _Recorder(name, order)
    tune.tune_problem(PROBLEM, threads=1)
    rounds = order[4 : 4 + 2 * tune.EFFORTS["measure"].rounds]
    assert rounds[:8] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert rounds.count("a") == rounds.count("b")


class _Recorder(list):
    def __init__(self, name: str, order: list) -> None:
        self._name, self._order = name, order

    def append(self, value) -> None:
        self._order.append(self._name)


def test_wrong_winner_is_refused(algorithms):
    algorithms(
        {"name": "a", "seconds": 5 * MILLISECOND, "estimate": 1 * MILLISECOND},
        {"name": "b", "seconds": 1 * MILLISECOND, "estimate": 2 * MILLISECOND, "wrong": True},
    )
    record = tune.tune_problem(PROBLEM, threads=1)
    assert record.algorithm == "a"
    assert outcomes(record)["b"] == "wrong"


def test_only_wrong_ones_leave_the_definition(algorithms):
    algorithms({"name": "a", "seconds": MILLISECOND, "wrong": True})
    record = tune.tune_problem(PROBLEM, threads=1)
    assert record.algorithm == "reference"
    assert outcomes(record) == {"a": "wrong", "reference": "skipped"}


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int8", "float16"])
@pytest.mark.parametrize("bound", [None, ErrorBound(None, 1e-6, 1e-6)])
def test_check_sees_wrong_results_of_every_kind(algorithms, direction, dtype, bound):
    problem = ConvProblem.parse(f"{direction} 2x4x7x7 6x2x3x3 s2 p1 g2 {dtype}")
    algorithms({"name": "a", "seconds": MILLISECOND, "bound": bound})
    assert tune.tune_problem(problem, threads=1).algorithm == "a"
    algorithms({"name": "a", "seconds": MILLISECOND, "bound": bound, "wrong": True})
    assert tune.tune_problem(problem, threads=1).algorithm == "reference"


def test_hopeless_candidates_are_not_run_but_the_baseline_is(algorithms):
    made = algorithms(
        {"name": "a", "seconds": MILLISECOND},
        {"name": "im2col", "seconds": 60 * MILLISECOND},
        {"name": "c", "seconds": 60 * MILLISECOND},
    )
    record = tune.tune_problem(PROBLEM, threads=1)
    assert outcomes(record)["c"] == "skipped"
    assert made["c"].executions == []
    assert record.gain == pytest.approx(60)


def test_no_gain_where_the_baseline_does_not_compute_the_problem(algorithms):
    algorithms({"name": "a", "seconds": MILLISECOND})
    assert tune.tune_problem(PROBLEM, threads=1).gain is None


def test_packed_weights_are_timed_apart_and_do_not_decide(algorithms):
    made = algorithms(
        {"name": "a", "seconds": 2 * MILLISECOND, "packed_seconds": 1 * MILLISECOND},
        {"name": "b", "seconds": 1.5 * MILLISECOND},
    )
    record = tune.tune_problem(PROBLEM, threads=1)
    assert record.algorithm == "b"
    assert record.best_seconds("a") == pytest.approx(2 * MILLISECOND)
    assert record.best_packed().algorithm == "a"
    assert record.best_seconds("a", packed=True) == pytest.approx(1 * MILLISECOND)
    made["a"].executions.clear()
    gradient = tune.tune_problem(PROBLEM.replace(direction="backward_weight"), threads=1)
    assert gradient.best_packed() is None
    assert {packed for _, packed in made["a"].executions} == {None}


def test_exhaustive_tries_all_parameters(algorithms):
    choices = tuple({"speed": speed} for speed in (1, 2, 2.5, 3, 4))
    algorithms({"name": "a", "seconds": MILLISECOND, "all_params": choices})
    assert tune.tune_problem(PROBLEM, threads=1).params == {"speed": 3}
    record = tune.tune_problem(PROBLEM, threads=1, effort="exhaustive")
    assert record.params == {"speed": 4}
    assert outcomes(record) == {
        "a speed=1": "slower",
        "a speed=2": "slower",
        "a speed=2.5": "slower",
        "a speed=3": "slower",
        "a speed=4": "measured",
        "reference": "skipped",
    }


def test_what_may_be_the_fastest_is_tried_with_other_parameters(algorithms):
    """And the gain over the model's choice is over its own parameters."""
    choices = {"all_params": ({"speed": 1}, {"speed": 2})}
    made = algorithms(
        {"name": "a", "seconds": 10 * MILLISECOND, "estimate": MILLISECOND, **choices},
        {"name": "b", "seconds": 12 * MILLISECOND, "estimate": 2 * MILLISECOND, **choices},
        {"name": "c", "seconds": 16 * MILLISECOND, "estimate": 3 * MILLISECOND, **choices},
    )
    record = tune.tune_problem(PROBLEM, threads=1)
    assert (record.algorithm, record.params, record.seconds) == ("a", {"speed": 2}, pytest.approx(5 * MILLISECOND))
    assert [({"speed": 2}, None) in made[name].executions for name in "abc"] == [True, True, False]
    assert (record.default, record.default_params) == ("a", {"speed": 1})
    assert model_of(record).seconds == pytest.approx(10 * MILLISECOND)
    assert model_of(type(record).from_json(*record.key, record.to_json())) == model_of(record)


def test_estimate_runs_nothing_and_is_not_stored(algorithms):
    made = algorithms({"name": "a", "seconds": MILLISECOND})
    (step,) = tune.tune([PROBLEM], 1, effort="estimate")
    assert (step.record.algorithm, step.record.seconds) == ("a", None)
    assert made["a"].executions == []
    assert tuning_cache.current().content.records() == []


def test_algorithm_without_memory_is_passed_over(algorithms):
    algorithms(
        {"name": "a", "seconds": MILLISECOND, "raises": MemoryError},
        {"name": "b", "seconds": 2 * MILLISECOND},
    )
    record = tune.tune_problem(PROBLEM, threads=1)
    assert (record.algorithm, outcomes(record)["a"]) == ("b", "out of memory")


def test_precision_and_workspace_limit_hold_for_candidates(algorithms):
    loose = ErrorBound(None, 1e-4, 1e-4)
    made = algorithms(
        {"name": "loose", "seconds": MILLISECOND, "bound": loose},
        {"name": "large", "seconds": MILLISECOND, "workspace_bytes": 2**50},
        {"name": "fits", "seconds": 3 * MILLISECOND},
    )
    assert tune.tune_problem(PROBLEM, threads=1).algorithm == "fits"
    assert made["loose"].executions == made["large"].executions == []
    assert tune.tune_problem(PROBLEM.replace(precision="medium"), threads=1).algorithm == "loose"


def test_stored_problems_are_not_measured_again(algorithms):
    made = algorithms({"name": "a", "seconds": MILLISECOND})
    assert [step.stored for step in tune.tune([PROBLEM], 1)] == [False]
    made["a"].executions.clear()
    reread()
    assert [step.stored for step in tune.tune([PROBLEM], 1)] == [True]
    assert made["a"].executions == []
    assert [step.stored for step in tune.tune([PROBLEM], 2)] == [False]
    assert [step.stored for step in tune.tune([PROBLEM], 1, effort="exhaustive")] == [False]
    assert [step.stored for step in tune.tune([PROBLEM], 1)] == [True]
    assert [step.stored for step in tune.tune([PROBLEM], 1, remeasure=True)] == [False]


def test_tuned_choice_is_what_the_next_call_uses(algorithms):
    made = algorithms(
        {"name": "a", "seconds": 5 * MILLISECOND, "estimate": 1 * MILLISECOND},
        {"name": "b", "seconds": 3 * MILLISECOND, "estimate": 9 * MILLISECOND},
    )
    x, w = np.ones((1, 2, 6, 6), np.float32), np.ones((3, 2, 3, 3), np.float32)
    fastconv.conv2d(x, w, padding=1, threads=1)
    assert (len(made["a"].executions), len(made["b"].executions)) == (1, 0)
    fastconv.autotune(str(PROBLEM), threads=1)
    made["b"].executions.clear()
    fastconv.conv2d(x, w, np.ones(3, np.float32), padding=1, activation="relu", threads=1)
    assert len(made["b"].executions) == 1


def test_interrupted_run_keeps_what_it_measured(algorithms):
    made = algorithms({"name": "a", "seconds": MILLISECOND})
    problems = [PROBLEM.replace(batch=batch) for batch in (1, 2, 3)]
    steps = tune.tune(problems, 1)
    next(steps)
    next(steps)
    made["a"].raises = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    reread()
    assert {record.problem.batch for record in tuning_cache.current().content.records()} == {1, 2}


def test_hopeless_by_the_model_is_never_called_and_by_the_clock_once(algorithms):
    made = algorithms(
        {"name": "a", "seconds": 10 * MILLISECOND},
        {"name": "far", "seconds": 10 * MILLISECOND, "estimate": 201 * MILLISECOND},
        {"name": "near", "seconds": 10 * MILLISECOND, "estimate": 199 * MILLISECOND},
        {"name": "slow", "seconds": 1.5, "estimate": 11 * MILLISECOND},
    )
    record = tune.tune_problem(PROBLEM, threads=1)
    assert outcomes(record)["far"] == "skipped"
    assert made["far"].executions == []
    assert len(made["near"].executions) > 1
    assert len(made["slow"].executions) == 1


def test_explain_says_what_excludes_an_algorithm(algorithms):
    loose, limit = ErrorBound(None, 1e-4, 1e-4), 2**50
    algorithms(
        {"name": "loose", "seconds": MILLISECOND, "bound": loose},
        {"name": "large", "seconds": MILLISECOND, "workspace_bytes": limit},
    )
    verdicts = {entry.algorithm: entry.verdict for entry in fastconv.explain(PROBLEM, threads=1).considered}
    assert verdicts["loose"] == 'precision "high" asks for 1e-05'
    assert "workspace" in verdicts["large"]
    assert verdicts["reference"] == "chosen"
