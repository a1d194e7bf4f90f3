"""What of the CUDA driver's library is called past CuPy: ``libcuda.c``, compiled. ``ctypes.CDLL`` finds it by its name
while the stand-in is installed, and the driver itself on machines that have one at all other times."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from ..built import built
from ..ptx.build import COMPILER

NAME = "libcuda.so.1"


@cache
def path() -> str:
    """Of the compiled library."""
    source = Path(__file__).with_suffix(".c")
    command = [*COMPILER, "-O1", "-std=gnu11", "-shared", "-fPIC", str(source)]

    def make(to: Path) -> None:
        subprocess.run([*command, "-o", str(to)], check=True)

    return str(built(".so", (command, source.read_bytes()), make))


class _Library(ctypes.CDLL):
    def __init__(self, name: str | None, *arguments: Any, **settings: Any) -> None:
        super().__init__(path() if name == NAME else name, *arguments, **settings)


@contextmanager
def found() -> Iterator[None]:
    """Inside, the name of the driver's library is that of this one."""
    with mock.patch.object(ctypes, "CDLL", _Library):
        yield
