"""The file of tuned choices: whatever it holds and whoever writes it, it costs time at most, never a result."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, _fingerprint, _registry, _select, _tuning_cache, _tuning_file
from fastconv._accuracy import error_ratio
from fastconv._cpu import backend
from fastconv._sample import sample
from fastconv._tuning_record import Timing, TuningRecord

PROBLEM = ConvProblem.parse("forward 1x2x6x6 3x2x3x3 p1 float32")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache directory of this test's own, and nothing remembered from other tests."""
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(_tuning_cache, "_warned", set())
    _forget_memory()
    yield tmp_path / "cache"
    _forget_memory()


def _forget_memory() -> None:
    _tuning_cache.reload()
    _select.forget_plans()


def record(problem=PROBLEM, algorithm="reference", threads=1, measured_at="2026-01-01T00:00:00Z", params=None):
    params = {} if params is None else params
    timing = Timing(algorithm, params, False, 1e-3, 2e-3, 9, "measured")
    default = "implicit_gemm"
    return TuningRecord(problem, threads, "measure", algorithm, params, 2e-3, default, measured_at, (timing,))


def path() -> Path:
    found = _tuning_cache.current().path
    assert found is not None
    return found


def computes() -> None:
    """A computation of PROBLEM goes on and is right, whatever the cache says."""
    x, w = np.ones((1, 2, 6, 6), np.float32), np.ones((3, 2, 3, 3), np.float32)
    y = fastconv.conv2d(x, w, padding=1, threads=1)
    assert y[0, 0, 0, 0] == 8
    assert y[0, 2, 2, 2] == 18


def write(text: str | bytes) -> Path:
    """Put ``text`` where this machine's file is."""
    target = path()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.write_bytes(text if isinstance(text, bytes) else text.encode())
    _forget_memory()
    return target


def stored_text(**changes) -> str:
    """The text of a good file with one record, some of its top-level fields changed."""
    content = _tuning_cache.Content(_fingerprint.fingerprint())
    content.add([record()])
    return json.dumps(json.loads(_tuning_cache.render(content)) | changes)


# What is stored is found again, and used.


def test_stored_choice_is_used_by_the_next_process_and_only_for_its_threads():
    assert _select.plan_for(PROBLEM, threads=1).reason == "cost model"
    _tuning_cache.current().store([record()])
    _forget_memory()
    plan = _select.plan_for(PROBLEM, threads=1)
    assert (plan.algorithm.name, plan.reason) == ("reference", "tuned")
    assert _select.plan_for(PROBLEM, threads=2).reason == "cost model"
    computes()


def test_choice_without_epilogue_serves_the_problem_with_one():
    _tuning_cache.current().store([record()])
    fused = ConvProblem.parse(f"{PROBLEM} +bias+relu")
    assert _select.plan_for(fused, threads=1).reason == "tuned"
    _tuning_cache.current().store([record(fused, "implicit_gemm", params=_default_params("implicit_gemm"))])
    _select.forget_plans()
    assert _select.plan_for(fused, threads=1).algorithm.name == "implicit_gemm"


def test_deterministic_mode_ignores_measurements():
    _tuning_cache.current().store([record()])
    machine = dataclasses.replace(_select.DEFAULT_MACHINE, bytes_per_second=1.0)
    _tuning_cache.current().store_machine(machine)
    assert _select.machine() == machine
    fastconv.set_deterministic(True)
    try:
        assert _select.plan_for(PROBLEM, threads=1).reason == "cost model"
        assert _select.machine() == _select.DEFAULT_MACHINE
    finally:
        fastconv.set_deterministic(False)
    assert _select.plan_for(PROBLEM, threads=1).reason == "tuned"


def test_machine_constants_come_back():
    machine = dataclasses.replace(_select.DEFAULT_MACHINE, bytes_per_second=3e9)
    _tuning_cache.current().store_machine(machine)
    _tuning_cache.current().store([record()])
    _forget_memory()
    assert _select.machine() == machine


