"""What devices can do, which pipe of a multiprocessor an instruction keeps for how long, and how long results take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .sass import Instruction


@dataclass(frozen=True)
class Chip:
    """A device. Cycles are a scheduler's: a multiprocessor has four."""

    name: str
    architecture: str
    multiprocessors: int
    ghz: float
    copy_bytes_per_second: float
    """What copies reach of the memory's bandwidth."""
    fma_cycles: float = 1.0
    """A warp instruction on the FMA pipe."""
    double_cycles: float = 32.0
    """One on the pipe of float64."""
    mma_cycles: float = 8.0
    """HMMA.16816.F32: 2,048 multiply-adds of 16 bits."""
    byte_mma_cycles: float = 8.0
    """IMMA.16832: 4,096 multiply-adds of 8 bits."""
    l2_bytes_per_cycle: float = 64.0
    """Into one multiprocessor."""
    shared_bytes: int = 227 << 10
    """Of a multiprocessor; the first-level cache has the rest of ``l1_bytes``."""
    l1_bytes: int = 256 << 10
    l2_bytes: int = 50 << 20
    threads: int = 2048
    launch_seconds: float = 2.5e-6
    """An empty kernel (fit)."""

    def float32_peak(self) -> float:
        """FLOP/s on the FMA pipes."""
        return self.multiprocessors * 4 * 64 / self.fma_cycles * self.ghz * 1e9

    def tensor_peak(self, instruction: str = "HMMA") -> float:
        """FLOP/s of 16-bit products with float32 sums, by mma.sync ("HMMA") or by wgmma ("HGMMA"); TF32: half. "IMMA":
        those of bytes."""
        by_mma = {"HMMA": 2048 / self.mma_cycles, "IMMA": 4096 / self.byte_mma_cycles}
        multiply_adds = 512 * 2 if instruction == "HGMMA" else by_mma[instruction] * 2
        return self.multiprocessors * 4 * multiply_adds * self.ghz * 1e9


_SMALL: dict[str, Any] = {"shared_bytes": 99 << 10, "l1_bytes": 128 << 10, "threads": 1536, "byte_mma_cycles": 16.0}
# mma.sync on Hopper reaches 63 % of wgmma's 512 multiply-adds a cycle and scheduler: 2048 / 512 / 0.63 cycles.
_HOPPER: dict[str, Any] = {"mma_cycles": 6.35, "byte_mma_cycles": 6.35}
CHIPS = {
    "H200": Chip("H200", "sm_90", 132, 1.83, 4.3e12, double_cycles=2, **_HOPPER, l2_bytes=60 << 20),
    "H100": Chip("H100", "sm_90", 132, 1.755, 2.9e12, double_cycles=2, **_HOPPER),
    "H100PCIe": Chip("H100PCIe", "sm_90", 114, 1.395, 1.7e12, double_cycles=2, **_HOPPER),
    "A100": Chip("A100", "sm_80", 108, 1.41, 1.7e12, fma_cycles=2, double_cycles=4, shared_bytes=163 << 10,
                 l1_bytes=192 << 10, l2_bytes=40 << 20),
    "A6000": Chip("A6000", "sm_86", 84, 1.80, 0.68e12, mma_cycles=16, l2_bytes=6 << 20, **_SMALL),
    "RTX3080": Chip("RTX3080", "sm_86", 68, 1.80, 0.70e12, mma_cycles=32, l2_bytes=5 << 20, **_SMALL),
    "RTX4090": Chip("RTX4090", "sm_89", 128, 2.52, 0.92e12, mma_cycles=32, l2_bytes=72 << 20, **_SMALL),
}  # fmt: skip

MEMORY_LATENCY = 450.0
"""Cycles until a load from global memory is there."""
QUEUE_CYCLES = 40
"""Work that the queue to the memory pipes holds before a scheduler waits for it (fit)."""
BARRIER_CYCLES = 20
SHORT_LATENCY = 20
LATENCY = {"LDS": 29, "LDSM": 33, "LDC": 38, "S2R": 25, "MUFU": 22, "SHFL": 25, "LDL": 35, "ULDC": 12}
FROM_MEMORY = ("LDG", "LDGSTS", "ATOMG")
FROM_SHARED = ("LDS", "STS", "LDSM", "STSM", "ATOMS")
MATH = ("FFMA", "DFMA", "HMMA", "HGMMA", "IMMA")

_PIPES = {
    "fma": ("FFMA", "FADD", "FMUL"),
    "heavy": ("IMAD", "HFMA2", "HADD2", "HMUL2"),
    "double": ("DFMA", "DADD", "DMUL", "DSETP"),
    "tensor": ("HMMA", "HGMMA", "IMMA", "DMMA"),
    "xu": ("MUFU", "I2F", "F2I", "F2F", "POPC"),
    "mio": (
        *("LDG", "STG", "LDS", "STS", "LDSM", "LDGSTS", "LDL", "STL", "ATOMG", "RED", "ATOMS", "SHFL", "SYNCS"),
        *("UTMALDG", "LDC", "S2R", "S2UR"),
    ),
    "uniform": ("ULDC",),
    "branch": ("BRA", "BAR", "BSSY", "BSYNC", "EXIT", "WARPSYNC"),
}
_PIPE = {name: pipe for pipe, names in _PIPES.items() for name in names}
PIPES = (*_PIPES, "alu")


def latency(instruction: Instruction) -> float:
    """Cycles from an instruction's turn on its pipe to its result."""
    return LATENCY.get(instruction.name, MEMORY_LATENCY if instruction.name in FROM_MEMORY else SHORT_LATENCY)


def words(instruction: Instruction) -> int:
    """Of 32 bits, that a lane loads or stores; LDSM: tiles that a warp loads."""
    op = instruction.op
    if instruction.name == "LDSM":
        return int(op[-1]) if op[-1].isdigit() else 1
    return 4 if ".128" in op else 2 if ".64" in op else 1


def cost(chip: Chip, instruction: Instruction, wavefronts: float = 1.0) -> tuple[str, float]:
    """The pipe that a warp instruction keeps, and for how many cycles.

    ``wavefronts``: of 128 bytes each, that a warp's access takes, for each word of a lane.
    """
    name, op = instruction.name, instruction.op
    pipe = _PIPE.get(name, "uniform" if name.startswith("U") else "alu")
    if pipe == "fma":
        return pipe, chip.fma_cycles
    if name == "HGMMA" and (shape := re.search(r"64x(\d+)x\d+", op)):  # a warp's quarter at the full rate
        return pipe, int(shape[1]) / 2
    if name == "IMMA":
        return pipe, chip.byte_mma_cycles * (1.0 if "16832" in op else 0.5)
    if pipe == "tensor":
        return pipe, chip.mma_cycles * (1.0 if "16816" in op or "1688.F32.TF32" in op else 0.5)
    if pipe == "double":
        return pipe, chip.double_cycles
    if pipe == "xu":
        return pipe, 8
    if pipe == "mio" and name not in ("LDC", "S2R", "S2UR"):
        # The multiprocessor's one data path, shared by four schedulers.
        return pipe, max(2.0, 4 * words(instruction) * wavefronts)
    return pipe, 2
