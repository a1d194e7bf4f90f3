"""Scratch memory is known before, bounded by the limit and given back; running out of it is a MemoryError or another
algorithm, never a crash."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem
from fastconv._choose.select import forget_plans, plan_for
from fastconv._cpu.engine import workspace
from operands import ALGORITHMS, accepted, check_exact, compute, exact_case
from problems import describe, named, problems
from subprocesses import output_of

BIG = problems(("1x64x56x56 64x64x3x3 p1", "1x8x64x64 8x8x21x21 p10", "4x32x32x32 32x1x3x3 p1 g32"))


@pytest.fixture
def _limit():
    before = fastconv.get_workspace_limit()
    yield
    fastconv.set_workspace_limit(before)
    forget_plans()


@pytest.mark.usefixtures("_limit")
@pytest.mark.parametrize("problem", BIG, ids=describe)
def test_a_smaller_algorithm_is_taken(problem: ConvProblem) -> None:
    """Whatever the limit, the choice keeps it."""
    needs = {name: plan_for(problem, name, 2).workspace_bytes for name in accepted(problem)}
    assert needs["reference"] == 0
    limits = sorted({need - 1 for need in needs.values() if need > 1} | {1, 2**10, 2**20, 2**30})
    taken = set()
    for limit in limits:
        fastconv.set_workspace_limit(limit)
        chosen = plan_for(problem, "auto", 2)
        assert chosen.workspace_bytes <= limit
        taken.add(chosen.algorithm.name)
    assert len(taken) > 1
    fastconv.set_workspace_limit(1)
    assert plan_for(problem, "auto", 2).workspace_bytes == 0


@pytest.mark.usefixtures("_limit")
def test_results_are_right_under_every_limit() -> None:
    problem = ConvProblem.parse("forward 2x7x11x13 13x7x3x3 p1")
    operands, expected = exact_case(problem)
    for limit in (1, 2**10, 2**14, 2**20, 2**30):
        fastconv.set_workspace_limit(limit)
        assert (np.rint(compute(problem, "auto", operands, 2)) == expected).all(), limit


@pytest.mark.parametrize("value", [0, -1, 1.5, "1 GiB", True])
def test_bad_limits_are_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError), match="limit_bytes: got"):
        fastconv.set_workspace_limit(value)


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_the_declared_workspace_is_enough(algorithm: str) -> None:
    """Exactly as many bytes as declared, full of NaN, followed by bytes that must not change."""
    guard = 4096

    def exact_buffer(size: int) -> np.ndarray:
        raw = np.full(size + 2 * guard, 0xFF, np.uint8)
        offset = -raw.ctypes.data % workspace.ALIGNMENT + workspace.ALIGNMENT
        buffers.append((raw, offset, size))
        return raw[offset : offset + size]

    buffers: list[tuple[np.ndarray, int, int]] = []
    with workspace.watched(exact_buffer, lambda memory: None):
        for problem in named():
            if algorithm in accepted(problem):
                for threads in (1, 3):
                    check_exact(problem, algorithm, threads)
    assert buffers or algorithm == "reference"
    for raw, offset, size in buffers:
        assert (raw[:offset] == 0xFF).all()
        assert (raw[offset + size :] == 0xFF).all()


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_a_workspace_that_cannot_be_had_is_a_memory_error(algorithm: str) -> None:
    def none_left(size: int) -> np.ndarray:
        raise MemoryError

    problem = BIG[0].replace(batch=1, in_channels=8, out_channels=8)
    if algorithm not in accepted(problem):
        problem = problem.replace(groups=8)
    if algorithm not in accepted(problem):
        problem = problem.replace(layout="channels_last")
    if algorithm not in accepted(problem):
        problem = problem.replace(in_channels=32, out_channels=32)
    operands, expected = exact_case(problem)
    with workspace.watched(none_left, lambda memory: None):
        if plan_for(problem, algorithm, 2).workspace_bytes:
            with pytest.raises(MemoryError):
                compute(problem, algorithm, operands, 2)
    assert (np.rint(compute(problem, algorithm, operands, 2)) == expected).all()


ADDRESS_SPACE = """
import gc, resource, sys
import numpy as np
import fastconv
from fastconv._backend import algorithm_names

