"""Modules that the first call that needs them imports, so that ``import fastconv`` stays cheap."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

_importing = threading.RLock()

# A process forked in the middle of another thread's import would wait for ever for that module's lock: a fork waits.
os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


def late(name: str) -> Any:
    """The module with the absolute ``name``, imported if this is its first use."""
    with _importing:
        return importlib.import_module(name)
