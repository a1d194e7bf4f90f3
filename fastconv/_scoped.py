"""A setting for the length of a ``with`` block, seen by the block's own thread or task and by threads started in it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(eq=False)
class _Block(Generic[Value]):
    """A block that was entered and not left."""

    value: Value
    thread: threading.Thread = field(default_factory=threading.current_thread)
    older_threads: frozenset[threading.Thread] = field(default_factory=lambda: frozenset(threading.enumerate()))
    """The threads that ran when the block was entered; all others are started in it."""


class Scoped(Generic[Value]):
    """The innermost block's value.

    A context variable alone would not do: a new thread, a pool's worker among them, begins with an empty context.
    """

    def __init__(self, name: str) -> None:
        self.own: ContextVar[Value | None] = ContextVar(name, default=None)
        """The value of the thread or task that asks, without one inherited from the block that it was started in."""
        self.blocks: dict[_Block[Value], None] = {}
        """The blocks of all threads, the newest last."""
        os.register_at_fork(after_in_child=self._after_fork_in_child)

    def get(self) -> Value | None:
        """The value here and now; None outside of all blocks."""
        own = self.own.get()
        if own is not None or not self.blocks:
            return own
        thread = threading.current_thread()
        blocks = reversed(list(self.blocks))
        return next((block.value for block in blocks if thread not in block.older_threads), None)

    @contextlib.contextmanager
    def of(self, value: Value) -> Iterator[None]:
        """Set ``value`` inside a ``with`` block."""
        block = _Block(value)
        token = self.own.set(value)
        self.blocks[block] = None
        try:
            yield
        finally:
            self.blocks.pop(block, None)
            self.own.reset(token)

    def _after_fork_in_child(self) -> None:
        # The other threads, which would leave their blocks, do not exist in the child.
        thread = threading.current_thread()
        for block in [block for block in self.blocks if block.thread is not thread]:
            del self.blocks[block]
