"""No algorithm reads or writes outside its arrays: they lie flush against memory that may not be touched."""

from __future__ import annotations

import signal

import pytest

import conftest
from operands import ALGORITHMS
from subprocesses import HERE, python


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_nothing_outside_the_arrays_is_touched(algorithm: str) -> None:
    examples = str(max(conftest.EXAMPLES, 60))
    run = python(str(HERE / "guarded.py"), "--algorithm", algorithm, "--examples", examples, timeout=600)
    lines = run.stdout.strip().splitlines()
    assert run.returncode == 0, f"last: {lines[-1:]}\n{run.stderr[-3000:]}"
    assert lines[-1].endswith(" computations")
    assert int(lines[-1].split()[0]) >= 40


@pytest.mark.parametrize("edge", ["end", "start"])
@pytest.mark.parametrize("action", ["memory[0]", "memory[0] = b'a'"])
def test_the_guard_pages_work(edge: str, action: str) -> None:
    """One byte too far really ends the process."""
    code = f"""
import ctypes
from guarded import guarded_bytes
data = guarded_bytes(64, {edge!r})
data[0] = data[63] = 1
memory = (ctypes.c_char * 1).from_address(data.ctypes.data + {64 if edge == "end" else -1})
{action}
"""
    assert python("-c", code).returncode == -signal.SIGSEGV
