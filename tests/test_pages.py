"""Pages of large results: given to the next result once no array uses them, never before, and bounded."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import fastconv
from fastconv._cpu.engine import pages

LARGE = (pages.LARGE_BYTES // 4,)
FLOAT = np.dtype(np.float32)


@pytest.fixture(autouse=True)
def _none_kept():
    gc.collect()
    pages.release()
    yield
    pages.release()


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_small_results_are_numpys_own() -> None:
    array = pages.empty((pages.ALIGNED_BYTES // 4 - 1,), FLOAT)
    assert array.base is None
    del array
    assert pages.kept_bytes() == 0


@pytest.mark.parametrize("length", [pages.ALIGNED_BYTES // 4, 123457, LARGE[0] - 1, LARGE[0]])
def test_others_begin_where_a_line_does(length: int) -> None:
    arrays = [pages.empty((length, 1), FLOAT) for _ in range(5)]
    for number, array in enumerate(arrays):
        assert array.shape == (length, 1)
        assert array.dtype == FLOAT
        assert address(array) % 64 == 0
        array[:] = number
    assert all((array == number).all() for number, array in enumerate(arrays))
    del array, arrays
    gc.collect()
    assert (pages.kept_bytes() > 0) == (length == LARGE[0])


def test_pages_are_used_again() -> None:
    first = pages.empty(LARGE, FLOAT)
    first[:] = 1
    where = address(first)
    del first
    assert pages.kept_bytes() >= pages.LARGE_BYTES
    assert address(pages.empty(LARGE, FLOAT)) == where


def test_a_view_keeps_the_pages() -> None:
    first = pages.empty(LARGE, FLOAT)
    part = first[3:7]
    part[:] = 5
    del first
    other = pages.empty(LARGE, FLOAT)
    other[:] = 9
    assert pages.kept_bytes() == 0
    assert (part == 5).all()


def test_much_smaller_results_do_not_take_large_blocks() -> None:
    large = pages.empty((2 * LARGE[0],), FLOAT)
    where = address(large)
    del large
    assert address(pages.empty(LARGE, FLOAT)) != where


def test_what_is_kept_is_bounded() -> None:
    arrays = [pages.empty(LARGE, FLOAT) for _ in range(pages.KEPT_BYTES // pages.LARGE_BYTES + 3)]
    arrays.clear()
    assert 0 < pages.kept_bytes() <= pages.KEPT_BYTES
    pages.release()
    assert pages.kept_bytes() == 0
    huge = pages.empty((pages.KEPT_BYTES // 4 + 1,), FLOAT)
    del huge
    assert pages.kept_bytes() == 0


def test_results_do_not_share_memory() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 2, 330, 330), np.float32), rng.standard_normal((32, 2, 3, 3), np.float32)
    kept = fastconv.conv2d(x, w)
    assert kept.nbytes >= pages.LARGE_BYTES
    assert kept.flags.writeable
    assert kept.flags.c_contiguous
    copy = kept.copy()
    again = fastconv.conv2d(x, w)
    np.testing.assert_array_equal(kept, again)
    fastconv.conv2d(-x, w)
    np.testing.assert_array_equal(kept, copy)
    np.testing.assert_array_equal(again, copy)


@pytest.mark.parametrize("shape", [(2**60,), (2**40, 2**40), (2**50, 3)])
def test_impossible_sizes_are_numpys_errors(shape: tuple[int, ...]) -> None:
    with pytest.raises((MemoryError, ValueError)):
        pages.empty(shape, FLOAT)
