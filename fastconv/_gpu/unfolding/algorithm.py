"""unfold and fold: blocks are written in runs along their rows, sums are gathered."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..._blocks import Blocks
from .. import layout, memory
from ..launch import MAX_THREADS, Launch, run
from ..source import C_TYPES, DIVIDER, divider, kernel_source
from . import plain
from .plain import Strides, three

THREADS = 128
RUN_BYTES = 8
"""Of what a thread stores at once, at most."""
WANTED_UNITS = 2**17
"""Threads that keep a large device busy."""
MAX_UNROLLED = 64
"""Products of loops' counts up to which they are unrolled."""
MAX_STEP = 4
"""Elements of so many neighbouring blocks' steps belong to one thread of `fold`, at most, on an axis."""
SECTOR = 32
"""Bytes."""
PROBLEM = np.dtype(
    [("source_stride", np.int64, 5), ("source_at", np.int64), ("result_at", np.int64), ("size", np.int32, 3),
     ("counts", np.int32, 3), ("channels", np.int32), ("units", DIVIDER, 5), ("count", np.uint32)],
    align=True,
)  # fmt: skip
"""unfold_problem of kernels.cu."""


class Unfolding:
    """The blocks of images of one shape."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def unfold(self, image: Any) -> Any:
        """The columns of an image."""
        columns = memory.empty(self.blocks.columns_shape, image.dtype)
        if columns.size:
            strides = _strides(image, self.blocks)
            lies: Strides = (*strides[:2], *(0,) * (5 - len(strides)), *strides[2:])  # type: ignore[assignment]
            run(unfold_launches(self.blocks, image.dtype, lies), source=image, result=columns)
        return columns

    def fold(self, columns: Any) -> Any:
        """The sums of columns."""
        image = memory.empty(self.blocks.image_shape, columns.dtype)
        if image.size:
            n, row, column = _strides(columns, self.blocks)
            run(fold_launches(self.blocks, columns.dtype, (n, row, 0, 0, column)), source=columns, result=image)
        return image


@functools.lru_cache(256)
def unfold_launches(blocks: Blocks, dtype: np.dtype, strides: Strides) -> tuple[Launch, ...]:
    """Of an image with these strides; what they write is contiguous."""
    kernel, counts = three(blocks.kernel, 1), three(blocks.counts, 1)
    vector = _run_elements(counts[2], dtype)
    positions = blocks.batch * blocks.channels * math.prod(counts) // vector
    inside = kernel[1] if positions * kernel[0] >= WANTED_UNITS else 1
    unrolled = inside * kernel[2] * vector <= MAX_UNROLLED
    defines = {"VECTOR": vector, "INSIDE": inside, "UNROLLED": MAX_UNROLLED if unrolled else 1}
    order = (counts[2] // vector, counts[1], counts[0], kernel[0] * kernel[1] // inside, blocks.channels)
    written = blocks.channels * math.prod(kernel) * math.prod(counts)
    wide = layout.is_wide(three(blocks.sizes, 1), strides[2:], dtype.itemsize) or layout.is_wide(
        (math.prod(kernel),), (math.prod(counts),), dtype.itemsize
    )
    return tuple(_launches("unfold", blocks, dtype, strides, defines, order, written, wide))


@functools.lru_cache(256)
def fold_launches(blocks: Blocks, dtype: np.dtype, strides: Strides) -> tuple[Launch, ...]:
    """Of columns with these strides (n, row, 0, 0, column); what they write is contiguous."""
    kernel, steps, sizes = three(blocks.kernel, 1), three(blocks.stride, 1), three(blocks.sizes, 1)
    most = _run_elements(sizes[2], dtype)
    vector = most if steps[2] <= MAX_STEP and most % steps[2] == 0 else 1
    if steps[2] == 1:
        vector = min(2, most)
    rows = steps[1] if steps[1] <= MAX_STEP and sizes[2] * dtype.itemsize % SECTOR == 0 else 1
    reached = (
        (taps - 1) * distance // step + 1
        for taps, distance, step in zip(kernel, three(blocks.dilation, 1), steps, strict=True)
    )
    unrolled = math.prod(reached) * rows * vector <= MAX_UNROLLED
    defines = {"IS_SUMMED": 1, "VECTOR": vector, "ROWS": rows, "UNROLLED": MAX_UNROLLED if unrolled else 1}
    order = (sizes[2] // vector, -(-sizes[1] // rows), sizes[0], blocks.channels, 1)
    written = blocks.channels * math.prod(sizes)
    wide = layout.is_wide((math.prod(kernel), math.prod(blocks.counts)), (strides[1], strides[4]), dtype.itemsize)
    return tuple(_launches("fold", blocks, dtype, strides, defines, order, written, wide))


def _launches(name: str, blocks: Blocks, dtype: np.dtype, strides: Strides, defines: dict[str, int],
              order: Sequence[int], written: int, wide: bool) -> Iterator[Launch]:  # fmt: skip
    """So many images at a time that threads are fewer than 2^31; each writes ``written`` elements."""
    text: dict[str, int | str] = {"ELEMENT": C_TYPES[dtype.name], "WIDE": int(wide), **defines}
    before = three([before for before, _ in blocks.pads], 0)
    axes = (three(blocks.kernel, 1), three(blocks.stride, 1), three(blocks.dilation, 1), before)
    for letter, values in zip("KSDP", axes, strict=True):
        text |= {f"{letter}{axis}": value for axis, value in enumerate(values)}
    source = kernel_source("unfolding", text, "elements.cuh")
    units = math.prod(order)
    if not _fits(blocks, units):
        shape = blocks.columns_shape if name == "unfold" else blocks.image_shape
        yield from plain.launches(name, blocks, dtype, strides, math.prod(shape))
        return
    most = max(1, (MAX_THREADS - THREADS) // units)
    for begin in range(0, blocks.batch, most):
        count = min(most, blocks.batch - begin) * units
        fields = (
            strides, begin * strides[0], begin * written, three(blocks.sizes, 1), three(blocks.counts, 1),
            blocks.channels, list(map(divider, order)), count,
        )  # fmt: skip
        grid = (-(-count // THREADS), 1, 1)
        yield Launch(name, source, grid, (THREADS, 1, 1), ("source", "result", np.array([fields], PROBLEM)))


def _fits(blocks: Blocks, units: int) -> bool:
    """Whether places on every axis, and the threads of an image, are counted in 32 bits."""
    reach = (
        size + count * stride + taps * distance + max(map(abs, pads))
        for size, count, stride, taps, distance, pads in zip(
            blocks.sizes, blocks.counts, blocks.stride, blocks.kernel, blocks.dilation, blocks.pads, strict=True
        )
    )
    is_padded = min(before for before, _ in blocks.pads) >= 0
    return is_padded and max(*reach, blocks.channels * math.prod(blocks.kernel), units + THREADS) < MAX_THREADS


def _run_elements(size: int, dtype: np.dtype) -> int:
    """The most elements that a thread stores at once of rows of this size."""
    count = max(1, RUN_BYTES // dtype.itemsize)
    while size % count:
        count //= 2
    return count


def _strides(array: Any, blocks: Blocks) -> tuple[int, ...]:
    """In elements, with a batch."""
    return (*(() if blocks.batched else (0,)), *(stride // array.itemsize for stride in array.strides))
