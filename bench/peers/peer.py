"""Peer: one way of computing a problem. The protocol that every contestant is written to."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..case import Case


@dataclass(frozen=True)
class Prepared:
    """A case that a peer is ready to compute."""

    run: Callable[[], Any]
    """Computes the result once, as the library returns it; this is what is timed."""
    array: Callable[[Any], np.ndarray] = np.asarray
    """What ``run`` returned as an array with the shape of the case's ``x``, ``w`` or ``dy``; not timed."""
    note: str = ""
    """How it computes, where that is known."""


class Peer:
    """Base class. The library is imported inside of ``prepare``, so that it need not be installed."""

    name: str
    """Head of its column."""
    modules: ClassVar[tuple[str, ...]]
    """What must be importable; the first is the library."""
    distributions: ClassVar[tuple[str, ...]]
    """The names under which the library may have been installed."""
    is_rival: bool = True
    """Whether it counts among the best of all peers: it is given the arrays in the problem's layout."""

    has_epilogues: bool = False
    """Whether it computes a bias and relu as well."""

    is_same_problem: bool = True
    """Whether its result is the case's; only then it is checked."""

    def is_installed(self) -> bool:
        """Without importing anything."""
        return all(importlib.util.find_spec(name) is not None for name in self.modules)

    def refusal(self, case: Case) -> str:
        """Why it does not compute the case; empty where it does."""
        raise NotImplementedError

    def prepare(self, case: Case) -> Prepared:
        """Make ready whatever a user would make ready once. Whatever is raised here is an empty cell in the table."""
        raise NotImplementedError
