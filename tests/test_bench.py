"""``python -m bench``: its lists of layers, what it makes of contestants of any kind, its results and tables."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import subprocesses
from bench import comparison, errors, layers, machine, report, timing
from bench.__main__ import main
from bench.case import Case
from bench.peers import OWN, PEERS, Peer, Prepared
from bench.results import Results
from fastconv import ConvProblem
from fastconv._backend import algorithm_names, find_algorithm
from fastconv._cpu import backend

ROOT = Path(__file__).parent.parent

TINY = "forward 1x2x5x5 2x2x3x3 p1"
SECONDS = 0.01
ROOFLINE = machine.Roofline(1e9, 1e9)


class Multiple(Peer):
    """fastconv's own result, times a factor."""

    modules = ("fastconv",)
    distributions = ()

    def __init__(self, name: str, factor: float) -> None:
        self.name = name
        self._factor = factor

    def refusal(self, case: Case) -> str:
        return "too many axes" if case.rank == 3 else ""

    def prepare(self, case: Case) -> Prepared:
        own = OWN[0].prepare(case)
        return Prepared(lambda: own.run() * case.problem.multiply_adds**0, lambda y: own.array(y) * self._factor)


class Failing(Peer):
    """A library that does not work here."""

    name = "failing"
    modules = ("no_such_module",)

    def refusal(self, case: Case) -> str:
        return ""

    def prepare(self, case: Case) -> Prepared:
        raise RuntimeError("primitive not found\nand a long trace")


@pytest.fixture(autouse=True)
def _quick_roofline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "measure_roofline", lambda dtype, threads: ROOFLINE)


def layer(text: str, pass_name: str = "forward") -> layers.Layer:
    (found,) = layers.layers([text], [pass_name])
    return found


def compared(text: str, *peers: Peer, pass_name: str = "forward") -> dict[str, Any]:
    return comparison.compare(layer(text, pass_name), 1, [*OWN[:2], *peers], SECONDS)


def test_list_has_names_comments_and_bare_problems() -> None:
    text = "# heading\n\nfirst one: forward 1x2x5x5 2x2x3x3 p1 float32  # why\nforward 1x4x9 4x4x2 p1:0\n"
    (name, named), (bare, unnamed) = layers.parse_list(text)
    assert (name, str(named)) == ("first one", "forward 1x2x5x5 2x2x3x3 p1 float32")
    assert bare == "forward 1x4x9 4x4x2 p1:0"
    assert unnamed.padding[2] == (1, 0)


@pytest.mark.parametrize("name", layers.LISTS)
def test_every_list_can_be_read(name: str) -> None:
    found = layers.read_list(name)
    assert len(found) >= 5
    assert len({problem for _, problem in found}) == len({name for name, _ in found}) == len(found)
    assert all(problem.direction == "forward" and min(problem.output_size) > 0 for _, problem in found)


def test_layers_are_filtered_changed_and_listed_once_per_pass() -> None:
    found = layers.layers(
        ["reference", "reference"], ["forward", "weight"], ["vgg_1", "1x1x31x31"], "float64", "NHWC", batch=2
    )
    assert [(one.name, one.pass_name) for one in found] == [
        (name, pass_name) for pass_name in ("forward", "weight") for name in ("vgg_1.1", "vgg_1.2", "blur_1ch_1024_k31")
    ]
    assert str(found[3].problem) == "backward_weight 2x3x224x224 64x3x3x3 p1 float64 channels_last"


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no list or suite 'resnet51'; there are .*reference.*resnet50"):
        layers.layers(["resnet51"], ["forward"])
    with pytest.raises(ValueError, match="none of reference has nothing or like it in its name"):
        layers.layers(["reference"], ["forward"], ["nothing", "like it"])
    with pytest.raises(ValueError, match=r"dtype of forward .* complex64; allowed: float32"):
        layers.layers([f"{TINY} complex64"], ["forward"])
    with pytest.raises(ValueError, match="peer 'tensorflow' is not installed"):
        comparison.chosen_peers(["tensorflow"])
    assert comparison.chosen_peers(["none"]) == []


