"""The reference of fastconv.compat, for the pages in `docs/compat`: of the modules that are there."""

from __future__ import annotations

from importlib.util import find_spec

from fastconv.compat import CLIENTS

from .files import Folder


def write(folder: Folder) -> None:
    """`compat/CLIENT.md`, to be included by the pages."""
    for client in CLIENTS:
        folder.write(f"compat/{client}.md", reference(f"fastconv.compat.{client}"))


def reference(name: str) -> str:
    """A module's own words and names, as far as it can be imported here."""
    if find_spec(name) is None:
        return f"`{name}` is not part of this version.\n"
    return f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n"
