"""Padding: words and numbers to one (before, after) pair per axis; which elements other modes than zeros repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._errors import bad_value
from .arguments import integer, is_sequence

Pair = tuple[int, int]

WORDS = ("valid", "same", "same_lower", "full")
WORD_NAMES = {"same_upper": "same"}
"""ONNX's word."""
MODES = {
    "zeros": "zeros",
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "edge": "replicate",
    "circular": "circular",
    "wrap": "circular",
    "symmetric": "symmetric",
}
BLANK = ("zeros", "constant")
"""Modes that repeat no elements: the problem pads."""


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
        word = padding.lower()
        word = WORD_NAMES.get(word, word)
        if word not in words:
            raise bad_value("padding", padding, allowed)
        return [_word_pair(word, *axis) for axis in zip(sizes, kernel, stride, dilation, strict=True)]
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


def mode_names(padding_mode: Any, rank: int) -> tuple[str, ...]:
    """The canonical name of each axis' padding mode; NumPy's words for the same modes are taken."""
    allowed = "zeros, constant, reflect, replicate (edge), circular (wrap), symmetric"
    items = list(padding_mode) if isinstance(padding_mode, (tuple, list)) else [padding_mode] * rank
    if not all(isinstance(item, str) and item.lower() in MODES for item in items) or len(items) != rank:
        raise bad_value("padding_mode", padding_mode, allowed + (f", or a tuple of {rank} of them" if rank > 1 else ""))
    return tuple(MODES[item.lower()] for item in items)


def check_mode_padding(mode: str, size: int, pair: Pair) -> None:
    """A ValueError where a mode has no elements to repeat."""
    if size == 0 and max(pair) > 0:
        raise bad_value("padding", pair, f"at most 0 with padding_mode {mode!r} and an axis without elements")


def axis_indices(mode: str, size: int, pair: Pair) -> np.ndarray:
    """For each element of a padded axis, the index of the element it repeats; a negative pair crops.

    Where there is more padding than elements, the axis is repeated again and again, as by ``np.pad``.
    """
    before, after = pair
    index = np.arange(-before, size + after)
    if mode == "replicate":
        return index.clip(0, size - 1)
    if mode == "circular":
        return index % max(size, 1)
    period, turn = (2 * size, 2 * size - 1) if mode == "symmetric" else (2 * (size - 1), 2 * (size - 1))
    index %= max(period, 1)
    return np.minimum(index, turn - index)
