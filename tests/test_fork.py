"""Threads, then fork: children compute (serially) and do not hang, and so does the parent afterwards."""

from __future__ import annotations

import pytest

from subprocesses import output_of, python

SETUP = """
import os, sys
import numpy as np
import fastconv
from fastconv import _registry

# Large enough for a plan to use all its threads, and hence without the slow reference.
x = (np.arange(2 * 16 * 32 * 32) % 7 - 3.0).reshape(2, 16, 32, 32).astype(np.float32)
w = (np.arange(16 * 16 * 9) % 5 - 2.0).reshape(16, 16, 3, 3).astype(np.float32)
expected = fastconv.conv2d(x, w, padding=1, algorithm="reference", threads=1)

def compute(number=0):
    for algorithm in ["auto", *_registry.names()[:-1]]:
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
