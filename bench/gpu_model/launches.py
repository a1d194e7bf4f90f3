"""A launch: blocks in waves over the multiprocessors, each as long as one scheduler takes, against the bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .chips import MATH, Chip, Wavefronts
from .sass import Instruction, Loop, issued, loops, outermost
from .scheduler import Scheduler

REGISTERS = 65536
RESERVED_SHARED_BYTES = 1024
MAX_BLOCKS = 32
TAIL = 0.3
"""What a last wave that is not full costs, where there are many (fit)."""
MANY_WAVES = 4
FEW_TRIPS = 4
"""Of a loop in the main loop; more are extrapolated from these and half of them."""
AFTER_LOOP = 400
"""Instructions behind the main loop that count as its epilogue, at most."""


@dataclass(frozen=True)
class Code:
    """A kernel's machine code and what it takes of a multiprocessor."""

    instructions: list[Instruction]
    registers: int
    local_bytes: int
    static_shared_bytes: int


@dataclass(frozen=True)
class Launch:
    """What is launched, of a whole layer."""

    block_threads: int
    blocks: int
    dynamic_shared_bytes: int
    flops: float
    memory_bytes: float
    """From and to the device's memory, each once."""
    l2_bytes: float
    """From L2 into the multiprocessors."""
    trips: Callable[[list[Instruction], list[Loop]], dict[Loop, int]]
    """How often each loop is run."""
    wavefronts: Wavefronts


@dataclass(frozen=True)
class Prediction:
    """How long a launch takes, and of what it is made."""

    seconds: float
    compute_seconds: float
    memory_seconds: float
    l2_seconds: float
    registers: int
    local_bytes: int
    resident_blocks: int
    waves: float
    math_share: float
    """Multiply-adds among the main loop's instructions."""

    def limit(self) -> str:
        """The longest part."""
        parts = {"issue and latency": self.compute_seconds, "memory": self.memory_seconds, "L2": self.l2_seconds}
        return max(parts, key=lambda name: parts[name])


def steps_of_main_loop(steps: int) -> Callable[[list[Instruction], list[Loop]], dict[Loop, int]]:
    """The longest outer loop is run so often, others once."""

    def trips(code: list[Instruction], found: list[Loop]) -> dict[Loop, int]:
        longest = max(outermost(found), key=lambda loop: loop[1] - loop[0], default=None)
        return {loop: steps if loop == longest else 1 for loop in found}

    return trips


def steps_in_runs(steps: int, runs: int) -> Callable[[list[Instruction], list[Loop]], dict[Loop, int]]:
    """The longest outer loop is run ``runs`` times, and the longest loop inside it ``steps`` times in all."""

    def trips(code: list[Instruction], found: list[Loop]) -> dict[Loop, int]:
        def longest(loops: list[Loop]) -> Loop | None:
            return max(loops, key=lambda loop: loop[1] - loop[0], default=None)

        outer = longest(outermost(found))
        inner = longest([loop for loop in found if outer and loop != outer and outer[0] <= loop[0] <= outer[1]])
        return {loop: runs if loop == outer else max(steps // runs, 1) if loop == inner else 1 for loop in found}

    return trips


def resident_blocks(chip: Chip, code: Code, launch: Launch) -> int:
    """Blocks that a multiprocessor holds at a time."""
    registers = -(-code.registers // 8) * 8
    shared = launch.dynamic_shared_bytes + code.static_shared_bytes + RESERVED_SHARED_BYTES
    by_registers = REGISTERS // (registers * launch.block_threads)
    return max(1, min(by_registers, chip.shared_bytes // shared, chip.threads // launch.block_threads, MAX_BLOCKS))


def predict(chip: Chip, code: Code, launch: Launch) -> Prediction:
    """How long the launch takes on the chip."""
    resident = resident_blocks(chip, code, launch)
    cycles, math_share = _cycles(chip, code.instructions, launch, resident)
    waves = launch.blocks / (chip.multiprocessors * resident)
    whole, last = divmod(-(-launch.blocks // chip.multiprocessors), resident)
    if waves > MANY_WAVES:  # multiprocessors take blocks as they finish: the last wave is shared out
        cycles *= waves + TAIL
    elif last:  # fewer blocks of a multiprocessor are each done sooner
        cycles = whole * cycles + _cycles(chip, code.instructions, launch, last)[0]
    else:
        cycles *= whole
    compute = cycles / (chip.ghz * 1e9)
    memory = launch.memory_bytes / chip.copy_bytes_per_second
    busy = min(chip.multiprocessors, launch.blocks)
    l2 = launch.l2_bytes / (chip.l2_bytes_per_cycle * busy * chip.ghz * 1e9)
    seconds = max(compute, memory, l2) + chip.launch_seconds
    return Prediction(
        seconds, compute, memory, l2, code.registers, code.local_bytes, resident, waves, math_share
    )  # fmt: skip


def _cycles(chip: Chip, code: list[Instruction], launch: Launch, resident: int) -> tuple[float, float]:
    """Cycles of one wave on a scheduler, and the share of multiply-adds in the main loop."""
    warps = max(1, resident * launch.block_threads // 32 // 4)
    blocks = max(1, warps // max(1, launch.block_threads // 128))

    def cycles(path: list[Instruction]) -> float:
        return Scheduler(chip, path, warps, blocks, launch.wavefronts).run()

    trips = launch.trips(code, loops(code))
    main = max(outermost(list(trips)), key=lambda loop: (loop[1] - loop[0]) * trips[loop], default=None)
    if main is None:
        path = code[: next((i for i, x in enumerate(code) if x.name == "EXIT" and not x.predicated), len(code)) + 1]
        return cycles(path), _math_share(path)
    inner = max((loop for loop in trips if loop != main and main[0] <= loop[0] <= main[1]), key=trips.__getitem__,
                default=None)  # fmt: skip

    def steady(inner_trips: int) -> float:
        body = issued(code, {**trips, inner: inner_trips} if inner else trips, *main)
        return (cycles(body * 4) - cycles(body * 2)) / 2

    few = min(trips[inner], FEW_TRIPS) if inner else 1
    step = steady(few)
    if inner and trips[inner] > few:
        step += (step - steady(few // 2)) / (few - few // 2) * (trips[inner] - few)
    # The steady state, and what is outside of it once.
    outside = cycles(code[: main[0]] + code[main[1] + 1 : main[1] + 1 + AFTER_LOOP])
    share = _math_share(code[inner[0] : inner[1] + 1] if inner and trips[inner] > 1 else issued(code, trips, *main))
    return step * trips[main] + outside, share


def _math_share(path: list[Instruction]) -> float:
    return sum(x.name in MATH for x in path) / len(path)