def test_case_has_the_axes_and_the_memory_layout_of_its_problem() -> None:
    case = Case.of(ConvProblem.parse("forward 2x6x5x4 8x3x3x2 s2x1 p1x0:1 g2 channels_last"), 1)
    assert (case.x.shape, case.w.shape, case.dy.shape) == ((2, 6, 5, 4), (8, 3, 3, 2), (2, 8, 3, 4))
    assert np.moveaxis(case.x, 1, -1).flags.c_contiguous
    assert case.w.flags.c_contiguous
    assert (case.stride, case.padding, case.is_evenly_padded) == ((2, 1), ((1, 1), (0, 1)), False)
    assert Case.of(ConvProblem.parse("forward 1x8x1x1 4x8x1x1"), 1).rank == 2
    assert Case.of(ConvProblem.parse("forward 1x8x9 4x8x3"), 1).rank == 1


def test_contestants_are_timed_in_pairs() -> None:
    order: list[str] = []
    entrants = [timing.Entrant(lambda name=name: order.append(name)) for name in "ab"]  # type: ignore[misc]
    timing.contest(entrants, SECONDS)
    a, b = entrants
    assert len(a.samples) == len(b.samples) >= timing.MIN_SAMPLES
    assert a.repeats > 1
    changes = [name for number, name in enumerate(order) if number == 0 or order[number - 1] != name]
    assert changes[:4] == ["a", "b", "a", "b"]
    a.samples, b.samples = [1.0, 2.0, 4.0, 1.0], [3.0, math.nan, 8.0, 5.0]
    assert timing.ratio(b, a) == 3.0
    assert b.seconds == 5.0
    assert b.rounds == 3


def test_long_calls_are_sampled_once() -> None:
    runs: list[str] = []
    short = timing.Entrant(lambda: runs.append("short"))
    long = timing.Entrant(lambda: (runs.append("long"), time.sleep(2 * SECONDS)), first_seconds=2 * timing.LONG_SECONDS)
    timing.contest([short, long], SECONDS)
    assert long.rounds == runs.count("long") == 1
    assert short.rounds > timing.MIN_SAMPLES
    assert timing.ratio(long, short) > 1


@pytest.mark.parametrize("pass_name", ["forward", "input", "weight"])
@pytest.mark.parametrize("text", [TINY, "forward 2x4x9 6x2x3 s2 p2:0 g2 channels_last", "forward 1x2x3x4x5 3x2x2x2x2"])
def test_own_forms_compute_the_case_and_are_compared(text: str, pass_name: str) -> None:
    row = comparison.compare(layer(text, pass_name), 1, OWN, SECONDS)
    cells = row["contestants"]
    assert set(cells) == {"fastconv", "packed", "tuned", "+bias+relu"}
    assert cells["fastconv"]["ratio"] == 1
    assert cells["tuned"]["error"] < 1e-5
    assert cells["fastconv"]["note"].split()[0] in algorithm_names()
    assert cells["packed"].get("reason") == ("no weights to pack" if pass_name == "weight" else None)
    assert ("ratio" in cells["+bias+relu"]) == (pass_name == "forward" and "+" not in text)
    assert row["best"] is None
    assert row["problem"] == str(layer(text, pass_name).problem)
    assert row["roofline"]["share"] == ROOFLINE.seconds(layer(text).problem) / cells["fastconv"]["seconds"]


