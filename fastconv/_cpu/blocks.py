"""Work cut into blocks, the threads that run them and the scratch memory they share; for algorithms in NumPy.

Blocks depend on the problem alone, so that results do not depend on the number of threads. A block is small enough
that KeyboardInterrupt, which is seen between two of them, never waits long.
"""

from __future__ import annotations

import _thread
import contextvars
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from .engine.workspace import ALIGNMENT

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


def tap_windows(
    taps: int, stride: int, dilation: int, padding: tuple[int, int], size: int, pixels: slice
) -> list[tuple[slice, slice] | None]:
    """Per tap of one axis: the run of ``pixels`` (counted from its start) inside the input, and where it reads."""
    windows: list[tuple[slice, slice] | None] = []
    for tap in range(taps):
        offset = tap * dilation - padding[0]
        begin = max(pixels.start, -(offset // stride))
        end = min(pixels.stop, -((offset - size) // stride))
        if begin >= end:
            windows.append(None)
            continue
        first, last = begin * stride + offset, (end - 1) * stride + offset
        windows.append((slice(begin - pixels.start, end - pixels.start), slice(first, last + 1, stride)))
    return windows


def run(work: Callable[[Item, int], object], items: Iterable[Item], threads: int) -> None:
    """Call ``work(item, slot)`` for every item; calls that run at the same time have different slots < ``threads``.

    The calling thread takes part. The first exception, KeyboardInterrupt included, stops the others after the items
    that they are at, and is raised. Where items may be long, ``work`` is a generator that yields between its steps:
    it is then left after the step.
    """
    items = list(items)
    team = _Team(work, items)
    _teams.append(team)
    try:
        team.start_helpers(min(threads, len(items)) - 1)
        team.take_items(0)
        team.wait_for_helpers()
    finally:
        _teams.remove(team)
    if team.failures:
        raise team.failures[0]


_NONE_LEFT = object()
POLL_SECONDS = 0.02
"""A caller waits no longer without looking again: a signal handler that changes things may run between its look and
its wait, and is then not heard."""


class _Team(Generic[Item]):
    """The thread that called ``run`` and its helpers.

    A fork by the thread that called, in a signal handler, waits for the items that the helpers are at: they do not
    exist in the child, where the caller computes what is left.
    """

    def __init__(self, work: Callable[[Item, int], object], items: list[Item]) -> None:
        self.owner = threading.get_ident()
        self.failures: list[BaseException] = []
        self._work = work
        self._remaining = iter(items)
        self._changed = threading.Condition()
        self._busy = 0
        """Helpers that are at an item; they alone count, so that no signal handler comes between."""
        self._is_forking = False

    def start_helpers(self, count: int) -> None:
        """Start ``count`` threads; fewer where the system refuses more. One that comes late finds no item."""
        for slot in range(1, count + 1):
            # In the caller's context: numpy.errstate is kept there.
            context = contextvars.copy_context()
            try:
                # Not a threading.Thread, whose start would wait in a forked child for a thread that is not there.
                _thread.start_new_thread(context.run, (self.take_items, slot))
            except RuntimeError:
                return

    def wait_for_helpers(self) -> None:
        """Wait until no helper is at an item; Ctrl-C meanwhile stops them."""
        while True:
            try:
                with self._changed:
                    while self._busy:
                        self._changed.wait(POLL_SECONDS)
                return
            except BaseException as failure:
                self.failures.append(failure)

    def take_items(self, slot: int) -> None:
        """Compute items until none is left."""
        try:
            while (item := self._next(slot)) is not _NONE_LEFT:
                try:
                    self._compute(item, slot)  # type: ignore[arg-type]
                finally:
                    self._done(slot)
        except BaseException as failure:
            self.failures.append(failure)

    def before_fork(self) -> None:
        self._changed.acquire()
        self._is_forking = True
        while self._busy:
            self._changed.wait(POLL_SECONDS)

    def after_fork(self) -> None:
        self._is_forking = False
        self._changed.notify_all()
        self._changed.release()

    def _next(self, slot: int) -> object:
        with self._changed:
            if slot:
                self._changed.wait_for(lambda: not self._is_forking)
            item = _NONE_LEFT if self.failures else next(self._remaining, _NONE_LEFT)
            self._busy += slot > 0 and item is not _NONE_LEFT
        return item

    def _compute(self, item: Item, slot: int) -> None:
        steps = self._work(item, slot)
        if isinstance(steps, Iterator):
            for _ in steps:
                if self.failures:
                    return

    def _done(self, slot: int) -> None:
        if slot:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()


_teams: list[_Team[Any]] = []


def _own_teams() -> list[_Team[Any]]:
    return [team for team in _teams if team.owner == threading.get_ident()]


def _before_fork() -> None:
    for team in _own_teams():
        team.before_fork()


def _after_fork_in_parent() -> None:
    for team in _own_teams():
        team.after_fork()


def _after_fork_in_child() -> None:
    _teams[:] = _own_teams()
    _after_fork_in_parent()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


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
