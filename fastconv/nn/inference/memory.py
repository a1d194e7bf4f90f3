"""Memory: places in one arena for all that a network computes, given when each is used."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 128
"""Bytes: two cache lines, which processors fetch together."""


@dataclass
class Block:
    """Memory that is needed from one step to another."""

    size: int
    first: int
    last: int
    place: int = 0

    @property
    def end(self) -> int:
        return self.place + self.size


def arrange(blocks: list[Block]) -> int:
    """Give every block a place that no other has at the same time; the bytes of the whole.

    The largest first, each as low as it can lie.
    """
    placed: list[Block] = []
    for block in sorted(blocks, key=lambda each: -each.size):
        block.size = -(-block.size // ALIGNMENT) * ALIGNMENT
        others = sorted(
            (each for each in placed if each.first <= block.last and block.first <= each.last),
            key=lambda each: each.place,
        )
        block.place = 0
        for other in others:
            if block.end <= other.place:
                break
            block.place = max(block.place, other.end)
        placed.append(block)
    return max((block.end for block in blocks), default=0)
