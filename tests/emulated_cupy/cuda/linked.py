"""Libraries that CuPy's modules are linked with: C functions, compiled here, that call Python's."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..built import built
from ..ptx.build import COMPILER

INT, LONG, SIZE, POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_size_t, ctypes.c_void_p
EXECUTION_FAILED = 13
_C_NAMES = {INT: "int", LONG: "long long", SIZE: "size_t", POINTER: "void *"}
_kept: list[Any] = []
errors: list[BaseException] = []
"""What was raised in functions that could only return a status."""


def library(functions: Mapping[str, tuple[Callable[..., int], tuple[Any, ...]]]) -> str:
    """The path of a library with functions of these names, bodies, and types of arguments; they return an int."""
    text = "#include <stddef.h>\n"
    for name, (_, types) in functions.items():
        declared = ", ".join(f"{_C_NAMES[kind]} x{i}" for i, kind in enumerate(types))
        given = ", ".join(f"x{i}" for i in range(len(types)))
        text += f"int (*python_{name})({declared});\nint {name}({declared}) {{ return python_{name}({given}); }}\n"
    command = [*COMPILER, "-O1", "-shared", "-fPIC", "-x", "c"]

    def make(path: Path) -> None:
        subprocess.run([*command, "-", "-o", str(path)], check=True, input=text.encode())

    path = str(built(".so", (command, text), make))
    loaded = ctypes.CDLL(path)
    for name, (body, types) in functions.items():
        callback = ctypes.CFUNCTYPE(INT, *types)(_guarded(body))
        ctypes.c_void_p.in_dll(loaded, f"python_{name}").value = ctypes.cast(callback, POINTER).value
        _kept.append(callback)
    return path


def _guarded(body: Callable[..., int]) -> Callable[..., int]:
    """Null pointers as 0; a failure as a status."""

    def called(*arguments: Any) -> int:
        try:
            return body(*(argument or 0 for argument in arguments))
        except BaseException as failed:
            errors.append(failed)
            return EXECUTION_FAILED

    return called
