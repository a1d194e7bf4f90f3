"""The reference of fastconv.compat, for the pages in `docs/compat`: of the modules that are there."""

from __future__ import annotations

import ast
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

from sphinx.ext.autodoc.mock import mock

from fastconv.compat import CLIENTS

from .files import Folder
from .names import absent_peers


def write(folder: Folder) -> None:
    """`compat/CLIENT.md`, to be included by the pages."""
    for client in CLIENTS:
        folder.write(f"compat/{client}.md", reference(f"fastconv.compat.{client}"))


def reference(name: str) -> str:
    """A module's own words, and its names where it can be imported, if need be with a stand-in for the library."""
    found = find_spec(name)
    if found is None or found.origin is None:
        return f"`{name}` is not part of this version.\n"
    try:
        with mock(absent_peers()):
            importlib.import_module(name)
    except Exception:  # stand-ins cannot do all that the library can
        for part in [part for part in sys.modules if f"{part}.".startswith(f"{name}.")]:
            del sys.modules[part]
        words = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8"))) or ""
        return f"```{{eval-rst}}\n{words}\n```\n\nIts functions are listed where the site is built with that library.\n"
    return f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n"
