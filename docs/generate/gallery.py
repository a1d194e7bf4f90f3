"""The gallery: a page for each example, of its own words, its picture and its text."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

import fastconv

from .files import Folder

QUICK = ("photo_filters",)
"""Examples that take a second or two: run when the site is built. The others' pictures are in `docs/gallery`."""
PICTURES = {"looking_in": ("filters", "saliency", "grad_cam")}
"""Of examples that write several."""


def write(folder: Folder, examples: Path, pictures: Path) -> None:
    """`gallery/NAME.md` for each example, and `gallery/index.md`."""
    cards, names = [], []
    for path in sorted(examples.glob("*.py")):
        name = path.stem
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        title, _, rest = text.partition("\n\n")
        shown = []
        for picture in PICTURES.get(name, (name,)):
            data = drawn(path) if name in QUICK else (pictures / f"{picture}.png").read_bytes()
            file = f"{picture}.{'jpg' if name in QUICK else 'png'}"
            folder.write(f"gallery/{file}", data)
            shown.append(f"```{{image}} {file}\n:alt: {picture}\n```\n")
        words = title.replace("\n", " ")
        heading = name.replace("_", " ").capitalize()
        body = [
            f"# {heading}",
            "",
            words,
            "",
            *shown,
            markdown(rest),
            "",
            "```{literalinclude} " + relative(path),
            ":start-at: from __future__",
            "```",
            "",
        ]
        folder.write(f"gallery/{name}.md", "\n".join(body))
        cards += [
            f"```{{grid-item-card}} {heading}",
            f":link: {name}",
            ":link-type: doc",
            f":img-top: {file}",
            "",
            words,
            "```",
            "",
        ]
        names.append(name)
    listing = "\n".join(names)
    head = (
        "# Gallery\n\nThe programs in `examples/`, whole, with what they draw. All data come with packages of\n"
        '`pip install ".[examples]"`.\n'
    )
    grid = "\n".join(["`````{grid} 1 2 2 2", ":gutter: 3", "", *cards, "`````", ""])
    folder.write("gallery/index.md", f"{head}\n{grid}\n```{{toctree}}\n:hidden:\n\n{listing}\n```\n")


def relative(path: Path) -> str:
    """The example from its page."""
    return f"../../../examples/{path.name}"


def markdown(text: str) -> str:
    """What follows the first sentence of a docstring, its command as a block of code."""
    return "\n".join(f"```\n{line.strip()}\n```" if line.startswith("    ") else line for line in text.splitlines())


def drawn(example: Path) -> bytes:
    """The picture that an example draws now."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        where = {"PYTHONPATH": str(Path(fastconv.__file__).parents[1])}
        command = [sys.executable, example, "--output", path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | where)
        stream = io.BytesIO()
        Image.open(path).convert("RGB").save(stream, "JPEG", quality=85)
        return stream.getvalue()
