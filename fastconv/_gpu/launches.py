"""Launches: what a backend has to start for a problem, as plain values, before there are arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Strides = tuple[int, int, int, int, int]

UNITS_LIMIT = 2**31
"""Threads of a launch are fewer."""
OFFSET_LIMIT = 2**31
"""Offsets inside an image are 64-bit where they reach so many bytes."""
MAX_ALIGNMENT = 16
"""Bytes of the widest access."""


class Placement(NamedTuple):
    """How an array lies."""

    strides: Strides
    """In elements: n, channel, d, h, w; of weights k, c, d, h, w."""
    alignment: int = MAX_ALIGNMENT
    """Bytes that its first element's address is a multiple of."""


@dataclass(frozen=True, eq=False)
class Launch:
    """One kernel to be started; launches of a problem follow each other on one stream."""

    kernel: str
    source: str
    """The text of its module; equal texts are one module."""
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[str | np.ndarray | np.generic | None, ...]
    """In the kernel's order: the role of an array whose first element's address is passed, "workspace", a null pointer,
    or a value, a struct as an array of one element."""
    shared_bytes: int = 0
    """Dynamic shared memory."""
    workspace_bytes: int = 0
    """Of the problem's scratch memory, which all its launches share: those that this one reads or writes."""


DIVIDER = np.dtype([("d", np.uint32), ("multiplier", np.uint32), ("shift", np.uint32)])


def divider(d: int) -> tuple[int, int, int]:
    """fc_divider: n / d == umulhi(n, multiplier) >> shift for 0 <= n < 2^31."""
    if d == 1:
        return 1, 0, 0
    shift = (d - 1).bit_length() - 1
    return d, ((1 << (32 + shift)) + d - 1) // d, shift


def packed(dtype: np.dtype, values: Iterable[object]) -> np.ndarray:
    """A struct that is passed by value: an array of one element."""
    return np.array([tuple(values)], dtype)


def is_wide(sizes: Iterable[int], strides: Iterable[int], itemsize: int) -> bool:
    """Whether offsets inside an image need 64 bits; in front of it and behind it lies as much padding, at most."""
    return 3 * itemsize * sum(size * abs(stride) for size, stride in zip(sizes, strides, strict=True)) >= OFFSET_LIMIT


def vector_elements(row_sizes: Iterable[int], placements: Iterable[Placement], itemsize: int, most: int) -> int:
    """The most elements, up to ``most``, that one access may take of the rows of all these arrays."""
    sizes, placements = tuple(row_sizes), tuple(placements)
    count = most
    while count > 1:
        starts = (stride for place in placements for stride in place.strides[:4])
        if (
            all(size % count == 0 for size in sizes)
            and all(place.strides[4] == 1 and place.alignment % (count * itemsize) == 0 for place in placements)
            and all(stride % count == 0 for stride in starts)
        ):
            return count
        count //= 2
    return 1
