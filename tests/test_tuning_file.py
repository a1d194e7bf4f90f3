"""The file of tuned choices: whose it is, where it cannot be written, processes that write at once or are killed."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from fastconv._choose import select, tuning_cache
from tuning_cases import PROBLEM, computes, forget_memory, path, record, reread, stored_text, write

pytestmark = pytest.mark.usefixtures("cache_folder")


# Files that are not ours to use.


def test_symbolic_link_is_refused(tmp_path):
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(stored_text())
    target = path()
    target.parent.mkdir(parents=True)
    target.symlink_to(elsewhere)
    reread()
    with pytest.warns(RuntimeWarning, match="symbolic link"):
        assert select.plan_for(PROBLEM, threads=1).reason == "cost model"
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        tuning_cache.current().store([record(threads=2)])
    assert target.is_symlink()
    assert tuning_cache.parse(elsewhere.read_text()).records() == [record()]


def test_file_of_another_user_is_refused(monkeypatch):
    write(stored_text())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.warns(RuntimeWarning, match="belongs to user"):
        assert select.plan_for(PROBLEM, threads=1).reason == "cost model"


def test_pipe_is_refused_without_waiting_for_a_writer():
    target = path()
    target.parent.mkdir(parents=True)
    os.mkfifo(target)
    reread()
    with pytest.warns(RuntimeWarning, match="not a regular file"):
        computes()


def test_directory_in_its_place_is_refused_and_none_is_left_open():
    path().mkdir(parents=True)
    opened = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        forget_memory()
        with pytest.warns(RuntimeWarning, match=r"cannot be read \(Is a directory\)"):
            computes()
    assert len(os.listdir("/proc/self/fd")) == opened


# Directories that cannot be written.


def _storing_warns_once_and_lasts(reason: str = "") -> None:
    with pytest.warns(RuntimeWarning, match=f"cannot be written.*{reason}"):
        tuning_cache.current().store([record()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuning_cache.current().store([record(threads=2)])
        select.forget_plans()
        assert select.plan_for(PROBLEM, threads=1).reason == "tuned"
        computes()


def test_directory_that_is_a_file(cache_folder):
    cache_folder.write_text("not a directory")
    _storing_warns_once_and_lasts("Not a directory")


def test_full_disk_leaves_the_old_file_and_no_temporary_one(monkeypatch):
    tuning_cache.current().store([record()])
    before = path().read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        tuning_cache.current().store([record(threads=2)])
    assert path().read_bytes() == before
    assert not list(path().parent.glob("*.tmp"))


@pytest.mark.skipif(not Path("/proc/self/attr").is_dir(), reason="needs Linux's proc")
def test_read_only_directory(monkeypatch):
    # /proc refuses new files even to root.
    monkeypatch.setenv("FASTCONV_CACHE_DIR", "/proc/self/attr/fastconv")
    reread()
    _storing_warns_once_and_lasts()


def test_no_home_directory(monkeypatch):
    monkeypatch.delenv("FASTCONV_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    tuning_cache._user_directory.cache_clear()
    reread()
    assert tuning_cache.current().path is None
    with pytest.warns(RuntimeWarning, match="no home directory"):
        tuning_cache.current().store([record()])
    assert not tuning_cache.current().is_saved
    assert select.plan_for(PROBLEM, threads=1).reason == "tuned"


def test_a_reader_of_the_old_file_sees_all_of_it():
    """The new content is another file, put in the old one's place when it is whole."""
    tuning_cache.current().store([record()])
    old = path().read_text()
    with path().open() as reader:
        tuning_cache.current().store([record(threads=2)])
        assert reader.read() == old
        assert os.fstat(reader.fileno()).st_ino != path().stat().st_ino
    assert path().read_text() != old


def test_stale_temporary_files_are_cleared_and_recent_ones_are_not():
    tuning_cache.current().store([record()])
    old, recent = (path().with_name(f"{path().name}.{name}.tmp") for name in ("old", "recent"))
    for file in (old, recent):
        file.write_text("half a fi")
    os.utime(old, (0, 0))
    tuning_cache.current().store([record()])
    assert (old.exists(), recent.exists()) == (False, True)