def test_records_of_a_later_measurement_win():
    content = _tuning_cache.Content({})
    content.add([record(measured_at="2026-01-02T00:00:00Z"), record(algorithm="x", measured_at="2026-01-01T00:00:00Z")])
    assert content.records()[0].algorithm == "reference"
    content.add([record(algorithm="x", measured_at="2026-01-03T00:00:00Z")])
    assert content.records()[0].algorithm == "x"


def test_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert _tuning_cache.directory() == tmp_path / "cache"
    monkeypatch.delenv("FASTCONV_CACHE_DIR")
    assert _tuning_cache.directory() == tmp_path / "xdg" / "fastconv"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert _tuning_cache.directory() == tmp_path / "home" / ".cache" / "fastconv"


# A choice is a hint.


def _default_params(algorithm: str):
    return dict(_registry.find(algorithm).parameters(PROBLEM)[0])


@pytest.mark.parametrize(
    ("algorithm", "params"),
    [("no_such_algorithm", {}), ("reference", {"depth": 3}), ("implicit_gemm", {"depth": -1}), ("auto", {})],
)
def test_unknown_algorithms_and_parameters_are_not_used(algorithm, params):
    _tuning_cache.current().store([record(algorithm=algorithm, params=params)])
    assert _select.plan_for(PROBLEM, threads=1).reason == "cost model"
    computes()


def test_choice_over_the_workspace_limit_is_not_used():
    _tuning_cache.current().store([record(algorithm="implicit_gemm", params=_default_params("implicit_gemm"))])
    assert _select.plan_for(PROBLEM, threads=1).reason == "tuned"
    fastconv.set_workspace_limit(1)
    try:
        plan = _select.plan_for(PROBLEM, threads=1)
        assert (plan.reason, plan.workspace_bytes) == ("cost model", 0)
    finally:
        fastconv.set_workspace_limit(None)


@pytest.mark.parametrize("algorithm", _registry.names())
def test_every_algorithm_as_the_choice_of_every_problem_gives_right_results(algorithm):
    """A file that gives each problem to each algorithm changes times at most."""
    for text in (
        "forward 1x4x5x5 6x2x3x3 p1 g2",
        "backward_input 2x3x7 4x3x3 s2",
        "backward_weight 1x1x9x9 1x1x3x3 d2",
    ):
        problem = ConvProblem.parse(text)
        able = _registry.find(algorithm)
        target = backend.lowering.lowered(problem, able.dtypes)
        if target is None or not able.supports(target):
            continue
        params = dict(able.parameters(target)[0])
        _tuning_cache.current().store([record(problem, algorithm, params=params)])
        plan = _select.plan_for(problem, threads=1)
        assert plan.reason == ("tuned" if _select.admitted(able, problem) else "cost model")
        operands = sample(problem)
        backend.execute(plan, operands)
        assert error_ratio(plan.algorithm, problem, operands) <= 1


# Files that are not as they should be.


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"format": 1}',
        b'{"format": 1, "fingerprint": {}, "choices": []}',
        b'{"format": 1, "fingerprint": {}, "choices": {}, "x": NaN}',
        b'{"format": 1' + b"0" * 10_000 + b"}",
    ],
)
def test_damaged_file_is_set_aside_with_one_warning(text):
    target = write(text)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        computes()
    assert not target.exists()
    assert target.with_name(target.name + ".bad").read_bytes() == text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _forget_memory()
        computes()
        _tuning_cache.current().store([record()])
    assert _tuning_cache.parse(target.read_text()).records() == [record()]


@pytest.mark.parametrize("format_number", [0, 2, "1", None])
def test_another_format_is_not_read(format_number):
    write(stored_text(format=format_number))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert _select.plan_for(PROBLEM, threads=1).reason == "cost model"


def test_every_truncation_of_a_good_file_is_survived():
    text = stored_text()
    for length in range(0, len(text), 7):
        with pytest.raises(ValueError, match=r".*"):
            _tuning_cache.parse(text[:length])


