"""Threads, then fork: children compute and do not hang, and so does the parent afterwards; in a handler, too."""

from __future__ import annotations

import pytest

from operands import ALGORITHMS
from subprocesses import output_of, python

SETUP = """
import os, sys
import numpy as np
import fastconv
from fastconv._backend import algorithm_names

# Large enough for a plan to use all its threads, and hence without the slow reference.
x = (np.arange(2 * 16 * 32 * 32) % 7 - 3.0).reshape(2, 16, 32, 32).astype(np.float32)
w = (np.arange(16 * 16 * 9) % 5 - 2.0).reshape(16, 16, 3, 3).astype(np.float32)
expected = fastconv.conv2d(x, w, padding=1, algorithm="reference", threads=1)

def compute(number=0):
    for algorithm in ["auto", *algorithm_names()[:-1]]:
        try:
            y = fastconv.conv2d(x, w, padding=1, algorithm=algorithm, threads=3)
        except ValueError:
            continue
        if not np.allclose(y, expected, atol=1e-3):
            return f"{algorithm} is wrong"
    return "right"

def thread_count():
    return len(os.listdir("/proc/self/task"))
"""


def test_os_fork() -> None:
    """Many children, one after the other and nested, after the pool of threads was used."""
    code = (
        SETUP
        + """
before = thread_count()
assert compute() == "right"
assert thread_count() > before
for attempt in range(20):
    child = os.fork()
    if child == 0:
        if attempt % 5 == 0:  # a child of a child
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(compute() != "right")
            os._exit(os.waitpid(grandchild, 0)[1] != 0 or compute() != "right")
        os._exit(compute() != "right")
    assert os.waitpid(child, 0)[1] == 0, attempt
    assert compute() == "right"
print("done")
"""
    )
    assert output_of(code, timeout=120).strip() == "done"


def test_fork_before_any_threads() -> None:
    """A child that was forked before the first parallel region starts its own threads."""
    code = (
        SETUP
        + """
child = os.fork()
if child == 0:
    os._exit(compute() != "right")
assert os.waitpid(child, 0)[1] == 0
assert compute() == "right"
print("done")
"""
    )
    assert output_of(code).strip() == "done"


def test_fork_while_another_thread_computes() -> None:
    """The child has only the thread that forked; locks and counters held by the others must not bind it."""
    code = (
        SETUP
        + """
import threading
stop = threading.Event()
def busy():
    while not stop.is_set():
        compute()
thread = threading.Thread(target=busy)
thread.start()
for attempt in range(20):
    child = os.fork()
    if child == 0:
        os._exit(compute() != "right")
    assert os.waitpid(child, 0)[1] == 0, attempt
stop.set()
thread.join()
print("done")
"""
    )
    assert output_of(code, timeout=120).strip() == "done"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: object) -> None:
    """SciPy's sequence: threads, a pool of processes, threads again."""
    script = f"{tmp_path}/pool.py"
    with open(script, "w") as file:
        file.write(
            SETUP
            + f"""
import multiprocessing
if __name__ == "__main__":
    assert compute() == "right"
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        found = pool.map_async(compute, range(8)).get(timeout=60)
    assert found == ["right"] * 8, found
    assert compute() == "right"
    print("done")
"""
        )
    run = python(script, timeout=120)
    assert run.stdout.strip() == "done", run.stderr


def test_a_child_begins_with_one_thread_and_may_ask_for_more() -> None:
    code = (
        SETUP
        + """
from fastconv._cpu.engine import runtime
import threading

def check_child():
    if fastconv.get_num_threads() != 1 or runtime.kept_threads() != 0:
        return 1
    for threads, kept in ((None, 0), (2, 1)):
        y = fastconv.conv2d(x, w, padding=1, algorithm="implicit_gemm", threads=threads)
        if not (y == expected).all() or runtime.kept_threads() != kept:
            return 2 + kept
    fastconv.set_num_threads(3)
    return 0 if fastconv.get_num_threads() == 3 else 4

def check_fork():
    child = os.fork()
    if child == 0:
        os._exit(check_child())
    assert os.waitpid(child, 0)[1] == 0

fastconv.set_num_threads(2)
check_fork()
assert compute() == "right"
check_fork()
# In the middle of calls of other threads, whose loops are not the child's.
stop = threading.Event()
def busy():
    while not stop.is_set():
        fastconv.conv2d(x, w, padding=1, algorithm="implicit_gemm", threads=3)
others = [threading.Thread(target=busy) for _ in range(3)]
for other in others:
    other.start()
for _ in range(20):
    check_fork()
stop.set()
for other in others:
    other.join()
assert fastconv.get_num_threads() == 2
print("done")
"""
    )
    assert output_of(code, timeout=120).strip() == "done"


