"""From lines of PTX that were counted to machine code: how often every instruction is executed, loops with their trips.

Every instruction of a cubin says which line of the PTX it comes from. Where the assembler has copied a line, as
unrolling does, its executions are shared out.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .sass import Instruction, Loop, basic_blocks, loops, outermost

ANCHORS = ("FFMA", "DFMA", "HMMA", "HGMMA", "IMMA", "LDS", "STS", "LDSM", "LDG", "STG", "LDGSTS", "SHFL", "BAR", "MUFU")
"""Of which one is made of one instruction of PTX, where it stands."""
ALWAYS, NEVER = 0.75, 0.02
"""What is executed so often for each execution of what is around it counts as always, or as never executed."""
STEPS = 8
"""Shares between them are rounded to as many."""


@dataclass(frozen=True)
class Region:
    """Instructions in the order of issue; executed ``times`` for each execution of what is around it."""

    times: float
    items: tuple[int | Region, ...]


def frequencies(code: Sequence[Instruction], executed: Mapping[int, float]) -> list[float]:
    """How often a warp executes each instruction; that of its basic block."""
    blocks = basic_blocks(list(code))
    copies = Counter((x.line, x.name) for x in code if x.name in ANCHORS)
    in_blocks = Counter(key for first, end in blocks for key in {(x.line, x.name) for x in code[first:end]})
    found: list[float] = []
    for first, end in blocks:
        known = [x for x in code[first:end] if x.line in executed]
        anchors = [executed[x.line] / copies[x.line, x.name] for x in known if x.name in ANCHORS]
        others = [executed[x.line] / in_blocks[x.line, x.name] for x in known if x.name != "NOP"]
        found += [statistics.median(anchors or others or [0.0])] * (end - first)
    return found


def _nested(code: Sequence[Instruction]) -> list[Loop]:
    """Loops of which any two are apart or one in the other."""
    merged: list[Loop] = []
    for first, last in sorted(loops(list(code)), key=lambda loop: (loop[0], -loop[1])):
        for i, (other, end) in enumerate(merged):
            if first == other or other < first <= end < last:  # several jumps back, or ends that cross
                merged[i] = (other, max(end, last))
                break
        else:
            merged.append((first, last))
    return sorted(set(merged), key=lambda loop: loop[1] - loop[0])


def regions(code: Sequence[Instruction], often: Sequence[float]) -> Region:
    """The whole kernel."""
    return _region(often, _nested(code), 0, len(code), 1.0, 1.0)


def _region(often: Sequence[float], inside: list[Loop], first: int, end: int, around: float, times: float) -> Region:
    """Instructions ``first`` to ``end`` that are executed ``around`` times in all."""
    items: list[int | Region] = []
    heads = {loop[0]: loop for loop in outermost(inside)}
    rare: list[int | Region] = []
    rare_share = 0.0

    def close() -> None:
        if rare:
            items.append(Region(rare_share, tuple(rare)))
            rare.clear()

    i = first
    while i < end:
        if i in heads:
            close()
            loop = heads[i]
            within = [o for o in inside if o != loop and loop[0] <= o[0] and o[1] <= loop[1]]
            own = [often[j] for j in range(loop[0], loop[1] + 1) if not any(o[0] <= j <= o[1] for o in within)]
            total = max(own)
            trips = total / around
            if trips > NEVER:
                items.append(_region(often, within, loop[0], loop[1] + 1, total, _share(trips)))
            i = loop[1] + 1
            continue
        share = _share(often[i] / around)
        if share != rare_share:
            close()
        if share == 1.0:
            items.append(i)
        elif share:
            rare.append(i)
        rare_share, i = share, i + 1
    close()
    return Region(times, tuple(items))


def _share(share: float) -> float:
    if share >= 1:
        return share if share > 1 / ALWAYS else 1.0
    if share >= ALWAYS:
        return 1.0
    return 0.0 if share < NEVER else max(round(share * STEPS), 1) / STEPS


def levels(region: Region) -> list[float]:
    """The shares below 1 in it, ascending."""
    found = set()
    for item in region.items:
        if isinstance(item, Region):
            found |= {item.times} if item.times < 1 else set()
            found |= set(levels(item))
    return sorted(found)


def without(region: Region, level: float) -> Region:
    """The region without what is executed more rarely than ``level``; what is left is executed each time."""
    items = tuple(
        item if isinstance(item, int) else without(item, level)
        for item in region.items if isinstance(item, int) or item.times >= level
    )  # fmt: skip
    return Region(max(region.times, 1.0), items)


def flat(region: Region, most: int) -> list[int]:
    """Its instructions once, loops inside repeated, but ``most`` times at most."""
    path: list[int] = []
    for item in region.items:
        path += [item] if isinstance(item, int) else flat(item, most) * min(max(round(item.times), 1), most)
    return path
