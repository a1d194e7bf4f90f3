"""Work cut into blocks, the threads that run them and the scratch memory they share; for algorithms in NumPy.

Blocks depend on the problem alone, so that results do not depend on the number of threads. A block is small enough
that KeyboardInterrupt, which is seen between two of them, never waits long.
"""

from __future__ import annotations

import contextvars
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from ._workspace import ALIGNMENT

Item = TypeVar("Item")
Box = tuple[slice, ...]


def box_sizes(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """Sizes of the largest of the ``boxes``."""
    cut, inside = 0, math.prod(shape[1:])
    while inside > most and cut < len(shape) - 1:
        cut += 1
        inside //= shape[cut]
    longest = max(1, most // max(1, inside))
    count = max(1, -(-shape[cut] // longest))
    return (*(1 for _ in shape[:cut]), -(-shape[cut] // count), *shape[cut + 1 :])


def boxes(shape: Sequence[int], most: int) -> list[Box]:
    """Boxes of ``most`` elements or fewer (never less than one) that cover ``shape``, in index order.

    Only one axis is cut into runs, of nearly equal length; axes before it are cut into single indices.
    """
    axes = [runs(size, max(1, length)) for size, length in zip(shape, box_sizes(shape, most), strict=True)]
    return list(itertools.product(*axes))


def runs(size: int, most: int) -> list[slice]:
    """Slices of nearly equal length, ``most`` or fewer, that cover ``range(size)``."""
    count = max(1, -(-size // most))
    ends = [size * i // count for i in range(count + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(ends) if end > begin]


def cut(array: np.ndarray, indices: tuple[Any, ...]) -> np.ndarray:
    """``array`` indexed on its last axes; a view for a box."""
    return array[(..., *indices)]


def run(work: Callable[[Item, int], object], items: Iterable[Item], threads: int) -> None:
    """Call ``work(item, slot)`` for every item; calls that run at the same time have different slots < ``threads``.

    The calling thread takes part. The first exception, KeyboardInterrupt included, stops the others after the items
    that they are at, and is raised. Where items may be long, ``work`` is a generator that yields between its steps:
    it is then left after the step.
    """
    items = list(items)
    remaining, lock, failures = iter(items), threading.Lock(), list[BaseException]()
    none_left = object()

    def take_items(slot: int) -> None:
        try:
            while not failures:
                with lock:
                    item = next(remaining, none_left)
                if item is none_left:
                    return
                steps = work(item, slot)  # type: ignore[arg-type]
                if isinstance(steps, Iterator):
                    for _ in steps:
                        if failures:
                            return
        except BaseException as failure:
            failures.append(failure)

    others = _started(take_items, min(threads, len(items)) - 1)
    take_items(0)
    while others:
        try:
            others[-1].join()
            others.pop()
        except BaseException as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


def _started(work: Callable[[int], None], count: int) -> list[threading.Thread]:
    """``count`` threads that run ``work(1)``, ``work(2)``...; fewer where the system refuses more."""
    threads = []
    for slot in range(1, count + 1):
        # In the caller's context: numpy.errstate is kept there.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(work, slot), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        threads.append(thread)
    return threads


class Scratch:
    """Arrays handed out from a workspace, one after the other, each aligned."""

    def __init__(self, workspace: np.ndarray | None):
        self._rest = np.empty(0, np.uint8) if workspace is None else workspace

    def take(self, dtype: np.dtype, *shape: int) -> np.ndarray:
        """An array of ``shape`` with undefined contents."""
        size = math.prod(shape) * dtype.itemsize
        if size > self._rest.size:
            raise MemoryError("workspace smaller than the algorithm asked for")
        array = self._rest[:size].view(dtype).reshape(shape)
        self._rest = self._rest[scratch_bytes(size) :]
        return array


def scratch_bytes(*sizes: int) -> int:
    """Bytes of workspace for arrays of ``sizes`` bytes."""
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)
