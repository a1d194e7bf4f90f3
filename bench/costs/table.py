"""Times of algorithms, one compressed CSV file per ISA level: what the cost models are fitted to."""

from __future__ import annotations

import csv
import io
import lzma
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastconv import ConvProblem

FOLDER = Path(__file__).parent / "measured"
FIELDS = ("threads", "problem", "algorithm", "params", "seconds")


@dataclass(frozen=True)
class Measured:
    """The median time of one algorithm with its parameters."""

    threads: int
    problem: ConvProblem
    algorithm: str
    params: Mapping[str, object]
    seconds: float


def path_of(level: str) -> Path:
    """The file of an ISA level."""
    return FOLDER / f"{level}.csv.xz"


def read(path: Path) -> list[Measured]:
    """All rows of a file; none where there is no file."""
    if not path.exists():
        return []
    with lzma.open(path, "rt", newline="") as file:
        return [
            Measured(
                int(row["threads"]),
                ConvProblem.parse(row["problem"]),
                row["algorithm"],
                dict(_params(row["params"])),
                float(row["seconds"]),
            )
            for row in csv.DictReader(file)
        ]


def append(path: Path, rows: Iterable[Measured]) -> None:
    """Add rows at the end, in one write: what is interrupted leaves whole problems."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if not path.exists():
        writer.writerow(FIELDS)
    writer.writerows(
        (row.threads, row.problem, row.algorithm, params_text(row.params), f"{row.seconds:.4g}") for row in rows
    )
    with path.open("ab") as file:
        file.write(lzma.compress(text.getvalue().encode()))


def pack(path: Path) -> None:
    """Write the file anew as one stream, which is far smaller."""
    text = lzma.decompress(path.read_bytes())
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    beside.replace(path)


def params_text(params: Mapping[str, object]) -> str:
    """``name=value`` words."""
    return " ".join(f"{name}={value}" for name, value in params.items())


def _params(text: str) -> Iterator[tuple[str, object]]:
    for word in text.split():
        name, _, value = word.partition("=")
        yield name, int(value) if value.lstrip("-").isdigit() else value
