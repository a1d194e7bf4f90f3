"""``fastconv explain``: what it says of a choice."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from cli_cases import PROBLEM
from fastconv import ConvProblem
from fastconv._backend import algorithm_names
from fastconv._choose import tune, tuning_cache
from fastconv._problem import DTYPES

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_explain(run):
    status, out, _ = run("explain", PROBLEM, "--threads", "1")
    assert status == 0
    assert out.startswith(PROBLEM)
    assert "chosen by cost model" in out
    run("autotune", PROBLEM, "--threads", "1")
    assert "measured at" in run("explain", PROBLEM, "--threads", "1")[1]


def test_explain_says_why_and_what_does_not_apply(run):
    out = run("explain", "forward 1x16x30x30 16x16x3x3 p1 float32", "--threads", "1")[1]
    why = re.search(
        r"^  why: chosen by cost model; (\w+), the next, is expected to take ([\d.]+) times as long$", out, re.M
    )
    others = re.search(r"^  do not apply: (.+)$", out, re.M)[1].split(", ")
    table = re.findall(r"^  (\w+) +([\d.]+) ms +- +([\d.]+)x +\S+e-\d\d", out, re.M)
    assert {name for name, *_ in table} | set(others) == set(algorithm_names())
    assert table[0][2] == "1"
    assert table[1][0::2] == why.groups()
    times = [float(seconds) for _, seconds, _ in table]
    assert times == sorted(times)


def test_explain_of_what_was_measured_goes_by_the_measured_times(run):
    problem = ConvProblem.parse(PROBLEM)
    found = tune.tune_problem(problem, 1, "estimate")
    slower = [
        dataclasses.replace(t, seconds=k * 1e-3, outcome="measured") for k, t in enumerate(found.timings[::-1], 1)
    ]
    winner = slower[0].algorithm
    tuning_cache.current().store(
        [
            dataclasses.replace(
                found, effort="measure", algorithm=winner, params=slower[0].params, seconds=1e-3, timings=tuple(slower)
            )
        ]
    )
    out = run("explain", PROBLEM, "--threads", "1")[1]
    assert re.findall(r"^  (\w+) .* ms +(\d+) ms +(\d+)x ", out, re.M)[:2] == [
        (winner, "1", "1"),
        (slower[1].algorithm, "2", "2"),
    ]
    assert (
        f"; {slower[1].algorithm}, the next, takes 2 times as long; the cost model would choose {found.default}" in out
    )


def test_json_of_explain(run, tmp_path):
    file = tmp_path / "why.json"
    assert run("explain", PROBLEM, "--json", str(file))[0] == 0
    (found,) = json.loads(file.read_text())["problems"]
    assert (found["problem"], found["reason"]) == (PROBLEM, "cost model")
    assert {entry["algorithm"] for entry in found["considered"]} == set(algorithm_names())


def test_explain_knows_every_dtype(run):
    for dtype in DTYPES:
        assert run("explain", f"forward 2x6x9x9 4x6x3x3 p1 {dtype}")[0] == 0
