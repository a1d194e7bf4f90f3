"""A kernel that can be run, and what was counted when it was."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .build import machine
from .decoder import Decoder
from .layout import Layout
from .operation import SPACES, Operation
from .syntax import Entry, Module, parse

WORKERS = os.cpu_count() or 1
"""Threads that the blocks of a launch are dealt to."""
_COUNTERS = 5
_MESSAGE_BYTES = 512


class _Launch(ctypes.Structure):
    """``Launch`` of machine.h."""

    _fields_ = (
        ("code", ctypes.c_void_p),
        ("length", ctypes.c_int64),
        ("row_bytes", ctypes.c_int64),
        ("constants", ctypes.c_void_p),
        ("constant_bytes", ctypes.c_int64),
        ("special", ctypes.c_int32 * 24),
        ("static_shared", ctypes.c_int64),
        ("dynamic_shared", ctypes.c_int64),
        ("local_bytes", ctypes.c_int64),
        ("params", ctypes.c_void_p),
        ("param_bytes", ctypes.c_int64),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("ranges", ctypes.c_void_p),
        ("range_count", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
        ("check_races", ctypes.c_int32),
        ("flush_subnormals", ctypes.c_int32),
        ("mark_shift", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("executed", ctypes.c_void_p),
        ("lanes", ctypes.c_void_p),
        ("moved", ctypes.c_void_p),
        ("least", ctypes.c_void_p),
        ("touched", ctypes.c_void_p),
        ("in_range", ctypes.c_void_p),
        ("message", ctypes.c_void_p),
        ("first_block", ctypes.c_int64),
        ("block_step", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Access:
    """A memory instruction of a launch."""

    text: str
    executed: int
    """Warp instructions."""
    moved: int
    """32-byte sectors of global memory, or wavefronts of shared memory."""
    least: int
    """The fewest there could be."""
    touched: int
    """Sectors that no earlier instruction of the same block has accessed: what a cache that forgets nothing lets
    through of loads."""
    line: int
    """Of the PTX."""


class Counts:
    """What a launch did, by instruction."""

    def __init__(self, code: list[Operation], counted: np.ndarray, touched: dict[int, int]) -> None:
        self._names, self._texts = [x.name for x in code], [x.text for x in code]
        self._lines = [x.line for x in code]
        self._executed, self._lanes, self._moved, self._least, self._touched = counted
        self.touched = touched
        """Sectors that blocks had not touched before, by the first address of a range of memory."""

    def by_operation(self) -> dict[str, int]:
        """Warp instructions, by the machine's operation."""
        made: dict[str, int] = {}
        for name, executed in zip(self._names, self._executed.tolist(), strict=True):
            made[name] = made.get(name, 0) + executed
        return made

    def accesses(self) -> list[Access]:
        """The memory instructions that were run."""
        counted = self._executed, self._moved, self._least, self._touched
        rows = zip(self._texts, *(x.tolist() for x in counted), self._lines, strict=True)
        return [Access(*row) for row in rows if row[3]]

    def by_line(self) -> dict[int, int]:
        """Warp instructions, by the line of the PTX."""
        made: dict[int, int] = {}
        for line, executed in zip(self._lines, self._executed.tolist(), strict=True):
            made[line] = max(made.get(line, 0), executed)
        return made


