"""The command and its surroundings: odd arguments, files that cannot be written, closed output."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli_cases import PROBLEM, is_plain
from fastconv._cli import output
from subprocesses import environment
from tuning_cases import path, record, stored_text

pytestmark = pytest.mark.usefixtures("cache_folder")

TINY = "forward 1x1x4 1x1x3 float32"
HUGE = "forward 1000x1000x1000x1000 4x1000x3x3 float32"


@pytest.fixture
def no_measuring(monkeypatch):
    """To fail is to have measured."""

    def measure(*arguments, **settings):
        raise AssertionError("was measured")

    for name in ("tune_problem", "tune"):
        monkeypatch.setattr(f"fastconv._choose.tune.{name}", measure)
    monkeypatch.setattr("fastconv._choose.calibration.measure_machine", measure)


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's command line in which ``$fastconv`` is the command."""
    fixed = {"fastconv": f"{sys.executable} -m fastconv"}
    return subprocess.run(
        ["bash", "-c", command],
        env={**environment(), **fixed, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# Files that cannot be written are found out before anything is measured.


@pytest.mark.usefixtures("no_measuring")
@pytest.mark.parametrize("option", ["--json", "--plot"])
@pytest.mark.parametrize("command", ["autotune", "bench"])
def test_files_that_cannot_be_written_are_found_out_before_measuring(run, tmp_path, command, option):
    if option == "--plot":
        pytest.importorskip("matplotlib")
        if command == "bench":
            return
    for file in (tmp_path / "missing" / "file.png", tmp_path, "/proc/self/attr/file.png", ""):
        status, out, err = run(command, PROBLEM, option, str(file))
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith(f"fastconv {command}: {option}: got {str(file)!r}, which cannot be written")


@pytest.mark.usefixtures("no_measuring")
def test_plot_in_no_known_format_is_found_out_before_measuring(run, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = run("autotune", PROBLEM, "--plot", str(tmp_path / "plot.xyz"))
    assert (status, out) == (2, "")
    assert "png" in err


def test_looking_whether_a_file_can_be_written_changes_nothing(tmp_path):
    there, absent, link = tmp_path / "there", tmp_path / "absent", tmp_path / "link"
    there.write_text("content")
    link.symlink_to(absent)
    for file in (there, absent, link, "/dev/null"):
        output.check_can_write("--json", str(file))
    assert (there.read_text(), link.is_symlink(), absent.exists()) == ("content", True, False)


def test_json_that_fails_after_measuring_is_one_line_and_status_1(run):
    status, _, err = run("bench", PROBLEM, "--threads", "1", "--json", "/dev/full")
    assert status == 1
    assert err == "fastconv bench: '/dev/full': No space left on device\n"


@pytest.mark.parametrize("action", ["export", "merge"])
def test_cache_files_that_cannot_be_written_are_one_line_and_status_1(run, tmp_path, action):
    exported = tmp_path / "exported.json"
    exported.write_text(stored_text())
    for file in (str(tmp_path / "missing" / "file"), str(tmp_path), "/dev/full"):
        status, out, err = run("cache", action, file, *([str(exported)] if action == "merge" else []))
        assert (status, out, err.count("\n")) == (1, "", 1), err
        assert err.startswith(f"fastconv cache: {file!r}: ")


@pytest.mark.skipif(not Path("/proc/self/attr").is_dir(), reason="needs Linux's proc")
@pytest.mark.parametrize("arguments", [["autotune", PROBLEM, "--threads", "1"], ["cache", "import", "exported.json"]])
def test_choices_that_cannot_be_stored_are_status_1(run, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    Path("exported.json").write_text(stored_text())
    monkeypatch.setenv("FASTCONV_CACHE_DIR", "/proc/self/attr/fastconv")
    status, _, err = run(*arguments)
    assert status == 1
    assert err.startswith("fastconv: /proc/self/attr/fastconv")
    assert err.endswith("tuned choices last until this process ends\n")
    assert err.count("\n") == 1


# Problems that are too large, or empty.


@pytest.mark.parametrize("command", ["autotune", "verify", "bench"])
def test_problems_larger_than_memory_are_refused_before_measuring(run, command, request):
    if command != "verify":
        request.getfixturevalue("no_measuring")
    status, out, err = run(command, PROBLEM, HUGE)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"fastconv {command}: problem: got {HUGE}, whose arrays take 3.65 TiB; allowed: what fits")


def test_problems_larger_than_memory_are_explained_and_estimated(run):
    assert run("explain", HUGE)[0] == 0
    assert run("autotune", HUGE, "--effort", "estimate")[0] == 0


@pytest.mark.parametrize("command", ["autotune", "verify", "bench"])
def test_memory_that_runs_out_is_one_line_and_status_1(run, monkeypatch, command):
    def sample(*arguments, **settings):
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr("fastconv._choose.tune.sample", sample)
    monkeypatch.setattr("fastconv._cli.verify.sample", sample)
    status, _, err = run(command, PROBLEM, "--threads", "1")
    assert (status, err) == (1, f"fastconv {command}: out of memory; {PROBLEM}: Unable to allocate\n")


@pytest.mark.parametrize("command", ["explain", "autotune", "verify", "bench"])
@pytest.mark.parametrize(
    "text",
    [
        f"forward 1x{10**20}x8x8 4x{10**20}x3x3",
        f"forward {2**63}x1x8x8 4x1x3x3",
        f"forward 1x1x8x8 4x1x3x3 p{2**63}",
        f"forward 1x1x8x8 4x1x3x3 s{2**64}",
        f"backward_input 1x1x8x8 4x1x3x3 d{2**62} p{2**61}",
        f"forward 1x1x{2**40}x{2**40} 4x1x3x3",
        f"forward 1x1x8x8 4x1x3x3 p{'9' * 5000}",
        "forward 1x0x8x8 4x0x3x3",
        "backward_input 0x1x8x8 4x1x3x3",
        "backward_weight 1x1x8x8 0x1x3x3",
        "forward 1x1x0x8 4x1x1x3",
        "forward 1x1x8x8 4x1x3x3 g0",
        "forward 1x1x8x8 4x1x0x3",
    ],
)
def test_impossible_problems_are_status_2(run, command, text):
    status, out, err = run(command, text)
    assert (status, out) == (2, ""), err
    first, *marks = err.splitlines()
    assert first.startswith(f"fastconv {command}: problem: ")
    assert not marks or re.fullmatch(r" +\^+", marks[1])
    assert len(marks) in (0, 2)


STUMBLES = {
    "forwards 1x1x2x2 1x1x3x3": "forwards",
    "forward 1x1 1x1x3x3": "1x1",
    "forward 1x4x9x9x9x9 4x4x3": "1x4x9x9x9x9",
    "forward 1x4x9x9 4x4x3 s2": "4x4x3",
    "forward 1x4x9x9 4x3x3x3 p1": "4x3x3x3",
    "forward 1x4x9x9 4x4x3x3  s0 p1": "s0",
    "forward 1x4x9x9 4x4x0x3 p1": "4x4x0x3",
    "forward 1x4x9x9 4x1x3x3 g3 float32": "g3",
    "forward 1x4x9x9 4x4x3x3 p1x2x3": "p1x2x3",
    "forward 1x4x9x9 4x4x3x3 float33 highest": "float33",
    "forward 1x4x9x9 4x4x3x3 p1 +bias+foo": "+bias+foo",
}


@pytest.mark.parametrize("text", STUMBLES)
@pytest.mark.parametrize("columns", [200, 40, 12, 1])
def test_messages_mark_where_in_a_problem_they_stumble(run, monkeypatch, text, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out, err = run("explain", text)
    first, shown, marks = err.splitlines()
    assert (status, out) == (2, "")
    assert f"got {text!r}, where {STUMBLES[text]!r} " in first
    marked = shown[marks.index("^") : len(marks)]
    assert STUMBLES[text].startswith(marked)
    assert marked
    assert marked == STUMBLES[text] or columns <= 40
    assert max(len(shown), len(marks)) <= max(columns, 10)


@pytest.mark.parametrize(
    ("text", "part", "fact"),
    [
        ("forward 1x1x2x2 1x1x3x3", "1x1x3x3", "whose kernel is larger than its padded input"),
        ("backward_input 0x1x8x8 4x1x3x3 p1", "0x1x8x8", "which has nothing to compute"),
        ("forward 1x1x8x8 0x1x3x3 p1", "0x1x3x3", "which has nothing to compute"),
    ],
)
def test_problems_without_a_result_are_marked(run, text, part, fact):
    status, out, err = run("explain", text)
    first, shown, marks = err.splitlines()
    assert (status, out) == (2, "")
    assert fact in first
    assert shown[marks.index("^") : len(marks)] == part


def test_marks_are_below_what_is_escaped(run):
    _, shown, marks = run("explain", "forward 1x4x9x9 4x4x3x3 \x1b[2J\u202e p1")[2].splitlines()
    assert shown == "  forward 1x4x9x9 4x4x3x3 \\x1b[2J\\u202e p1"
    assert shown[marks.index("^") : len(marks)] == "\\x1b[2J\\u202e"


def test_names_that_were_nearly_right_are_said(run):
    assert run("explain", "resnet51")[2].endswith("(meant: resnet50?)\n")


def test_batch_that_makes_a_problem_too_large_is_refused(run):
    for batch in (2**31, 2**62, 2**80):
        assert run("explain", PROBLEM, "--batch", str(batch))[0] in (0, 2)
        assert run("bench", PROBLEM, "--batch", str(batch))[:2] == (2, "")


# Output that is closed, full, or a pipe without a reader.


@pytest.mark.parametrize("command", ["info", "--help"])
def test_output_to_a_full_disk_is_one_line_and_status_1(command):
    run = shell(f"$fastconv {command} >/dev/full")
    assert run.returncode == 1
    assert run.stderr.endswith("standard output: No space left on device\n")
    assert run.stderr.count("\n") == 1


def test_closed_output_is_found_out_before_measuring():
    run = shell(f"$fastconv autotune '{PROBLEM}' --calibrate --threads 1 >&-")
    assert (run.returncode, run.stderr) == (1, "fastconv: standard output: Bad file descriptor\n")
    assert not path().exists()


def test_pipe_without_a_reader_is_quiet():
    run = shell("$fastconv autotune resnet50 --effort estimate | head -1; exit ${PIPESTATUS[0]}")
    assert (run.returncode, run.stderr) == (1, "")
    assert run.stdout.startswith("23 problems")


def test_closed_error_output_stops_nothing():
    for redirection in ("2>&-", "2>/dev/full"):
        run = shell(f"$fastconv autotune '{PROBLEM}' --threads 1 {redirection}")
        assert (run.returncode, run.stdout.count("total")) == (0, 1)
    assert shell("$fastconv explain nonsense 2>&-").returncode == 2


def test_output_in_ascii_shows_other_characters_escaped(tmp_path):
    file = tmp_path / "tün€d.json"
    run = shell(f"$fastconv cache export '{file}'", PYTHONIOENCODING="ascii")
    assert (run.returncode, run.stderr) == (0, "")
    assert "t\\xfcn\\u20acd.json" in run.stdout


# Odd values of every option.

ODD = [
    "",
    " ",
    "0",
    "-1",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "9" * 30,
    "9" * 5000,
    "x",
    "--",
    "-",
    "é",
    "\x1b",
    "None",
    "[]",
]


@pytest.mark.parametrize("value", ODD)
def test_odd_values_of_every_option(run, monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fastconv._choose.tune.tune_problem", lambda problem, *others: record(problem))
    monkeypatch.setattr("fastconv._cli.verify.PROBLEMS", [TINY])
    common = "--passes --batch --dtype --layout --threads"
    for command, options in {
        "autotune": f"{common} --effort --time-limit --json --remeasure --calibrate",
        "explain": common,
        "bench": f"{common} --effort --json",
        "verify": f"{common} --algorithm --seed",
    }.items():
        for arguments in ([command, value], *([command, TINY, f"{option}={value}"] for option in options.split())):
            status, out, err = run(*arguments)
            assert status in (0, 1, 2), arguments
            assert (status == 0) == (not err) or arguments[-1] == "--json=-", (arguments, err)
            assert is_plain(out)
            assert is_plain(err)
    for action in ("clear", "export", "import", "merge", "show", "path"):
        for count in (1, 2):
            status, out, err = run("cache", action, *[value] * count)
            assert status in (0, 1, 2)
            assert is_plain(out + err)
