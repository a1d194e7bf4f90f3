"""Processes that write the file of tuned choices at once, are killed or stopped: nothing that was written is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastconv._choose import tuning_cache, tuning_file
from fastconv._cpu import fingerprint
from subprocesses import environment, output_of
from tuning_cases import path, record, reread

pytestmark = pytest.mark.usefixtures("cache_folder")

WRITER = """
import errno, fcntl, os, sys, time
from fastconv import ConvProblem
from fastconv._choose import tuning_cache
from fastconv._choose.tuning_record import TuningRecord
first, count, trouble = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if trouble == "slow disk":
    os.fsync = lambda descriptor: time.sleep(0.05)
if trouble == "no locks":
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + count):
    problem = ConvProblem.parse(f"forward {number}x2x6x6 3x2x3x3 p1 float32")
    record = TuningRecord(problem, 1, "measure", "reference", {}, 1e-3, "reference", "2026-01-01T00:00:00Z", ())
    tuning_cache.current().store([record])
"""


def _writer(first: int, count: int, trouble: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", WRITER, str(first), str(count), trouble],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("processes", "updates", "trouble"),
    [
        (4, 20, ""),
        (5, 12, "slow disk"),
        (4, 20, "no locks"),
        pytest.param(32, 20, "", marks=pytest.mark.full),
        pytest.param(32, 20, "slow disk", marks=pytest.mark.full),
        pytest.param(32, 20, "no locks", marks=pytest.mark.full),
    ],
)
def test_processes_that_write_at_once_lose_nothing(processes, updates, trouble):
    writers = [_writer(1 + updates * number, updates, trouble) for number in range(processes)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=300)
        assert (writer.returncode, errors) == (0, "")
    reread()
    kept = {r.problem.batch for r in tuning_cache.current().content.records()}
    assert kept == set(range(1, processes * updates + 1))


KILLED = """
import os, random, signal, sys, time
from fastconv import ConvProblem
from fastconv._choose import tuning_cache
from fastconv._choose.tuning_record import TuningRecord
rng = random.Random(int(sys.argv[2]))
problems = [ConvProblem.parse(f"forward {batch}x2x6x6 3x2x3x3 p1 float32") for batch in range(1, 101)]
cache, serial, finished, within = tuning_cache.current(), 0, {}, 0
fsync = os.fsync
for number in range(int(sys.argv[1])):
    reading, writing = os.pipe()
    child = os.fork()
    # On a slow disk a kill meets the half-written file; without fsync it meets the rest.
    pause = rng.choice((None, 0.0, 0.005))
    if child == 0:
        os.fsync = fsync if pause is None else lambda descriptor: time.sleep(pause)
        for step in range(serial, serial + 10_000):
            at = f"2026-01-01T{step // 3600:02}:{step // 60 % 60:02}:{step % 60:02}Z"
            cache.store([TuningRecord(problems[step % 100], 1, "measure", "reference", {}, 1e-3, "reference", at, ())])
            os.write(writing, f"{step} {at}\\n".encode())
        os._exit(1)
    os.close(writing)
    begun = time.perf_counter()
    first_told = os.read(reading, 4096)
    time.sleep(2 * rng.random() * (time.perf_counter() - begun))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with os.fdopen(reading, "rb") as told:
        for line in (first_told + told.read()).decode().splitlines():
            step, at = line.split()
            serial = int(step) + 1
            finished[problems[int(step) % 100]] = at
    within += len(list(cache.folder.glob("*.tmp")))
    for temporary in cache.folder.glob("*.tmp"):
        temporary.unlink()
    serial += 1  # the step that was not told of may be in the file
    if cache.path.exists():
        kept = {r.problem: r.measured_at for r in tuning_cache.parse(cache.path.read_text()).records()}
        lost = [str(problem) for problem, at in finished.items() if kept.get(problem, "") < at]
        assert not lost, lost
