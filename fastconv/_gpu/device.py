"""What a device is: the facts that plans, kernels and stored measurements depend on."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from .._errors import UnavailableError
from . import cupy


@dataclass(frozen=True)
class Device:
    """A device's properties."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    l2_bytes: int
    shared_bytes: int
    """Shared memory that a block may ask for."""
    memory_bytes: int = 0
    hertz: float = 0.0
    """The highest clock; 0: not known."""
    memory_bytes_per_second: float = 0.0
    """By the memory's clock and width; 0: not known."""

    @property
    def architecture(self) -> str:
        """As NVRTC names it: "sm_90"."""
        return "sm_{}{}".format(*self.capability)


@functools.cache
def _device(number: int) -> Device:
    of = cupy.module().cuda.runtime.getDeviceProperties(number)
    rates = cupy.module().cuda.Device(number).attributes
    khz, memory_khz, bits = (rates.get(name, 0) for name in ("ClockRate", "MemoryClockRate", "GlobalMemoryBusWidth"))
    return Device(
        of["name"].decode(),
        (of["major"], of["minor"]),
        of["multiProcessorCount"],
        of["l2CacheSize"],
        of["sharedMemPerBlockOptin"],
        of["totalGlobalMem"],
        1e3 * khz,
        2e3 * memory_khz * bits / 8,
    )


def current() -> Device:
    """The current device."""
    return _device(cupy.current_device())


def missing() -> str | None:
    """Why there is no device, as a message; None where there is one."""
    try:
        cupy.current_device()
    except UnavailableError as reason:
        return str(reason)
    return None


_set_aside: set[tuple[str, int]] = set()
"""Algorithms that have turned out not to work, and on which device."""


def set_aside(algorithm: str) -> bool:
    """Remember that an algorithm does not work on the current device; whether that is news."""
    key = algorithm, cupy.current_device()
    is_news = key not in _set_aside
    _set_aside.add(key)
    return is_news


def is_set_aside(algorithm: str) -> bool:
    """Whether an algorithm is known not to work on the current device."""
    return bool(_set_aside) and (algorithm, cupy.current_device()) in _set_aside


def forget() -> None:
    """Ask for the devices again."""
    _device.cache_clear()
    _set_aside.clear()
