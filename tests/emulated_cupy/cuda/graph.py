"""``cupy.cuda.graph``: recorded work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..system import system
from . import runtime

if TYPE_CHECKING:
    from .stream import Stream


@dataclass(frozen=True)
class Node:
    """One thing that was recorded, and weak references to the memory that it touches."""

    work: Callable[[], object]
    memories: list[Any]

    def run(self) -> None:
        """Do it; an error if memory that it touches has been freed."""
        if any(memory() is None for memory in self.memories):
            raise runtime.CUDARuntimeError(700)
        self.work()


class Graph:
    """What a stream recorded while it was captured."""

    _nodes: list[Node]

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("currently this class cannot be initiated by the user")

    @classmethod
    def _of(cls, nodes: list[Node]) -> Graph:
        made = object.__new__(cls)
        made._nodes = nodes
        return made

    def launch(self, stream: Stream | None = None) -> None:
        """Do all that was recorded."""
        from .stream import submit

        system.counts["graph_launch"] += 1
        submit(self._run, [], stream)

    def upload(self, stream: Stream | None = None) -> None:
        """Prepare the first launch."""

    def _run(self) -> None:
        for node in self._nodes:
            node.run()
