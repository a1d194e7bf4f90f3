"""The ISA level "amx" with its tile instructions in software: compiled from the package's sources, loaded, used."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

from fastconv._cpu.algorithms.split_bf16 import loops
from fastconv._cpu.engine import runtime
from subprocesses import COMPILER

HERE = Path(__file__).parent
CPU = HERE.parent / "fastconv" / "_cpu"
LIBRARY = "FASTCONV_TEST_EMULATION"
"""Environment variable: the compiled library, whose kernels this process shall use."""
FLAGS = (
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-std=gnu11",
    "-shared",
    "-fPIC",
    "-march=x86-64-v4",
    "-mamx-tile",
    "-mamx-bf16",
)


def can_run() -> bool:
    """Whether the emulation's instructions, those of AVX-512, are there."""
    return dict(runtime.isa_levels())["x86-64-v4"]


def _compiles(source: str, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMPILER, *FLAGS, *options, source, "-o", str(output)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compile_library(folder: Path) -> Path | None:
    """The library; None where there is no C compiler that knows the level's instructions."""
    empty, library = folder / "empty.c", folder / "emulated_amx.so"
    empty.write_text("int nothing;\n")
    try:
        if _compiles(str(empty), library).returncode:
            return None
    except OSError:
        return None
    run = _compiles(
        str(HERE / "emulated_amx.c"), library, f"-I{CPU / 'algorithms/split_bf16'}", f"-I{CPU / 'csrc'}", f"-I{HERE}"
    )
    assert run.returncode == 0, run.stderr
    return library


def use_library() -> None:
    """Let this process compute with the library that the environment names, if it names one."""
    path = os.environ.get(LIBRARY)
    if path:
        table = ctypes.c_void_p.in_dll(ctypes.CDLL(path), "fastconv_split_bf16_own_tables_amx").value
        assert table is not None
        loops.use_kernels_at(table)
