"""What the built modules hold: wide instructions only where they belong, one symbol per ISA object, a cheap import."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import fastconv
from subprocesses import COMPILER, has_compiler, output_of, python

PACKAGE = Path(fastconv.__file__).parent
MODULES = sorted((PACKAGE / "_cpu").glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
SETUP = Path(__file__).parent.parent / "setup.py"

WIDER_THAN_BASELINE = re.compile(r"%[yz]mm\d|%k[0-7]\b|\{%k")
WIDER_THAN_V3 = re.compile(r"%zmm\d|%k[0-7]\b|\{%k|%[xy]mm(1[6-9]|2\d|3[01])\b")


def tool(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (binutils)")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@cache
def disassembly(file: Path) -> str:
    return tool("objdump", "-d", "--no-show-raw-insn", str(file))


@cache
def build_settings() -> dict[str, Any]:
    """The constants of setup.py's head: compiler flags and the table of ISA levels."""
    if not SETUP.is_file():
        pytest.skip("no setup.py beside the tests: the objects cannot be compiled")
    constants = [
        node
        for node in ast.parse(SETUP.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id != "EXTENSIONS"
    ]
    found: dict[str, Any] = {"os": os}
    exec(compile(ast.Module(constants, []), str(SETUP), "exec"), found)
    return found


SHARING_LEVELS = ("avx512_bf16", "amx")
"""Those whose kernels of real numbers are another level's."""
LEVELS = ("x86_64_v2", "x86_64_v3", "x86_64_v4", *SHARING_LEVELS)
SHARED_TABLES = ["kernels", "cast", "kernels_float32", "kernels_float64", "pooling"]


def built_object(level: str) -> Path | None:
    """The level's object that the last build left, unless a source is newer."""
    newest = max(file.stat().st_mtime for file in (SETUP, *(SETUP.parent / "fastconv/_cpu/csrc").rglob("*.[ch]")))
    found = SETUP.parent.glob(f"build/temp*/isa/{level}/**/isa_unit.o")
    return next((file for file in found if file.stat().st_mtime >= newest), None)


@pytest.fixture(scope="session")
def isa_objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The kernels of each ISA level: as the last build left them, else compiled by setup.py's own table."""
    settings = build_settings()
    objects = {level: built_object(level) for level in settings["ISA_LEVELS"]}
    # With Python's own flags, as setup.py compiles them: other flags make other choices of what is inlined.
    own_flags = shlex.split(sysconfig.get_config_var("CFLAGS") or "")
    compiler = [*COMPILER, *own_flags, "-fPIC"]
    csrc = SETUP.parent / settings["CSRC"]
    folder = tmp_path_factory.mktemp("isa")
    running = []
    for level, flags in settings["ISA_LEVELS"].items():
        if objects[level] is None:
            if not has_compiler():
                pytest.skip("no objects of the last build and no C compiler")
            objects[level] = folder / f"{level}.o"
            command = [*compiler, *settings["C_FLAGS"], *flags, f"-DISA_LEVEL={level}", f"-I{csrc}"]
            running.append(subprocess.Popen([*command, "-c", str(csrc / "isa_unit.c"), "-o", str(objects[level])]))
    assert all(process.wait() == 0 for process in running)
    return {level: file for level, file in objects.items() if file is not None}


def test_every_level_is_looked_at() -> None:
    assert tuple(build_settings()["ISA_LEVELS"]) == LEVELS


@pytest.mark.parametrize("level", LEVELS)
def test_an_isa_object_exports_its_tables_alone(isa_objects: dict[str, Path], level: str) -> None:
    symbols = [line.split() for line in tool("nm", str(isa_objects[level])).splitlines()]
    defined = [(kind, name) for *_, kind, name in symbols if kind != "U"]
    tables = ["kernels"] if level in SHARING_LEVELS else SHARED_TABLES
    exported = {name for kind, name in defined if kind.isupper()}
    assert exported == {f"fastconv_{table}_{level}" for table in tables}
    # Weak symbols of two levels would be merged into one, which then runs on machines it was not compiled for.
    assert not [name for kind, name in defined if kind in "VWvwu"]
    # Nothing mutable: only constants, of which those with addresses are relocated once.
    sections = tool("objdump", "-h", str(isa_objects[level]))
    sizes = {
        line.split()[1]: int(line.split()[2], 16) for line in sections.splitlines() if re.match(r"\s+\d+ \.", line)
    }
    assert sizes.get(".data", 0) == sizes.get(".bss", 0) == 0
    # Nothing runs before the level is chosen.
    assert not [name for name in sizes if name.startswith((".init", ".fini", ".ctors", ".preinit", ".tbss", ".tdata"))]


@pytest.mark.parametrize("level", LEVELS)
def test_an_isa_object_calls_nothing_but_the_c_library(isa_objects: dict[str, Path], level: str) -> None:
    needed = {line.split()[-1] for line in tool("nm", "-u", str(isa_objects[level])).splitlines()}
    allowed = {f"{name}{suffix}" for name in ("exp", "erf", "tanh") for suffix in ("", "f")}
    if level in SHARING_LEVELS:
        allowed |= {f"fastconv_{table}_x86_64_v4" for table in SHARED_TABLES[1:]}
    # __divti3: division of 128-bit integers, from libgcc and linked statically. __stack_chk_fail: of the C library,
    # where Python's own flags ask for a guarded stack.
    allowed |= {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__divti3", "__stack_chk_fail"}
    assert needed <= allowed


def test_every_level_uses_its_own_registers(isa_objects: dict[str, Path]) -> None:
    """And none above: this is also what shows that the patterns find anything."""
    code = {level: disassembly(file) for level, file in isa_objects.items()}
    assert "xmm" in code["x86_64_v2"]
    assert not WIDER_THAN_BASELINE.search(code["x86_64_v2"])
    assert "ymm" in code["x86_64_v3"]
    assert "vfmadd" in code["x86_64_v3"]
    assert not WIDER_THAN_V3.search(code["x86_64_v3"])
    assert "zmm" in code["x86_64_v4"]


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.name.split(".")[0])
def test_baseline_code_is_narrow(module: Path) -> None:
    """Everything but the ISA objects, which are inside _runtime, runs on any x86-64-v2 machine."""
    if not module.name.startswith("_runtime."):
        assert not WIDER_THAN_BASELINE.search(disassembly(module))


def test_wide_code_in_the_runtime_is_that_of_the_isa_objects(isa_objects: dict[str, Path]) -> None:
    """Function by function: what is wide in the linked module comes from an object of a wide level."""
    module = next(file for file in MODULES if file.name.startswith("_runtime."))
    wide_functions = functions_with(WIDER_THAN_BASELINE, disassembly(module))
    if not any("gemm" in name for name in wide_functions):
        pytest.skip("the module is stripped: its functions have no names")
    known = set()
    for level in LEVELS[1:]:
        known |= functions_with(re.compile("%"), disassembly(isa_objects[level]))
    assert wide_functions <= known


def functions_with(pattern: re.Pattern[str], code: str) -> set[str]:
    """Names of the functions whose disassembly has the pattern."""
    pieces = re.split(r"^[0-9a-f]+ <(.+)>:$", code, flags=re.MULTILINE)
    return {name for name, body in zip(pieces[1::2], pieces[2::2], strict=True) if pattern.search(body)}


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.name.split(".")[0])
def test_nothing_is_linked_that_changes_the_floating_point_mode(module: Path) -> None:
    """crtfastmath.o, which -ffast-math links in, sets flush-to-zero when the library is loaded."""
    assert "set_fast_math" not in tool("nm", str(module))
    assert "ldmxcsr" not in disassembly(module)


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.name.split(".")[0])
def test_modules_export_their_init_function_alone(module: Path) -> None:
    exported = [line.split()[-1] for line in tool("nm", "-D", "--defined-only", str(module)).splitlines()]
    name = module.name.split(".")[0]
    assert [symbol for symbol in exported if symbol not in ("_init", "_fini")] == [f"PyInit_{name}"]


