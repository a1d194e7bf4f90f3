"""``cupy.cuda.memory``: pages of the host between two that cannot be touched, filled with NaN; pools, out of memory."""

from __future__ import annotations

import bisect
import ctypes
import mmap
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..system import system
from . import runtime
from .device import Device

PAGE = mmap.PAGESIZE
POISON = 0xFF
"""Every float format's NaN."""
ALIGNMENT = 16
"""An array's end is at most this much less one byte before the page that cannot be touched."""
_PRIVATE_ANONYMOUS, _READ_WRITE, _NO_ACCESS = 0x22, 3, 0
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_live: dict[int, dict[int, int]] = {}
"""Per device, begin and end of every allocation there is."""


class OutOfMemoryError(MemoryError):
    """A device has too little memory."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        self._size, self._total, self._limit = size, total, limit
        text = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        super().__init__(text + (f", limit set to: {limit:,} bytes)." if limit else ")."))


class BaseMemory:
    """Memory of a device: ``ptr``, ``size``, ``device_id``."""

    ptr = 0
    size = 0
    device_id = 0

    @property
    def device(self) -> Device:
        """Where it lies."""
        return Device(self.device_id)


class Memory(BaseMemory):
    """``size`` bytes on the current device that end where the page after them must not be touched."""

    def __init__(self, size: int) -> None:
        self.size, self.device_id, self.ptr = size, runtime.getDevice(), 0
        if size == 0:
            return
        used, total = live_bytes(self.device_id), runtime.getDeviceProperties(self.device_id)["totalGlobalMem"]
        if used + size > total:
            raise OutOfMemoryError(size, used)
        room = -(-size // PAGE) * PAGE
        self._mapped = room + 2 * PAGE
        self._map = _libc.mmap(None, self._mapped, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
        if self._map == ctypes.c_void_p(-1).value:
            raise OutOfMemoryError(size, used)
        _libc.mprotect(self._map, PAGE, _NO_ACCESS)
        _libc.mprotect(self._map + PAGE + room, PAGE, _NO_ACCESS)
        self.ptr = self._map + PAGE + room - -(-size // ALIGNMENT) * ALIGNMENT
        ctypes.memset(self.ptr, POISON, size)
        _live.setdefault(self.device_id, {})[self.ptr] = self.ptr + size
        system.counts["allocation"] += 1

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.ptr and not is_finalizing():  # this module's names may be gone by then
            _live[self.device_id].pop(self.ptr)
            _libc.munmap(self._map, self._mapped)


class UnownedMemory(BaseMemory):
    """Memory that ``owner`` keeps."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner = ptr, size, owner
        self.device_id = device_of(ptr) if device_id < 0 else device_id


def live_ranges(device: int) -> list[tuple[int, int]]:
    """Begin and end of all allocations of a device, by address."""
    return sorted(_live.get(device, {}).copy().items())


def live_bytes(device: int) -> int:
    """The bytes of all allocations of a device."""
    return sum(end - begin for begin, end in _live.get(device, {}).copy().items())


def holds(device: int, pointer: int, size: int) -> bool:
    """Whether the bytes are all in one allocation of the device."""
    ranges = live_ranges(device)
    at = bisect.bisect_right(ranges, (pointer, 1 << 63)) - 1
    return at >= 0 and pointer + size <= ranges[at][1]


def device_of(pointer: int) -> int:
    """The device whose memory a pointer names; CUDARuntimeError if there is none."""
    for device in tuple(_live):
        if holds(device, pointer, 0):
            return device
    raise runtime.CUDARuntimeError(1)


class MemoryPointer:
    """An address in memory, and what keeps it."""

    def __init__(self, mem: BaseMemory, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset

    @property
    def device_id(self) -> int:
        """The number of the device where it lies."""
        return self.mem.device_id

    @property
    def device(self) -> Device:
        """Where it lies."""
        return self.mem.device

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset

    def __int__(self) -> int:
        return self.ptr

    def memset_async(self, value: int, size: int, stream: object = None) -> None:
        """Fill ``size`` bytes, in the stream's order."""
        from .stream import submit

        submit(lambda: ctypes.memset(self.ptr, value, size), [self.mem], stream)

    def memset(self, value: int, size: int) -> None:
        """Fill ``size`` bytes."""
        self.memset_async(value, size)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: object = None) -> None:
        """Copy ``size`` bytes, in the stream's order."""
        from .stream import submit

        submit(lambda: ctypes.memmove(self.ptr, src.ptr, size), [self.mem, src.mem], stream)


class MemoryPool:
    """Allocations up to a limit; unlike CuPy's it keeps nothing that was freed, so that a use after that is found."""

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._allocator = allocator or _allocate
        self._limits: dict[int, int] = {}

    def malloc(self, size: int) -> MemoryPointer:
        """``size`` bytes; OutOfMemoryError."""
        limit, used = self.get_limit(), self.used_bytes()
        if limit and used + size > limit:
            raise OutOfMemoryError(size, used, limit)
        return self._allocator(size)

    def used_bytes(self) -> int:
        """Bytes of the current device that are in use."""
        return live_bytes(runtime.getDevice())

    def total_bytes(self) -> int:
        """Bytes of the current device that the pool has."""
        return self.used_bytes()

    def free_bytes(self) -> int:
        """Bytes that the pool keeps though they are not in use."""
        return 0

    def n_free_blocks(self) -> int:
        """Blocks that the pool keeps though they are not in use."""
        return 0

    def free_all_blocks(self, stream: object = None) -> None:
        """Give back what is not in use."""

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Of the current device, in bytes or as a part of its memory; 0: none."""
        device = runtime.getDevice()
        total = runtime.getDeviceProperties(device)["totalGlobalMem"]
        self._limits[device] = size or int(total * (fraction or 0))

    def get_limit(self) -> int:
        """Of the current device, in bytes; 0: none."""
        return self._limits.get(runtime.getDevice(), 0)


def _allocate(size: int) -> MemoryPointer:
    return MemoryPointer(Memory(size), 0)


class _Allocators(threading.local):
    stack: tuple[Callable[[int], MemoryPointer], ...] = ()


default_pool = MemoryPool()
_global_allocator: Callable[[int], MemoryPointer] = default_pool.malloc
_allocators = _Allocators()


def get_allocator() -> Callable[[int], MemoryPointer]:
    """What allocates for this thread."""
    return _allocators.stack[-1] if _allocators.stack else _global_allocator


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    """Let ``allocator`` allocate; None: without a pool."""
    global _global_allocator
    _global_allocator = allocator or _allocate


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    """Let ``allocator`` allocate for this thread, inside."""
    outer = _allocators.stack
    _allocators.stack = (*outer, allocator or _allocate)
    try:
        yield
    finally:
        _allocators.stack = outer


def alloc(size: int) -> MemoryPointer:
    """``size`` bytes from what allocates for this thread."""
    return get_allocator()(size)
