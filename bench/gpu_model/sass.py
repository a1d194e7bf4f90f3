"""Machine code: a kernel's instructions with the bits that control their issue, its basic blocks and its loops."""

from __future__ import annotations

import glob
import itertools
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass

MISSING = "needs the disassembler: pip install nvidia-cuda-nvdisasm"
Loop = tuple[int, int]
"""Numbers of the first and the last instruction."""
NO_BOARD = 7


@dataclass(frozen=True)
class Instruction:
    """One instruction. ``write`` and ``read``: scoreboards that it sets; ``wait``: a bit for each that it waits for."""

    address: int
    op: str
    text: str
    stall: int
    write: int
    read: int
    wait: int
    target: int | None
    predicated: bool
    line: int = 0
    """Of the PTX; 0 where that is not known."""

    @property
    def name(self) -> str:
        """The operation without its modifiers."""
        return self.op.split(".")[0]


_SECTION = re.compile(r"\.section\s+\.text\.([\w$]+)")
_LINE = re.compile(r'//## File "\.nv_debug_ptx_txt", line (\d+)')
_LABEL = re.compile(r"(\.L_x_\d+):")
_LOW = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+)?\s*([A-Z][\w.]*)([^;]*);\s*/\* 0x([0-9a-f]+) \*/")
_HIGH = re.compile(r"^\s*/\* 0x([0-9a-f]{16}) \*/\s*$")
_CONTROL_SHIFT = 41


def disassembler() -> str | None:
    """The path of nvdisasm, from its wheel; None where it is not installed."""
    for place in sys.path:
        for path in glob.glob(os.path.join(place, "nvidia", "*", "bin", "nvdisasm")):
            return path
    return None


def disassemble(cubin: bytes) -> dict[str, list[Instruction]]:
    """The instructions of every kernel of a cubin."""
    tool = disassembler()
    if tool is None:
        raise ValueError(MISSING)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [tool, "-c", "-hex", "-gp", file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kernels: dict[str, list[str]] = {}
    name = ""
    for line in listing.splitlines():
        if section := _SECTION.search(line):
            name = section[1]
        elif name:
            kernels.setdefault(name, []).append(line)
    return {name: _parse(lines) for name, lines in kernels.items()}


def _parse(lines: list[str]) -> list[Instruction]:
    """An instruction is two lines of 64 bits; the control bits are at the top of the second."""
    labels: dict[str, int] = {}
    waiting: list[str] = []
    found: list[tuple[re.Match[str], int, int]] = []
    low, of_ptx = None, 0
    for line in lines:
        if ptx := _LINE.search(line):
            of_ptx = int(ptx[1])
        elif label := _LABEL.match(line):
            waiting.append(label[1])
        elif match := _LOW.search(line):
            low = match
            labels.update(dict.fromkeys(waiting, int(match[1], 16)))
            waiting.clear()
        elif low is not None and (high := _HIGH.match(line)):
            found.append((low, int(high[1], 16) >> _CONTROL_SHIFT, of_ptx))
            low = None
    return [_instruction(match, control, labels, line) for match, control, line in found]


def _instruction(match: re.Match[str], control: int, labels: dict[str, int], line: int) -> Instruction:
    op, text = match[3], f"{match[3]} {match[4].strip()}"
    if match[2] == "@!PT":  # never executed
        op = "NOP"
    label = re.search(r"\.L_x_\d+", text) if op.startswith("BRA") else None
    return Instruction(
        int(match[1], 16), op, text, control & 15, control >> 5 & 7, control >> 8 & 7, control >> 11 & 63,
        labels.get(label[0]) if label else None, bool(match[2]), line,
    )  # fmt: skip


def loops(code: list[Instruction]) -> list[Loop]:
    """Every loop, in the order of the text; not the jumps back from code that was put behind the end."""
    at = {instruction.address: i for i, instruction in enumerate(code)}
    found = [(at[x.target], i) for i, x in enumerate(code) if x.target is not None and x.target < x.address]
    ends = [i for i, x in enumerate(code) if x.op.startswith("EXIT") and not x.predicated]
    return [loop for loop in found if not any(loop[0] < end < loop[1] for end in ends)]


def outermost(found: list[Loop]) -> list[Loop]:
    """Those that lie in no other one."""
    return [loop for loop in found if not any(o[0] <= loop[0] and loop[1] <= o[1] for o in found if o != loop)]


def basic_blocks(code: list[Instruction]) -> list[tuple[int, int]]:
    """Numbers of the first instruction and of the one behind the last, in the order of the text."""
    at = {x.address: i for i, x in enumerate(code)}
    starts = {0, len(code), *(at[x.target] for x in code if x.target is not None)}
    starts |= {i + 1 for i, x in enumerate(code) if x.op.startswith(("BRA", "EXIT", "BRX", "RET", "CALL"))}
    return list(itertools.pairwise(sorted(starts)))
