"""Modules that the first call that needs them imports, so that ``import fastconv`` stays cheap."""

from __future__ import annotations

import _thread
import contextlib
import importlib
import os
import threading
import weakref
from typing import Any

_imported: dict[str, Any] = {}
_importing = threading.RLock()
_ended = threading.Condition()
"""An import has ended, one way or the other."""
_forks = 0
"""How many forks this process is descended from."""
POLL_SECONDS = 0.02
"""A signal handler that forks may run between a look at ``_forks`` and the wait, and is then not heard."""


class _Running:
    """Referred to by an importing thread alone, so that it is gone when the thread is, however that ended."""


def late(name: str) -> Any:
    """The module with the absolute ``name``, imported if this is its first use.

    By a thread of its own: Ctrl-C then takes effect at once, where an import would finish a C extension first, might
    swallow the exception, or leave a half-imported module behind.
    """
    while name not in _imported:
        failures: list[BaseException] = []
        generation, running = _forks, _Running()
        is_running = weakref.ref(running)
        with _ended:
            with contextlib.suppress(RuntimeError):  # the system refuses a thread
                _thread.start_new_thread(_import, (name, failures, running))
            del running
            # A child that was forked meanwhile, by a signal handler, lacks the thread that imports.
            while is_running() is not None and name not in _imported and not failures and generation == _forks:
                _ended.wait(POLL_SECONDS)
        if name not in _imported and not failures and generation == _forks:
            _import(name, failures)
        if failures:
            raise failures[0]
    return _imported[name]


def _import(name: str, failures: list[BaseException], running: _Running | None = None) -> None:
    try:
        with _importing:
            _imported[name] = importlib.import_module(name)
    except BaseException as failure:
        failures.append(failure)
    with _ended:
        _ended.notify_all()


def _before_fork() -> None:
    # A process forked in the middle of another thread's import would wait forever for that module's lock.
    _importing.acquire()
    _ended.acquire()


def _after_fork() -> None:
    _ended.release()
    _importing.release()


def _after_fork_in_child() -> None:
    global _forks
    _forks += 1
    _ended.notify_all()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
