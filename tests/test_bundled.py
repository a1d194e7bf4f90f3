"""Choices that come with the library: written from an exported file, used as a hint where the level is the same."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import pytest

import fastconv
from bench.__main__ import main as bench
from fastconv import ConvProblem, suites
from fastconv._backend import CPU
from fastconv._choose import bundled, select, tuning_cache
from tuning_cases import computes, record, reread

pytestmark = pytest.mark.usefixtures("cache_folder")

LAYER = suites.suite("lenet").layers[0].problem
OF_NO_NETWORK = ConvProblem.parse("forward 1x2x6x6 3x2x3x3 p1 float32")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of tables in the place of the one that is shipped."""
    made = tmp_path / "bundled"
    made.mkdir()
    monkeypatch.setattr(bundled, "FOLDER", made)
    bundled._choices.cache_clear()
    return made


def table(folder: Path) -> Path:
    return folder / bundled.file_name("cpu", CPU.level())


def exported(path: Path, *records) -> str:
    """A file as ``export_tuning`` writes it of these records; the choices of this machine are then forgotten."""
    tuning_cache.current().store(records)
    fastconv.export_tuning(path)
    fastconv.forget_tuning()
    return str(path)


def plan_reason(problem: ConvProblem = LAYER, threads: int = 1) -> str:
    select.forget_plans()
    return select.plan_for(problem, threads=threads).reason


def test_exported_choices_become_a_table_that_is_the_last_resort(folder, tmp_path, capsys):
    of_batch, gradient = LAYER.replace(batch=4), LAYER.replace(direction="backward_weight")
    file = exported(tmp_path / "a.json", *map(record, (LAYER, of_batch, gradient, OF_NO_NETWORK)))
    assert plan_reason() == "cost model"
    bundled._choices.cache_clear()
    assert bench(["bundle", file, "--folder", str(folder)]) == 0
    assert capsys.readouterr().out == f"{table(folder).name}: 3 choices of 4\n"
    for problem in (LAYER, of_batch, gradient, ConvProblem.parse(f"{LAYER} +bias+relu")):
        assert plan_reason(problem) == "bundled table", problem
    assert select.plan_for(LAYER, threads=1).algorithm.name == "reference"
    assert plan_reason(OF_NO_NETWORK) == plan_reason(LAYER, threads=2) == "cost model"
    assert "chosen by bundled table" in str(fastconv.explain(LAYER, threads=1))
    fastconv.set_deterministic(True)
    try:
        assert plan_reason() == "cost model"
    finally:
        fastconv.set_deterministic(False)
    with fastconv.tuning("pinned"), pytest.raises(LookupError, match="no choice is stored"):
        plan_reason()
    tuning_cache.current().store([record(LAYER)])
    assert plan_reason() == "tuned"


def test_what_the_cost_model_chooses_as_well_is_left_out(folder, tmp_path):
    same = dataclasses.replace(record(LAYER), default="reference")
    file = exported(tmp_path / "a.json", same, record(LAYER, threads=2))
    assert bench(["bundle", file, "--folder", str(folder)]) == 0
    assert list(bundled.parse(table(folder).read_text())) == [(str(LAYER), 2)]


def test_a_table_of_another_level_is_not_used(folder, tmp_path, monkeypatch):
    bench(["bundle", exported(tmp_path / "a.json", record(LAYER)), "--folder", str(folder)])
    monkeypatch.setattr(bundled, "file_name", lambda backend, level: f"{backend}-{level}-other.json")
    assert plan_reason() == "cost model"


def test_files_of_one_machine_are_joined_and_of_two_refused(folder, tmp_path, capsys):
    early, late = (record(LAYER, name, measured_at=f"2026-01-0{day}T00:00:00Z") for day, name in enumerate("xy", 1))
    files = [exported(tmp_path / "a.json", late), exported(tmp_path / "b.json", early, record(LAYER, threads=2))]
    assert bench(["bundle", *files, "--folder", str(folder)]) == 0
    choices = bundled.parse(table(folder).read_text())
    assert choices == {(str(LAYER), 1): ("y", {}), (str(LAYER), 2): ("reference", {})}
    content = json.loads(Path(files[1]).read_text())
    content["fingerprint"]["stepping"] += "x"
    Path(files[1]).write_text(json.dumps(content))
    assert bench(["bundle", *files, "--folder", str(folder)]) == 2
    assert "is of another machine" in capsys.readouterr().err


def test_a_choice_that_does_not_apply_is_passed_over(folder):
    choices = {str(LAYER): {"1": ["no_such_algorithm", {}], "2": ["reference", {"tile": 3}], "x": ["reference", {}]}}
    choices[str(OF_NO_NETWORK)] = {"1": ["reference", []], "2": [1], "3": None, "4": ["reference", {}]}
    table(folder).write_text(json.dumps({"format": 1, "choices": choices}))
    assert [plan_reason(threads=threads) for threads in (1, 2)] == ["cost model"] * 2
    assert plan_reason(OF_NO_NETWORK, 4) == "bundled table"
    assert [plan_reason(OF_NO_NETWORK, threads) for threads in (1, 2, 3)] == ["cost model"] * 3


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": 2, "choices": {}}', '{"format": 1, "choices": []}', "[" * 99999]
)
def test_a_damaged_table_costs_one_warning(folder, text):
    table(folder).write_text(text)
    with pytest.warns(RuntimeWarning, match="is damaged.*bundled choices are not used") as warned:
        computes()
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reread()
        computes()


@pytest.mark.parametrize("file", sorted(bundled.FOLDER.glob("*.json")), ids=lambda file: file.name)
def test_what_is_shipped_is_whole(file):
    """Algorithms that there are, for problems that there are; on any level."""
    value, choices = json.loads(file.read_text()), bundled.parse(file.read_text())
    assert len(choices) == sum(map(len, value["choices"].values())) > 0
    backend = fastconv._backend.find_backend(file.name.partition("-")[0])
    for (text, threads), (name, _) in choices.items():
        assert str(ConvProblem.parse(text)) == text
        assert threads >= 1
        assert name in fastconv._backend.algorithm_names(backend)