@pytest.mark.parametrize("name", sorted(_fingerprint.fingerprint()))
def test_another_fingerprint_is_another_file_and_its_content_is_not_used(name):
    fields = _fingerprint.fingerprint()
    other = fields | {name: fields[name] + "x"}
    assert _fingerprint.file_name(other) != _fingerprint.file_name(fields)
    write(stored_text(fingerprint=other))
    with pytest.warns(RuntimeWarning, match="another machine"):
        assert _select.plan_for(PROBLEM, threads=1).reason == "cost model"


def test_file_over_the_size_limit_is_not_read():
    write(stored_text() + " " * _tuning_file.LIMIT_BYTES)
    with pytest.warns(RuntimeWarning, match="larger than"):
        computes()


def test_written_file_stays_below_the_size_limit_and_keeps_the_newest(monkeypatch):
    monkeypatch.setattr(_tuning_file, "LIMIT_BYTES", 20_000)
    problems = [PROBLEM.replace(batch=batch) for batch in range(1, 201)]
    stamps = [f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z" for number in range(200)]
    _tuning_cache.current().store(record(p, measured_at=at) for p, at in zip(problems, stamps, strict=True))
    assert path().stat().st_size <= 20_000
    _forget_memory()
    kept = {r.problem.batch for r in _tuning_cache.current().content.records()}
    assert kept == set(range(201 - len(kept), 201))
    assert len(kept) > 20


def test_fuzzed_files_never_stop_a_plan():
    """Random damage to a good file: parsing says ValueError or gives content, and every choice is valid or left out."""
    rng = random.Random(0)
    good = stored_text().encode()
    alphabet = b'{}[]":,0123456789.-eE truefalsnlxp\xff\x00'
    accepted = 0
    for _ in range(3000):
        text = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(text))
            match rng.randrange(3):
                case 0:
                    text[at] = rng.choice(alphabet)
                case 1:
                    del text[at : at + rng.randint(1, 20)]
                case 2:
                    text[at:at] = bytes(rng.choices(alphabet, k=rng.randint(1, 8)))
        try:
            content = _tuning_cache.parse(text.decode())
        except ValueError:
            continue
        accepted += 1
        for found in content.records():
            choice = _select.usable_params(found.algorithm, found.params, PROBLEM, 1)
            assert choice is None or choice[0].name == found.algorithm
        assert _tuning_cache.parse(_tuning_cache.render(content)).records() == content.records()
    assert accepted > 100


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": 3},
        {"algorithm": "x" * 1000},
        {"params": [1]},
        {"params": {"depth": [1]}},
        {"params": {"depth": {"x": 1}}},
        {"seconds": "1"},
        {"seconds": -1.0},
        {"seconds": True},
        {"seconds": 1e300},
        {"seconds": None},
        {"effort": "none"},
        {"timings": {}},
        {"timings": [1]},
        {"measured_at": 5},
    ],
)
def test_choice_that_breaks_the_schema_is_left_out(change):
    good = record().to_json()
    assert TuningRecord.from_json(str(PROBLEM), 1, good) == record()
    assert TuningRecord.from_json(str(PROBLEM), 1, good | change) is None
    assert TuningRecord.from_json(str(PROBLEM), 1, good | {"unknown": 1}) == record()


@pytest.mark.parametrize("text", ["", "forward", f" {PROBLEM}", "forward 1x2x6x6 3x2x3x3 p1", "forward 1x1x1 1x1x1 s0"])
def test_choice_for_what_is_no_problem_text_is_left_out(text):
    assert TuningRecord.from_json(text, 1, record().to_json()) is None


# Files that are not ours to use.


