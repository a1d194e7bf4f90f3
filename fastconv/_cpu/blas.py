"""NumPy's BLAS held to one thread while an algorithm written in NumPy runs threads of its own.

A BLAS with a thread pool would take every core whatever ``threads`` says, and cut some sums by the number of its
threads. OpenBLAS, which NumPy's wheels carry, can be told; the threads of any other BLAS are what its own environment
variable says (MKL_NUM_THREADS, BLIS_NUM_THREADS, VECLIB_MAXIMUM_THREADS).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator

_NAMES = tuple(
    f"{prefix}_{{}}_num_threads{suffix}" for prefix in ("scipy_openblas", "openblas") for suffix in ("64_", "")
)

_lock = threading.RLock()
_holders: list[int] = []
"""The threads inside ``one_thread``, once for each block."""
_threads_before = 1


@functools.cache
def _controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """OpenBLAS' functions that get and set its number of threads; None where NumPy has another BLAS."""
    try:
        module = importlib.util.find_spec("numpy._core._multiarray_umath")
        # A symbol is looked up in the libraries that NumPy is linked to as well.
        library = ctypes.CDLL(module.origin)  # type: ignore[union-attr, arg-type]
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    for name in _NAMES:
        if hasattr(library, name.format("get")):
            getter, setter = library[name.format("get")], library[name.format("set")]
            getter.argtypes, getter.restype = [], ctypes.c_int
            setter.argtypes, setter.restype = [ctypes.c_int], None
            return getter, setter
    return None


def is_controlled() -> bool:
    """Whether NumPy's BLAS can be held to one thread."""
    return _controls() is not None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold NumPy's BLAS to one thread per call inside a ``with`` block; blocks in several threads may overlap.

    The setting is one of the process: products that other threads start meanwhile run on one thread too.
    """
    controls = _controls()
    if controls is None:
        yield
        return
    _enter(*controls)
    try:
        yield
    finally:
        _leave(controls[1])


def _enter(getter: Callable[[], int], setter: Callable[[int], None]) -> None:
    global _threads_before
    with _lock:
        # Entered first: a signal handler may run in between, and enter and leave a block of its own.
        _holders.append(threading.get_ident())
        if len(_holders) == 1:
            _threads_before = getter()
            if _threads_before != 1:
                setter(1)


def _leave(setter: Callable[[int], None]) -> None:
    with _lock:
        _holders.remove(threading.get_ident())
        if not _holders and _threads_before != 1:
            setter(_threads_before)


def _after_fork_in_child() -> None:
    # The other holders are threads that do not exist here; the lock may have been held by one of them.
    global _lock
    _lock = threading.RLock()
    controls = _controls() if _holders else None
    _holders[:] = [holder for holder in _holders if holder == threading.get_ident()]
    if controls is not None and not _holders:
        controls[1](_threads_before)


os.register_at_fork(after_in_child=_after_fork_in_child)
