"""One scheduler of a multiprocessor: warps that issue in turn, a queue for every pipe, scoreboards, barriers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from .chips import BARRIER_CYCLES, QUEUE_CYCLES, Chip, Wavefronts, cost, latency
from .sass import Instruction

BOARDS = 6
_READ_CYCLES = 12


@dataclass
class _Warp:
    block: int
    at: int = 0
    ready: float = 0.0
    blocked: bool = False
    copied: float = 0.0
    """When its last asynchronous copy is there."""
    boards: list[list[float]] = field(default_factory=lambda: [[] for _ in range(BOARDS + 2)])
    """Times at which what each scoreboard counts is done."""


class Scheduler:
    """Issues the same instructions for some warps of some blocks."""

    def __init__(self, chip: Chip, path: list[Instruction], warps: int, blocks: int, wavefronts: Wavefronts) -> None:
        self._steps = [(x, *cost(chip, x, wavefronts)) for x in path]
        self._warps = [_Warp(i % max(blocks, 1)) for i in range(warps)]
        self._block_warps = warps // max(blocks, 1)
        self._free: dict[str, float] = {}
        self._arrived: dict[int, list[_Warp]] = {}
        self.lost: dict[int, float] = {}
        """Cycles in which nothing was issued, by the address of the instruction that was waited for."""

    def run(self) -> float:
        """Cycles until all have issued everything."""
        now, left, last = 0.0, len(self._warps), 0
        while left:
            chosen, wake, first = self._choose(now, last)
            if chosen is None:
                then = max(now + 1, math.ceil(wake))
                if first is not None:
                    self.lost[first.address] = self.lost.get(first.address, 0) + then - now
                now = then
                continue
            last = self._warps.index(chosen)
            self._issue(chosen, now)
            left -= chosen.at == len(self._steps)
            now += 1
        return now

    def _choose(self, now: float, last: int) -> tuple[_Warp | None, float, Instruction | None]:
        """The warp that issues, the last one first; or when the next one can, and its instruction."""
        wake, first = math.inf, None
        for k in range(len(self._warps)):
            warp = self._warps[(last + k) % len(self._warps)]
            if warp.blocked or warp.at >= len(self._steps):
                continue
            start = self._start(warp)
            if start <= now:
                return warp, start, None
            if start < wake:
                wake, first = start, self._steps[warp.at][0]
        return None, wake, first

    def _start(self, warp: _Warp) -> float:
        x, pipe, _ = self._steps[warp.at]
        start = max(warp.ready, self._free.get(pipe, 0.0) - (QUEUE_CYCLES if pipe == "mio" else 0))
        for i in range(BOARDS):
            if x.wait >> i & 1 and warp.boards[i]:
                start = max(start, *warp.boards[i])
        if x.name == "DEPBAR":
            board, allowed = re.search(r"SB(\d)", x.text), re.search(r"0x([0-9a-f]+)", x.text)
            if board and allowed:
                pending, keep = sorted(warp.boards[int(board[1])]), int(allowed[1], 16)
                if len(pending) > keep:
                    start = max(start, pending[len(pending) - keep - 1])
        return start

    def _issue(self, warp: _Warp, now: float) -> None:
        x, pipe, cycles = self._steps[warp.at]
        for i in range(BOARDS):
            if x.wait >> i & 1:
                warp.boards[i] = []
        free = self._free.get(pipe, 0.0)  # a pipe that has had no pause goes on within the cycle
        self._free[pipe] = (free if free > now - 1 else now) + cycles
        done = self._free[pipe] + latency(x)
        if x.name == "LDGSTS":
            warp.copied = max(warp.copied, done)
        if x.name == "LDGDEPBAR":
            warp.boards[0].append(max(warp.copied, now))
        elif x.write < BOARDS:
            warp.boards[x.write].append(done)
        if x.read < BOARDS:
            warp.boards[x.read].append(self._free[pipe] + _READ_CYCLES)
        warp.ready = now + max(1, x.stall)
        warp.at += 1
        if x.name == "BAR":
            self._meet(warp, now)

    def _meet(self, warp: _Warp, now: float) -> None:
        """A barrier of the block's warps on this scheduler."""
        group = self._arrived.setdefault(warp.block, [])
        group.append(warp)
        warp.blocked = len(group) < self._block_warps
        if not warp.blocked:
            for other in group:
                other.blocked, other.ready = False, now + BARRIER_CYCLES
            self._arrived[warp.block] = []
