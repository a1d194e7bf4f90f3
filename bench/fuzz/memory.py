"""Arrays at odd places in memory, with guard zones around them and in their gaps."""

from __future__ import annotations

import ctypes
import math
import mmap
from dataclasses import dataclass

import numpy as np

PLACES = (
    *("plain", "offset", "permuted", "strided", "reversed", "mixed", "misaligned", "swapped"),
    *("page_end", "page_start", "broadcast", "read_only"),
)
OUT_PLACES = (*PLACES[:-2], "overlap")

GUARD_BYTES = 128
GUARD = 0xFF
"""Every byte of a guard zone; as floats they are NaN, which shows in what is computed from them."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


@dataclass
class Placed:
    """An array and the memory that it lies in."""

    array: np.ndarray
    memory: np.ndarray
    """All bytes, guard zones included."""

    def __post_init__(self) -> None:
        self._before = self.memory.copy()

    def is_unchanged(self) -> bool:
        """Whether every byte is what it was."""
        return np.array_equal(self.memory, self._before)

    def restore(self) -> None:
        """Make every byte what it was."""
        self.memory[...] = self._before

    def surroundings_are_unchanged(self) -> bool:
        """Whether every byte outside of the array is what it was."""
        now = self.array.copy()
        after = self.memory.copy()
        self.restore()
        held = self.array.copy()
        self.memory[...] = after
        self.array[...] = held
        unchanged = self.is_unchanged()
        self.array[...] = now
        return unchanged


def place(values: np.ndarray, where: str, rng: np.random.Generator) -> Placed:
    """An array of ``values`` that lies as the word says; "broadcast" repeats the first values along one axis."""
    if where == "broadcast":
        return _broadcast(values, rng)
    rank = values.ndim
    order = rng.permutation(rank) if where in ("permuted", "mixed") else np.arange(rank)
    steps = np.ones(rank, int)
    if where in ("strided", "mixed"):
        # Two axes with gaps: more would need many times the array's memory.
        steps[rng.permutation(rank)[:2]] = rng.integers(1, 4, min(rank, 2))
    if where in ("reversed", "mixed"):
        steps = steps * rng.choice([-1, 1], rank)
        if where == "reversed" and rank:
            steps[rng.integers(rank)] = -1
    dtype = values.dtype.newbyteorder() if where == "swapped" else values.dtype
    stored = [(values.shape[axis] - 1) * abs(int(steps[axis])) + 1 if values.shape[axis] else 0 for axis in order]
    size = math.prod(stored) * dtype.itemsize
    memory, start = _memory(size, where, dtype.itemsize, rng)
    envelope = np.ndarray(tuple(stored), dtype, memory.data, start)
    view = envelope[tuple(slice(None, None, int(steps[axis])) for axis in order)].transpose(np.argsort(order))
    view[...] = values
    if where == "read_only":
        view.flags.writeable = False
    return Placed(view, memory)


def overlapping(shape: tuple[int, ...], placed: Placed, rng: np.random.Generator) -> tuple[Placed, np.ndarray]:
    """The values of a placed array and an array of ``shape`` in one memory, somewhere over each other."""
    array = placed.array
    count, extra = array.size, math.prod(shape)
    itemsize = array.dtype.itemsize
    memory, start = _memory((count + extra) * itemsize, "plain", itemsize, rng)
    first, second = (0, int(rng.integers(0, count + 1))) if rng.random() < 0.5 else (int(rng.integers(0, extra + 1)), 0)
    one = np.ndarray(array.shape, array.dtype, memory.data, start + first * itemsize)
    one[...] = array
    return Placed(one, memory), np.ndarray(shape, array.dtype, memory.data, start + second * itemsize)


def _broadcast(values: np.ndarray, rng: np.random.Generator) -> Placed:
    longer = [axis for axis, size in enumerate(values.shape) if size > 1]
    if not longer:
        return place(values, "read_only", rng)
    axis = int(rng.choice(longer))
    placed = place(values.take([0], axis), "plain", rng)
    return Placed(np.broadcast_to(placed.array, values.shape), placed.memory)


def _memory(size: int, where: str, itemsize: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Bytes of guard zones, and where in them ``size`` bytes begin."""
    if where in ("page_end", "page_start"):
        return _between_pages(size, where)
    start = GUARD_BYTES
    if where in ("offset", "mixed"):
        start += itemsize * int(rng.integers(1, 8))
    if where == "misaligned":
        start += int(rng.integers(1, max(itemsize, 2)))
    memory = np.full(start + size + GUARD_BYTES + 64, GUARD, np.uint8)
    return memory, start + -memory.ctypes.data % 64


def _between_pages(size: int, where: str) -> tuple[np.ndarray, int]:
    """Memory with a page without access on both sides, to which the bytes are flush on one."""
    page = mmap.PAGESIZE
    inner = max(-(-size // page), 1) * page
    mapped = mmap.mmap(-1, inner + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    for guard in (address, address + page + inner):
        if _libc.mprotect(guard, page, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    memory = np.frombuffer(mapped, np.uint8, inner, page)
    memory[...] = GUARD
    return memory, 0 if where == "page_start" else inner - size
