"""The command ``fastconv``: what it prints, stores, refuses and returns."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import subprocess
import time
from pathlib import Path

import pytest

import fastconv
from cli_cases import PROBLEM, process
from fastconv import ConvProblem
from fastconv._backend import algorithm_names
from fastconv._choose import tune, tuning_cache
from fastconv._cli import main
from fastconv._cpu.engine import runtime as compiled
from fastconv._normalize.tuning import jobs
from operands import accepted

pytestmark = pytest.mark.usefixtures("cache_folder")


def rows(out: str) -> list[str]:
    """The rows of autotune's table, headings left out."""
    lines = out.splitlines()
    first = next(number for number, line in enumerate(lines) if re.search(r" fastest +ms ", line))
    table = itertools.takewhile(lambda line: not line.startswith("measured"), lines[first + 1 :])
    return [line for line in table if "  " in line]


def layers(out: str) -> dict[str, str]:
    """By suite and pass, the number of layers in the table of totals."""
    totals = out[out.index("\ntotal ") + 1 :].splitlines()
    assert totals[0].split() == ["total", "layers", "before", "ms", "after", "ms", "model", "im2col"]
    pattern = r"(.+?) +(\d+) +[\d.]+ +[\d.]+ +[\d.]+x +[\d.]+x"
    return dict(re.fullmatch(pattern, line).groups() for line in totals[1:])


# autotune


def test_autotune_a_suite_and_again_from_what_is_stored(run):
    status, first, _ = run("autotune", "lenet", "--threads", "1")
    assert status == 0
    assert first.startswith("3 problems, forward, float32, 1 thread, effort measure\n")
    lines = rows(first)
    assert len(lines) == 3
    for name, line in zip(("c1", "c3", "c5"), lines, strict=True):
        row = rf"{name} +forward \S+ \S+ float32 +\w+ +[\d.]+ +[\d.]+x +[\d.]+x +\w+ [\d.]+"
        assert re.fullmatch(row, line), line
    assert layers(first) == {"lenet forward": "3"}
    assert "measured 3, stored already 0" in first

    status, second, _ = run("autotune", "lenet", "--threads", "1")
    assert status == 0
    assert all(line.endswith("  stored") for line in rows(second))
    assert [line.removesuffix("stored").rstrip() for line in rows(second)] == lines
    assert "measured 0, stored already 3" in second


def test_autotune_of_all_passes_writes_json(run, tmp_path):
    file = tmp_path / "results.json"
    arguments = ("lenet", "--passes", "forward,input,weight", "--batch", "2", "--dtype", "float64")
    status, out, _ = run("autotune", *arguments, "--threads", "1", "--json", str(file))
    assert status == 0
    results = json.loads(file.read_text())["results"]
    assert [(row["layer"], row["pass"]) for row in results] == [
        (layer, name) for name in ("forward", "input", "weight") for layer in ("c1", "c3", "c5")
    ]
    problems = [fastconv.ConvProblem.parse(row["problem"]) for row in results]
    assert {(p.batch, p.dtype) for p in problems} == {(2, "float64")}
    assert {p.direction for p in problems} == {"forward", "backward_input", "backward_weight"}
    assert all(row["seconds"] > 0 and row["timings"] for row in results)
    assert layers(out) == {"lenet forward": "3", "lenet input": "3", "lenet weight": "3", "all": "9"}
    assert [out.count(f"\nlenet {name}\n") for name in ("forward", "input", "weight")] == [1, 1, 1]


def test_total_counts_every_occurrence_of_a_layer(run):
    status, out, _ = run("autotune", "textcnn", PROBLEM, PROBLEM, "--threads", "1")
    assert status == 0
    assert "4 problems" in out
    assert layers(out) == {"textcnn forward": "3", "problems": "2", "all": "5"}


def test_autotune_estimate_measures_nothing(run):
    status, out, _ = run("autotune", "resnet50", "--passes", "forward,input,weight", "--effort", "estimate")
    assert status == 0
    assert len(rows(out)) == 69
    assert all(re.search(r" ~[\d.]+ +~?\S+ +- .* estimated$", line) for line in rows(out))
    assert run("cache", "show")[1] == ""


def test_calibrate_stores_constants(run):
    status, out, _ = run("autotune", "--calibrate")
    assert status == 0
    assert out.startswith("calibrated: multiply-adds per second and thread float32 ")
    assert "calibrated" in run("info")[1]
    assert tuning_cache.current().content.machine is not None


def test_time_limit_is_said(run):
    status, out, err = run("autotune", "resnet18", "--time-limit", "0.000001")
    assert status == 0
    assert "11 problems" in out
    assert "were left at the time limit" in err


def test_closed_pipe_is_no_error():
    child = process("autotune", "resnet50", "--effort", "estimate", stderr=subprocess.PIPE)
    child.stdout.close()
    assert "Traceback" not in child.stderr.read()
    child.wait(timeout=60)


