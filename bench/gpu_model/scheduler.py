"""One scheduler of a multiprocessor: warps that issue in turn, a queue for every pipe, scoreboards, barriers."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from .chips import BARRIER_CYCLES, PIPES, QUEUE_CYCLES, Chip, cost, latency
from .sass import Instruction
from .stand_in import COMPILER, built

BOARDS = 6
_READ_CYCLES = 12
_SOURCE = Path(__file__).with_suffix(".c")
_KINDS = {"BAR": 1, "LDGSTS": 2, "LDGDEPBAR": 3, "DEPBAR": 4}

_STEP = np.dtype(
    [("cycles", "f8"), ("latency", "f8"), ("pipe", "i4"), ("stall", "i4"), ("write", "i4"), ("read", "i4"),
     ("wait", "i4"), ("kind", "i4"), ("board", "i4"), ("keep", "i4")]
)  # fmt: skip


class _Run(ctypes.Structure):
    _fields_ = (
        ("steps", ctypes.c_void_p),
        ("path", ctypes.c_void_p),
        ("length", ctypes.c_long),
        *((name, ctypes.c_int) for name in ("warps", "block_warps", "blocks", "pipes", "queued")),
        *((name, ctypes.c_double) for name in ("queue_cycles", "barrier_cycles", "read_cycles")),
        ("lost", ctypes.c_void_p),
    )


@cache
def _library() -> ctypes.CDLL:
    command = [*COMPILER, "-O2", "-std=gnu11", "-shared", "-fPIC"]

    def make(path: Path) -> None:
        subprocess.run([*command, str(_SOURCE), "-o", str(path), "-lm"], check=True)

    made = ctypes.CDLL(str(built(".so", (command, _SOURCE.read_bytes()), make)))
    made.run_scheduler.restype = ctypes.c_double
    return made


class Scheduler:
    """Instructions of a kernel on a chip.

    ``wavefronts``: for each word that a lane of a warp accesses, by the instruction's number.
    """

    def __init__(self, chip: Chip, code: Sequence[Instruction], wavefronts: dict[int, float]) -> None:
        self.steps = np.zeros(len(code), _STEP)
        for i, x in enumerate(code):
            pipe, cycles = cost(chip, x, wavefronts.get(i, 1.0))
            board, keep = _waited_copies(x)
            kind = _KINDS.get(x.name, 0) if x.name != "DEPBAR" or keep >= 0 else 0
            self.steps[i] = (cycles, latency(x), PIPES.index(pipe), x.stall, x.write, x.read, x.wait, kind, board, keep)

    def cycles(self, path: Sequence[int], warps: int, blocks: int = 1) -> float:
        """Until warps of so many blocks have issued the instructions of these numbers."""
        numbers = np.ascontiguousarray(path, np.int32)
        self.lost = np.zeros(len(self.steps))
        blocks = max(blocks, 1)
        run = _Run(
            self.steps.ctypes.data, numbers.ctypes.data, len(numbers), warps, max(warps // blocks, 1), blocks,
            len(PIPES), PIPES.index("mio"), QUEUE_CYCLES, BARRIER_CYCLES, _READ_CYCLES, self.lost.ctypes.data,
        )  # fmt: skip
        return float(_library().run_scheduler(ctypes.byref(run)))


def _waited_copies(x: Instruction) -> tuple[int, int]:
    """The scoreboard that a DEPBAR names, and how many copies may be left; -1: it names none."""
    board, left = re.search(r"SB(\d)", x.text), re.search(r"0x([0-9a-f]+)", x.text)
    return (int(board[1]), int(left[1], 16)) if x.name == "DEPBAR" and board and left else (0, -1)