def test_whatever_a_peer_does_is_a_cell() -> None:
    row = compared(TINY, Multiple("right", 1), Multiple("wrong", 1.01), Failing())
    cells = row["contestants"]
    assert cells["failing"] == {"reason": "RuntimeError: primitive not found"}
    assert cells["wrong"]["reason"].startswith("wrong: error")
    assert "seconds" not in cells["wrong"]
    assert cells["right"]["error"] == cells["fastconv"]["error"] < 1e-6
    assert cells["right"]["ratio"] > 0
    assert row["best"] == "right"
    refused = compared("forward 1x2x3x4x5 3x2x2x2x2", Multiple("right", 1))
    assert refused["contestants"]["right"] == {"reason": "too many axes"}
    assert refused["best"] is None


def test_a_hopeless_peer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "HOPELESS_SECONDS", 1e-9)
    monkeypatch.setattr(comparison, "HOPELESS_RATIO", 1e-9)
    row = compared(TINY, Multiple("slow", 1))
    assert row["contestants"]["slow"]["reason"].startswith("given up: its first run took 0.0 s")
    assert row["best"] is None


def test_a_failure_of_our_own_is_no_cell() -> None:
    with pytest.raises(ArithmeticError, match=r"wrong on forward 1x2x5x5 .*: wrong: error"):
        comparison.compare(layer(TINY), 1, [Multiple("wrong", 1.01)], SECONDS)


def test_other_layouts_do_not_count_among_the_best() -> None:
    other = Multiple("torch other layout", 1)
    other.is_rival = False
    assert compared(TINY, other)["best"] is None
    assert sorted(peer.name for peer in PEERS if not peer.is_rival) == ["torch other layout"]


def row_of(name: str, pass_name: str, **ratios: float) -> dict[str, Any]:
    cells = {peer.replace("_", " "): {"seconds": 0.1, "ratio": ratio, "error": 1e-7} for peer, ratio in ratios.items()}
    rivals = [peer for peer in ratios if peer not in ("fastconv", "packed", "torch_other_layout")]
    problem = str(layer(TINY, pass_name).problem.replace(batch=len(name)))
    best = min(rivals, key=ratios.__getitem__)
    return {
        "layer": name,
        "pass": pass_name,
        "problem": problem,
        "threads": 1,
        "best": best,
        "roofline": {"share": 0.5},
        "contestants": cells,
    }


ROWS = [
    row_of("one", "forward", fastconv=1, packed=0.5, torch=8, torch_other_layout=2, ncnn=4),
    row_of("three", "forward", fastconv=1, packed=0.125, torch=2, ncnn=0.25),
    row_of("one", "weight", fastconv=1, torch=3),
]


def test_table_has_means_and_names_what_is_slower() -> None:
    table = report.Table(["fastconv", "packed", "torch", "torch other layout", "ncnn"])
    heads = table.head().split()
    assert heads[2:10] == ["ms", "roof", "packed", "torch", "torch", "any", "ncnn", "best"]
    assert table.line(ROWS[0]).split()[2:9] == ["100.000", "50%", "2.00", "8.00", "2.00", "4.00", "4.00"]
    for row in ROWS[1:]:
        table.line(row)
    forward, slower, weight, *_ = table.summary().splitlines()
    assert forward.split() == ["geometric", "mean", "forward", "4.00", "4.00", "2.00", "1.00", "1.00"]
    assert slower.strip() == "below 1 (1 of 2): three 0.25 ncnn"
    assert weight.split() == ["geometric", "mean", "weight", "-", "3.00", "3.00", "-", "3.00"]


