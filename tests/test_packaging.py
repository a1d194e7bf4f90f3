"""What the built modules hold: wide instructions only where they belong, one symbol per ISA object, a cheap import."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any

import pytest

import fastconv
from subprocesses import COMPILER, has_compiler, output_of, python

PACKAGE = Path(fastconv.__file__).parent
MODULES = sorted((PACKAGE / "_cpu").rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
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
    """The constants of setup.py's head: compiler flags, and the table of ISA levels for this compiler."""
    if not SETUP.is_file():
        pytest.skip("no setup.py beside the tests: the objects cannot be compiled")
    head = [
        node
        for node in ast.parse(SETUP.read_text()).body
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id != "EXTENSIONS"
        )
        or (isinstance(node, ast.FunctionDef) and node.name in ("isa_levels", "baseline"))
    ]
    found: dict[str, Any] = {"os": os, "re": re, "shlex": shlex, "glob": glob, "subprocess": subprocess}
    with contextlib.chdir(SETUP.parent):
        exec(compile(ast.Module(head, []), str(SETUP), "exec"), found)
        if not has_compiler():
            pytest.skip("no C compiler, which reads the table of ISA levels")
        found["ISA_LEVELS"] = found["isa_levels"]([*COMPILER, "-DWITH_PORTABLE"])
    return found


SHARING_LEVELS = ("avx512_bf16", "amx")
"""Those whose kernels of real numbers are another level's."""
LEVELS = ("portable", "x86_64_v2", "x86_64_v3", "x86_64_v4", *SHARING_LEVELS)
ROOMS = {
    "depthwise_nchw": "algorithms/depthwise_nchw",
    "depthwise_nhwc": "algorithms/depthwise_nhwc",
    "direct": "algorithms/direct",
    "elementwise": "elementwise",
    "engine": "engine",
    "fft_fused": "algorithms/fft_fused",
    "implicit_gemm": "algorithms/implicit_gemm",
    "normalization": "normalization",
    "pooling": "pooling",
    "small_groups": "algorithms/small_groups",
    "split_bf16": "algorithms/split_bf16",
    "winograd": "algorithms/winograd",
}
"""Folders of those with kernels of their own."""
Objects = dict[tuple[str, str], Path]


def has_kernels(room: str, level: str) -> bool:
    """Whether the room's unit has kernels of that level, and not another level's."""
    return (level in SHARING_LEVELS) == (room == "split_bf16")


def built_object(room: str, level: str) -> Path | None:
    """The room's object of the level that the last build left, unless a source is newer."""
    cpu = SETUP.parent / "fastconv" / "_cpu"
    sources = [SETUP, *(cpu / "csrc").rglob("*.h"), *(cpu / ROOMS[room]).glob("*.[ch]")]
    newest = max(file.stat().st_mtime for file in sources)
    found = SETUP.parent.glob(f"build/temp*/isa/{level}/fastconv/_cpu/{ROOMS[room]}/unit.o")
    return next((file for file in found if file.stat().st_mtime >= newest), None)


@pytest.fixture(scope="session")
def isa_objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """The kernels of each room and ISA level: as the last build left them, else compiled by setup.py's own table."""
    settings = build_settings()
    objects: Objects = {}
    # With Python's own flags, as setup.py compiles them: other flags make other choices of what is inlined.
    own_flags = shlex.split(sysconfig.get_config_var("CFLAGS") or "")
    compiler = [*COMPILER, *own_flags, "-fPIC"]
    cpu = SETUP.parent / settings["CPU"]
    folder = tmp_path_factory.mktemp("isa")
    commands = []
    for level, flags in settings["ISA_LEVELS"].items():
        for room, path in ROOMS.items():
            found = built_object(room, level)
            objects[room, level] = found or folder / f"{room}_{level}.o"
            if found is None:
                includes = [f"-I{cpu / path}", f"-I{cpu / 'csrc'}"]
                unit = [str(cpu / path / "unit.c"), "-o", str(objects[room, level])]
                commands.append(
                    [*compiler, *settings["C_FLAGS"], *flags, f"-DISA_LEVEL={level}", *includes, "-c", *unit]
                )
    if commands and not has_compiler():
        pytest.skip("no objects of the last build and no C compiler")
    run_all(commands)
    return objects


