"""A launch that was prepared: nothing is left to be done but to look up the arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

THREADS = 256
"""Of a block, where each thread computes elements of its own."""
MAX_BLOCKS = 2**31 - 1


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid and its arguments; a text among these is the role of an array.

    Where there is no such array, and for None, the kernel gets a null pointer: CuPy passes a 0 as eight bytes of zeros.
    """

    function: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]

    def __call__(self, arrays: Mapping[str, Any]) -> None:
        """On the current device and stream; nothing waits for it."""
        given = tuple(arrays.get(a, 0) if type(a) is str else 0 if a is None else a for a in self.arguments)
        self.function(self.grid, self.block, given)


def each(function: Any, elements: int, *arguments: Any) -> tuple[Launch, ...]:
    """A thread for each of so many elements; no launch where there are none."""
    if not elements:
        return ()
    blocks = min(-(-elements // THREADS), MAX_BLOCKS)
    return (Launch(function, (blocks,), (THREADS,), arguments),)


def struct(dtype: np.dtype, **fields: Any) -> np.ndarray:
    """A kernel's argument that is passed by value."""
    made = np.zeros(1, dtype)
    for name, value in fields.items():
        made[name] = value
    return made
