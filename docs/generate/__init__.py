"""What the site computes when it is built: pictures, tables of measurements, the reference; nothing of it is kept."""

from __future__ import annotations

from pathlib import Path

from . import algorithms, compat, gallery, performance, pictures, reference
from .files import Folder


def everything(docs: Path) -> None:
    """Write `docs/generated`; files that would not change are left alone, so that Sphinx does not read them again."""
    folder = Folder(docs / "generated")
    pictures.write(folder)
    algorithms.write(folder)
    performance.write(folder, docs.parent / "bench" / "results")
    reference.write(folder)
    compat.write(folder)
    gallery.write(folder, docs.parent / "examples", docs / "gallery")
    folder.sweep()