def run_all(commands: list[list[str]]) -> str:
    """What compilers said that run side by side, as many as there are cores; an error if one failed."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(pool.map(lambda command: subprocess.run(command, capture_output=True, text=True), commands))
    messages = "".join(run.stderr for run in runs)
    assert not any(run.returncode for run in runs), messages[:4000]
    return messages


def test_every_room_and_level_is_looked_at() -> None:
    settings = build_settings()
    assert {str(Path(unit).parent.relative_to(settings["CPU"])) for unit in settings["UNITS"]} == {*ROOMS.values()}
    assert tuple(settings["ISA_LEVELS"]) == LEVELS


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("room", ROOMS)
def test_an_isa_object_exports_its_tables_alone(isa_objects: Objects, room: str, level: str) -> None:
    file = isa_objects[room, level]
    symbols = [line.split() for line in tool("nm", str(file)).splitlines()]
    defined = [(kind, name) for *_, kind, name in symbols if kind != "U"]
    tables = ["tables", "own_tables"] if has_kernels(room, level) else ["tables"]
    exported = {name for kind, name in defined if kind.isupper()}
    assert exported == {f"fastconv_{room}_{table}_{level}" for table in tables}
    # Weak symbols of two levels would be merged into one, which then runs on machines it was not compiled for.
    assert not [name for kind, name in defined if kind in "VWvwu"]
    # Nothing mutable: only constants, of which those with addresses are relocated once.
    sections = tool("objdump", "-h", str(file))
    sizes = {
        line.split()[1]: int(line.split()[2], 16) for line in sections.splitlines() if re.match(r"\s+\d+ \.", line)
    }
    assert sizes.get(".data", 0) == sizes.get(".bss", 0) == 0
    # Nothing runs before the level is chosen.
    assert not [name for name in sizes if name.startswith((".init", ".fini", ".ctors", ".preinit", ".tbss", ".tdata"))]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("room", ROOMS)
def test_an_isa_object_calls_nothing_but_the_c_library(isa_objects: Objects, room: str, level: str) -> None:
    needed = {line.split()[-1] for line in tool("nm", "-u", str(isa_objects[room, level])).splitlines()}
    allowed: set[str] = set()
    if level in SHARING_LEVELS and not has_kernels(room, level):
        allowed = {f"fastconv_{room}_own_tables_x86_64_v4"}
    # __divti3: division of 128-bit integers, from libgcc and linked statically. __stack_chk_fail: of the C library,
    # where Python's own flags ask for a guarded stack.
    allowed |= {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__divti3", "__stack_chk_fail"}
    assert needed <= allowed


def test_every_level_uses_its_own_registers(isa_objects: Objects) -> None:
    """And none above: this is also what shows that the patterns find anything."""
    code = {level: "".join(disassembly(isa_objects[room, level]) for room in ROOMS) for level in LEVELS[:4]}
    for level in ("portable", "x86_64_v2"):
        assert "xmm" in code[level]
        assert not WIDER_THAN_BASELINE.search(code[level])
    assert "pshufb" in code["x86_64_v2"]
    assert "pshufb" not in code["portable"]
    assert "ymm" in code["x86_64_v3"]
    assert "vfmadd" in code["x86_64_v3"]
    assert not WIDER_THAN_V3.search(code["x86_64_v3"])
    assert "zmm" in code["x86_64_v4"]


def module_name(module: Path) -> str:
    return module.relative_to(PACKAGE / "_cpu").as_posix().split(".")[0]


KERNEL_MODULES = {f"{path}/{'runtime' if room == 'engine' else 'loops'}" for room, path in ROOMS.items()}


@pytest.mark.parametrize("module", MODULES, ids=module_name)
def test_baseline_code_is_narrow(module: Path) -> None:
    """Everything but the rooms' kernels, which are in the modules of their loops, runs on any x86-64-v2 machine."""
    if module_name(module) not in KERNEL_MODULES:
        assert not WIDER_THAN_BASELINE.search(disassembly(module))


