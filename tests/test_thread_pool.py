"""The threads of threads.c: started once, fewer where the system refuses them, asleep while they wait, no races."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from subprocesses import COMPILER, has_compiler, output_of

COUNTED = """
import os, resource, sys, time
import numpy as np
import fastconv
from fastconv._cpu.engine import runtime

x, w = np.ones((4, 16, 32, 32), np.float32), np.ones((16, 16, 3, 3), np.float32)

def compute(threads, algorithm="implicit_gemm"):
    return fastconv.conv2d(x, w, padding=1, threads=threads, algorithm=algorithm)
"""


def test_a_refused_thread_is_done_without() -> None:
    """Later, when the system has threads again, they are used."""
    code = (
        COUNTED
        + """
expected = compute(1)
compute(1, "im2col")
before = resource.getrlimit(resource.RLIMIT_NPROC)
is_root = os.getuid() == 0
if is_root:  # whom nothing is refused
    os.setresuid(65534, 65534, 0)
resource.setrlimit(resource.RLIMIT_NPROC, (1, before[1]))
for _ in range(20):
    assert (compute(4) == expected).all() and (compute(4, "im2col") == expected).all()
assert runtime.kept_threads() == 0
resource.setrlimit(resource.RLIMIT_NPROC, before)
if is_root:
    os.setresuid(0, 0, 0)
time.sleep(1.1)
assert (compute(4) == expected).all()
print(runtime.kept_threads())
"""
    )
    assert output_of(code).strip() == "3"


def test_threads_are_kept_and_started_once() -> None:
    code = (
        COUNTED
        + """
counts = []
for threads in (1, 2, 4, 3, 2, 4):
    for _ in range(5):
        compute(threads)
    counts.append(runtime.kept_threads())
print(counts, len(os.listdir("/proc/self/task")) >= 4)
"""
    )
    assert output_of(code, OPENBLAS_NUM_THREADS="1").strip() == "[0, 1, 3, 3, 3, 3] True"


def test_waiting_threads_take_no_time() -> None:
    """Processes side by side share the cores; a thread that spins while it waits takes them from the others."""
    code = (
        COUNTED
        + """
compute(4)
start = time.process_time()
for _ in range(30):
    compute(4)
    time.sleep(0.02)
resting = time.process_time() - start
start = time.process_time()
for _ in range(30):
    compute(1)
print(resting - (time.process_time() - start))
"""
    )
    # 30 times 20 ms of 3 threads would be 1.8 s.
    assert float(output_of(code, OPENBLAS_NUM_THREADS="1")) < 0.2


@pytest.mark.skipif(not has_compiler(), reason="no C compiler")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
@pytest.mark.parametrize("mode", ["callers", "forks"])
def test_the_loop_has_no_races(tmp_path: Path, sanitizer: str, mode: str) -> None:
    """threads.c under a race detector; see threads_race.c."""
    cpu = Path(__file__).parent.parent / "fastconv" / "_cpu"
    program = tmp_path / "race"
    sources = [str(Path(__file__).with_name("threads_race.c")), str(cpu / "engine" / "threads.c")]
    flags = ["-g", "-O1", f"-fsanitize={sanitizer}", f"-I{cpu / 'engine'}", f"-I{cpu / 'csrc'}"]
    built = subprocess.run(
        [*COMPILER, *flags, *sources, "-o", str(program), "-lpthread"], capture_output=True, text=True
    )
    if built.returncode and "cannot find" in built.stderr:
        pytest.skip("the compiler has no such sanitizer")
    assert built.returncode == 0, built.stderr
    run = subprocess.run([str(program), mode], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert run.stdout.startswith("right")
