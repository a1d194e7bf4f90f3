"""What the tests of tuning share: a record, and this machine's file with any content."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import fastconv
from fastconv import ConvProblem
from fastconv._choose import select, tuning_cache
from fastconv._choose.tuning_record import Timing, TuningRecord
from fastconv._cpu import fingerprint

PROBLEM = ConvProblem.parse("forward 1x2x6x6 3x2x3x3 p1 float32")


def forget_memory() -> None:
    """As a new process would begin: no stored choices read, no plans made, no warnings given."""
    tuning_cache._warned.clear()
    reread()


def reread() -> None:
    """Read the file again, as a new process would, without forgetting which warnings were given."""
    tuning_cache.reload()
    select.forget_plans()


def record(problem=PROBLEM, algorithm="reference", threads=1, measured_at="2026-01-01T00:00:00Z", params=None):
    """A record in which the algorithm was the only candidate."""
    params = {} if params is None else params
    timing = Timing(algorithm, params, False, 1e-3, 2e-3, 9, "measured")
    default = "implicit_gemm"
    return TuningRecord(problem, threads, "measure", algorithm, params, 2e-3, default, measured_at, (timing,))


def path() -> Path:
    """This machine's file."""
    found = tuning_cache.current().path
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
    reread()
    return target


def stored_text(**changes) -> str:
    """The text of a good file with one record, some of its top-level fields changed."""
    content = tuning_cache.Content(fingerprint.fingerprint())
    content.add([record()])
    return json.dumps(json.loads(tuning_cache.render(content)) | changes)