@pytest.mark.parametrize("room", ROOMS)
def test_wide_code_in_a_module_is_that_of_its_isa_objects(isa_objects: Objects, room: str) -> None:
    """Function by function: what is wide in the linked module comes from an object of a wide level."""
    name = f"{ROOMS[room]}/{'runtime' if room == 'engine' else 'loops'}"
    module = next(file for file in MODULES if module_name(file) == name)
    wide_functions = functions_with(WIDER_THAN_BASELINE, disassembly(module))
    if not any("_" in name for name in wide_functions):
        pytest.skip("the module is stripped: its functions have no names")
    known = set()
    for level in LEVELS[2:]:
        known |= functions_with(re.compile("%"), disassembly(isa_objects[room, level]))
    assert wide_functions <= known


def functions_with(pattern: re.Pattern[str], code: str) -> set[str]:
    """Names of the functions whose disassembly has the pattern."""
    pieces = re.split(r"^[0-9a-f]+ <(.+)>:$", code, flags=re.MULTILINE)
    return {name for name, body in zip(pieces[1::2], pieces[2::2], strict=True) if pattern.search(body)}


@pytest.mark.parametrize("module", MODULES, ids=module_name)
def test_nothing_is_linked_that_changes_the_floating_point_mode(module: Path) -> None:
    """crtfastmath.o, which -ffast-math links in, sets flush-to-zero when the library is loaded."""
    assert "set_fast_math" not in tool("nm", str(module))
    assert "ldmxcsr" not in disassembly(module)


@pytest.mark.parametrize("module", MODULES, ids=module_name)
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
start = time.thread_time()
import fastconv
print(time.thread_time() - start)
"""


def test_import_is_cheap(tmp_path: Path) -> None:
    """Under 100 ms beyond NumPy's: the least processor time of several, since a busy machine only ever adds to it.

    Of the importing thread, since NumPy's BLAS has started threads that spin meanwhile; fastconv starts none.
    """
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


def check_sources(compiler: list[str]) -> str:
    """What a compiler says of all kernels at every level of its CPU, and of what is not a kernel."""
    settings = build_settings()
    cpu = SETUP.parent / settings["CPU"]
    with contextlib.chdir(SETUP.parent):
        levels = settings["isa_levels"](compiler)
    command = [*compiler, "-fsyntax-only", "-Werror", f"-I{cpu / 'csrc'}", *settings["C_FLAGS"]]
    commands = [
        [*command, *flags, f"-DISA_LEVEL={level}", f"-I{cpu / path}", str(cpu / path / "unit.c")]
        for level, flags in levels.items()
        for path in ROOMS.values()
    ]
    own = [*settings["baseline"](levels), *settings["CYTHON_FLAGS"]]
    for source in ("engine/dispatch.c", "engine/threads.c", "algorithms/reference/reference.c"):
        commands.append([*command, *own, f"-I{(cpu / source).parent}", str(cpu / source)])
    return run_all(commands)


@pytest.mark.parametrize("clang", CLANGS or [None])
def test_clang_compiles_all_kernels(clang: str | None) -> None:
    """Without a warning; what GCC alone knows is kept to places that have another way beside it."""
    if clang is None:
        pytest.skip("clang is not installed")
    assert not check_sources([clang])


@pytest.mark.parametrize(
    "target",
    [
        "arm64-apple-macos11",
        *(pytest.param(target, marks=pytest.mark.full) for target in ("x86_64-apple-macos11", "riscv64-linux-gnu")),
    ],
)
def test_clang_compiles_all_kernels_for_other_systems(target: str) -> None:
    """On no more than declarations of what the sources take from the system (tests/headers)."""
    if not CLANGS:
        pytest.skip("clang is not installed")
    headers = Path(__file__).parent / "headers"
    assert not check_sources([CLANGS[0], f"--target={target}", "-nostdlibinc", f"-isystem{headers}"])
