"""The machine that is pretended: its devices, what is missing, how much memory it has; and counts of what was done."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Profile:
    """A device's properties, as far as a backend asks for them."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes_optin: int
    """Dynamic shared memory of a block, at most."""
    shared_bytes_multiprocessor: int
    l2_bytes: int
    memory_bytes: int
    threads_multiprocessor: int = 2048
    clock_khz: int = 0
    memory_clock_khz: int = 0
    memory_bits: int = 0


PROFILES = {
    "T4": Profile("Tesla T4", (7, 5), 40, 64 << 10, 64 << 10, 4 << 20, 16 << 30, 1024, 1_590_000, 5_001_000, 256),
    "A100": Profile(
        "NVIDIA A100-SXM4-80GB", (8, 0), 108, 163 << 10, 164 << 10, 40 << 20, 80 << 30, 2048, 1_410_000, 1_593_000, 5120
    ),
    "RTX3090": Profile(
        "NVIDIA GeForce RTX 3090", (8, 6), 82, 99 << 10, 100 << 10, 6 << 20, 24 << 30, 1536, 1_695_000, 9_751_000, 384
    ),
    "RTX4090": Profile(
        "NVIDIA GeForce RTX 4090",
        (8, 9),
        128,
        99 << 10,
        100 << 10,
        72 << 20,
        24 << 30,
        1536,
        2_520_000,
        10_501_000,
        384,
    ),
    "H200": Profile(
        "NVIDIA H200", (9, 0), 132, 227 << 10, 228 << 10, 60 << 20, 141 << 30, 2048, 1_980_000, 3_201_000, 6144
    ),
}


@dataclass
class System:
    """What is pretended."""

    devices: tuple[str, ...] = ("H200", "T4")
    """Profiles, by the devices' numbers."""
    absent: str | None = None
    """"driver" or "device": what is not there; every call of a device fails as it does in CuPy then."""
    memory_limit: int | None = None
    """Bytes that a device has, instead of its profile's."""
    needs: Mapping[str, int] = field(default_factory=dict)
    """Texts with such a word in them do not compile for lesser capabilities than this one, as 80."""
    seed: int = 0
    """Not 0: blocks and warps run in a random order."""
    counts: Counter[str] = field(default_factory=Counter)
    """allocation, launch, graph_launch, module, synchronization, host_copy: how often each was done."""
    last_launch: dict[str, Any] = field(default_factory=dict)
    """What the machine counted in the last launch of each kernel, by its name."""
    process: int = 0
    """The process that has used the device; its children must not."""


system = System()


@contextmanager
def pretend(**changes: Any) -> Iterator[System]:
    """The system with other settings, for the tests inside; counts begin at zero."""
    changes = {"counts": Counter(), **changes}
    before = {name: getattr(system, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(system, name, value)
        yield system
    finally:
        for name, value in before.items():
            setattr(system, name, value)


def require_device() -> None:
    """Fail as CuPy does where there is no driver, no device, or where the process was forked from one that had them."""
    from .cuda.runtime import CUDARuntimeError

    if system.absent is not None:
        raise CUDARuntimeError({"driver": 35, "device": 100}[system.absent])
    system.process = system.process or os.getpid()
    if system.process != os.getpid():
        raise CUDARuntimeError(3)


def profile(device: int) -> Profile:
    """The device's; CUDARuntimeError if there is no such device."""
    from .cuda.runtime import CUDARuntimeError

    require_device()
    if not 0 <= device < len(system.devices):
        raise CUDARuntimeError(101)
    return PROFILES[system.devices[device]]
