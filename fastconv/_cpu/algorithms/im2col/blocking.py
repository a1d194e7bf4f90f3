"""How a problem is cut into blocks of columns: a function of the problem alone."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ...._problem import ConvProblem
from ...blocks import Box, box_sizes, boxes, runs

COLUMN_BYTES, MAX_COLUMN_BYTES, MIN_COLUMN_BYTES = 2**22, 2**26, 2**12
"""Size of a block's columns: large enough for BLAS, small enough to stay in a shared cache; up to the second size where
a tap would else be too few elements to copy at once, down to the third where scratch memory is limited."""
COPY_ELEMENTS = 2**13
"""Elements that make copying a tap worth its call."""
BLOCK_MULTIPLY_ADDS = 2**31
"""Arithmetic of one block, for KeyboardInterrupt's sake."""
NARROW, WIDE = 128, 512
"""Sides of a matrix that still make, and that surely make, an efficient product."""
PARALLEL_PARTS = 8
"""Independent tasks that a problem is cut into, where its sizes allow it."""
SUMS_BLOCKS = 16
"""Bound of the partial sums of a weight gradient, in the bytes of a block's columns."""


@dataclass(frozen=True)
class Blocking:
    """How a problem is cut: a function of the problem alone."""

    problem: ConvProblem
    max_pixels: int
    parts: list[slice]
    """Input channels of a group that one task takes; the gradients' tasks are cut so, forward's are not."""
    lanes: int
    """Partial sums of backward_weight; lane l adds up the blocks l, l + lanes..."""

    @property
    def pixels(self) -> tuple[int, ...]:
        """(image, output d, h, w)."""
        return (self.problem.batch, *self.problem.output_size)

    @property
    def block(self) -> tuple[int, ...]:
        """Sizes of the largest block."""
        return box_sizes(self.pixels, self.max_pixels)

    @property
    def block_count(self) -> int:
        return math.prod(-(-size // max(1, length)) for size, length in zip(self.pixels, self.block, strict=True))

    @property
    def task_count(self) -> int:
        """Length of ``tasks``, without making the list."""
        blocks = self.block_count
        if self.problem.direction == "backward_input":
            blocks = -(-self.problem.batch // max(1, self.block[0]))
        elif self.problem.direction == "backward_weight":
            blocks = self.lanes
        return blocks * len(self.parts)

    def tasks(self) -> list[tuple[list[Box], slice, int]]:
        """What runs in parallel: (blocks, channels, lane). No two tasks write the same elements."""
        blocks = boxes(self.pixels, self.max_pixels)
        if self.problem.direction == "forward":
            return [([box], part, 0) for box in blocks for part in self.parts]
        if self.problem.direction == "backward_input":
            images = [list(group) for _, group in groupby(blocks, key=lambda box: box[0].start)]
            return [(group, part, 0) for group in images for part in self.parts]
        return [(blocks[lane :: self.lanes], part, lane) for part in self.parts for lane in range(self.lanes)]

    @property
    def part_rows(self) -> int:
        """Rows of the largest column matrix over all groups."""
        taps = math.prod(self.problem.kernel_size)
        return self.problem.groups * max(part.stop - part.start for part in self.parts) * taps

    @property
    def is_pointwise(self) -> bool:
        """Whether the columns are the input itself."""
        p = self.problem
        return p.kernel_size == p.stride == (1, 1, 1) and not any(map(any, p.padding))

    def scratch_sizes(self, threads: int) -> tuple[int, ...]:
        """Elements of the weights (or their partial sums), and per thread of columns, pixel matrix and product."""
        p = self.problem
        pixels = math.prod(self.block)
        is_gradient = p.direction == "backward_weight"
        slots = max(1, min(threads, self.task_count))
        return (
            math.prod(p.weight_shape) * (self.lanes if is_gradient else 1),
            slots * pixels * self.part_rows,
            slots * pixels * p.out_channels,
            slots * p.out_channels // p.groups * self.part_rows * is_gradient,
        )


@functools.lru_cache(maxsize=256)
def blocking_of(problem: ConvProblem, column_bytes: int | None = None) -> Blocking:
    itemsize = np.dtype(problem.dtype).itemsize
    taps, pixels = math.prod(problem.kernel_size), math.prod(problem.output_size)
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    parts = [slice(0, channels)]
    if problem.direction != "forward" and channels:
        # The weight gradient's tasks share no images; those of the input gradient do where there are few.
        wanted = (
            PARALLEL_PARTS if problem.direction == "backward_weight" else -(-PARALLEL_PARTS // max(1, problem.batch))
        )
        parts = runs(channels, -(-channels // max(1, min(wanted, channels * taps // NARROW))))
    rows = max(1, problem.groups * (parts[0].stop - parts[0].start) * taps)
    max_bytes, column_bytes = column_bytes or MAX_COLUMN_BYTES, column_bytes or COLUMN_BYTES
    fitting, largest = column_bytes // (itemsize * rows), max_bytes // (itemsize * rows)
    fitting = max(fitting, min(largest, COPY_ELEMENTS * taps // rows))
    most = max(1, min(fitting, BLOCK_MULTIPLY_ADDS // (rows * max(1, filters))))
    if problem.direction == "forward":
        most = min(most, max(-(-problem.batch * pixels // PARALLEL_PARTS), NARROW))
        if problem.layout == "channels_first":
            # Images lie apart: a block of several has to be copied to its place.
            most = min(most, max(pixels, WIDE))
    blocking = Blocking(problem, most, parts, 1)
    if problem.direction == "backward_weight":
        room = SUMS_BLOCKS * column_bytes // (itemsize * max(1, math.prod(problem.weight_shape)))
        lanes = max(1, min(blocking.block_count, PARALLEL_PARTS // len(parts), room))
        blocking = Blocking(problem, most, parts, lanes)
    return blocking
