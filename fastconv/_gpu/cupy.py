"""CuPy: the one module that imports it, when a call needs it, and that says what is missing."""

from __future__ import annotations

import functools
from typing import Any

from .._errors import no_gpu

INITIALIZATION, NO_DRIVER, NO_DEVICE = 3, 35, 100
"""Numbers of the CUDA runtime's errors."""
EXPLAINED = {
    INITIALIZATION: (
        "this process was forked from one that had used CUDA, which cannot be carried over",
        'processes that are started anew: multiprocessing.set_start_method("spawn")',
    ),
    NO_DRIVER: ("there is no NVIDIA driver, or it is older than CuPy's CUDA", "a driver for it"),
    NO_DEVICE: ("there is no CUDA device, or CUDA_VISIBLE_DEVICES hides it", "a device"),
}


def module() -> Any:
    """CuPy."""
    try:
        import cupy
    except ImportError as missing:
        raise no_gpu("CuPy is not installed", 'pip install "fastconv[cuda13]", or [cuda12]') from missing
    return cupy


@functools.cache
def library(name: str) -> str | None:
    """The path of a library of NVIDIA's that CuPy does not use, found as it finds its own; None without one."""
    try:
        from cuda import pathfinder  # type: ignore[import-not-found]

        return str(pathfinder.load_nvidia_dynamic_lib(name).abs_path)
    except (ImportError, RuntimeError):
        return None


def current_device() -> int:
    """The number of the current device; an error that says why there is none."""
    runtime = module().cuda.runtime
    try:
        number: int = runtime.getDevice()
    except runtime.CUDARuntimeError as failed:
        if failed.status not in EXPLAINED:
            raise
        raise no_gpu(*EXPLAINED[failed.status]) from failed
    return number


def is_capturing() -> bool:
    """Whether the current stream records what it is given."""
    return bool(module().cuda.get_current_stream().is_capturing())


def forbid_capture(what: str) -> None:
    """An error where ``what`` would have to be done while a stream records."""
    if is_capturing():
        raise no_gpu(f"{what} while the stream is captured", "a call with arrays like these before the capture")