def test_flags_of_the_build() -> None:
    settings = build_settings()
    flags = [flag for flags in settings["ISA_LEVELS"].values() for flag in flags]
    flags += settings["C_FLAGS"] + settings["CYTHON_FLAGS"]
    assert not [flag for flag in flags if "fast-math" in flag or "native" in flag or "flto" in flag or flag == "-Ofast"]
    assert "-ffinite-math-only" not in flags


IMPORT_SECONDS = """
import numpy, time
start = time.process_time()
import fastconv
print(time.process_time() - start)
"""


def test_import_is_cheap(tmp_path: Path) -> None:
    """Under 100 ms beyond NumPy's: the least processor time of several, since a busy machine only ever adds to it."""
    # The first run compiles the modules, as an installation does; a checkout may be forbidden to keep the result.
    kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    times = [float(output_of(IMPORT_SECONDS, **kept)) for _ in range(8)]
    assert min(times) < 0.1, times


def test_import_brings_in_neither_scipy_nor_cupy() -> None:
    code = "import sys, fastconv; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = output_of(code).split()
    assert "numpy" in loaded
    assert not {"scipy", "cupy", "torch", "ml_dtypes", "onnx", "matplotlib", "multiprocessing"} & set(loaded)


def test_a_plain_convolution_needs_no_scipy() -> None:
    code = """
import sys
import numpy as np, fastconv
fastconv.conv2d(np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32), activation="relu")
print("scipy" in sys.modules)
"""
    assert output_of(code).strip() == "False"


