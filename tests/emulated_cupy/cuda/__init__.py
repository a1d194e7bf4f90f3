"""``cupy.cuda``: modules and names as CuPy has them."""

from __future__ import annotations

from . import compiler, cublas, cufft, device, driver, graph, memory, nvrtc, runtime, stream
from .device import Device
from .graph import Graph
from .memory import (
    BaseMemory,
    Memory,
    MemoryPointer,
    MemoryPool,
    UnownedMemory,
    alloc,
    get_allocator,
    set_allocator,
    using_allocator,
)
from .stream import Event, Stream, get_current_stream, get_elapsed_time


def is_available() -> bool:
    """Whether there is a device."""
    try:
        return runtime.getDeviceCount() > 0
    except runtime.CUDARuntimeError:
        return False


def get_device_id() -> int:
    """The number of the current device."""
    return runtime.getDevice()


__all__ = [
    "BaseMemory",
    "Device",
    "Event",
    "Graph",
    "Memory",
    "MemoryPointer",
    "MemoryPool",
    "Stream",
    "UnownedMemory",
    "alloc",
    "compiler",
    "cublas",
    "cufft",
    "device",
    "driver",
    "get_allocator",
    "get_current_stream",
    "get_device_id",
    "get_elapsed_time",
    "graph",
    "is_available",
    "memory",
    "nvrtc",
    "runtime",
    "set_allocator",
    "stream",
    "using_allocator",
]