class Kernel:
    """One entry of a module, decoded."""

    def __init__(self, module: Module, entry: Entry) -> None:
        self._module, self.name = module, entry.name
        self.max_threads = entry.max_threads
        self.parameter_sizes = [parameter.size for parameter in entry.parameters]
        decoder = Decoder(module, entry)
        self._offsets, self._parameter_bytes = list(decoder.offsets.values()), decoder.parameter_bytes
        self.static_shared, self.local_bytes = decoder.shared_bytes, decoder.local_bytes
        self._layout, self._code = Layout(decoder), decoder.code
        names = [operation.name for operation in self._code]
        words = {word for operation in self._code for word in operation.text.split(" ")[0].split(".")}
        # What barriers in shared memory order is not followed; such kernels go without the check for races.
        self._check_races = not any(name.startswith(("mbarrier", "wgmma")) for name in names)
        # The host flushes all types or none; in PTX the word ftz stands at operations on float32 alone.
        self._flush = any(".ftz" in operation.text for operation in self._code) and "f64" not in words
        self._mark_shift = self._smallest_access().bit_length() - 1
        self.counts = Counts([], np.zeros((_COUNTERS, 0), np.uint64), {})
        """Of the last launch."""

    def _smallest_access(self) -> int:
        sizes = [16]
        for operation in self._code:
            if operation.name in ("ld", "st") and operation.count & 255 in (0, SPACES["shared"]):
                sizes.append(operation.size * (operation.count >> 8))
            elif operation.name in ("atom", "cp.async"):
                sizes.append(operation.size)
        return min(sizes)

    def run(self, grid: Sequence[int], block: Sequence[int], arguments: list[bytes], dynamic_shared: int,
            ranges: list[tuple[int, int]], seed: int = 0, blocks: Sequence[int] | None = None) -> str:  # fmt: skip
        """Run it; what went wrong, or nothing.

        ``arguments``: the bytes of each parameter. ``ranges``: first address and end of what may be accessed of global
        memory. ``seed``, if not 0: warps in a random order. ``blocks``, if given: the numbers of those that are run
        alone, without the check for races.
        """
        parameters = bytearray(self._parameter_bytes + 8)
        for offset, value in zip(self._offsets, arguments, strict=True):
            parameters[offset : offset + len(value)] = value
        held = (ctypes.c_char * len(parameters)).from_buffer(parameters)
        own = [(data.ctypes.data, data.ctypes.data + data.nbytes) for data in self._module.variables.values()]
        allowed = np.array(sorted([*ranges, *own]), np.uint64).reshape(-1, 2)
        total = grid[0] * grid[1] * grid[2]
        count = min(WORKERS, max(1, (total if blocks is None else len(blocks)) // 2))
        counted = np.zeros((count, _COUNTERS, len(self._code)), np.uint64)
        touched = np.zeros((count, len(allowed) + 1), np.uint64)
        texts = [ctypes.create_string_buffer(_MESSAGE_BYTES) for _ in range(count)]
        layout = self._layout

        def work(i: int) -> None:
            parts = [(i, count)] if blocks is None else [(block, total) for block in blocks[i::count]]
            for first, step in parts:
                if not texts[i].value:
                    start(i, first, step)

        def start(i: int, first: int, step: int) -> None:
            launch = _Launch(
                ctypes.addressof(layout.instructions), len(self._code), layout.row_bytes, layout.constants.ctypes.data,
                layout.constants.nbytes, (ctypes.c_int32 * 24)(*layout.special), self.static_shared, dynamic_shared,
                self.local_bytes, ctypes.addressof(held), self._parameter_bytes, tuple(grid), tuple(block),
                allowed.ctypes.data, len(allowed), seed, self._check_races and blocks is None, self._flush,
                self._mark_shift, 0, *(counted[i, kind].ctypes.data for kind in range(_COUNTERS)),
                touched[i].ctypes.data, ctypes.addressof(texts[i]), first, step,
            )  # fmt: skip
            machine().ptx_launch(ctypes.byref(launch))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(1, count)]
        for thread in threads:
            thread.start()
        work(0)
        for thread in threads:
            thread.join()
        by_range = zip(allowed[:, 0].tolist(), touched.sum(0).tolist(), strict=False)
        self.counts = Counts(self._code, counted.sum(0), dict(by_range))
        return next((text.value.decode() for text in texts if text.value), "")


def load(text: str) -> dict[str, Kernel]:
    """The kernels of a PTX module."""
    module, entries = parse(text)
    return {entry.name: Kernel(module, entry) for entry in entries}
