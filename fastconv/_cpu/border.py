"""The adjoint of padding by elements of the array itself (reflect, replicate, circular)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from .._border import Border
from .blocks import Box, cut

Run = tuple[slice, slice, int]
"""Places in the padded axis, the elements that they repeat, and the step from one of these to the next: -1, 0 or 1."""


def add_back(border: Border, padded: np.ndarray, result: np.ndarray) -> None:
    """Add every element of ``padded`` to the element of ``result`` that it repeats, from zeros on.

    ``padded`` is overwritten; 16-bit floats are added up in float32.
    """
    wide = np.dtype(np.float32) if padded.dtype.itemsize == 2 else padded.dtype
    total = np.zeros_like(result, dtype=wide, subok=False)
    for places, elements, repeated in _boxes(border, result):
        part = cut(padded, places).astype(wide, copy=False)
        for axis in repeated:
            part = _summed(part, axis)
        inside = cut(total, elements)
        inside += part
    result[...] = total


def _boxes(border: Border, array: np.ndarray) -> Iterator[tuple[Box, Box, tuple[int, ...]]]:
    """Boxes of the padded array, the elements that each is a copy of, and the axes along which one is repeated."""
    axes = [
        [(slice(size), slice(size), 1)] if index is None else list(_runs(index))
        for size, index in zip(array.shape[2:], border.indices, strict=True)
    ]
    for runs in itertools.product(*axes):
        places, elements, steps = zip(*runs, strict=True)
        yield places, elements, tuple(axis for axis, step in enumerate(steps, 2) if step == 0)


def _summed(array: np.ndarray, axis: int) -> np.ndarray:
    """The sum along an axis, in the place of its first element.

    One half is added to the other until one element is left. NumPy's ``sum`` has an order that depends on the strides,
    which are like those of the user's ``out``; no bits may depend on these.
    """
    while (size := array.shape[axis]) > 1:
        array, second = np.split(array, [(size + 1) // 2], axis)
        array[tuple(map(slice, second.shape))] += second
    return array


def _runs(index: np.ndarray) -> Iterator[Run]:
    """The index as a few runs of constant step."""
    begin = 0
    steps = np.diff(index)
    while begin < len(index):
        step = int(steps[begin]) if begin < len(steps) and abs(steps[begin]) <= 1 else 1
        others = np.flatnonzero(steps[begin:] != step)
        end = begin + 1 + (int(others[0]) if len(others) else len(steps) - begin)
        first, last = int(index[begin]), int(index[end - 1])
        if step == 0:
            elements = slice(first, first + 1)
        elif step == 1:
            elements = slice(first, last + 1)
        else:
            elements = slice(first, last - 1 if last > 0 else None, -1)
        yield slice(begin, end), elements, step
        begin = end
