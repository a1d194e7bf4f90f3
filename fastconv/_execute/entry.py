"""How calls enter: repeated ones are found by one look-up, all others are computed where their arrays lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._backend import CallCache, Dispatcher, backend_of
from .._choose.select import call_cache


def entry(first: Callable[..., Any], repeats: CallCache = call_cache, packed_type: type | None = None) -> Any:
    """``call(normalise, arguments, how, arrays, out)``: by what was prepared, or by ``first`` of the same arguments."""

    def first_of_all(normalise: Any, arguments: Any, how: Any, arrays: tuple[Any, ...], out: Any) -> Any:
        with backend_of(*arrays).active(arrays):
            return first(normalise, arguments, how, arrays, out)

    return Dispatcher(repeats, first_of_all, packed_type).call
