"""One comparison: a call through ``fastconv.compat``, and the same by the library itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """Two calls without arguments that return the same."""

    name: str
    ours: Callable[[], Any]
    peers: Callable[[], Any]