def test_plot(run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    file = tmp_path / "plot.png"
    assert run("autotune", "lenet", "--threads", "1", "--plot", str(file))[0] == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib_is_refused_before_measuring(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, out, err = run("autotune", "lenet", "--plot", "plot.png")
    assert (status, out) == (2, "")
    assert "needs matplotlib" in err


# The other subcommands


@pytest.mark.parametrize("command", ["autotune", "bench", "explain"])
def test_json_on_standard_output_is_alone_there(run, command):
    status, out, err = run(command, PROBLEM, "--threads", "1", "--json", "-")
    assert status == 0
    assert json.loads(out)
    assert PROBLEM in err


def test_bench_times_every_algorithm_and_stores_nothing(run):
    status, out, _ = run("bench", PROBLEM, "--threads", "1")
    assert status == 0
    assert out.startswith(f"{PROBLEM}, 1 thread\n")
    assert all(re.search(rf"^  {name}", out, re.MULTILINE) for name in accepted(ConvProblem.parse(PROBLEM)))
    kinds = re.findall(r"^  (\w+ +(?:packed)?)", out, re.MULTILINE)
    assert len(set(kinds)) == len(kinds)
    assert run("cache", "show")[1] == ""


def test_info(run, cache_folder):
    status, out, _ = run("info")
    assert status == 0
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines())
    assert facts["fastconv"] == fastconv.__version__
    assert facts["tuned choices"] == f"0 in {tuning_cache.current().path}"
    assert facts["cost models"] == "default constants"
    assert tuning_cache.current().path.parent == cache_folder
    assert all(name in facts["algorithms"] for name in algorithm_names())


def test_info_of_a_build_without_openmp(run, monkeypatch):
    monkeypatch.setattr(compiled, "has_openmp", lambda: False, raising=False)
    assert "its limits are not seen" in run("info")[1]


def test_cache(run, tmp_path, cache_folder):
    assert run("autotune", PROBLEM, "--threads", "1")[0] == 0
    path = Path(run("cache", "path")[1].strip())
    assert path.is_file()
    assert path.parent == cache_folder
    assert re.search(
        rf"^{PROBLEM}  1 thread +\w+ +[\d.]+ +[\d.]+x  measure +\d{{4}}-", run("cache", "show")[1], re.MULTILINE
    )
    exported, merged = str(tmp_path / "exported.json"), str(tmp_path / "merged.json")
    assert run("cache", "export", exported)[1].startswith("wrote 1 choice to")
    run("autotune", PROBLEM, "--threads", "2")
    assert run("cache", "merge", merged, exported, str(path))[1].startswith("wrote 2 choices")
    assert run("cache", "clear")[1] == "dropped 2 choices\n"
    assert run("cache", "show")[1] == ""
    assert run("cache", "import", exported, merged)[0] == 0
    assert run("cache", "clear", PROBLEM)[1] == "dropped 2 choices\n"


def test_import_of_another_machines_file_changes_nothing(run, tmp_path):
    run("autotune", PROBLEM, "--threads", "1")
    exported, foreign = tmp_path / "exported.json", tmp_path / "foreign.json"
    run("cache", "export", str(exported))
    content = json.loads(exported.read_text())
    content["fingerprint"]["model"] = "other"
    foreign.write_text(json.dumps(content))
    run("cache", "clear")
    status, _, err = run("cache", "import", str(exported), str(foreign))
    assert status == 2
    assert "of another machine: model 'other' there" in err
    assert run("cache", "show")[1] == ""
    status, _, err = run("cache", "merge", str(tmp_path / "merged.json"), str(exported), str(foreign))
    assert (status, (tmp_path / "merged.json").exists()) == (2, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["autotune"], "problems"),
        (["autotune", "resnet51"], "resnet50"),
        (["autotune", "lenet", "--passes", "backward"], "passes"),
        (["autotune", "lenet", "--threads", "0"], "threads"),
        (["autotune", "lenet", "--batch", "0"], "batch"),
        (["autotune", "lenet", "--time-limit", "nan"], "time_limit"),
        (["cache", "import", "/no/such/file"], "no such file"),
    ],
)
def test_bad_arguments_are_status_2_with_one_line(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"fastconv {arguments[0]}: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["tune"], ["autotune", "lenet", "--effort", "much"], ["verify", "--seed", "x"]]
)
def test_bad_words_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_python_m_fastconv():
    child = process("--version")
    out = child.communicate(timeout=60)[0]
    assert (child.returncode, out.strip()) == (0, fastconv.__version__)


def test_second_run_of_a_large_suite_starts_from_what_is_stored(run):
    """Without measuring: records as the tuner stores them, for every pass of every layer of ResNet-50."""
    problems = [job.problem for job in jobs("resnet50", ["forward", "input", "weight"])]
    records = [tune.tune_problem(problem, 1, "estimate") for problem in problems]
    tuning_cache.current().store(dataclasses.replace(record, effort="measure", seconds=1e-3) for record in records)
    start = time.monotonic()
    status, out, _ = run("autotune", "resnet50", "--passes", "forward,input,weight", "--threads", "1")
    assert (status, "measured 0, stored already 69" in out) == (0, True)
    assert time.monotonic() - start < 10
