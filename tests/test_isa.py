"""The arithmetic tests again at every ISA level below the one that this machine is given by default."""

from __future__ import annotations

import os

import pytest

from fastconv._cpu import _runtime, backend
from subprocesses import HERE, output_of, python

ARITHMETIC = (
    "test_exact.py",
    "test_golden.py",
    "test_bounds.py",
    "test_nonfinite.py",
    "test_guarded.py",
    "test_pooling.py",
)
NAMES = [name for name, _ in _runtime.isa_levels()]
USABLE = [name for name, usable in _runtime.isa_levels() if usable]


@pytest.mark.skipif("FASTCONV_MAX_ISA" in os.environ, reason="this is already a run at one level")
@pytest.mark.parametrize("level", USABLE[:-1])
def test_lower_levels_pass_the_arithmetic_tests(level: str) -> None:
    files = [str(HERE / file) for file in ARITHMETIC]
    run = python("-m", "pytest", "-x", "-p", "no:cacheprovider", *files, timeout=600, FASTCONV_MAX_ISA=level)
    assert f"fastconv: {level}," in run.stdout
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@pytest.mark.parametrize("level", NAMES)
def test_the_level_in_use_is_the_highest_allowed(level: str) -> None:
    allowed = [name for name in USABLE if NAMES.index(name) <= NAMES.index(level)]
    code = "from fastconv._cpu import backend, _runtime; print(backend.ISA, _runtime.isa())"
    assert output_of(code, FASTCONV_MAX_ISA=level).split() == [allowed[-1], allowed[-1]]


def test_without_a_cap_the_best_level_is_used() -> None:
    assert (
        output_of("from fastconv._cpu import backend; print(backend.ISA)", FASTCONV_MAX_ISA="").split() == USABLE[-1:]
    )
    assert "FASTCONV_MAX_ISA" in os.environ or backend.ISA == _runtime.isa() == max(USABLE, key=NAMES.index)


@pytest.mark.parametrize("word", ["avx2", "x86_64_v3", "X86-64-V3", " x86-64-v3", "-1", "x86-64-v33", "0"])
def test_an_unknown_level_is_an_error_that_lists_the_known_ones(word: str) -> None:
    run = python("-c", "import fastconv", FASTCONV_MAX_ISA=word)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: FASTCONV_MAX_ISA")
    assert repr(word) in last
    for name in NAMES:
        assert name in last
