"""``fastconv.compat``: nothing of it is imported unasked, and what is missing is named."""

from __future__ import annotations

import pytest

import fastconv.compat
from subprocesses import output_of


def test_importing_fastconv_imports_nothing_of_it() -> None:
    code = "import sys, fastconv\nprint(sorted(name for name in sys.modules if name.startswith('fastconv.compat')))"
    assert output_of(code).strip() == "[]"


def test_modules_are_found_when_they_are_asked_for() -> None:
    assert set(fastconv.compat.CLIENTS) <= set(dir(fastconv.compat))
    code = "import fastconv\nprint(fastconv.compat.scipy_signal.convolve([1.0, 2.0], [1.0, 1.0]))"
    assert output_of(code).strip() == "[1. 3. 2.]"


@pytest.mark.parametrize("name", ["torches", "_nothing"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(fastconv.compat, name)
