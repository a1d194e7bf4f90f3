"""A launch that was prepared: nothing is left to be done but to look up the arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compile import function

DEFAULT_SHARED_BYTES = 48 << 10
"""A kernel may ask for so much dynamic shared memory without having said so before."""
THREADS = 256
"""Of a block, where each thread computes elements of its own."""
MAX_BLOCKS = 2**31 - 1


@dataclass(frozen=True)
class Workspace:
    """An argument that points into scratch memory."""

    offset_bytes: int


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid and its arguments: roles of arrays, places in the workspace, arrays and values.

    For a role that no array has, and for None, the kernel gets a null pointer: CuPy passes a 0 as eight bytes of zeros.
    """

    function: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    shared_bytes: int = 0

    @classmethod
    def of(
        cls,
        source: str,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *arguments: Any,
        shared_bytes: int = 0,
    ) -> Launch:
        """Of the kernel called ``name`` of a text, on the current device; ``shared_bytes`` are dynamic."""
        kernel = function(source, name)
        if shared_bytes > DEFAULT_SHARED_BYTES:
            kernel.max_dynamic_shared_size_bytes = shared_bytes
        return cls(kernel, grid, block, arguments, shared_bytes)

    def __call__(self, arrays: Mapping[str, Any]) -> None:
        """On the current device and stream; nothing waits for it."""
        given = tuple([_argument(argument, arrays) for argument in self.arguments])
        self.function(self.grid, self.block, given, shared_mem=self.shared_bytes)


def _argument(argument: Any, arrays: Mapping[str, Any]) -> Any:
    kind = type(argument)
    if kind is str:
        return arrays.get(argument, 0)
    if kind is Workspace:
        return arrays["workspace"][argument.offset_bytes :]
    return 0 if argument is None else argument


def each(source: str, name: str, elements: int, *arguments: Any) -> tuple[Launch, ...]:
    """A thread for each of so many elements; no launch where there are none."""
    if not elements:
        return ()
    blocks = min(-(-elements // THREADS), MAX_BLOCKS)
    return (Launch.of(source, name, (blocks,), (THREADS,), *arguments),)


def struct(dtype: np.dtype, **fields: Any) -> np.ndarray:
    """A kernel's argument that is passed by value."""
    made = np.zeros(1, dtype)
    for name, value in fields.items():
        made[name] = value
    return made