def test_symbolic_link_is_refused(tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(stored_text())
    target = path()
    target.parent.mkdir(parents=True)
    target.symlink_to(elsewhere)
    _forget_memory()
    with pytest.warns(RuntimeWarning, match="symbolic link"):
        assert _select.plan_for(PROBLEM, threads=1).reason == "cost model"
    _tuning_cache.current().store([record(threads=2)])
    assert target.is_symlink()
    assert _tuning_cache.parse(elsewhere.read_text()).records() == [record()]


def test_file_of_another_user_is_refused(monkeypatch):
    write(stored_text())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(RuntimeWarning, match="belongs to user"):
        assert _select.plan_for(PROBLEM, threads=1).reason == "cost model"


def test_pipe_is_refused_without_waiting_for_a_writer():
    target = path()
    target.parent.mkdir(parents=True)
    os.mkfifo(target)
    _forget_memory()
    with pytest.warns(RuntimeWarning, match="not a regular file"):
        computes()


# Directories that cannot be written.


def _storing_warns_once_and_lasts() -> None:
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        _tuning_cache.current().store([record()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _tuning_cache.current().store([record(threads=2)])
        _select.forget_plans()
        assert _select.plan_for(PROBLEM, threads=1).reason == "tuned"
        computes()


def test_directory_that_is_a_file(folder):
    folder.write_text("not a directory")
    _storing_warns_once_and_lasts()


def test_full_disk_leaves_the_old_file_and_no_temporary_one(monkeypatch):
    _tuning_cache.current().store([record()])
    before = path().read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        _tuning_cache.current().store([record(threads=2)])
    assert path().read_bytes() == before
    assert not list(path().parent.glob("*.tmp"))


@pytest.mark.skipif(not Path("/proc/self/attr").is_dir(), reason="needs Linux's proc")
def test_read_only_directory(monkeypatch):
    # /proc refuses new files even to root.
    monkeypatch.setenv("FASTCONV_CACHE_DIR", "/proc/self/attr/fastconv")
    _forget_memory()
    _storing_warns_once_and_lasts()


def test_no_home_directory(monkeypatch):
    monkeypatch.delenv("FASTCONV_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    _forget_memory()
    assert _tuning_cache.current().path is None
    _tuning_cache.current().store([record()])
    assert _select.plan_for(PROBLEM, threads=1).reason == "tuned"


def test_stale_temporary_files_are_cleared_and_recent_ones_are_not():
    _tuning_cache.current().store([record()])
    old, recent = (path().with_name(f"{path().name}.{name}.tmp") for name in ("old", "recent"))
    for file in (old, recent):
        file.write_text("half a fi")
    os.utime(old, (0, 0))
    _tuning_cache.current().store([record()])
    assert (old.exists(), recent.exists()) == (False, True)


# Several processes.

WRITER = """
import sys
from fastconv import ConvProblem, _tuning_cache
from fastconv._tuning_record import TuningRecord
first, count = map(int, sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + count):
    problem = ConvProblem.parse(f"forward {number}x2x6x6 3x2x3x3 p1 float32")
    record = TuningRecord(problem, 1, "measure", "reference", {}, 1e-3, "reference", "2026-01-01T00:00:00Z", ())
    _tuning_cache.current().store([record])
"""


def _writer(first: int, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WRITER, str(first), str(count)],
        env={**os.environ, "PYTHONPATH": str(Path(fastconv.__file__).parent.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_write_at_once_lose_nothing():
    writers = [_writer(1 + 25 * number, 25) for number in range(4)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, "")
    _forget_memory()
    assert {r.problem.batch for r in _tuning_cache.current().content.records()} == set(range(1, 101))


def test_process_killed_while_writing_leaves_a_whole_file():
    rng = random.Random(0)
    survived = 0
    for number in range(12):
        writer = _writer(1 + 1000 * number, 1000)
        assert writer.stdout.readline() == "ready\n"
        writer.stdin.write("go\n")
        writer.stdin.flush()
        time.sleep(0.02 + 0.06 * rng.random())
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=60)
        if path().exists():
            records = _tuning_cache.parse(path().read_text()).records()
            assert len(records) >= survived
            survived = len(records)
    assert survived > 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _forget_memory()
        _tuning_cache.current().store([record()])
