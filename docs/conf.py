"""Settings of the site, for Sphinx: `sphinx-build -W docs FOLDER`, with what `pip install ".[docs]"` brings."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent))  # for bench; last, so that an installed fastconv goes before the sources

os.environ["FASTCONV_CACHE_DIR"] = tempfile.mkdtemp()  # nothing is tuned

import generate  # noqa: E402
from generate import names  # noqa: E402

import fastconv  # noqa: E402

project = "fastconv"
author = "the authors of fastconv"
copyright = f"2026, {author}"
version = release = fastconv.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["generate", "_static", "generated/algorithms", "generated/compat"]  # the last two are included
suppress_warnings = ["myst.header"]  # included pieces begin at the level of where they go
myst_enable_extensions = ["colon_fence", "dollarmath", "attrs_block", "attrs_inline"]
myst_heading_anchors = 3

autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_mock_imports = names.absent_peers()
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"fastconv {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5e8a", "color-brand-content": "#0b5e8a"},
    "dark_css_variables": {"color-brand-primary": "#6fb7dd", "color-brand-content": "#6fb7dd"},
}


def setup(app: object) -> None:
    """What is drawn and computed at build time, and names in the text as links."""
    app.connect("builder-inited", lambda app: generate.everything(HERE))  # type: ignore[attr-defined]
    app.connect("doctree-read", names.link)  # type: ignore[attr-defined]