def test_markdown_has_a_line_per_layer_and_the_means() -> None:
    lines = report.markdown(ROWS).splitlines()
    assert lines[2] == "| one | 8.00 | 4.00 ncnn | 50% | 3.00 | 3.00 torch | 50% |"
    assert lines[3] == "| three | 2.00 | 0.25 ncnn | 50% |  |  |  |"
    assert lines[4] == "| **geometric mean** | 4.00 | 1.00 |  | 3.00 | 3.00 |  |"
    assert len({line.count("|") for line in lines}) == 1


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason='needs pip install ".[bench]"')
    report.plot(ROWS, tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").stat().st_size > 1000


def test_results_grow_and_are_those_of_one_machine(tmp_path: Path) -> None:
    name = str(tmp_path / "here.json")
    for rows in (ROWS[:2], [{**ROWS[1], "best": "replaced"}, ROWS[2]]):
        results = Results.opened(name, {"cpu": "a"})
        for row in rows:
            results.add(row)
        results.save()
    read = Results.read(Path(name))
    assert [row["best"] for row in read.rows] == ["ncnn", "replaced", "torch"]
    assert len(read.commands) == 2
    with pytest.raises(ValueError, match="with a different cpu; take another name"):
        Results.opened(name, {"cpu": "b"})
    Path(name).write_text("[]")
    with pytest.raises(ValueError, match="holds no results"):
        Results.read(Path(name))


def test_command_runs_with_the_peers_that_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    file = tmp_path / "tiny.json"
    words = ("peers", TINY, "--seconds", "0.01", "--json", str(file), "--markdown")
    run = subprocesses.python("-m", "bench", *words, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "| **geometric mean** |" in run.stdout
    value = json.loads(file.read_text())
    assert value["format"] == 1
    assert {"cpu", "cpu_flags", "fingerprint", "versions", "environment", "commit"} == set(value["facts"])
    assert {"numpy", "scipy"} <= set(value["facts"]["versions"])
    (row,) = value["rows"]
    installed = {peer.name for peer in PEERS if peer.is_installed()}
    assert set(row["contestants"]) == {"fastconv", "packed", "+bias+relu", *installed}
    # Every installed peer that takes sums over channels computes this one.
    assert {name for name, cell in row["contestants"].items() if "reason" in cell} <= {"scipy", "opencv"}
    assert row["roofline"]["multiply_adds_per_second"] > 1e8


def test_command_says_what_was_wrong_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "resnet51"]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("bench: no list or suite 'resnet51'")
    assert written.err.count("\n") == 1


def test_one_product_is_far_less_exact_than_three_and_six(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(errors, "SHAPE", "2x64x6x6 32x64x3x3 p1")
    if not backend.accepts(find_algorithm("split_bf16"), ConvProblem.parse(f"forward {errors.SHAPE}")):
        assert main(["errors"]) == 2
        assert "split_bf16: no kernels" in capsys.readouterr().err
        return
    assert main(["errors"]) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[3:]]
    assert len(rows) == 3 * len(errors.KINDS)
    for _, one, three, six in rows:
        assert 1e-2 > float(one) > 10 * max(float(three), float(six)) > 0
        assert float(three) < 1e-5


def test_epilogues_are_computed_and_checked() -> None:
    (one,) = layers.layers([TINY], ["forward"], epilogue="+bias+relu")
    row = comparison.compare(one, 1, [*OWN[:2], Multiple("without", 1.0)], SECONDS)
    assert row["problem"] == f"{TINY} float32 +bias+relu"
    assert row["contestants"]["fastconv"]["error"] < 1e-6
    assert row["contestants"]["packed"]["error"] < 1e-6
    assert row["contestants"]["without"] == {"reason": "no bias or activation"}
    case = Case.of(one.problem, 1)
    assert (OWN[0].prepare(case).run() == 0).any()
    assert main(["peers", TINY, "--epilogue", "+bias", "--passes", "input"]) != 0


def test_results_that_compare_nobody_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "regret_avx2_one_thread"]) != 0
    assert "its rows are those of python -m bench regret" in capsys.readouterr().err


def test_several_threads_come_to_rest_between_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits busily for more work has gone to sleep, and each sample has a call before it that wakes its own up."""
    slept: list[float] = []
    monkeypatch.setattr(timing.time, "sleep", slept.append)
    calls: list[int] = []
    entrant = timing.Entrant(lambda: calls.append(1))
    entrant.sample(timing.settling(1))
    assert (len(calls), slept) == (1, [])
    entrant.sample(timing.settling(2))
    assert (len(calls), slept) == (3, [timing.SETTLE_SECONDS])
