"""fastconv's loops on torch's threads.

torch's OpenMP keeps its threads busy for milliseconds after each of its loops. Threads of fastconv beside them would
get half a core each, so that two threads compute a network of both libraries no faster than one.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import torch

from ..._backend import borrow_team


def share_threads() -> None:
    """Compute on the threads of the OpenMP library that torch has loaded, where it is GCC's."""
    found = [file.name for file in (Path(torch.__file__).parent / "lib").glob("libgomp*")]
    for name in [*found, "libgomp.so.1"]:
        try:
            library = ctypes.CDLL(name, mode=getattr(os, "RTLD_NOLOAD", 0))
            borrow_team(ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value or 0)
        except (OSError, AttributeError):
            continue
        return
