"""The tuner's decisions, on a clock of its own: algorithms here take the time that the test says."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, _timing
from fastconv._algorithm import Algorithm, ErrorBound, definition_bound
from fastconv._choose import tune, tuning_cache
from fastconv._choose.noise import needed_gain, noise_text
from fastconv._cpu import backend
from fastconv._cpu.algorithms.reference.algorithm import Reference
from fastconv._problem import RESULT
from tuning_cases import PROBLEM, reread

pytestmark = pytest.mark.usefixtures("cache_folder")

MILLISECOND = 1e-3


class Clock:
    """The tuner's ``time``, which passes only while algorithms execute."""

    strftime, gmtime = staticmethod(time.strftime), staticmethod(time.gmtime)

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass(kw_only=True, eq=False)
class Timed(Reference):
    """The definition, taking ``seconds`` on the clock and claiming ``estimate``."""

    name: str
    clock: Clock
    seconds: float
    estimate: float | None = None
    packed_seconds: float | None = None
    wrong: bool = False
    all_params: tuple[dict, ...] = ({},)
    bound: ErrorBound | None = None
    workspace_bytes: int = 0
    raises: type[BaseException] | None = None
    executions: list = field(default_factory=list)

    fitting = Algorithm.fitting

    def parameters(self, problem):
        return list(self.all_params)

    def cost(self, problem, params, threads, machine):
        return self.seconds if self.estimate is None else self.estimate

    def workspace(self, problem, params, threads):
        return self.workspace_bytes

    def error_bound(self, problem):
        return self.bound or definition_bound(problem)

    def pack(self, problem, params, weight, threads):
        return None if self.packed_seconds is None else "packed"

    def execute(self, problem, params, operands, resources):
        self.executions.append((dict(params), operands.packed))
        if self.raises is not None:
            raise self.raises
        self.clock.now += self.packed_seconds if operands.packed else self.seconds / params.get("speed", 1)
        super().execute(problem, params, operands, resources)
        if self.wrong:
            getattr(operands, RESULT[problem.direction])[...] *= 2


@pytest.fixture
def clock(monkeypatch):
    """The clock that the tuner reads."""
    made = Clock()
    for module in (tune, _timing):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def algorithms(monkeypatch, clock):
    """Put algorithms of these names and seconds in the registry, before the definition; returns them by name."""

    def install(*described: dict) -> dict[str, Timed]:
        made = {entry["name"]: Timed(clock=clock, **entry) for entry in described}
        # Takes no time, since it also computes the exact values; is never a candidate, by its estimate.
        last = Timed(name="reference", clock=clock, seconds=0.0, estimate=1e6)
        monkeypatch.setattr(backend, "algorithms", (*made.values(), last))
        reread()
        return {**made, "reference": last}

    return install


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
    choices = ({"speed": 1}, {"speed": 4}, {"speed": 2})
    algorithms({"name": "a", "seconds": MILLISECOND, "all_params": choices})
    assert tune.tune_problem(PROBLEM, threads=1).params == {"speed": 1}
    record = tune.tune_problem(PROBLEM, threads=1, effort="exhaustive")
    assert record.params == {"speed": 4}
    assert outcomes(record) == {
        "a speed=1": "slower",
        "a speed=4": "measured",
        "a speed=2": "slower",
        "reference": "skipped",
    }


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


def test_time_of_a_problem_is_bounded(algorithms, clock):
    algorithms({"name": "a", "seconds": 1.0}, {"name": "b", "seconds": 1.1})
    start = clock.now
    tune.tune_problem(PROBLEM, threads=1)
    assert clock.now - start < 6


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


def test_time_limit_begins_no_further_problem(algorithms, clock):
    algorithms({"name": "a", "seconds": 100 * MILLISECOND})
    problems = [PROBLEM.replace(batch=batch) for batch in range(1, 20)]
    start = clock.now
    steps = list(tune.tune(problems, 1, time_limit=3.0))
    assert 1 < len(steps) < 19
    assert clock.now - start < 5


def test_time_limit_ends_the_first_runs_and_what_they_left_open_is_not_stored(algorithms, clock):
    made = algorithms(*({"name": name, "seconds": 2.0 + n / 10} for n, name in enumerate("abcd")))
    start = clock.now
    assert list(tune.tune([PROBLEM], 1, time_limit=3.0)) == []
    assert clock.now - start < 5
    assert made["d"].executions == []
    assert tuning_cache.current().content.records() == []


def test_time_limit_leaves_packed_weights_out(algorithms, clock):
    algorithms({"name": "a", "seconds": 1.0, "packed_seconds": 1.0})
    (step,) = tune.tune([PROBLEM], 1, time_limit=1.5)
    assert (step.record.algorithm, step.record.best_packed()) == ("a", None)


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


@pytest.mark.parametrize(("noise", "expected"), [(0.0, 0.0), (0.02, 0.02), (0.05, 0.05)])
def test_noise_is_estimated_and_kept(algorithms, clock, monkeypatch, noise, expected):
    made = algorithms({"name": "a", "seconds": 10 * MILLISECOND}, {"name": "b", "seconds": 10 * MILLISECOND})
    disturb(made.values(), clock, monkeypatch, noise)
    record = tune.tune_problem(PROBLEM, threads=1, effort="exhaustive")
    assert record.noise == pytest.approx(expected, rel=0.4, abs=1e-9)
    kept = type(record).from_json(*record.key, record.to_json())
    assert kept == record
    assert f"noise of the machine: {record.noise:.1%} a sample" in noise_text([record])
    assert noise_text([]) == ""


@pytest.mark.parametrize(("noise", "winner"), [(0.0, "b"), (0.15, "a")])
def test_a_restless_machine_asks_for_a_larger_gain(algorithms, clock, monkeypatch, noise, winner):
    made = algorithms(
        {"name": "a", "seconds": 10.4 * MILLISECOND, "estimate": 1 * MILLISECOND},
        {"name": "b", "seconds": 10 * MILLISECOND, "estimate": 2 * MILLISECOND},
    )
    disturb(made.values(), clock, monkeypatch, noise)
    assert tune.tune_problem(PROBLEM, threads=1).algorithm == winner


def test_needed_gain_has_bounds():
    assert needed_gain(None, 0) == needed_gain(0.0, 9) == 1.03
    assert needed_gain(0.05, 9) == pytest.approx(1 + 2 * 0.05 * 1.2533 * (2 / 9) ** 0.5)
    assert needed_gain(1.0, 9) == 1.10


def disturb(algorithms, clock, monkeypatch, noise: float) -> None:
    """Let each execution take a time of its own, normal and the same for both in every round."""
    for algorithm in algorithms:
        if algorithm.name != "reference":
            plain, draws = algorithm.execute, np.random.default_rng(1)

            def slower(*how, plain=plain, draws=draws, algorithm=algorithm):
                plain(*how)
                clock.now += algorithm.seconds * noise * float(draws.standard_normal())

            monkeypatch.setattr(algorithm, "execute", slower)


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
