"""The table of planted faults is about this tree: every fault has its place, and every test that must notice it exists.

That they are noticed takes longer: python tests/planted_faults.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from planted_faults import ROOT, Fault, read_faults

HERE = Path(__file__).parent
FAULTS = read_faults()

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="no source tree")


def names_of_tests(file: Path) -> Iterator[str]:
    """The tests of a file, those of classes after the class's name."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef))
        elif isinstance(node, ast.FunctionDef):
            yield node.name


def test_there_are_faults_of_every_kind() -> None:
    """In kernels, in compiled Python and in Python, at least sixty."""
    kinds = {Path(fault.file).suffix for fault in FAULTS}
    assert {".h", ".c", ".pyx", ".py"} <= kinds
    assert len(FAULTS) >= 60


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_fault_has_its_place_and_its_tests(fault: Fault) -> None:
    assert (ROOT / fault.file).read_text().count(fault.old) == 1
    assert fault.new != fault.old
    assert fault.tests
    for test in fault.tests:
        file, _, name = test.partition(" ")[0].partition("::")
        assert name in names_of_tests(HERE / file), test
