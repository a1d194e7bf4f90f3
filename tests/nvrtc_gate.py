"""Kernels compiled for every architecture that they claim; their registers and local memory held to a written table.

``python tests/nvrtc_gate.py`` writes the tables anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from emulated_cupy import nvrtc
from emulated_cupy.nvrtc import Resources

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""Those that code without special instructions is made for; sm_90a has wgmma."""


@dataclass(frozen=True)
class Variant:
    """One kernel with one choice of its parameters."""

    name: str
    """Of the row in the table."""
    kernel: str
    source: str
    architectures: tuple[str, ...]


def from_architecture(least: int) -> tuple[str, ...]:
    """The architectures from that one on, as 80."""
    return tuple(arch for arch in ARCHITECTURES if int(arch[3:]) >= least)


def compile_all(variants: Iterable[Variant]) -> dict[tuple[str, str], Resources | nvrtc.CompileError]:
    """What each (variant, architecture) takes, or why it does not compile. Compiles on all cores."""

    def used(variant: Variant, arch: str) -> Resources | nvrtc.CompileError:
        try:
            return nvrtc.resources(nvrtc.cubin(variant.source, arch))[variant.kernel]
        except nvrtc.CompileError as failed:
            return failed

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {(v.name, arch): pool.submit(used, v, arch) for v in variants for arch in v.architectures}
        return {key: job.result() for key, job in jobs.items()}


@dataclass(frozen=True)
class Table:
    """What every kernel took when the table was written, and by which NVRTC."""

    version: tuple[int, int]
    rows: dict[tuple[str, str], Resources]

    @classmethod
    def read(cls, path: Path) -> Table:
        """From a file that ``write`` has written."""
        header, _, *lines = path.read_text().splitlines()
        major, minor = header.rsplit(" ", 1)[1].split(".")
        rows = {}
        for line in lines:
            name, arch, *numbers = line.split()
            rows[name, arch] = Resources(*map(int, numbers))
        return cls((int(major), int(minor)), rows)

    def write(self, path: Path) -> None:
        """To a file, for people to read as well."""
        lines = [
            "# by NVRTC {}.{}".format(*self.version),
            f"# {'variant':42s} arch   registers  local bytes  shared bytes",
        ]
        for (name, arch), used in sorted(self.rows.items()):
            lines.append(f"{name:44s} {arch:7s} {used.registers:8d} {used.local_bytes:12d} {used.shared_bytes:13d}")
        path.write_text("\n".join(lines) + "\n")

    def allows(self, key: tuple[str, str], used: Resources) -> bool:
        """Whether a kernel takes what is written; of another NVRTC than the table's: not much more."""
        written = self.rows[key]
        if nvrtc.version() == self.version:
            return used == written
        return used.registers <= written.registers + 16 and used.local_bytes <= written.local_bytes + 64


def main() -> int:
    """Write the tables of the example kernels and of the plain ones."""
    sys.path.append(str(Path(__file__).parent.parent))  # last: an installed fastconv goes before the sources
    from gpu_kernels.tables import TABLES

    return max([_write(path, variants) for variants, path in TABLES.values()])


def _write(path: Path, variants: Iterable[Variant]) -> bool:
    """Write a table; whether a kernel did not compile."""
    used = compile_all(variants)
    failed = {key: why for key, why in used.items() if isinstance(why, nvrtc.CompileError)}
    for key, why in failed.items():
        print(*key, why, sep="\n", file=sys.stderr)
    rows = {key: row for key, row in used.items() if isinstance(row, Resources)}
    Table(nvrtc.version(), rows).write(path)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
