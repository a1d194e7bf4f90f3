"""Blocks cover their shape once; tasks run once each, on as many threads as asked for; BLAS gets its threads back."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from fastconv import ConvProblem
from fastconv._cpu import blas
from fastconv._cpu.algorithms.fft_scipy import algorithm as fft
from fastconv._cpu.algorithms.im2col import algorithm as im2col
from fastconv._cpu.blocks import Scratch, box_sizes, boxes, run, runs, scratch_bytes
from fastconv._problem import DIRECTIONS
from operands import check_exact


@pytest.mark.parametrize("most", [1, 2, 5, 7, 30, 105, 1000])
@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 1, 105), (105,), (1, 35, 3), (2, 0, 4)])
def test_boxes_cover_the_shape_once(shape: tuple[int, ...], most: int) -> None:
    count = np.zeros(shape, int)
    for box in boxes(shape, most):
        assert 0 < count[box].size <= most
        assert all(size <= length for size, length in zip(count[box].shape, box_sizes(shape, most), strict=True))
        count[box] += 1
    assert (count == 1).all()


def test_runs_are_of_nearly_equal_length() -> None:
    assert [run.stop - run.start for run in runs(10, 4)] == [3, 3, 4]
    assert runs(0, 4) == []


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_item_once_and_slots_never_shared(threads: int) -> None:
    inside = [0] * threads
    done = []

    def work(item: int, slot: int) -> None:
        inside[slot] += 1
        assert inside[slot] == 1
        time.sleep(0.001)
        inside[slot] -= 1
        done.append(item)

    run(work, range(40), threads)
    assert sorted(done) == list(range(40))


def test_threads_see_the_callers_errstate() -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        run(lambda item, slot: np.float32(1) / np.zeros(3, np.float32), range(8), 3)


def test_a_failure_stops_the_others_and_is_raised() -> None:
    started = []

    def work(item: int, slot: int) -> None:
        started.append(item)
        if item == 3:
            raise OSError("item 3")
        time.sleep(0.002)

    with pytest.raises(OSError, match="item 3"):
        run(work, range(1000), 2)
    assert len(started) < 20


def test_keyboard_interrupt_comes_through() -> None:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(lambda item, slot: time.sleep(0.01), range(1000), 2)
    assert time.monotonic() - begin < 1
    timer.join()


def test_scratch_hands_out_aligned_arrays_that_do_not_overlap() -> None:
    workspace = np.zeros(scratch_bytes(4 * 5, 4 * 7), np.uint8)
    scratch = Scratch(workspace)
    first, second = scratch.take(np.dtype(np.float32), 5), scratch.take(np.dtype(np.float32), 7)
    first[...], second[...] = 1, 2
    assert (first == 1).all()
    with pytest.raises(MemoryError):
        scratch.take(np.dtype(np.uint8), 1)


@pytest.mark.skipif(not blas.is_controlled(), reason="NumPy's BLAS is not OpenBLAS")
def test_blas_gets_its_threads_back() -> None:
    getter, setter = blas._controls()
    before = getter()
    setter(2)
    try:
        with blas.one_thread():
            assert getter() == 1
            with blas.one_thread():
                assert getter() == 1
            assert getter() == 1
        assert getter() == 2
        with pytest.raises(RuntimeError), blas.one_thread():
            raise RuntimeError
        assert getter() == 2
    finally:
        setter(before)


@pytest.mark.skipif(not blas.is_controlled(), reason="NumPy's BLAS is not OpenBLAS")
@pytest.mark.parametrize(("module", "algorithm"), [(im2col, "im2col"), (fft, "fft_scipy")], ids=["im2col", "fft_scipy"])
def test_algorithms_in_numpy_hold_blas_to_one_thread(
    module: ModuleType, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    getter, setter = blas._controls()
    before, seen = getter(), []

    def spy(*arguments: object) -> None:
        seen.append(getter())
        run(*arguments)

    monkeypatch.setattr(module, "run", spy)
    setter(2)
    try:
        for direction in DIRECTIONS:
            check_exact(ConvProblem.parse(f"{direction} 2x3x8x8 4x3x3x3 p1"), algorithm, 2)
        assert getter() == 2
    finally:
        setter(before)
    assert set(seen) == {1}


def test_a_failure_stops_generators_between_their_steps() -> None:
    steps: list[int] = []
    begun = threading.Event()

    def work(item: int, slot: int) -> Iterator[None]:
        if item == 0:
            begun.wait(10)
            raise KeyboardInterrupt
        for step in range(10_000):
            steps.append(step)
            begun.set()
            time.sleep(0.001)
            yield

    with pytest.raises(KeyboardInterrupt):
        run(work, [0, 1], 2)
    assert 0 < len(steps) < 5_000
