"""Padding: words and numbers to one (before, after) pair per axis; which elements other modes than zeros repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._errors import bad_value
from .arguments import integer, is_sequence

Pair = tuple[int, int]

WORDS = ("valid", "same", "same_lower", "full")
MODES = {
    "zeros": "zeros",
    "constant": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "edge": "replicate",
    "circular": "circular",
    "wrap": "circular",
}


def _word_pair(word: str, size: int, kernel: int, stride: int, dilation: int) -> Pair:
    reach = dilation * (kernel - 1)
    if word == "valid":
        return (0, 0)
    if word == "full":
        return (reach, reach)
    if word == "causal":
        return (reach, 0)
    total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if word == "same" else (large, small)


def padding_pairs(
    padding: Any, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[Pair]:
    """One (before, after) pair per spatial axis.

    ``padding`` is an int, one int per axis, one pair per axis (which may be negative: cropping), or a word. A flat list
    of 2n numbers is refused: libraries disagree on its order.
    """
    rank = len(sizes)
    words = (*WORDS, "causal") if rank == 1 else WORDS
    allowed = (
        f"an int, {rank} ints (0 or more), {rank} (before, after) pairs, or one of {', '.join(words)}"
        if rank > 1
        else f"an int (0 or more), one (before, after) pair in a list, or one of {', '.join(words)}"
    )
    if isinstance(padding, str):
        if padding not in words:
            raise bad_value("padding", padding, allowed)
        return [_word_pair(padding, *axis) for axis in zip(sizes, kernel, stride, dilation, strict=True)]
    items = list(padding) if is_sequence(padding) else [padding]
    if len(items) not in (1, rank):
        raise bad_value("padding", padding, allowed)
    pairs = [_pair(item, padding, allowed) for item in items]
    return pairs * rank if len(pairs) == 1 else pairs


def _pair(item: Any, padding: Any, allowed: str) -> Pair:
    if not is_sequence(item):
        before = after = integer("padding", item, padding, allowed)
        least = 0
    else:
        if len(item) != 2:
            raise bad_value("padding", padding, allowed)
        before, after = (integer("padding", number, padding, allowed) for number in item)
        least = 1 - 2**62
    if min(before, after) < least or max(before, after) >= 2**62:
        raise bad_value("padding", padding, allowed)
    return (before, after)


def mode_name(padding_mode: Any) -> str:
    """The canonical name of a padding mode; NumPy's words for the same modes are taken."""
    if not isinstance(padding_mode, str) or padding_mode not in MODES:
        raise bad_value("padding_mode", padding_mode, "zeros, reflect, replicate (edge), circular (wrap)")
    return MODES[padding_mode]


def check_mode_padding(mode: str, size: int, pair: Pair) -> None:
    """A ValueError for more padding than a mode has elements to repeat."""
    most = {"reflect": max(size - 1, 0), "circular": size, "replicate": 2**62 if size else 0}[mode]
    if max(pair) > most:
        raise bad_value("padding", pair, f"at most {most} with padding_mode {mode!r} and an axis of {size}")


def axis_indices(mode: str, size: int, pair: Pair) -> np.ndarray:
    """For each element of a padded axis, the index of the element it repeats; a negative pair crops."""
    before, after = pair
    index = np.arange(-before, size + after)
    if mode == "replicate":
        return index.clip(0, size - 1)
    if mode == "circular":
        return index % max(size, 1)
    index = np.abs(index)
    return np.minimum(index, 2 * (size - 1) - index)
