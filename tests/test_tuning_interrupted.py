"""Ctrl-C at any moment of storing a choice: nothing is lost, and nobody, this process included, waits for a lock."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from fastconv._choose import tuning_cache, tuning_file
from tuning_cases import path, record, reread

pytestmark = pytest.mark.usefixtures("cache_folder")

TRACED = {tuning_cache.TuningCache._update.__code__, tuning_cache.TuningCache._save.__code__}


def _is_traced(frame: FrameType) -> bool:
    """Whether it is code that writes or locks; the rest of a store is on values of its own."""
    return frame.f_code in TRACED or frame.f_code.co_filename == tuning_file.__file__


def _interrupted_at(number: int, event: str, action: Callable[[], object]) -> bool:
    """Whether ``action`` was interrupted before its line, or instruction, of that number in the code of the store."""
    seen = 0

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        nonlocal seen
        if not _is_traced(frame):
            return None
        frame.f_trace_opcodes = event == "opcode"
        if what == event:
            seen += 1
            if seen == number:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("event", ["line", pytest.param("opcode", marks=pytest.mark.full)])
def test_store_that_is_interrupted_anywhere_loses_nothing_and_holds_no_lock(event, monkeypatch):
    monkeypatch.setattr(tuning_file, "LOCK_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(tuning_cache, "SHORT_PATIENCE_SECONDS", 0.05)
    tuning_cache.current().store([record()])
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    for number in itertools.count(1):
        reread()
        cache = tuning_cache.current()
        was_interrupted = _interrupted_at(number, event, lambda cache=cache: cache.store([record(threads=2)]))
        left = list(path().parent.glob("*.tmp"))
        assert len(left) <= 1, number  # interrupted while it was about to be removed
        for temporary in left:
            temporary.unlink()
        other = tuning_cache.TuningCache(path().parent, cache.content.fingerprint)
        assert {1} <= {r.threads for r in other.content.records()} <= {1, 2}, number
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            other.store([record(threads=3)])
            cache.store([record(threads=4)])
        assert other.is_saved, number
        assert cache.is_saved, number
        if not was_interrupted:
            break
        kept = {r.threads for r in tuning_cache.parse(path().read_text()).records()}
        assert {1, 3, 4} <= kept, number
        other.forget(lambda key: key[1] == 1)
    assert number > 50
