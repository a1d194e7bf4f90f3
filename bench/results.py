"""Results: rows of a comparison with what they depend on, in one JSON file that grows from run to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
FORMAT = 1

Row = dict[str, Any]


@dataclass
class Results:
    """Rows measured on one machine with one set of versions, one for each problem and number of threads."""

    facts: dict[str, Any]
    path: Path | None = None
    rows: list[Row] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @classmethod
    def opened(cls, name: str | None, facts: dict[str, Any]) -> Results:
        """Those of an earlier run, if the file exists; ValueError where that ran on something else."""
        facts = {**facts, "commit": _commit()}
        commands = [" ".join(["python -m bench", *sys.argv[1:]])]
        if name is None:
            return cls(facts)
        path = path_of(name)
        if not path.exists():
            return cls(facts, path, commands=commands)
        known = cls.read(path)
        differing = [key for key in facts.keys() | known.facts.keys() if facts.get(key) != known.facts.get(key)]
        if differing:
            raise ValueError(f"{path} was measured with a different {', '.join(sorted(differing))}; take another name")
        known.commands += commands
        return known

    @classmethod
    def read(cls, path: Path) -> Results:
        """Those of a file; ValueError where it holds none."""
        value = json.loads(path.read_text())
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"{path} holds no results of format {FORMAT}")
        return cls(value["facts"], path, value["rows"], value["commands"])

    def add(self, row: Row) -> None:
        """Put a row in, in the place of an earlier one of the same problem and threads."""
        key = row["problem"], row["threads"]
        for number, known in enumerate(self.rows):
            if (known["problem"], known["threads"]) == key:
                self.rows[number] = row
                return
        self.rows.append(row)

    def save(self) -> None:
        """Write the file, if there is one: whoever reads it finds the rows of before or those of now."""
        if self.path is None:
            return
        value = {"format": FORMAT, "facts": self.facts, "commands": self.commands, "rows": self.rows}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(value, indent=1) + "\n")
        beside.replace(self.path)

    def heading(self) -> str:
        """Machine and versions in one line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.facts["versions"].items())
        if "gpu" in self.facts:
            return f"{self.facts['gpu']}; {versions}"
        return f"{self.facts['cpu']}, {self.facts['fingerprint']['isa']}; {versions}"


def path_of(name: str) -> Path:
    """A file under results/, unless the name is a path."""
    return Path(name) if "/" in name else FOLDER / f"{name.removesuffix('.json')}.json"


def _commit() -> str:
    """The commit that is measured, with a + where files were changed since; "unknown" outside of a repository."""
    command = ["git", "-C", str(FOLDER.parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