FORK_IN_HANDLER = """
import os, signal, time
import numpy as np
from fastconv import ConvProblem
from operands import accepted, compute, integer_operands, placed

PROBLEMS = [
    ConvProblem.parse(direction + " " + shape)
    for direction in ("forward", "backward_input", "backward_weight")
    for shape in ("48x24x40x40 24x24x3x3 p1", "48x24x40x40 24x1x5x5 p2 g24", "8x24x64x64 4x24x5x5 p2",
                  "48x24x40x40 24x4x3x3 p1 g6 channels_last", "64x48x20x20 48x1x3x3 p1 g48 channels_last",
                  "6x4x900 5x4x301", "3x2x12x14x60 3x2x3x3x9")
]
forks, parent, is_over = 0, os.getpid(), False

def handler(*_):
    global forks
    # A signal that came as the timer was stopped is handled later, and would start the timer anew.
    if is_over:
        return
    # In the child, the interrupted call goes on when the handler has returned.
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.alarm(0)
    else:
        children.append(child)
        forks += 1
        signal.setitimer(signal.ITIMER_REAL, 0.8 * seconds if is_full and len(children) < 6 else 0)

signal.signal(signal.SIGALRM, handler)
tried = 0
for number, problem in enumerate(PROBLEMS):
    if algorithm not in accepted(problem) or algorithm == "reference" and problem.multiply_adds > 10**7:
        continue
    operands = placed(problem, integer_operands(problem))
    expected = compute(problem, algorithm, operands, 1)
    # The first on two threads starts the second one, which takes long where cores are busy.
    compute(problem, algorithm, operands, 2)
    begin = time.monotonic()
    compute(problem, algorithm, operands, 2)
    # Of a call, in whose middle the first fork falls, and others at other moments of later ones.
    seconds = time.monotonic() - begin
    for threads in (2, 3) if is_full else (2 + number % 2,):
        # Made before, so that the forks fall into the calls.
        results = [np.full_like(expected, 77) for _ in range(4 if is_full else 3)]
        children, is_over = [], False
        signal.setitimer(signal.ITIMER_REAL, max(seconds / 2, 1e-4))
        for result in results:
            compute(problem, algorithm, operands, threads, result)
        is_right = all(np.array_equal(result.view(np.uint32), expected.view(np.uint32)) for result in results)
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        # Only now: a handler may have forked after the results, too.
        if os.getpid() != parent:
            os._exit(0 if is_right else 1)
        assert is_right, str(problem)
        for child in children:
            end = time.monotonic() + 60
            while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
                if time.monotonic() > end:
                    os.kill(child, signal.SIGABRT)
                    raise AssertionError(f"a child hangs: {problem}")
                time.sleep(0.005)
            assert found[1] == 0, f"a child's continuation is wrong: {problem}"
        tried += len(children)
print(tried)
"""


@pytest.mark.parametrize("is_full", [False, pytest.param(True, marks=pytest.mark.full)], ids=["short", "full"])
@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_a_fork_in_a_signal_handler_in_the_middle_of_a_call(algorithm: str, is_full: bool) -> None:
    """Both continuations are right: that of the parent, and that of the child, which has none of the threads.

    In short: one fork for each problem, on two or three threads in turn. In full: up to six, at different moments of
    four calls, on two threads and on three.
    """
    tried = output_of(f"algorithm, is_full = {algorithm!r}, {is_full}\n{FORK_IN_HANDLER}", timeout=280)
    assert int(tried) >= (4 if is_full else 2), "few forks fell into a call"
