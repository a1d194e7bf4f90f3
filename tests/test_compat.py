"""``fastconv.compat``: nothing of it is imported unasked, and what is missing is named."""

from __future__ import annotations

import pytest

import fastconv.compat
from subprocesses import output_of

WITHOUT = """
import sys
sys.modules[{peer!r}] = None
import fastconv
try:
    {statement}
except ImportError as error:
    print(error)
"""


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


@pytest.mark.parametrize(
    ("client", "statement"),
    [
        ("autograd", "fastconv.compat.autograd"),
        ("autograd", "import fastconv.compat.autograd"),
        ("keras", "fastconv.compat.keras.install()"),
        ("onnx", "from fastconv.compat import onnx"),
    ],
)
def test_a_missing_library_is_named_with_the_extra_that_installs_it(client: str, statement: str) -> None:
    message = output_of(WITHOUT.format(peer=client, statement=statement))
    assert message.strip() == f'fastconv.compat.{client} wants the package {client}: pip install "fastconv[{client}]"'
