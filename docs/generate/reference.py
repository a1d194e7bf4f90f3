"""The reference: a page for each module that public names come from, so that no name can be forgotten."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType

from .files import Folder, table

PUBLIC = (
    ("fastconv", "fastconv"),
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
    "fastconv.functional.backward": "Gradients",
    "fastconv.functional.causal": "Causal convolution",
    "fastconv.functional.depthwise": "Depthwise convolution",
    "fastconv.functional.integer": "Integer convolution",
    "fastconv.functional.separable": "Separable convolution",
    "fastconv.pooling.avg": "Average pooling",
    "fastconv.pooling.max": "Max pooling",
    "fastconv.pooling.global": "Global pooling",
    "fastconv.pooling.adaptive_avg": "Adaptive average pooling",
    "fastconv.pooling.adaptive_max": "Adaptive max pooling",
    "fastconv.nn.onnx": "ONNX",
}


def write(folder: Folder) -> None:
    """`reference/MODULE.md` for every module that names are written in, and for every one that users import."""
    for name, heading in PUBLIC:
        module = importlib.import_module(name)
        pages, rows = [], []
        for source, names in by_source(module).items():
            title = title_of(source)
            page = f"{name}-{source.rpartition('.')[2].strip('_')}"
            folder.write(f"reference/{page}.md", reference(module, source, title, names))
            pages.append(page)
            rows.append((f"[{title}]({page}.md)", ", ".join(f"`{name}.{each}`" for each in names)))
        first = (inspect.getdoc(module) or "").partition("\n")[0]
        listing = "\n".join(pages)
        text = f"# {heading}\n\n{first}\n\n{table(('page', 'names'), rows, 2)}\n"
        folder.write(f"reference/{name}.md", f"{text}```{{toctree}}\n:hidden:\n\n{listing}\n```\n")
    listing = "\n".join(name for name, _ in PUBLIC)
    head = "# Reference\n\nEvery public name; those of the adapters are on {doc}`their pages <../../compat/index>`.\n"
    folder.write("reference/index.md", f"{head}\n```{{toctree}}\n:maxdepth: 2\n\n{listing}\n```\n")


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
