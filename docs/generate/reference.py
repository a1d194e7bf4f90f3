"""The reference: a page for each module that public names come from, so that no name can be forgotten."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

from .files import Folder

PUBLIC = (
    ("fastconv", "Functions"),
    ("fastconv.grad", "fastconv.grad"),
    ("fastconv.suites", "fastconv.suites"),
    ("fastconv.nn", "fastconv.nn"),
    ("fastconv.nn.networks", "fastconv.nn.networks"),
    ("fastconv.nn.looking", "fastconv.nn.looking"),
    ("fastconv.nn.parallel", "fastconv.nn.parallel"),
)
"""Modules whose names users may use, and their headings."""
TITLES = {
    "fastconv._config": "Settings",
    "fastconv._problem": "Problems",
    "fastconv._normalize": "Packed weights",
    "fastconv.tuning": "Tuning",
    "fastconv.runtime": "Runtime",
}


def write(folder: Folder) -> None:
    """`reference/MODULE.md` for every module, and `reference/index.md`."""
    lines = ["# Reference", "", "Every public name, by the module that it is written in.", ""]
    for name, heading in PUBLIC:
        module = importlib.import_module(name)
        pages = []
        for source, names in by_source(module).items():
            title = title_of(source)
            page = f"{name}-{source.rpartition('.')[2].strip('_')}"
            folder.write(f"reference/{page}.md", reference(module, source, title, names))
            pages.append(f"{title} <{page}>")
        first = (inspect.getdoc(module) or "").partition("\n")[0]
        lines += [f"## {heading}", "", "" if name == "fastconv" else first, "", "```{toctree}", ":maxdepth: 1", ""]
        lines += [*pages, "```", ""]
    folder.write("reference/index.md", "\n".join(lines))


def by_source(module: ModuleType) -> dict[str, list[str]]:
    """Public names of a module by the module that they are defined in; data by their own module."""
    found: dict[str, list[str]] = {}
    for name, value in vars(module).items():
        source = getattr(value, "__module__", None)
        is_ours = isinstance(source, str) and f"{source}.".startswith(f"{module.__name__}.") and callable(value)
        if not name.startswith("_") and is_ours and not isinstance(value, ModuleType):
            found.setdefault(str(source), []).append(name)
    return found


def title_of(source: str) -> str:
    """A heading: what the module is called, or the word that says more."""
    for beginning, title in TITLES.items():
        if source.startswith(beginning):
            return title
    last = source.rpartition(".")[2]
    return last.strip("_").replace("_", " ").capitalize()


def reference(module: ModuleType, source: str, title: str, names: list[str]) -> str:
    """A page: the module's sentence, a table of its names, and all of them."""
    about = (inspect.getdoc(importlib.import_module(source)) or "").partition("\n\n")[0]
    text = [
        f"# {title}",
        "",
        "```{eval-rst}",
        about,
        "",
        f".. currentmodule:: {module.__name__}",
        "",
        ".. autosummary::",
    ]
    text += ["", *(f"   {name}" for name in names), ""]
    for name in names:
        value = getattr(module, name)
        if inspect.isclass(value):
            text += [f".. autoclass:: {name}", "   :members:", ""]
        else:
            text += [f".. autofunction:: {name}", ""]
    if module.__name__ == "fastconv" and source == "fastconv.tuning":
        text += [".. autofunction:: fastconv._config.tuning", ""]
    return "\n".join([*text, "```", ""])
