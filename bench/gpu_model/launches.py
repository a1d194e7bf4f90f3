"""A launch: blocks in waves over the multiprocessors, each as long as one scheduler takes, against the bytes."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastconv._gpu.launch import Launch

from .chips import FROM_SHARED, MATH, Chip, cost, words
from .regions import Region, flat, frequencies, levels, regions, without
from .sass import Instruction
from .scheduler import Scheduler
from .trace import SECTOR_BYTES, Code, Trace, compiled, traced

REGISTERS = 65536
RESERVED_SHARED_BYTES = 1024
MAX_BLOCKS = 32
TAIL = 0.3
"""What a last wave that is not full costs, where there are many (fit)."""
MANY_WAVES = 4
FEW_TRIPS = 2
"""Of a loop, that are simulated with what is around it; more cost what a trip costs in the steady state."""
BUSY = 0.8
"""Of its cycles: a pipe that is kept for so long limits the launch."""


@dataclass(frozen=True)
class Prediction:
    """How long a launch takes, and of what it is made."""

    kernel: str
    seconds: float
    compute_seconds: float
    memory_seconds: float
    l2_seconds: float
    launch_seconds: float
    registers: int
    local_bytes: int
    resident_blocks: int
    waves: float
    math_share: float
    """Multiply-adds among the instructions."""
    pipe: str
    """The one that is kept longest, or "issue"."""
    pipe_share: float
    """Of the cycles."""
    memory_bytes: float
    l2_bytes: float
    sector_bytes: float
    """As ``l2_bytes``, with a first-level cache that forgets nothing."""

    def limit(self) -> str:
        """What takes longest."""
        parts = {"compute": self.compute_seconds, "memory": self.memory_seconds, "L2": self.l2_seconds,
                 "launch": self.launch_seconds}  # fmt: skip
        longest = max(parts, key=lambda name: parts[name])
        if longest != "compute":
            return longest
        if self.pipe_share >= BUSY:
            return {"mio": "shared memory", "fma": "FMA", "heavy": "integers"}.get(self.pipe, self.pipe)
        return "few blocks" if self.waves * self.resident_blocks < 1 else "waves" if self.waves < 1 else "latency"


def resident_blocks(chip: Chip, code: Code, threads: int, dynamic_shared_bytes: int) -> int:
    """Blocks that a multiprocessor holds at a time."""
    registers = -(-code.registers // 8) * 8
    shared = dynamic_shared_bytes + code.static_shared_bytes + RESERVED_SHARED_BYTES
    by_registers = REGISTERS // (registers * -(-threads // 32) * 32)
    return max(1, min(by_registers, chip.shared_bytes // shared, chip.threads // threads, MAX_BLOCKS))


def memory_bytes(trace: Trace, blocks: int, sizes: Mapping[str, int], cached: frozenset[str] = frozenset()) -> float:
    """From and to the device's memory: what blocks touch, of each array once; nothing of those that L2 holds."""
    touched = ((role, sectors * blocks * SECTOR_BYTES) for role, sectors in trace.touched.items())
    return sum(min(moved, sizes[role]) for role, moved in touched if role not in cached)


def _l2_bytes(chip: Chip, code: Code, trace: Trace, resident: int, dynamic_shared_bytes: int) -> float:
    """Of a block. The first-level cache serves what it has room for."""
    room = chip.l1_bytes - resident * (dynamic_shared_bytes + code.static_shared_bytes)
    fits = trace.loaded_once * SECTOR_BYTES * resident <= room
    return ((trace.loaded_once if fits else trace.loaded) + trace.stored) * SECTOR_BYTES


