"""ISA levels: which one is used, and that those below the machine's own compute the same."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from emulation import CPU
from fastconv._cpu import backend
from fastconv._cpu.engine import runtime
from subprocesses import COMPILER, HERE, has_compiler, output_of, python

SHORT = ("test_exact.py", "test_golden.py", "test_pooling.py", "-k", "not test_float32 and not test_float64")
"""Every algorithm in all directions, all dtypes that are computed as float32, epilogues and pooling."""
NAMES = [name for name, _ in runtime.isa_levels()]
USABLE = [name for name, usable in runtime.isa_levels() if usable]


@pytest.mark.skipif("FASTCONV_MAX_ISA" in os.environ, reason="this is already a run at one level")
@pytest.mark.parametrize(
    "level",
    # Above v4 only the kernels of split_bf16 are others.
    [pytest.param(level, marks=pytest.mark.full if level == "x86-64-v4" else ()) for level in USABLE[:-1]],
)
def test_lower_levels_pass_the_arithmetic_tests_in_short(level: str) -> None:
    """At x86-64-v3 and x86-64-v2 .ci/run runs them all."""
    files = [str(HERE / word) if word.endswith(".py") else word for word in SHORT]
    run = python("-m", "pytest", "-x", "-p", "no:cacheprovider", *files, timeout=600, FASTCONV_MAX_ISA=level)
    assert f"fastconv: {level}," in run.stdout
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@pytest.mark.parametrize("level", NAMES)
def test_the_level_in_use_is_the_highest_allowed(level: str) -> None:
    allowed = [name for name in USABLE if NAMES.index(name) <= NAMES.index(level)]
    code = "from fastconv._cpu.backend import ISA; from fastconv._cpu.engine.runtime import isa; print(ISA, isa())"
    assert output_of(code, FASTCONV_MAX_ISA=level).split() == [allowed[-1], allowed[-1]]


def test_without_a_cap_the_best_level_is_used() -> None:
    assert (
        output_of("from fastconv._cpu import backend; print(backend.ISA)", FASTCONV_MAX_ISA="").split() == USABLE[-1:]
    )
    assert "FASTCONV_MAX_ISA" in os.environ or backend.ISA == runtime.isa() == max(USABLE, key=NAMES.index)


@pytest.mark.parametrize("word", ["avx2", "x86_64_v3", "X86-64-V3", " x86-64-v3", "-1", "x86-64-v33", "0"])
def test_an_unknown_level_is_an_error_that_lists_the_known_ones(word: str) -> None:
    run = python("-c", "import fastconv", FASTCONV_MAX_ISA=word)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: FASTCONV_MAX_ISA")
    assert repr(word) in last
    for name in NAMES:
        assert name in last


DISPATCH = """
#include "job.h"
static const kernels_t table;
static const kernels_t *const tables[ROOM_TYPES] = {&table, &table};
#define LEVEL(identifier, name, flags, test) \\
    __attribute__((weak)) const kernels_t *const *const TABLES(identifier) = tables;
#include "isa/levels.h"
#undef LEVEL
"""


def dispatch_with(folder: Path, *options: str, missing: tuple[str, ...] = ()) -> ctypes.CDLL:
    """dispatch.c over tables without kernels, those of ``missing`` levels as setup.py compiles them then."""
    tables, library = folder / "tables.c", folder / "dispatch.so"
    tables.write_text(DISPATCH)
    engine = CPU / "engine"
    portable = ["-DWITH_PORTABLE"] if "portable" in NAMES else []
    compiler = [*COMPILER, *portable, "-std=gnu11", "-fPIC", f"-I{engine}", f"-I{CPU / 'csrc'}"]
    objects = []
    for identifier in missing:
        objects.append(str(folder / f"{identifier}.o"))
        flags = ["-c", "-DNOT_COMPILED", f"-DISA_LEVEL={identifier}", str(engine / "unit.c"), "-o", objects[-1]]
        subprocess.run([*compiler, *flags], check=True)
    sources = [str(tables), str(engine / "dispatch.c"), *objects]
    subprocess.run([*compiler, "-shared", *options, *sources, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.skipif(not has_compiler(), reason="no C compiler")
def test_levels_that_the_compiler_does_not_know_are_passed_over(tmp_path: Path) -> None:
    dispatch = dispatch_with(tmp_path, missing=("avx512_bf16", "amx"))
    usable = [bool(dispatch.isa_level_is_usable(level)) for level in range(len(NAMES))]
    assert usable == [name in USABLE and name not in ("avx512-bf16", "amx") for name in NAMES]
    dispatch.isa_level_of.restype = ctypes.c_int64
    assert NAMES[dispatch.isa_level_of(b"amx")] == [name for name in USABLE if "-v" in name][-1]


@pytest.mark.skipif(not has_compiler(), reason="no C compiler")
@pytest.mark.parametrize("answer", [0, -1])
def test_tiles_are_used_where_the_kernel_permits_it(answer: int, tmp_path: Path) -> None:
    """On a CPU that says that it has them."""
    (tmp_path / "cpu.h").write_text(
        "#include <cpuid.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
        "#define __get_cpuid_count(leaf, part, a, b, c, d) (*(d) = ~0u, 1)\n"
        f"#define syscall(number, request, feature) ((request) == 0x1023 && (feature) == 18 ? {answer} : -2)\n"
    )
    dispatch = dispatch_with(tmp_path, "-include", str(tmp_path / "cpu.h"))
    assert bool(dispatch.isa_level_is_usable(NAMES.index("amx"))) == (answer == 0 and "x86-64-v4" in USABLE)
