"""How arrays lie in a device's memory, without the arrays; and whether two of them overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import overlaps_itself

MAX_ALIGNMENT = 16
"""Bytes of the widest access."""
OFFSET_LIMIT = 2**31
"""Offsets inside an image are 64-bit where they reach so many bytes."""


@dataclass(frozen=True)
class Layout:
    """The element type of an array and the distances between its elements, in elements, by canonical axes."""

    dtype: np.dtype
    strides: tuple[int, ...]
    alignment: int = MAX_ALIGNMENT
    """The address of the first element is a multiple of it: a power of two, in bytes."""

    @classmethod
    def of(cls, dtype: np.dtype, strides: Sequence[int], axes: Sequence[int], alignment: int = MAX_ALIGNMENT) -> Layout:
        """Of an array with strides in bytes whose own axes these are; -1: an axis that it does not have."""
        return cls(dtype, tuple(0 if axis < 0 else strides[axis] // dtype.itemsize for axis in axes), alignment)

    @classmethod
    def packed(cls, dtype: np.dtype, shape: Sequence[int], order: Sequence[int] | None = None) -> Layout:
        """Of a new array whose axes lie in this order, the slowest first; in C order where there is none."""
        strides, step = [0] * len(shape), 1
        for axis in reversed(range(len(shape)) if order is None else order):
            strides[axis], step = step, step * shape[axis]
        return cls(dtype, tuple(strides))


def is_wide(sizes: Iterable[int], strides: Iterable[int], itemsize: int) -> bool:
    """Whether offsets inside an image need 64 bits; in front of it and behind it lies as much padding, at most."""
    return 3 * itemsize * sum(size * abs(stride) for size, stride in zip(sizes, strides, strict=True)) >= OFFSET_LIMIT


def vector_elements(sizes: Iterable[int], layouts: Iterable[Layout], most: int, axis: int = 4) -> int:
    """The most elements, up to ``most``, that one access may take of the rows, or of runs along another axis, of all
    these arrays; the sizes are those of the runs."""
    sizes, layouts = tuple(sizes), tuple(layouts)
    count = most
    while count > 1:
        starts = (stride for layout in layouts for i, stride in enumerate(layout.strides) if i != axis)
        if (
            all(size % count == 0 for size in sizes)
            and all(lies.strides[axis] == 1 and lies.alignment % (count * lies.dtype.itemsize) == 0 for lies in layouts)
            and all(stride % count == 0 for stride in starts)
        ):
            return count
        count //= 2
    return 1


def alignment_of(array: Any) -> int:
    """The largest power of two, up to ``MAX_ALIGNMENT``, that the address of an array is a multiple of."""
    address = array.data.ptr
    return min(address & -address, MAX_ALIGNMENT) if address else MAX_ALIGNMENT


def packed_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Strides in bytes of a new array in C order."""
    strides, reach = [], itemsize
    for size in reversed(shape):
        strides.append(reach)
        reach *= size
    return tuple(reversed(strides))


def extent(array: Any) -> tuple[int, int]:
    """The addresses from the first to behind the last byte of an array's elements."""
    low = high = array.data.ptr
    if array.flags.c_contiguous:
        return low, low + array.nbytes
    for stride, size in zip(array.strides, array.shape, strict=True):
        reach = stride * (size - 1)
        low, high = low + min(reach, 0), high + max(reach, 0)
    return low, high + array.itemsize


def writable_in_place(out: Any, *inputs: Any) -> bool:
    """Whether kernels may write straight into ``out``: free of overlap with itself and with the inputs."""
    if not out.size:
        return True
    if not out.flags.c_contiguous and overlaps_itself(out):
        return False
    low, high = extent(out)
    others = (extent(array) for array in inputs if array is not None and array.size)
    return not any(first < high and low < last for first, last in others)
