"""What a launch does, counted: a few of its blocks run on the machine for PTX, over memory that nobody has filled.

Grid, arguments and distances are those of the whole layer; the pages of its arrays are zeros that are there once.
"""

from __future__ import annotations

import ctypes
import json
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastconv._gpu.launch import Launch, Workspace
from fastconv._gpu.tensor_map import TensorMap

from .sass import Instruction, disassemble
from .stand_in import built, emulated_cupy, nvrtc, ptx

SECTOR_BYTES = 32
SAMPLES = 4
"""Blocks that are run of a launch, far from each other."""
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0)
_GOLDEN = (math.sqrt(5) - 1) / 2


class TraceError(RuntimeError):
    """The machine stopped a launch."""


@dataclass(frozen=True)
class Code:
    """A kernel's machine code and what it takes of a multiprocessor."""

    instructions: list[Instruction]
    registers: int
    local_bytes: int
    static_shared_bytes: int


@dataclass(frozen=True)
class Trace:
    """What the blocks of a launch do, on average."""

    executed: Mapping[int, float]
    """How often each warp executes a line of the PTX."""
    shared: Mapping[int, float]
    """Wavefronts of an access to shared memory, by the fewest that there could be, by line."""
    sectors: Mapping[int, float]
    """Of an access to global memory, by line."""
    loaded: float
    """Sectors that a block loads."""
    loaded_once: float
    """Those that it has not touched before."""
    stored: float
    touched: Mapping[str, float]
    """Sectors that a block touches, by role."""


@lru_cache(64)
def compiled(source: str, kernel: str, architecture: str) -> Code:
    """A kernel's machine code."""
    cubin = nvrtc.cubin(source, architecture, nvrtc.LINES)
    used = nvrtc.resources(cubin)[kernel]
    return Code(disassemble(cubin)[kernel], used.registers, used.local_bytes, used.shared_bytes)


@lru_cache(8)
def _runnable(source: str, kernel: str, architecture: str) -> ptx.Kernel:
    return ptx.load(nvrtc.carried_ptx(nvrtc.cubin(source, architecture, nvrtc.LINES)))[kernel]


def sampled_blocks(blocks: int) -> list[int]:
    """Numbers of blocks that stand for all; they avoid the period of any grid."""
    if blocks <= SAMPLES:
        return list(range(blocks))
    return sorted({int((0.5 + i * _GOLDEN) % 1 * blocks) for i in range(SAMPLES)})


def traced(launch: Launch, architecture: str, sizes: Mapping[str, int]) -> Trace:
    """A launch on arrays of so many bytes, by role; kept for the next time, where no argument is an array at hand."""
    if any(isinstance(argument, emulated_cupy.ndarray) for argument in launch.arguments):
        return _trace(launch, architecture, sizes)
    arguments = [
        argument if isinstance(argument, (str, Workspace, TensorMap)) else emulated_cupy.raw.argument_bytes(argument)
        for argument in launch.arguments
    ]
    key = (launch.kernel, launch.source, launch.grid, launch.block, launch.shared_bytes, arguments, architecture,
           sorted(sizes.items()), SAMPLES, nvrtc.version(), _OWN_TEXT)  # fmt: skip

    def make(path: Path) -> None:
        path.write_text(json.dumps(_trace(launch, architecture, sizes).__dict__))

    kept = json.loads(built(".trace", key, make).read_text())
    for name in ("executed", "shared", "sectors"):
        kept[name] = {int(line): value for line, value in kept[name].items()}
    return Trace(**kept)


_OWN_TEXT = Path(__file__).read_bytes()


def _trace(launch: Launch, architecture: str, sizes: Mapping[str, int]) -> Trace:
    grid, block = ((*of, 1, 1)[:3] for of in (launch.grid, launch.block))
    blocks = sampled_blocks(math.prod(grid))
    memory = {role: mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
              for role, size in sizes.items() if size}  # fmt: skip
    held = {role: (ctypes.c_char * len(of)).from_buffer(of) for role, of in memory.items()}
    places = {role: ctypes.addressof(of) for role, of in held.items()}
    ranges = [(places[role], places[role] + sizes[role]) for role in places]
    if not all(isinstance(argument, (str, Workspace, TensorMap)) for argument in launch.arguments):
        ranges += emulated_cupy.cuda.memory.live_ranges(0)
    kernel = _runnable(launch.source, launch.kernel, architecture)
    values = [_argument_bytes(argument, places) for argument in launch.arguments]
    message = kernel.run(grid, block, values, launch.shared_bytes, ranges, blocks=blocks)
    if message:
        raise TraceError(f"{launch.kernel}: {message}")
    return _counted(kernel.counts, len(blocks), math.prod(block), {place: role for role, place in places.items()})


def _argument_bytes(argument: Any, places: Mapping[str, int]) -> bytes:
    if isinstance(argument, str):
        return places.get(argument, 0).to_bytes(8, "little")
    if isinstance(argument, Workspace):
        return (places.get("workspace", 0) + argument.offset_bytes).to_bytes(8, "little")
    if isinstance(argument, TensorMap):
        return argument.at(places).tobytes()
    of_value: bytes = emulated_cupy.raw.argument_bytes(argument)
    return of_value


def _counted(counts: ptx.Counts, blocks: int, threads: int, roles: Mapping[int, str]) -> Trace:
    warps = blocks * -(-threads // 32)
    shared: dict[int, float] = {}
    sectors: dict[int, float] = {}
    loaded = once = stored = 0
    for access in counts.accesses():
        words = access.text.split(" ")[1 if access.text.startswith("@") else 0].split(".")
        is_shared = any(word.startswith("shared") for word in words) and words[0] != "cp"
        if is_shared:
            shared[access.line] = access.moved / access.least
            continue
        sectors[access.line] = access.moved / access.executed
        if words[0] in ("ld", "ldu", "cp"):
            loaded, once = loaded + access.moved, once + access.touched
        else:
            stored += access.moved
    return Trace(
        {line: executed / warps for line, executed in counts.by_line().items() if executed},
        shared, sectors, loaded / blocks, once / blocks, stored / blocks,
        {roles[place]: touched / blocks for place, touched in counts.touched.items() if place in roles},
    )  # fmt: skip
