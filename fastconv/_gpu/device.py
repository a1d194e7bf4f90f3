"""What a device is: the facts that plans, kernels and stored measurements depend on."""

from __future__ import annotations

import functools
from dataclasses import dataclass

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

    @property
    def architecture(self) -> str:
        """As NVRTC names it: "sm_90"."""
        return "sm_{}{}".format(*self.capability)


@functools.cache
def _device(number: int) -> Device:
    of = cupy.module().cuda.runtime.getDeviceProperties(number)
    return Device(
        of["name"].decode(),
        (of["major"], of["minor"]),
        of["multiProcessorCount"],
        of["l2CacheSize"],
        of["sharedMemPerBlockOptin"],
    )


def current() -> Device:
    """The current device."""
    return _device(cupy.current_device())


def is_from(capability: tuple[int, int]) -> bool:
    """Whether the current device is of that compute capability or a later one; True where there is no device, since
    calls say what is missing."""
    try:
        return current().capability >= capability
    except RuntimeError:
        return True


def forget() -> None:
    """Ask for the devices again."""
    _device.cache_clear()
