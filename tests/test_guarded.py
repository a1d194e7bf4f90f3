"""No algorithm reads or writes outside its arrays: they lie flush against memory that may not be touched."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import conftest
from fastconv import ConvProblem
from fastconv._backend import find_algorithm
from fastconv._cpu.algorithms.direct import blocking as direct_blocking
from fastconv._cpu.algorithms.direct import few_filters_blocking
from fastconv._cpu.engine import workspace
from operands import ALGORITHMS, compute, exact_case
from problems import SHAPES, describe, problems
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


GAP_BYTES = 64
"""Between the parts of a thread's scratch, in the layouts that have several."""
SPARE_BYTES = 2**16
"""Behind all scratch, so that a part that runs over is seen and does not end the process."""
LISTS = ("sums of about 1,000 products", "one axis unlike the other", "strided", "dilated", "padded", "3-D")
EDGES = [
    pytest.param(problem, algorithm, id=f"{algorithm}-{describe(problem)}")
    for problem in problems(shape for name in LISTS for shape in SHAPES[name])
    for algorithm in ("direct", "few_filters")
    if find_algorithm(algorithm).supports(problem)
]


@pytest.mark.parametrize(("problem", "algorithm"), EDGES)
def test_no_part_of_scratch_runs_into_the_next(problem: ConvProblem, algorithm: str) -> None:
    """What is between them stays as it was, in every stride phase."""
    blocking: direct_blocking.Blocking | few_filters_blocking.Blocking
    if algorithm == "direct":
        blocking = direct_blocking.blocking_of(problem, find_algorithm(algorithm).parameters(problem)[0]["lanes"])
        before = blocking.partial_bytes
    else:
        blocking = few_filters_blocking.blocking_of(problem)
        before = blocking.shared_bytes
    memory = np.full(before + blocking.thread_bytes + GAP_BYTES + SPARE_BYTES, 0xA5, np.uint8)
    memory = memory[-memory.ctypes.data % GAP_BYTES :]
    with workspace.watched(lambda size: memory, lambda memory: None):
        compute(problem, algorithm, exact_case(problem)[0])
    assert (memory[before:] != 0xA5).any()
    for end in (*blocking.starts, blocking.thread_bytes):
        assert (memory[before + end - GAP_BYTES : before + end] == 0xA5).all(), f"before byte {end} of {blocking}"
    assert (memory[before + blocking.thread_bytes :] == 0xA5).all()
