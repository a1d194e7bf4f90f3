"""Kernels of their texts: one module for each text and device, loaded once. CuPy keeps the machine code on disk."""

from __future__ import annotations

import threading
from typing import Any

from . import cupy

_modules: dict[tuple[str, int], Any] = {}
_compiling = threading.Lock()


def function(source: str, name: str) -> Any:
    """The kernel called ``name`` of a text, for the current device."""
    key = source, cupy.current_device()
    module = _modules.get(key)
    if module is None:
        cupy.forbid_capture("a kernel that has to be loaded")
        with _compiling:
            module = _modules.get(key)
            if module is None:
                module = cupy.module().RawModule(code=source)
                module.compile()
                _modules[key] = module
    return module.get_function(name)


def forget() -> None:
    """Drop all modules."""
    _modules.clear()
