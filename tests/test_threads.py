"""The number of threads never changes a bit; many Python threads may call at once; the process's floating-point mode
and the settings of other threads stay as they were."""

from __future__ import annotations

import contextvars
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, _config
from fastconv._choose import select
from fastconv._cpu.engine import runtime
from operands import ALGORITHMS, accepted, compute, exact_case, rounded
from problems import SHAPES, describe, problems
from real_data import RealCase
from subprocesses import output_of

LISTS = ("basic", "tails", "dilated", "strided", "grouped", "depthwise", "planes", "1-D", "3-D", "channels last")
LISTS += ("depthwise, channels last", "grouped, channels last", "grouped, channels first", "strided, several channels")
CORPUS = problems(shape for name in LISTS for shape in SHAPES[name])
LARGER = problems(
    ("2x32x24x25 40x32x3x3 p1", "8x3x40x40 16x3x5x5 s2", "3x64x9x9 64x1x3x3 p1 g64", "1x2x9000 3x2x65 p32"),
)


@pytest.mark.parametrize("problem", [*CORPUS, *LARGER], ids=describe)
def test_bits_do_not_depend_on_threads(problem: ConvProblem) -> None:
    """Real data, so that another order of summation would show."""
    operands = RealCase(problem, "normal").operands
    for algorithm in accepted(problem):
        one = compute(problem, algorithm, operands, 1)
        for threads in (2, 3, 5):
            many = compute(problem, algorithm, operands, threads)
            assert many.tobytes() == one.tobytes(), f"{algorithm}: 1 and {threads} threads differ"


def test_the_same_call_gives_the_same_bits() -> None:
    for problem in LARGER:
        operands = RealCase(problem, "lognormal").operands
        for algorithm in accepted(problem):
            bits = {compute(problem, algorithm, operands, 2).tobytes() for _ in range(3)}
            assert len(bits) == 1, algorithm


def test_eight_python_threads_at_once() -> None:
    """Every thread computes other problems with other algorithms and thread counts; all are exact."""
    cases = [(problem, name, *exact_case(problem)) for problem in CORPUS for name in accepted(problem)]
    wrong: list[str] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for problem, algorithm, operands, expected in cases[number::8]:
            result = compute(problem, algorithm, operands, 1 + number % 3)
            if not (rounded(result) == expected).all():
                wrong.append(f"{problem} {algorithm}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread hangs"
    assert not wrong


def test_many_threads_on_one_problem() -> None:
    """The same plan, the same read-only inputs, each its own output."""
    x, w = np.ones((2, 8, 20, 20), np.float32), np.ones((8, 8, 3, 3), np.float32)
    expected = fastconv.conv2d(x, w, padding=1)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: fastconv.conv2d(x, w, padding=1, threads=2), range(200)))
    assert all(np.array_equal(result, expected) for result in results)


def test_a_call_inside_a_parallel_region_of_another_library() -> None:
    """Nested: a pool of Python threads that itself runs in a pool."""
    x, w = np.ones((1, 4, 9, 9), np.float32), np.ones((4, 4, 3, 3), np.float32)
    expected = fastconv.conv2d(x, w)

    def inner(_: int) -> bool:
        with ThreadPoolExecutor(2) as pool:
            return all(np.array_equal(y, expected) for y in pool.map(lambda _: fastconv.conv2d(x, w), range(4)))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(inner, range(8)))


# A layer that each algorithm accepts: layout, groups, shape of the weight, height and width.
LAYERS = {
    "depthwise_nhwc": ("NHWC", 48, (48, 1, 9, 9), 100),
    "small_groups": ("NHWC", 12, (48, 4, 3, 3), 100),
    "depthwise_nchw": ("NCHW", 8, (8, 1, 3, 3), 200),
}


