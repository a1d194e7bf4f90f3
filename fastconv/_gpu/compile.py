"""Kernels of their texts: one module for each text and device, loaded once, and one object for each kernel of it. CuPy
keeps the machine code on disk."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .._errors import UnusableAlgorithmError, unusable
from . import cupy, device

DEFAULT_SHARED_BYTES = 48 << 10
"""A kernel may ask for so much dynamic shared memory without having said so before."""
NOT_FOR_THIS_DEVICE = (1, 200, 209, 218, 222, 223)
"""Numbers of the CUDA driver's errors: more is asked for than there is; code that is not valid, or of other devices."""
MAX_LOG_CHARACTERS = 200
SM_90A = "// for sm_90a\n"
"""The first line of a text that needs what only this architecture has. CuPy names the device's behind it."""

_Key = tuple[str, int]
_modules: dict[_Key, Any] = {}
_failures: dict[_Key, str] = {}
"""What is wrong with texts that do not compile; they are not tried again."""
_kernels: dict[tuple[str, int, str], Any] = {}
"""By text, device and name."""
_shared_bytes: dict[tuple[str, int, str], int] = {}
"""Dynamic shared memory that kernels may have; a kernel's launches share the setting, so that it only grows."""
_setting = threading.Lock()
_locks: dict[_Key, Any] = {}
"""A module is compiled by one thread, others by others at the same time."""


def function(source: str, name: str, shared_bytes: int = 0) -> Any:
    """The kernel called ``name`` of a text, for the current device and launches with so much dynamic shared memory.

    Raises
    ------
    UnusableAlgorithmError
        If it does not compile for the device, or asks for more than that has.
    """
    key = source, cupy.current_device(), name
    kernel = _kernels.get(key)
    if kernel is None:
        kernel = _kernels.setdefault(key, (_modules.get(key[:2]) or _compiled(key[:2], name)).get_function(name))
    with _setting:
        if shared_bytes > _shared_bytes.get(key, DEFAULT_SHARED_BYTES):
            with _explained() as failures:
                kernel.max_dynamic_shared_size_bytes = shared_bytes
            for fact in failures:
                raise unusable(f"the kernel {name} with {shared_bytes} bytes of shared memory {fact}")
            _shared_bytes[key] = shared_bytes
    return kernel


def options(source: str) -> tuple[str, ...]:
    """Those that a text is compiled with, beside CuPy's own."""
    return ("-arch=sm_90a",) if source.startswith(SM_90A) else ()


def load(sources: Iterable[str]) -> None:
    """Compile texts for the current device, side by side; those that fail, fail when a function of theirs is wanted."""
    number = cupy.current_device()
    keys = [(source, number) for source in dict.fromkeys(sources) if (source, number) not in _modules]
    if not keys:
        return
    cupy.forbid_capture("a kernel that has to be loaded")

    def compiled(key: _Key) -> None:
        # A thread begins with the first device.
        with cupy.module().cuda.Device(number), contextlib.suppress(UnusableAlgorithmError):
            _compiled(key, "")

    with ThreadPoolExecutor(min(len(keys), os.cpu_count() or 1)) as pool:
        for done in [pool.submit(compiled, key) for key in keys]:
            done.result()


def _compiled(key: _Key, name: str) -> Any:
    cupy.forbid_capture("a kernel that has to be loaded")
    with _locks.setdefault(key, threading.RLock()):
        module = _modules.get(key)
        if module is None and key not in _failures:
            module = cupy.module().RawModule(code=key[0], options=options(key[0]))
            with _explained() as failures:
                module.compile()
            if failures:
                (_failures[key],) = failures
            else:
                _modules[key] = module
    if key in _failures:
        raise unusable(f"the kernel {name} {_failures[key]}")
    return module


@contextlib.contextmanager
def _explained() -> Iterator[list[str]]:
    """Gets what is wrong with a kernel, in words, where CuPy says inside that the device cannot run it."""
    cuda, here, failures = cupy.module().cuda, device.current(), list[str]()
    where = f"{here.architecture} ({here.name})"
    try:
        yield failures
    except cuda.compiler.CompileException as error:
        failures.append(f"does not compile for {where}: {_complaint(str(error))}")
    except cuda.driver.CUDADriverError as error:
        if error.status not in NOT_FOR_THIS_DEVICE:
            raise
        failures.append(f"does not run on {where}: {error}")


def _complaint(log: str) -> str:
    """The line of a compiler's log that says what is wrong."""
    lines = log.strip().splitlines() or ["no reason is given"]
    return next((line for line in lines if "error" in line), lines[0]).strip()[:MAX_LOG_CHARACTERS]


def forget() -> None:
    """Drop all modules."""
    _kernels.clear()
    _shared_bytes.clear()
    _modules.clear()
    _failures.clear()
