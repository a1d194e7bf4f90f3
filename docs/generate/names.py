"""Names in the text: a literal that reads as one of fastconv's names becomes a link, and a wrong one a warning."""

from __future__ import annotations

import importlib
import re
from importlib.util import find_spec

from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

PEERS = ("autograd", "dask", "jax", "keras", "onnx", "sigpy", "torch")
NAME = re.compile(r"(?:fastconv|nn)(?:\.[A-Za-z_]\w*)+")
LOG = logging.getLogger(__name__)


def absent_peers() -> list[str]:
    """Clients of fastconv.compat that are not installed, for autodoc to do without."""
    return [name for name in PEERS if find_spec(name) is None]


def found(name: str) -> object | None:
    """What a dotted name stands for; None: nothing."""
    parts = name.split(".")
    for number in range(len(parts), 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:number]))
        except ImportError:
            continue
        for part in parts[number:]:
            value = getattr(value, part, None)
        return value
    return None


def link(app: object, tree: nodes.document) -> None:
    """Sphinx's event ``doctree-read``."""
    for literal in list(tree.findall(nodes.literal)):
        text = literal.astext()
        name = text.partition("(")[0]
        if not NAME.fullmatch(name) or isinstance(literal.parent, (nodes.reference, addnodes.pending_xref)):
            continue
        full = f"fastconv.{name}" if name.startswith("nn.") else name
        if full.startswith(("fastconv.compat", "fastconv.so")):
            continue
        if found(full) is None:
            LOG.warning("fastconv has no %s", full, location=literal)
            continue
        reference = addnodes.pending_xref(
            "", refdomain="py", reftype="obj", reftarget=full, refexplicit=True, refwarn=False
        )
        literal.replace_self(reference)
        reference += literal
