"""Launches: what has to be started for an operation, as plain values; and what they become on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .compile import function

THREADS = 256
"""Of a block, where each thread computes elements of its own."""
MAX_BLOCKS = 2**31 - 1
MAX_THREADS = 2**31
"""Threads of a launch whose kernel counts them in 32 bits are fewer."""

Arrays = Mapping[str, Any]
"""Arrays by their roles; "workspace" is scratch memory."""


class Step(Protocol):
    """One of the steps that compute an operation; they follow each other on one stream."""

    @property
    def workspace_bytes(self) -> int:
        """Of the operation's scratch memory, which all its steps share: those up to the last that this one touches."""

    def bind(self) -> Callable[[Arrays], None]:
        """What does it on the current device: nothing is left to be done but to look up the arrays."""


@dataclass(frozen=True)
class Workspace:
    """An argument that points into scratch memory."""

    offset_bytes: int = 0


class Derived:
    """An argument that is made of the arrays of a call."""

    def of(self, arrays: Arrays) -> Any:
        """The argument."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Launch:
    """A kernel to be started. To make one compiles nothing and needs no device."""

    kernel: str
    source: str = field(repr=False)
    """The text of its module; equal texts are one module."""
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    """In the kernel's order: roles of arrays, places in the workspace, arrays, what is derived of these, values
    (structs as arrays of one element), and None. For None, and for a role that no array has, the kernel gets a null
    pointer."""
    shared_bytes: int = 0
    """Dynamic shared memory."""
    workspace_bytes: int = 0

    def bind(self) -> Callable[[Arrays], None]:
        """The launch on the current device, its kernel loaded."""
        kernel = function(self.source, self.kernel, self.shared_bytes)
        grid, block, arguments, shared_bytes = self.grid, self.block, self.arguments, self.shared_bytes

        def start(arrays: Arrays) -> None:
            """On the current stream; nothing waits for it."""
            given = tuple([_argument(argument, arrays) for argument in arguments])
            kernel(grid, block, given, shared_mem=shared_bytes)

        return start


def _argument(argument: Any, arrays: Arrays) -> Any:
    kind = type(argument)
    if kind is str:
        return arrays.get(argument, 0)  # CuPy passes a 0 as eight bytes of zeros
    if kind is Workspace:
        scratch = arrays.get("workspace")
        return 0 if scratch is None else scratch[argument.offset_bytes :]
    if isinstance(argument, Derived):
        return argument.of(arrays)
    return 0 if argument is None else argument


def each(source: str, name: str, elements: int, *arguments: Any) -> tuple[Launch, ...]:
    """A thread for each of so many elements; no launch where there are none."""
    if not elements:
        return ()
    blocks = min(-(-elements // THREADS), MAX_BLOCKS)
    return (Launch(name, source, (blocks,), (THREADS,), arguments),)


def run(launches: tuple[Launch, ...], **arrays: Any) -> None:
    """Start them at once, on these arrays."""
    for launch in launches:
        launch.bind()(arrays)


def struct(dtype: np.dtype, **fields: Any) -> np.ndarray:
    """A kernel's argument that is passed by value; fields that are not given are zero."""
    made = np.zeros(1, dtype)
    for name, value in fields.items():
        made[name] = value
    return made