print(f"{number + 1} killed, {within} of them while writing, {serial - number - 1} updates finished")
"""


@pytest.mark.parametrize("kills", [60, pytest.param(1000, marks=pytest.mark.full)])
def test_killed_processes_lose_nothing_that_was_written(kills):
    said = output_of(f"import sys; sys.argv[1:] = ['{kills}', '0']\n{KILLED}", timeout=900, PYTHONWARNINGS="error")
    print(said)
    killed, writing, finished = map(int, re.findall(r"\d+", said))
    assert killed == kills
    assert writing > kills // 20
    assert finished >= kills


def test_lock_that_was_removed_is_found_out(monkeypatch):
    """Another process clears the directory and writes, while this one is about to replace the file."""
    tuning_cache.current().store([record()])
    other = tuning_cache.TuningCache(path().parent, fingerprint.fingerprint())
    fsync, is_first = os.fsync, True

    def interrupted_fsync(descriptor: int) -> None:
        nonlocal is_first
        fsync(descriptor)
        if is_first:
            is_first = False
            path().with_name(path().name + ".lock").unlink()
            other.store([record(threads=2)])

    monkeypatch.setattr(os, "fsync", interrupted_fsync)
    tuning_cache.current().store([record(threads=3)])
    reread()
    assert {r.threads for r in tuning_cache.current().content.records()} == {1, 2, 3}


def test_directory_that_is_removed_while_writing_is_made_again(monkeypatch):
    tuning_cache.current().store([record()])
    fsync, is_first = os.fsync, True

    def interrupted_fsync(descriptor: int) -> None:
        nonlocal is_first
        fsync(descriptor)
        if is_first:
            is_first = False
            for file in path().parent.iterdir():
                file.unlink()
            path().parent.rmdir()

    monkeypatch.setattr(os, "fsync", interrupted_fsync)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuning_cache.current().store([record(threads=2)])
    reread()
    assert 2 in {r.threads for r in tuning_cache.current().content.records()}


HOLDER = """
import sys
from pathlib import Path
from fastconv._choose import tuning_file
with tuning_file.locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_stopped_process_with_the_lock_delays_writes_and_loses_none(monkeypatch):
    monkeypatch.setattr(tuning_file, "LOCK_PATIENCE_SECONDS", 0.3)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path())],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        cache = tuning_cache.current()
        with pytest.warns(RuntimeWarning, match=r"cannot be written \(another process keeps it locked\)"):
            cache.store([record()])
        assert not cache.is_saved
        assert cache.content.records() == [record()]
    finally:
        holder.kill()
        holder.communicate(timeout=60)
    cache.store([record(threads=2)])
    assert cache.is_saved
    reread()
    assert {r.threads for r in tuning_cache.current().content.records()} == {1, 2}


def test_time_in_which_the_waiting_process_was_stopped_does_not_count(monkeypatch):
    """As when the whole machine slept: the holder of the lock had no time, either."""
    holding, looks, clock = tuning_file.locked(path()), 0, 0.0
    holding.__enter__()

    def sleep(seconds: float) -> None:
        nonlocal looks, clock
        looks, clock = looks + 1, clock + 3600.0
        if looks == 3:
            holding.__exit__(None, None, None)

    monkeypatch.setattr(tuning_file, "time", SimpleNamespace(monotonic=lambda: clock, sleep=sleep, time=time.time))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuning_cache.current().store([record()])
    assert looks == 3


def test_lock_left_by_a_dead_process_without_flock_is_taken(monkeypatch):
    def no_flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(tuning_file, "LOCK_PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(tuning_file.fcntl, "flock", no_flock)
    path().parent.mkdir(parents=True)
    left = path().with_name(path().name + ".locked")
    left.write_text("")
    tuning_cache.current().store([record()])
    assert not left.exists()
    reread()
    assert tuning_cache.current().content.records() == [record()]


def test_forked_child_does_not_keep_the_lock():
    with tuning_file.locked(path()):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with tuning_file.locked(path(), 0.3):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_threads_that_write_at_once_lose_nothing():
    cache = tuning_cache.current()

    def write(first: int) -> None:
        for number in range(first, first + 10):
            cache.store([record(threads=number)])

    threads = [threading.Thread(target=write, args=(1 + 10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.is_saved
    reread()
    assert {r.threads for r in tuning_cache.current().content.records()} == set(range(1, 41))


def test_damaged_file_that_is_being_replaced_is_not_set_aside(monkeypatch):
    """Between the reading of a damaged file and its renaming another process puts a whole one in its place."""
    tuning_cache.current().store([record()])
    whole, read = path().read_text(), tuning_file.read

    def damaged_at_first(file: Path) -> str | None:
        monkeypatch.setattr(tuning_file, "read", read)
        return whole[:-10]

    monkeypatch.setattr(tuning_file, "read", damaged_at_first)
    reread()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tuning_cache.current().content.records() == [record()]
    assert path().read_text() == whole


FULL_DISK = """
import resource, sys
from fastconv._choose import tuning_cache
from tuning_cases import record, path
import pytest
cache = tuning_cache.current()
cache.store([record()])
before = path().read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, -1))
with pytest.warns(RuntimeWarning, match="cannot be written .*; tuned choices last until this process ends"):
    cache.store([record(threads=2)])
assert path().read_bytes() == before
assert not list(path().parent.glob("*.tmp"))
assert len(cache.content.records()) == 2 and not cache.is_saved
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
cache.store([record(threads=3)])
assert cache.is_saved
print(sorted(r.threads for r in tuning_cache.parse(path().read_text()).records()))
"""


def test_full_disk_delays_writes_and_loses_none():
    """A limit on the size of files stands for the disk that is full, and has room again later."""
    assert output_of(FULL_DISK) == "[1, 2, 3]\n"
