"""What devices can do, which pipe of a multiprocessor an instruction keeps for how long, and how long results take."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    mma_cycles: float = 8.0
    """HMMA.16816.F32: 2,048 multiply-adds of 16 bits."""
    l2_bytes_per_cycle: float = 64.0
    """Into one multiprocessor."""
    shared_bytes: int = 227 << 10
    threads: int = 2048
    launch_seconds: float = 2.5e-6
    """An empty kernel (fit)."""

    def float32_peak(self) -> float:
        """FLOP/s on the FMA pipes."""
        return self.multiprocessors * 4 * 64 / self.fma_cycles * self.ghz * 1e9

    def tensor_peak(self, instruction: str) -> float:
        """FLOP/s of 16-bit products with float32 sums, by mma.sync ("HMMA") or by wgmma ("HGMMA")."""
        multiply_adds = 512 * 2 if instruction == "HGMMA" else 2048 / self.mma_cycles * 2
        return self.multiprocessors * 4 * multiply_adds * self.ghz * 1e9


# mma.sync on Hopper reaches 63 % of wgmma's 512 multiply-adds a cycle and scheduler: 2048 / 512 / 0.63 cycles.
CHIPS = {
    "H200": Chip("H200", "sm_90", 132, 1.83, 4.3e12, mma_cycles=6.35),
    "H100": Chip("H100", "sm_90", 132, 1.755, 2.9e12, mma_cycles=6.35),
    "A100": Chip("A100", "sm_80", 108, 1.41, 1.7e12, fma_cycles=2, shared_bytes=163 << 10),
    "A6000": Chip("A6000", "sm_86", 84, 1.80, 0.68e12, mma_cycles=16, shared_bytes=99 << 10, threads=1536),
    "RTX3080": Chip("RTX3080", "sm_86", 68, 1.80, 0.70e12, mma_cycles=32, shared_bytes=99 << 10, threads=1536),
    "RTX4090": Chip("RTX4090", "sm_89", 128, 2.52, 0.92e12, mma_cycles=32, shared_bytes=99 << 10, threads=1536),
}

MEMORY_LATENCY = 450.0
"""Cycles until a load from global memory is there."""
QUEUE_CYCLES = 40
"""Work that the queue to the memory pipes holds before a scheduler waits for it (fit)."""
BARRIER_CYCLES = 20
SHORT_LATENCY = 20
LATENCY = {"LDS": 29, "LDSM": 33, "LDC": 38, "S2R": 25, "MUFU": 22, "SHFL": 25, "LDL": 35, "ULDC": 12}
FROM_MEMORY = ("LDG", "LDGSTS", "ATOMG")
MATH = ("FFMA", "HMMA", "HGMMA")

_PIPES = {
    "fma": ("FFMA", "FADD", "FMUL"),
    "heavy": ("IMAD", "HFMA2", "HADD2", "HMUL2"),
    "tensor": ("HMMA", "HGMMA", "IMMA"),
    "xu": ("MUFU", "I2F", "F2I", "F2F", "POPC"),
    "mio": (
        *("LDG", "STG", "LDS", "STS", "LDSM", "LDGSTS", "LDL", "STL", "ATOMG", "RED", "ATOMS", "SHFL", "SYNCS"),
        *("UTMALDG", "LDC", "S2R", "S2UR"),
    ),
    "uniform": ("ULDC",),
    "branch": ("BRA", "BAR", "BSSY", "BSYNC", "EXIT", "WARPSYNC"),
}
_PIPE = {name: pipe for pipe, names in _PIPES.items() for name in names}
Wavefronts = dict[str, float]
"""Wavefronts of shared memory per warp instruction, by "LDS.4" (words a lane) and its like."""


def latency(instruction: Instruction) -> float:
    """Cycles from an instruction's turn on its pipe to its result."""
    return LATENCY.get(instruction.name, MEMORY_LATENCY if instruction.name in FROM_MEMORY else SHORT_LATENCY)


def cost(chip: Chip, instruction: Instruction, wavefronts: Wavefronts) -> tuple[str, float]:
    """The pipe that a warp instruction keeps, and for how many cycles."""
    name, op = instruction.name, instruction.op
    pipe = _PIPE.get(name, "uniform" if name.startswith("U") else "alu")
    if pipe == "fma":
        return pipe, chip.fma_cycles
    if name == "HGMMA" and (shape := re.search(r"64x(\d+)x\d+", op)):  # a warp's quarter at the full rate
        return pipe, int(shape[1]) / 2
    if pipe == "tensor":
        return pipe, chip.mma_cycles * (1.0 if "16816" in op or "1688.F32.TF32" in op else 0.5)
    if pipe == "xu":
        return pipe, 8
    if pipe == "mio" and name not in ("LDC", "S2R", "S2UR"):
        words = 4 if ".128" in op or name == "LDSM" else 2 if ".64" in op else 1
        waves = wavefronts.get(f"{name}.{words}", words) if name in ("LDS", "STS") else words
        return pipe, max(2.0, 4 * waves)  # the multiprocessor's one data path, shared by four schedulers
    return pipe, 2
