"""A stand-in for CuPy on machines without a GPU: what a backend needs of it, over the host's memory.

Names, signatures and errors are CuPy's; a test holds them to it. Modules lie as CuPy's do: ``cuda``, ``lib``, and
``cupyx`` beside them. Arrays lie between pages that cannot be touched and NumPy is not given them; streams record while
they are captured, and refuse then what would wait for the device; ``RawModule`` and ``RawKernel`` run the CUDA text
itself: NVRTC compiles it, the machine for PTX (``ptx``) runs and checks it. ``pretend`` says which devices there are,
how much memory they have, or that there is no device or no driver. ``installed`` makes it what ``import cupy`` finds.

Stricter than CuPy, so that mistakes are found: arguments of kernels must have exactly their parameters' sizes; memory
that was freed is gone, also for graphs; new memory is NaN. Nothing runs later than it was asked to: a missing
dependence between two streams is not found.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import cuda, cupyx, lib
from .array import ndarray
from .cuda import libcuda
from .cupyx.scipy import fft as _transforms
from .functions import (
    SERVED,
    TYPES,
    arange,
    array,
    asarray,
    ascontiguousarray,
    asnumpy,
    empty,
    empty_like,
    full,
    get_array_module,
    get_default_memory_pool,
    may_share_memory,
    ones,
    shares_memory,
    zeros,
    zeros_like,
)
from .raw import KernelError, RawKernel, RawModule
from .system import PROFILES, Profile, System, pretend, system

__version__ = "14.2.0"
globals().update(SERVED)
globals().update(TYPES)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"the stand-in for CuPy has no {name}")


@contextmanager
def installed() -> Iterator[None]:
    """Let ``import cupy`` and ``import cupyx`` find the stand-in, inside."""
    ours = {name: module for name, module in sys.modules.items() if name.startswith(f"{__name__}.")}
    public = {"cupy": sys.modules[__name__], "cupyx": cupyx, "cupyx.scipy": cupyx.scipy, "cupyx.scipy.fft": _transforms}
    for name, module in ours.items():
        below = name.removeprefix(f"{__name__}.")
        if below.split(".")[0] in ("cuda", "lib"):
            public[f"cupy.{below}"] = module
    hidden = {name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx")}
    before = {name: sys.modules.pop(name) for name in hidden}
    sys.modules.update(public)
    try:
        with libcuda.found():
            yield
    finally:
        for name in public:
            sys.modules.pop(name, None)
        sys.modules.update(before)


__all__ = [
    "PROFILES",
    "KernelError",
    "Profile",
    "RawKernel",
    "RawModule",
    "System",
    "arange",
    "array",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "cuda",
    "cupyx",
    "empty",
    "empty_like",
    "full",
    "get_array_module",
    "get_default_memory_pool",
    "installed",
    "lib",
    "may_share_memory",
    "ndarray",
    "ones",
    "pretend",
    "shares_memory",
    "system",
    "zeros",
    "zeros_like",
    *SERVED,
    *TYPES,
]