@pytest.mark.parametrize("arguments", [("-c", "import fastconv"), ("-m", "fastconv", "info")])
def test_sources_that_are_not_built_say_so(arguments: tuple[str, ...], tmp_path: Path) -> None:
    sources = tmp_path / "checkout" / "fastconv"
    shutil.copytree(PACKAGE, sources, ignore=shutil.ignore_patterns("*.so", "__pycache__", "csrc"))
    run = python(*arguments, PYTHONPATH=str(sources.parent))
    assert run.returncode == 1
    assert "ModuleNotFoundError: No module named 'fastconv._cpu.engine.runtime'" in run.stderr  # the cause
    message = run.stderr.splitlines()[-1]
    assert message.startswith(f"ImportError: fastconv was imported from {sources}, which has no compiled modules")
    assert f"start Python outside of {sources.parent};" in message
    assert message.endswith("python setup.py build_ext --inplace")


def test_import_starts_no_threads() -> None:
    code = """
import os, numpy
before = len(os.listdir("/proc/self/task"))
import fastconv
print(len(os.listdir("/proc/self/task")) - before)
"""
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("no /proc")
    assert output_of(code).strip() == "0"


CLANGS = sorted(
    {path for name in ("clang", *(f"clang-{version}" for version in range(14, 30))) if (path := shutil.which(name))}
)


@pytest.mark.parametrize("clang", CLANGS or [None])
def test_clang_compiles_all_kernels(clang: str | None) -> None:
    """Without a warning; what GCC alone knows is kept to places that have another way beside it."""
    if clang is None:
        pytest.skip("clang is not installed")
    settings = build_settings()
    csrc = SETUP.parent / settings["CSRC"]
    command = [clang, "-fsyntax-only", "-Werror", f"-I{csrc}", *settings["C_FLAGS"]]
    sources = [
        [*flags, f"-DISA_LEVEL={level}", str(csrc / "isa_unit.c")] for level, flags in settings["ISA_LEVELS"].items()
    ]
    for source in ("dispatch.c", "reference.c"):
        sources.append([*settings["BASELINE"], *settings["CYTHON_FLAGS"], str(csrc / source)])
    running = [subprocess.Popen([*command, *rest], stderr=subprocess.PIPE, text=True) for rest in sources]
    messages = [process.communicate()[1] for process in running]
    assert not any(process.returncode for process in running), "".join(messages)[:4000]
