"""The CPU's cost models: counts, coefficients of every level, bounds, and the fit that makes them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.costs import command, decide, fit, table
from bench.costs.realistic import long_kernels, rare, realistic
from bench.costs.table import Measured
from fastconv import ConvProblem
from fastconv._backend import CPU, find_algorithm
from fastconv._choose import select
from fastconv._correlation import Correlation
from fastconv._cpu.cost import counts, model
from fastconv._cpu.cost.fitted import Fitted
from fastconv._cpu.engine import runtime
from fastconv._problem import DIRECTIONS

ROOT = Path(__file__).parent.parent

LEVELS = [level for level, _ in runtime.isa_levels()]
FOLDER = Path(model.__file__).parent


def test_general_counts_are_named_once_and_are_of_whole_phases():
    assert len(set(counts.GENERAL)) == len(counts.GENERAL)
    problem = ConvProblem.parse("backward_input 2x4x7x9 6x4x3x3 s2 p1")
    found = dict(zip(counts.GENERAL, counts.general(problem), strict=True))
    # Phases of 4x5 pixels, of 2x2 taps at most: all four of them in full.
    assert found["products"] == 2 * 4 * 6 * (4 * 2 * 2) * (5 * 2 * 2)
    assert found["defined_products"] == problem.multiply_adds
    assert found["source_bytes"] == 4 * math.prod(problem.output_shape)
    assert found["phase_steps"] == 4
    assert counts.count(problem, "result_bytes") == 4 * math.prod(problem.input_shape)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_no_algorithm_counts_what_all_have_in_common_under_the_same_name(direction):
    for forward in (*realistic(3, 20), *long_kernels(3, 5)):
        problem = forward.replace(direction=direction)
        for algorithm, params, _ in select.candidates(problem, 1):
            assert not set(algorithm.counts(problem, params)) & set(counts.GENERAL), algorithm.name


@pytest.mark.parametrize(
    "text",
    [
        "forward 1x1x5x9 1x1x3x3 p1",
        "forward 1x1x12x7 1x1x5x4 s2x3 p2x1 d2x1",
        "forward 1x1x3x3 1x1x9x9 p4",
        "forward 1x1x8x8 1x1x8x8",
        "backward_input 1x1x9x11 1x1x4x3 p2x1",
        "backward_input 1x1x6x6 1x1x6x5",
    ],
)
def test_shares_of_products_inside_are_about_those_of_the_definition(text):
    problem = ConvProblem.parse(text)
    c = Correlation.of(problem)
    for axis, a in enumerate(c.axes):
        inside = [
            0 <= pixel * a.step + a.origin + tap * abs(a.delta) < a.source_size
            for pixel in range(a.pixels)
            for tap in range(a.taps)
        ]
        assert counts.inside_share(c, axis) == pytest.approx(np.mean(inside), abs=0.05), axis


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_coefficients_of_every_loop(level):
    """Of all algorithms but those whose instructions it lacks."""
    found = json.loads((FOLDER / f"{model.MEASURED_AT.get(level, level)}.json").read_text())
    lacking = {"split_bf16"} if level not in ("avx512-bf16", "amx") else set()
    names = {algorithm.name for algorithm in CPU.algorithms} - lacking
    assert {loop.partition(" ")[0] for loop in found["loops"]} == names == set(found["bounds"])
    for by_direction in [*found["loops"].values(), *found["bounds"].values()]:
        for direction, coefficients in by_direction.items():
            assert direction in DIRECTIONS
            assert coefficients
            assert all(0 < weight < math.inf for weight in coefficients.values())


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_estimates_are_positive_and_finite(direction):
    for forward in (*realistic(3, 40), *long_kernels(3, 10), *rare(3, 16)):
        problem = forward.replace(direction=direction)
        for algorithm, params, seconds in select.candidates(problem, 1, all_params=True):
            assert 0 < seconds < math.inf, (problem, algorithm.name, params)
            assert algorithm.cost(problem, params, 2, CPU.default_machine()) > 0


def test_bounds_hardly_ever_change_the_choice():
    changed = 0
    for problem in realistic(5, 120):
        found = select.candidates(problem, 1)
        chosen = select.estimated_plan(problem, 1).algorithm
        changed += chosen is not found[0][0]
        assert next(seconds for algorithm, _, seconds in found if algorithm is chosen) <= 1.5 * found[0][2], problem
    assert changed <= 3


def test_bounds_rule_most_algorithms_out():
    considered = [len(select.estimated_plan(problem, 1).candidates) for problem in realistic(5, 60)]
    assert np.mean(considered) < 4


def test_estimates_scale_with_the_machine():
    machine = CPU.default_machine()
    slower = type(machine)(
        {dtype: rate / 2 for dtype, rate in machine.multiply_adds_per_second.items()},
        machine.bytes_per_second / 2,
        machine.call_seconds * 2,
        machine.numpy_call_seconds * 2,
    )
    problem = ConvProblem.parse("forward 1x32x28x28 32x32x3x3 p1")
    for algorithm, params, seconds in select.candidates(problem, 1):
        assert algorithm.cost(problem, params, 1, slower) == pytest.approx(2 * seconds), algorithm.name


def test_realistic_problems_are_those_of_their_seed():
    assert realistic(4, 30) == realistic(4, 40)[:30] != realistic(5, 30)
    assert {problem.direction for problem in realistic(4, 80)} == set(DIRECTIONS)
    assert all(problem.multiply_adds for problem in (*long_kernels(4, 30), *rare(4, 30)))


def synthetic(problems: list[ConvProblem], loop_seconds: float) -> list[Measured]:
    """Times that are known sums of counts, of two loops."""
    rows = []
    for problem in problems:
        for algorithm in ("direct", "im2col"):
            units = model.Units.of(CPU.default_machine(), problem.dtype)
            seconds = 3 * units.product * counts.count(problem, "products") + loop_seconds
            seconds *= 1.5 if algorithm == "im2col" else 1
            params = {"lanes": "width"} if algorithm == "direct" else {}
            rows.append(Measured(1, problem, algorithm, params, seconds))
    return rows


def test_fit_finds_what_times_were_made_of(monkeypatch):
    monkeypatch.setattr(fit, "decided", lambda *_: None)  # which gives up some of it
    rows = synthetic(realistic(6, 60), 5e-6)
    fits = fit.fitted(rows, CPU.default_machine())
    assert {loop for loop, _ in fits} == {"direct width", "im2col"}
    assert all(found.deviation < 0.02 for found in fits.values())
    for (algorithm, direction), bound in fit.bounds(rows, CPU.default_machine()).items():
        of_it = [row for row in rows if (row.algorithm, row.problem.direction) == (algorithm, direction)]
        for row in of_it:
            units = model.Units.of(CPU.default_machine(), row.problem.dtype)
            least = sum(weight * counts.count(row.problem, name) * units.per(name) for name, weight in bound.items())
            assert least <= 1.01 * row.seconds


def test_decisions_are_better_than_those_of_the_best_estimates():
    """Times that are no sums of counts, nearly alike, of two algorithms."""
    rows = []
    for row in synthetic(realistic(6, 240), 5e-6):
        size = math.log10(row.problem.multiply_adds)
        factor = math.exp(0.4 * math.sin(2 * size)) / 1.5 if row.algorithm == "im2col" else 1.0
        rows.append(replace(row, seconds=row.seconds * factor))
    machine, regrets = CPU.default_machine(), []
    for decided in (lambda *_: None, decide.decided):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fit, "decided", decided)
            fits = fit.fitted(rows, machine)
        regrets.append(mean_log_regret(rows, fits))
    assert regrets[1] < 0.7 * regrets[0]


def mean_log_regret(rows: list[Measured], fits: dict[fit.Loop, fit.Fit]) -> float:
    """Of the lowest estimates by these coefficients."""
    by_problem: dict[ConvProblem, list[tuple[float, float]]] = {}
    for row in rows:
        loop = fit.algorithm_of(row).loop(row.problem, row.params), row.problem.direction
        found = fit.counts_of(row, CPU.default_machine())
        estimate = sum(weight * found.get(name, 0.0) for name, weight in fits[loop].coefficients.items())
        by_problem.setdefault(row.problem, []).append((estimate, row.seconds))
    return float(np.mean([math.log(min(pairs)[1] / min(t for _, t in pairs)) for pairs in by_problem.values()]))


def test_measured_times_are_kept_as_they_are(tmp_path):
    path = tmp_path / "level.csv.xz"
    rows = synthetic(realistic(6, 4), 1e-6)
    table.append(path, rows[:3])
    table.append(path, rows[3:])
    known = table.read(path)
    assert [(row.problem, row.algorithm, row.params) for row in known] == [
        (row.problem, row.algorithm, row.params) for row in rows
    ]
    assert all(a.seconds == pytest.approx(b.seconds, rel=1e-3) for a, b in zip(known, rows, strict=True))
    size = path.stat().st_size
    table.pack(path)
    assert table.read(path) == known
    assert path.stat().st_size < size
    assert table.read(tmp_path / "none.csv.xz") == []


def test_fit_writes_what_the_library_reads(tmp_path, monkeypatch, capsys):
    for module, name in ((command, "COEFFICIENTS"), (table, "FOLDER")):
        monkeypatch.setattr(module, name, tmp_path)
    table.append(table.path_of(runtime.isa()), synthetic(realistic(6, 40), 5e-6))
    monkeypatch.setattr(model, "forget", lambda: None)
    from bench.__main__ import main

    assert main(["fit"]) == 0
    assert "regret on 5 other problems: median 1.00" in capsys.readouterr().out
    written = json.loads((tmp_path / f"{runtime.isa()}.json").read_text())
    assert set(written["loops"]) == {"direct width", "im2col"}
    assert type(CPU.default_machine()).of(written["machine"]) == CPU.default_machine()


def test_fit_without_measurements_says_how_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    from bench.__main__ import main

    assert main(["fit"]) == 2
    assert "python -m bench fit --measure" in capsys.readouterr().err


def test_all_but_the_gpus_algorithms_are_fitted():
    assert all(isinstance(find_algorithm(algorithm.name), Fitted) for algorithm in CPU.algorithms)