@pytest.mark.parametrize("algorithm", [a.name for a in ALGORITHMS if a.name != "reference"])
def test_a_signal_handler_may_call_the_library_in_the_middle_of_a_call(algorithm: str) -> None:
    """The handler's call must not work in the scratch memory of the call that it interrupts."""
    rng = np.random.default_rng(1)
    layout, groups, w_shape, size = LAYERS.get(algorithm, ("NCHW", 1, (8, 8, 3, 3), 200))
    of_all = {"algorithm": algorithm, "threads": 1, "layout": layout, "groups": groups}
    channels, cut = groups * w_shape[1], w_shape[2] - 1

    def image(batch: int, size: int) -> np.ndarray:
        shape = (batch, size, size, channels) if layout == "NHWC" else (batch, channels, size, size)
        return rng.standard_normal(shape, np.float32)

    x, dy, inner_x = image(18, size), image(18, size - cut), image(1, size // 5)
    w, inner_w = rng.standard_normal(w_shape, np.float32), rng.standard_normal(w_shape, np.float32)
    needs = (True, algorithm != "few_filters", True)  # few_filters computes no gradient of the weight
    expected = fastconv.conv2d(inner_x, inner_w, **of_all)
    within: list[bool] = []

    waiting = True

    def handler(*_: object) -> None:
        result = fastconv.conv2d(inner_x, inner_w, **of_all)
        within.append(np.array_equal(result, expected))
        # The last one may run after the timer was stopped, and its signal would find no handler.
        signal.setitimer(signal.ITIMER_REAL, 0.003 if waiting else 0)

    alone = fastconv.conv2d_backward(dy, x, w, **of_all, needs=needs)
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.003)
    try:
        interrupted = fastconv.conv2d_backward(dy, x, w, **of_all, needs=needs)
    finally:
        waiting = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert within
    assert all(within)
    for left, right, needed in zip(interrupted, alone, needs, strict=True):
        assert (left is not None) == needed
        np.testing.assert_array_equal(left, right)


def test_num_threads_is_a_setting_of_the_context() -> None:
    before = fastconv.get_num_threads()
    seen: dict[str, int] = {}
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait(10)
        seen["other thread"] = fastconv.get_num_threads()
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with fastconv.num_threads(before + 3):
        inside.set()
        assert done.wait(10)
        with fastconv.num_threads(1):
            seen["nested"] = fastconv.get_num_threads()
        seen["inside"] = fastconv.get_num_threads()
        seen["copied context"] = contextvars.copy_context().run(fastconv.get_num_threads)
    thread.join()
    assert seen == {"other thread": before, "nested": 1, "inside": before + 3, "copied context": before + 3}
    assert fastconv.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), fastconv.num_threads(before + 1):
        raise ZeroDivisionError
    assert fastconv.get_num_threads() == before


def test_threads_started_in_a_block_are_in_it() -> None:
    before = fastconv.get_num_threads()
    running, leave = ThreadPoolExecutor(1), threading.Event()
    running.submit(lambda: None).result()

    def seen() -> tuple[int, str]:
        return fastconv.get_num_threads(), fastconv.get_precision()

    with fastconv.num_threads(before + 1), fastconv.precision("ieee"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(seen).result() == (before + 1, "ieee")
        with fastconv.num_threads(before + 2), ThreadPoolExecutor(1) as inner:
            assert inner.submit(seen).result() == (before + 2, "ieee")
            assert pool.submit(seen).result() == (before + 1, "ieee")

        # A block of its own comes first, and leaves what it found.
        def nested() -> list[int]:
            with fastconv.num_threads(1):
                inside = fastconv.get_num_threads()
            leave.wait(10)
            return [inside, fastconv.get_num_threads()]

        late = ThreadPoolExecutor(1)
        answer = late.submit(nested)
        assert running.submit(seen).result() == (before, "high")
    leave.set()
    # The block is left: nobody is in it any more.
    assert answer.result() == [1, before]
    assert late.submit(seen).result() == (before, "high")
    late.shutdown()
    running.shutdown()


def test_a_call_in_a_block_of_another_thread_is_planned_anew() -> None:
    """A thread that inherits a block's precision computes with it, although the same call is known without."""
    x, w = np.ones((1, 64, 28, 28), np.float32) / 3, np.ones((64, 64, 3, 3), np.float32) / 7
    expected = {level: fastconv.conv2d(x, w, precision=level).tobytes() for level in ("high", "ieee")}
    assert expected["high"] != expected["ieee"]

    def computed() -> bytes:
        return fastconv.conv2d(x, w).tobytes()

    assert computed() == expected["high"]
    with fastconv.precision("ieee"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(computed).result() == expected["ieee"]
    assert computed() == expected["high"]


@pytest.mark.skipif(not runtime.has_openmp(), reason="built without OpenMP")
def test_limits_from_outside_are_obeyed() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    before = fastconv.get_num_threads()
    x, w = np.ones((1, 16, 24, 24), np.float32), np.ones((16, 16, 3, 3), np.float32)
    with fastconv.num_threads(3):
        assert fastconv.plan("conv2d", x.shape, w.shape).choice.threads == 3
        with threadpoolctl.threadpool_limits(1):
            assert fastconv.get_num_threads() == 1
            assert fastconv.plan("conv2d", x.shape, w.shape).choice.threads == 1
            # Said for this very call.
            assert fastconv.plan("conv2d", x.shape, w.shape, threads=2).choice.threads == 2
        assert fastconv.get_num_threads() == 3
    with threadpoolctl.threadpool_limits(1000):
        assert fastconv.get_num_threads() == before


def test_a_handler_may_call_the_library_while_plans_are_looked_up() -> None:
    """It runs in the thread that holds the lock."""
    x, w = np.ones((1, 3, 11, 13), np.float32), np.ones((2, 3, 3, 3), np.float32)
    done = []

    def call() -> None:
        with select._lock:
            fastconv.conv2d(x, w)
            done.append(True)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(30)
    assert done


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True])
def test_bad_thread_counts_are_refused(value: object) -> None:
    x, w = np.ones((1, 1, 4)), np.ones((1, 1, 2))
    calls = [lambda: fastconv.set_num_threads(value), lambda: fastconv.num_threads(value).__enter__()]
    if value is not None:
        calls.append(lambda: fastconv.conv1d(x, w, threads=value))
    for call in calls:
        with pytest.raises((ValueError, TypeError), match="threads: got"):
            call()


