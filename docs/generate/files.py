"""The folder of generated files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure


class Folder:
    """A folder that holds what was written in this build and nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[Path] = set()

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, if it differs from the one that is there."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
        self._written.add(path)

    def draw(self, name: str, figure: Figure) -> None:
        """Write a figure as SVG, the same bytes every time."""
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None}, bbox_inches="tight")
        self.write(f"{name}.svg", stream.getvalue())

    def sweep(self) -> None:
        """Remove what an earlier build has left."""
        for path in self.path.rglob("*"):
            if path.is_file() and path not in self._written:
                path.unlink()


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], numbers_from: int = 1) -> str:
    """A table in markdown; columns from ``numbers_from`` on are aligned to the right."""
    rules = ["---" if number < numbers_from else "---:" for number in range(len(heads))]
    lines = [heads, rules, *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"
