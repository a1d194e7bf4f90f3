"""The public functions of tuning, on the real algorithms."""

from __future__ import annotations

import itertools
import json

import pytest

import fastconv
from fastconv import ConvProblem, tuning
from fastconv._algorithm import Machine
from fastconv._backend import algorithm_names
from fastconv._choose import calibration, select, tuning_cache
from fastconv._problem import DIRECTIONS
from operands import ALGORITHMS
from problems import SHAPES
from tuning_cases import PROBLEM, reread

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_autotune_and_explain_real_algorithms():
    text = "forward 1x8x12x12 8x8x3x3 p1 float32"
    before = fastconv.explain(text, threads=1)
    assert before.plan.reason == "cost model"
    records = fastconv.autotune([text, ConvProblem.parse(text)], passes=["forward", "input", "weight"], threads=1)
    assert [record.problem.direction for record in records] == ["forward", "backward_input", "backward_weight"]
    for record in records:
        assert record.seconds is not None
        assert not [timing for timing in record.timings if timing.outcome == "wrong"]
        plan = select.plan_for(record.problem, threads=1)
        assert (plan.algorithm.name, dict(plan.params), plan.reason) == (record.algorithm, record.params, "tuned")
    page = str(fastconv.explain(text, threads=1))
    assert "measured at" in page
    assert all(name in page for name in algorithm_names())


def test_export_forget_import(tmp_path):
    record = fastconv.autotune(str(PROBLEM), threads=1)[0]
    file = tmp_path / "exported.json"
    assert fastconv.export_tuning(file) == 1
    assert fastconv.forget_tuning() == 1
    assert select.plan_for(PROBLEM, threads=1).reason == "cost model"
    assert fastconv.import_tuning(file) == 1
    assert select.plan_for(PROBLEM, threads=1).reason == "tuned"
    assert tuning_cache.current().content.records() == [record]


def test_forget_one_problem_or_one_number_of_threads():
    other = PROBLEM.replace(batch=2)
    fastconv.autotune([PROBLEM, other], threads=1)
    fastconv.autotune(PROBLEM, threads=2)
    assert fastconv.forget_tuning(PROBLEM, threads=2) == 1
    assert fastconv.forget_tuning(str(other)) == 1
    assert [record.key for record in tuning_cache.current().content.records()] == [(str(PROBLEM), 1)]
    assert fastconv.forget_tuning(threads=1) == 1


def test_import_refuses_files_of_other_machines_and_other_files(tmp_path):
    fastconv.autotune(PROBLEM, threads=1)
    file = tmp_path / "exported.json"
    fastconv.export_tuning(file)
    content = json.loads(file.read_text())
    content["fingerprint"]["stepping"] = "another"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="stepping 'another' there"):
        fastconv.import_tuning(file)
    file.write_text("no JSON")
    with pytest.raises(ValueError, match="export_tuning wrote"):
        fastconv.import_tuning(file)
    with pytest.raises(ValueError, match="no such file"):
        fastconv.import_tuning(tmp_path / "missing.json")
    assert len(tuning_cache.current().content.records()) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"problems": "resnet51"}, ValueError, "resnet50"),
        ({"problems": 5}, TypeError, "problems"),
        ({"problems": [5]}, TypeError, "problem"),
        ({"problems": "forward 1x1x2x2 1x1x3x3"}, ValueError, "larger than its padded input"),
        ({"problems": "lenet", "passes": "backward"}, ValueError, "passes"),
        ({"problems": "lenet", "passes": []}, ValueError, "passes"),
        ({"problems": "lenet", "effort": "much"}, ValueError, "effort"),
        ({"problems": "lenet", "threads": 0}, ValueError, "threads"),
        ({"problems": "lenet", "time_limit": -1}, ValueError, "time_limit"),
        ({"problems": "lenet", "time_limit": "1"}, TypeError, "time_limit"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        tuning.autotune(arguments.pop("problems"), **arguments)
    assert tuning_cache.current().content.records() == []


def test_calibration_measures_a_machine():
    machine = calibration.measure_machine()
    assert isinstance(machine, Machine)
    for dtype in ("float32", "float64"):
        assert 1e8 < machine.multiply_adds_per_second[dtype] < 1e12
    assert 1e8 < machine.bytes_per_second < 1e12
    assert 1e-7 < machine.call_seconds < 1e-1
    assert 1e-8 < machine.numpy_call_seconds < 1e-2
    tuning_cache.current().store_machine(machine)
    reread()
    assert select.machine() == machine


def test_estimates_are_positive_and_finite():
    """Estimates of every algorithm, on the named problems that it computes, with each set of its parameters."""
    estimated = set()
    for shape in itertools.chain(*SHAPES.values()):
        for direction in DIRECTIONS:
            problem = ConvProblem.parse(f"{direction} {shape} float32")
            for algorithm, params, seconds in select.candidates(problem, 1, all_params=True):
                assert 0 < seconds < 10, f"{problem}: {algorithm.name} {params}"
                estimated.add(algorithm.name)
    assert estimated == {algorithm.name for algorithm in ALGORITHMS}
