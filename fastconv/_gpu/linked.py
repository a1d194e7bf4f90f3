"""Functions of NVIDIA's libraries, called past CuPy."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Container, Mapping
from typing import Any

from .._errors import unusable
from . import cupy

INT, LONG, SIZE, POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_size_t, ctypes.c_void_p
REFUSALS: Mapping[str, Container[int]] = {"cublas": (8, 15), "cufft": (14, 16), "cudnn": range(3000, 4000)}
"""By library, its statuses for another architecture, and for what is not implemented or not supported."""
BESIDE_CUPY = ("cudnn",)
"""Libraries that CuPy has nothing to do with."""
Prototypes = Mapping[str, tuple[Any, ...]]
"""Names of functions that return a status, and the types of their arguments."""


def functions(module: str, prototypes: Prototypes) -> Mapping[str, Any]:
    """Those of the library of ``cupy.cuda``'s module of that name, or of one that is installed beside CuPy.

    The module is itself a library: the loader looks through what it is linked with, so that these are the functions
    that CuPy has, wherever it has found them.
    """
    path = cupy.library(module) if module in BESIDE_CUPY else getattr(cupy.module().cuda, module).__file__
    if path is None:
        raise ImportError(f"lib{module} is not installed")
    return _functions(path, tuple(prototypes.items()))


def are_available(module: str, prototypes: Prototypes) -> bool:
    """Whether the library is found, and it has all these."""
    try:
        return bool(functions(module, prototypes))
    except (ImportError, AttributeError, OSError, RuntimeError):
        return False


@functools.cache
def _functions(path: str, prototypes: tuple[tuple[str, tuple[Any, ...]], ...]) -> Mapping[str, Any]:
    library, found = ctypes.CDLL(path), {}
    for name, arguments in prototypes:
        found[name] = getattr(library, name)
        found[name].argtypes, found[name].restype = arguments, INT
    return found


def check(status: int, name: str) -> None:
    """An error if a function has failed.

    Raises
    ------
    UnusableAlgorithmError
        If it is not for this device, or for such arguments.
    RuntimeError
        For any other reason.
    """
    if not status:
        return
    if any(name.startswith(library) and status in refusals for library, refusals in REFUSALS.items()):
        raise unusable(f"{name} is not for this device or for such sizes (status {status})")
    raise RuntimeError(f"GPU: {name} failed with status {status}")