def predict(chip: Chip, launch: Launch, sizes: Mapping[str, int], cached: frozenset[str] = frozenset()) -> Prediction:
    """How long a launch takes on arrays of so many bytes, by role; L2 holds ``cached``."""
    architecture = chip.architecture + ("a" if "wgmma" in launch.source else "")
    code = compiled(launch.source, launch.kernel, architecture)
    trace = traced(launch, architecture, sizes)
    threads, blocks = math.prod(launch.block), math.prod(launch.grid)
    resident = resident_blocks(chip, code, threads, launch.shared_bytes)
    counted = (tuple(found.items()) for found in (trace.executed, trace.shared, trace.sectors))
    kernel = _kernel(chip, launch.source, launch.kernel, architecture, *counted)
    waves = blocks / (chip.multiprocessors * resident)
    whole, last = divmod(-(-blocks // chip.multiprocessors), resident)
    if waves > MANY_WAVES:  # multiprocessors take blocks as they finish: the last wave is shared out
        cycles = (waves + TAIL) * kernel.cycles(resident, threads)
    else:  # fewer blocks of a multiprocessor are each done sooner
        cycles = whole * kernel.cycles(resident, threads) if whole else 0.0
        cycles += kernel.cycles(last, threads) if last else 0.0
    busiest, kept = kernel.busiest(max(threads, 32) / 128 * blocks / chip.multiprocessors)
    moved = memory_bytes(trace, blocks, sizes, cached)
    l2 = _l2_bytes(chip, code, trace, resident, launch.shared_bytes) * blocks
    of_l2 = l2 / (chip.l2_bytes_per_cycle * min(chip.multiprocessors, blocks) * chip.ghz * 1e9)
    compute, memory = cycles / (chip.ghz * 1e9), moved / chip.copy_bytes_per_second
    return Prediction(
        launch.kernel, max(compute, memory, of_l2) + chip.launch_seconds, compute, memory, of_l2, chip.launch_seconds,
        code.registers, code.local_bytes, resident, waves, kernel.math_share, busiest, min(kept / cycles, 1.0), moved,
        l2, (trace.loaded_once + trace.stored) * blocks * SECTOR_BYTES,
    )  # fmt: skip


class Kernel:
    """A kernel's code with the trips of one launch."""

    def __init__(self, chip: Chip, code: Sequence[Instruction], executed: Mapping[int, float],
                 shared: Mapping[int, float], sectors: Mapping[int, float]) -> None:  # fmt: skip
        often = frequencies(code, executed)
        waves = {i: _wavefronts(x, shared, sectors) for i, x in enumerate(code)}
        self._scheduler = Scheduler(chip, code, waves)
        self._whole = regions(code, often)
        self._found: dict[tuple[int, int], float] = {}
        pipes: dict[str, float] = {"issue": sum(often)}
        for i, (x, times) in enumerate(zip(code, often, strict=True)):
            pipe, cycles = cost(chip, x, waves.get(i, 1.0))
            pipes[pipe] = pipes.get(pipe, 0.0) + times * cycles
        self._pipes = pipes
        products = sum(times for x, times in zip(code, often, strict=True) if x.name in MATH)
        self.math_share = products / (sum(often) or 1)

    def busiest(self, warps: float) -> tuple[str, float]:
        """The pipe that so many warps keep longest, and for how many cycles."""
        pipe = max(self._pipes, key=lambda name: self._pipes[name])
        return pipe, self._pipes[pipe] * warps

    def cycles(self, blocks: int, threads: int) -> float:
        """Of a multiprocessor that so many blocks run on."""
        blocks_here, warps = _of_scheduler(blocks, threads)
        if (blocks_here, warps) not in self._found:
            shares = [*levels(self._whole), 1.0]
            below = [0.0, *shares]
            self._found[blocks_here, warps] = sum(
                (share - previous) * self._total(without(self._whole, share), warps, blocks_here)
                for previous, share in zip(below, shares, strict=False)
            )
        return self._found[blocks_here, warps]

    def _total(self, region: Region, warps: int, blocks: int) -> float:
        simulated = self._scheduler.cycles(flat(region, FEW_TRIPS), warps, blocks)
        return simulated + self._beyond(region, warps, blocks)

    def _beyond(self, region: Region, warps: int, blocks: int) -> float:
        """Trips that are not simulated."""
        cycles = 0.0
        for item in region.items:
            if isinstance(item, Region):
                few = min(max(round(item.times), 1), FEW_TRIPS)
                inside = self._beyond(item, warps, blocks)
                cycles += few * inside
                if item.times != few:
                    body = flat(item, FEW_TRIPS)
                    steady = (self._scheduler.cycles(body * 4, warps, blocks)
                              - self._scheduler.cycles(body * 2, warps, blocks)) / 2  # fmt: skip
                    cycles += (item.times - few) * (steady + inside)
        return cycles


def _of_scheduler(blocks: int, threads: int) -> tuple[int, int]:
    """Blocks and warps of one of the four schedulers; small blocks are on some of them."""
    warps = max(1, round(blocks * -(-threads // 32) / 4))
    return max(1, warps // max(1, threads // 128)), warps


@functools.lru_cache(256)
def _kernel(chip: Chip, source: str, kernel: str, arch: str, *counted: tuple[tuple[int, float], ...]) -> Kernel:
    code = compiled(source, kernel, arch).instructions
    return Kernel(chip, code, *map(dict, counted))


def _wavefronts(x: Instruction, shared: Mapping[int, float], sectors: Mapping[int, float]) -> float:
    """For each word; a wavefront is 128 bytes of one row of banks, or four sectors."""
    if x.name in FROM_SHARED:
        return shared.get(x.line, 1.0)
    return max(1.0, sectors.get(x.line, 0.0) / 4 / words(x))
