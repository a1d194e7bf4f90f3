"""Runs a normalised unfold or fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._backend import CompiledCall, PythonCall
from .._normalize.unfolding import BlockCall
from .entry import entry

Normalise = Callable[..., BlockCall]
Arguments = tuple[Any, ...]
Arrays = tuple[Any, ...]
Make = Callable[[], CompiledCall]


def _first_unfold(
    normalise: Normalise, arguments: Arguments, how: tuple[()], arrays: Arrays, out: Any
) -> tuple[np.ndarray, Make]:
    call = normalise(*arguments, *arrays, out)
    unfold = call.backend.unfolding(call.blocks).unfold
    return _stored(unfold(call.input), call.out), lambda: _repeated(unfold)


def _first_fold(
    normalise: Normalise, arguments: Arguments, how: tuple[()], arrays: Arrays, out: Any
) -> tuple[np.ndarray, Make]:
    call = normalise(*arguments, *arrays, out)
    fold = call.backend.unfolding(call.blocks).fold
    return _stored(fold(call.input), call.out), lambda: _repeated(fold)


unfold = entry(_first_unfold)
"""``unfold(normalise, arguments, (), arrays, out)``: the columns of the first array."""
fold = entry(_first_fold)
"""``fold(normalise, arguments, (), arrays, out)``: the image that the first array's columns add up to."""


def _repeated(compute: Callable[[np.ndarray], np.ndarray]) -> PythonCall:
    """A given ``out`` is looked at anew each time."""
    return PythonCall(lambda arrays, out: None if out is not None else compute(arrays[0]))


def _stored(result: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    if out is None:
        return result
    out[...] = result
    return out
