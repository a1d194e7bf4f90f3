"""A machine for PTX, the text between CUDA C++ and machine code: kernels run, checked and counted, without a GPU.

NVRTC compiles a module to PTX, ``syntax`` reads it, ``decoder`` makes operations of it (``arithmetic``,
``memory_access``, ``collective``: families of instructions), ``layout`` gives registers their places, and the C of
``machine/`` runs them, a warp at a time. Asynchronous work lands as late as is permitted. Always checked: bounds,
alignment, races in shared memory between two barriers, divergent barriers and collectives, bytes that a copy still
fills, deadlocks; memory that was not written is NaN. Counted by instruction: executions, 32-byte sectors, wavefronts of
shared memory, and the fewest there could be.

Not covered: what barriers in shared memory order (such kernels go without the check for races), races in global memory,
tcgen05, clusters, textures, time.
"""

from __future__ import annotations

from .kernel import Access, Counts, Kernel, load
from .operation import UnknownInstructionError

__all__ = ["Access", "Counts", "Kernel", "UnknownInstructionError", "load"]