x = np.ones((4, 32, 128, 128), np.float32)
w = np.ones((64, 32, 3, 3), np.float32)
outcomes = []
# Threads and imports exist before memory is short, and OpenBLAS has its buffer: where another thread gets none, it
# ends the process, hence what calls it on one.
threads_of = {"im2col": 1, "fft_scipy": 1}
for algorithm in algorithm_names():
    for _ in range(3):
        try:
            fastconv.conv2d(x[:, :, :32, :32], w, padding=1, algorithm=algorithm, threads=threads_of.get(algorithm, 2))
        except ValueError:
            pass
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
for megabytes in (0, 1, 4, 8, 16, 17, 20, 32, 64):
    for algorithm in ["auto", *algorithm_names()]:
        if algorithm == "reference":
            continue
        resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), resource.RLIM_INFINITY))
        try:
            y = fastconv.conv2d(x, w, padding=1, algorithm=algorithm, threads=threads_of.get(algorithm, 2))
            right = abs(float(y[1, 5, 40, 40]) - 288) < 0.01 and abs(float(y[3, 0, 0, 0]) - 128) < 0.01
            outcomes.append("right" if right else "wrong")
            del y
        except MemoryError:
            outcomes.append("MemoryError")
        except ValueError as refused:
            if "algorithm" not in str(refused):
                raise
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        gc.collect()
print(*outcomes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux's")
def test_short_address_space() -> None:
    """From none to enough, each call is right or raises MemoryError; the process lives on."""
    # Blocks of 64 KiB and more are mapped, and given back to the system when they are let go of; no thread has an
    # arena, which is address space to spare.
    settings = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    outcomes = output_of(ADDRESS_SPACE, timeout=120, **settings).split()
    assert set(outcomes) == {"right", "MemoryError"}, outcomes
    assert outcomes.count("MemoryError") > 20


LEAKS = """
import gc, resource, sys, tracemalloc
import numpy as np
import fastconv
from fastconv._backend import algorithm_names

x, w, b = np.ones((2, 6, 14, 14), np.float32), np.ones((8, 3, 3, 3), np.float32), np.ones(8, np.float32)
dy = np.ones((2, 8, 14, 14), np.float32)
out = np.empty_like(dy)

def calls():
    for algorithm in ["auto", *algorithm_names()]:
        try:
            fastconv.conv2d(x, w, b, padding=1, groups=2, activation="relu", algorithm=algorithm, threads=2, out=out)
            fastconv.conv_transpose2d(dy, w, padding=1, groups=2, algorithm=algorithm, threads=2)
            fastconv.grad.conv2d_weight(x, w.shape, dy, padding=1, groups=2)
        except ValueError:
            pass
    for wrong in ({"groups": 3}, {"stride": 0}, {"out": out[1:]}, {"algorithm": "none"}, {"padding": (1, 2, 3)}):
        try:
            fastconv.conv2d(x, w, **wrong)
        except (ValueError, TypeError):
            pass
    fastconv.conv2d(x[::-1, :, ::-1], w, groups=2, out=np.empty((2, 8, 12, 12), np.float32)[:, :, ::-1])

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

for _ in range(40):
    calls()
gc.collect()
before, counts = resident(), [sys.getrefcount(array) for array in (x, w, b, dy, out)]
tracemalloc.start()
first = tracemalloc.take_snapshot()
for _ in range(120):
    calls()
gc.collect()
grown = sum(entry.size_diff for entry in tracemalloc.take_snapshot().compare_to(first, "filename"))
tracemalloc.stop()
assert [sys.getrefcount(array) for array in (x, w, b, dy, out)] == counts
for _ in range(120):
    calls()
gc.collect()
print(grown, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_no_leak() -> None:
    """Thousands of calls, raising ones too: reference counts stay, Python's memory and the process's do not grow."""
    python_bytes, process_bytes = map(int, output_of(LEAKS, timeout=180).split())
    assert python_bytes < 100_000
    assert process_bytes < 3 * 2**20


def test_arrays_are_let_go_of_when_a_call_raises() -> None:
    """A call that fails in the middle keeps no buffer: its arrays may be resized."""
    x, w = np.ones((1, 2, 8, 8), np.float32), np.ones((2, 2, 3, 3), np.float32)
    for algorithm in accepted(ConvProblem.parse("forward 1x2x8x8 2x2x3x3")):
        out = np.empty((1, 2, 6, 6), np.float32)
        fastconv.conv2d(x, w, algorithm=algorithm, out=out)
        with pytest.raises(ValueError, match="out: got"):
            fastconv.conv2d(x, w, algorithm=algorithm, out=out[..., :2])
        gc.collect()
        out.resize((4,), refcheck=False)
        assert sys.getrefcount(out) == 2


def test_large_workspaces_are_not_kept() -> None:
    """A thread keeps a small workspace for its next call and gives a large one back."""
    workspace.drop()
    small = workspace.take(1000)
    assert small.ctypes.data % workspace.ALIGNMENT == 0
    workspace.give_back(small)
    again = workspace.take(500)
    assert np.shares_memory(small, again)
    workspace.give_back(again)
    large = workspace.take(workspace.KEPT_WORKSPACE_BYTES + 1)
    assert large.size >= workspace.KEPT_WORKSPACE_BYTES + 1
    workspace.give_back(large)
    assert not np.shares_memory(large, workspace.take(1000))


def test_the_default_limit() -> None:
    code = "import fastconv; print(fastconv.get_workspace_limit())"
    assert 2**20 < int(output_of(code)) <= 2**30
