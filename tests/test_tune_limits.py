"""How long the tuner measures, and what the noise of the machine asks for."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv._choose import tune, tuning_cache
from fastconv._choose.noise import needed_gain, noise_text
from tuner_cases import MILLISECOND
from tuning_cases import PROBLEM

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_time_of_a_problem_is_bounded(algorithms, clock):
    algorithms({"name": "a", "seconds": 1.0}, {"name": "b", "seconds": 1.1})
    start = clock.now
    tune.tune_problem(PROBLEM, threads=1)
    assert clock.now - start < 6


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


def test_a_restless_machine_is_sampled_for_longer(algorithms, clock, monkeypatch):
    made = algorithms({"name": "a", "seconds": 10 * MILLISECOND}, {"name": "b", "seconds": 10 * MILLISECOND})
    quiet = [timing.samples for timing in tune.tune_problem(PROBLEM, threads=1).timings[:2]]
    disturb(made.values(), clock, monkeypatch, 0.4)
    restless = [timing.samples for timing in tune.tune_problem(PROBLEM, threads=1).timings[:2]]
    assert max(quiet) < 15 < 30 < min(restless)


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
