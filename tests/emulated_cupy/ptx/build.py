"""The machine, compiled from its C sources with the tests' compiler; and the numbers of its operations."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from ..built import built

SOURCES = Path(__file__).parent / "machine"
COMPILER = (os.environ.get("CC") or "cc").split()


def _flags() -> list[str]:
    """No contraction of a * b + c: the device compiler has decided which of them are one operation."""
    level = []
    if platform.machine() == "x86_64" and {"fma", "avx2", "f16c"} <= set(Path("/proc/cpuinfo").read_text().split()):
        level = ["-march=x86-64-v3"]
    arithmetic = ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    return ["-O2", *level, "-std=gnu11", "-shared", "-fPIC", *arithmetic]


@cache
def machine() -> ctypes.CDLL:
    """The compiled machine."""
    sources = sorted(SOURCES.iterdir())
    command = [*COMPILER, *_flags()]
    units = [str(path) for path in sources if path.suffix == ".c"]
    depends_on = (command, [(path.name, path.read_bytes()) for path in sources])

    def make(path: Path) -> None:
        subprocess.run([*command, *units, "-o", str(path), "-lm"], check=True)

    return ctypes.CDLL(str(built(".so", depends_on, make)))


@cache
def operation_numbers() -> dict[str, int]:
    """The number of every operation of the machine, by its name."""
    table = (ctypes.c_char_p * 4096).in_dll(machine(), "ptx_operations")
    names: dict[str, int] = {}
    for name in table:
        if name is None:
            return names
        names[name.decode()] = len(names)
    raise AssertionError("the table of operations has no end")
