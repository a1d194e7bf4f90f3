"""Fingerprint: what a measured time depends on besides the problem and the number of threads it was measured with.

Choices are stored per fingerprint, so that none is carried to another CPU, ISA level or version of the library.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from .._version import __version__
from . import registry
from .engine import runtime

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
Fingerprint = dict[str, str]
"""Field names to texts, in a fixed order."""
CPU_FIELDS = {"vendor_id": "vendor", "cpu family": "family", "model": "model", "stepping": "stepping"}


def cpu_fields(cpuinfo: str) -> Fingerprint:
    """Vendor, family, model and stepping of the first CPU of a ``/proc/cpuinfo`` text; "unknown" where it lacks one."""
    found = dict.fromkeys(CPU_FIELDS.values(), "unknown")
    for line in cpuinfo.split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        if key.strip() in CPU_FIELDS:
            found[CPU_FIELDS[key.strip()]] = value.strip()
    return found


def cache_sizes(folder: Path) -> str:
    """Data caches of one CPU, as in "L1 32K, L2 512K, L3 32768K"."""
    sizes = []
    for index in sorted(folder.glob("index*")):
        if _text(index / "type").strip() != "Instruction":
            sizes.append(f"L{_text(index / 'level').strip()} {_text(index / 'size').strip()}")
    return ", ".join(sizes) or "unknown"


def registry_hash() -> str:
    """Changes when an algorithm is added, removed, renamed or moved in the order in which ties are broken."""
    return hashlib.sha256(" ".join(algorithm.name for algorithm in registry.ALGORITHMS).encode()).hexdigest()[:16]


@functools.cache
def _hardware() -> Fingerprint:
    return {**cpu_fields(_text(CPUINFO)), "caches": cache_sizes(CACHES)}


def fingerprint() -> Fingerprint:
    """The fingerprint of the machine, whatever part of it this process may use: threads are a choice's own."""
    return {
        **_hardware(),
        "isa": runtime.isa(),
        "cores": str(os.cpu_count()),
        "library": __version__,
        "algorithms": registry_hash(),
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