def test_the_environment_sets_the_number_of_threads() -> None:
    code = "import fastconv; print(fastconv.get_num_threads())"
    assert output_of(code, FASTCONV_NUM_THREADS="3", OMP_NUM_THREADS="2").strip() == "3"
    assert output_of(code, FASTCONV_NUM_THREADS="", OMP_NUM_THREADS="2,4").strip() == "2"


def test_the_quota_of_a_container_bounds_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota, system_open = tmp_path / "cpu.max", open

    def open_quota(file: object, *arguments: object, **named: object) -> object:
        return system_open(quota if file == "/sys/fs/cgroup/cpu.max" else file, *arguments, **named)

    monkeypatch.setattr("builtins.open", open_quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for text, cores in (
        ("max 100000", 8),
        ("100000 100000", 1),
        ("150000 100000", 2),
        ("1000 100000", 1),
        ("1600000 100000", 8),
        ("what", 8),
    ):
        quota.write_text(text)
        assert _config.available_cores() == cores, text


FLOATING_POINT_MODE = """
import ctypes, mmap
import numpy as np

# Three instructions: stmxcsr [rdi]; ret. There is no other way to see the mode from Python.
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes((0x0F, 0xAE, 0x1F, 0xC3)))
store = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_uint32))(ctypes.addressof(ctypes.c_char.from_buffer(page)))

def mode():
    value = ctypes.c_uint32()
    store(ctypes.byref(value))
    return value.value & ~0x3F  # without the sticky exception flags

def subnormals_survive():
    # Enough elements for the vector loops, and scalars.
    tiny = np.full(1000, 2.0**-126, np.float32)
    return bool((tiny * np.float32(0.5) > 0).all()) and 2.0**-1022 / 4 > 0

before = mode()
assert before == 0x1F80, hex(before)
import fastconv
from fastconv._backend import algorithm_names, find_algorithm
assert mode() == before
x = np.ones((2, 4, 16, 16), np.float32)
w = np.ones((4, 4, 3, 3), np.float32)
for algorithm in ["auto", *algorithm_names()]:
    # Algorithms that are not exact, of which "auto" may be one, are right to their precision.
    exact = algorithm != "auto" and find_algorithm(algorithm).exact_on_integers
    for dtype in (np.float32, np.float64):
        try:
            y = fastconv.conv2d(x.astype(dtype), w.astype(dtype), algorithm=algorithm, threads=2)
        except ValueError:
            continue
        assert y.max() == 36 if exact else abs(y.max() / 36 - 1) < 1e-5, algorithm
        assert mode() == before, algorithm
    # Subnormals are numbers to every kernel, on every thread.
    for scale in (2.0**-130, 2.0**-140):
        try:
            y = fastconv.conv2d(x * np.float32(scale), w, algorithm=algorithm, threads=2)
        except ValueError:
            continue
        if exact:
            assert (y == np.float32(36 * scale)).all(), algorithm
assert subnormals_survive() and mode() == before
print("unchanged")
"""


def test_the_floating_point_mode_is_left_alone() -> None:
    """Neither import nor calls switch on flush-to-zero, as code linked with -ffast-math does for the whole process."""
    assert output_of(FLOATING_POINT_MODE).strip() == "unchanged"
