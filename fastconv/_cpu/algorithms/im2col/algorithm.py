"""im2col: the pixels under every kernel position copied into columns, then one matrix product by NumPy's BLAS.

With taps t and channels c as rows and output pixels p as columns, for every group::

    forward          y[k, p]    = w[k, tc] @ columns[tc, p]
    backward_input   columns    = w[k, tc].T @ dy[k, p],  then dx[c, i] = sum of the columns that were copied from i
    backward_weight  dw[k, tc]  = sum over blocks of dy[k, p] @ columns[tc, p].T

The textbook method and the baseline that speed-ups are quoted against, so it is not done badly: blocks of columns are
bounded and run in parallel, kernels of one element read the input in place, and nothing is copied that BLAS can read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from typing import Any

import numpy as np

from ...._algorithm import Operands, Params, Resources
from ...._problem import ConvProblem
from ... import blas, epilogue
from ...blocks import Box, Scratch, cut, run, scratch_bytes, tap_windows
from ...cost.counts import ITEM_BYTES
from ...cost.fitted import Fitted
from .blocking import COLUMN_BYTES, MIN_COLUMN_BYTES, Blocking, blocking_of

MIN_PIXEL_CHANNELS = 8
"""Fewer channels of a group are not worth copying pixel by pixel; rows of pixels are copied then."""


class Im2col(Fitted):
    """Matrix products over copied columns, in any dtype that BLAS has."""

    name = "im2col"
    dtypes = frozenset({"float32", "float64", "complex64", "complex128"})

    def supports(self, problem: ConvProblem) -> bool:
        return True

    def fitting(self, problem: ConvProblem, limit_bytes: int) -> Params | None:
        """Blocks become smaller until they fit."""
        column_bytes, params = COLUMN_BYTES, dict[str, Any]()
        while self.workspace(problem, params, 1) > limit_bytes:
            column_bytes //= 2
            if column_bytes < MIN_COLUMN_BYTES:
                return None
            params = {"column_bytes": column_bytes}
        return params

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        itemsize = np.dtype(problem.dtype).itemsize
        sizes = blocking_of(problem, **params).scratch_sizes(threads)
        return scratch_bytes(*(size * itemsize for size in sizes))

    def items(self, problem: ConvProblem, params: Params) -> int:
        return blocking_of(problem, **params).task_count

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """Columns that are copied, and calls of NumPy, most of them tap by tap."""
        blocking, taps = blocking_of(problem, **params), math.prod(problem.kernel_size)
        pixels, blocks = problem.batch * math.prod(problem.output_size), blocking.block_count * len(blocking.parts)
        columns = 0 if blocking.is_pointwise else pixels * problem.in_channels * taps * ITEM_BYTES[problem.dtype]
        return {
            "copied_bytes": columns,
            "strided_copied_bytes": columns if max(problem.stride) > 1 else 0,
            "last_copied_bytes": columns if problem.layout == "channels_last" else 0,
            "copied_row_bytes": columns / max(problem.output_size[2], 1),
            "block_steps": blocks,
            "tap_steps": blocks * taps,
            "group_steps": blocks * problem.groups,
        }

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        execution = _Execution(blocking_of(problem, **params), operands, resources)
        with np.errstate(all="ignore"), blas.one_thread():
            getattr(execution, problem.direction)()
        if problem.direction != "backward_weight":
            epilogue.apply(problem, operands)


class _Execution:
    """One call. Arrays are read by group: data as (group, channel, n, d, h, w), weights as (group, k, tap, c).

    Matrices have the memory order of the problem's layout, so that rows of memory are copied as such: a column matrix
    (group, tap * channel, pixel) of a channels-last problem is stored with pixels outermost.
    """

    def __init__(self, blocking: Blocking, operands: Operands, resources: Resources):
        self.blocking = blocking
        self.problem = problem = blocking.problem
        self.operands = operands
        self.threads = resources.threads
        self.groups = problem.groups
        self.channels = problem.in_channels // problem.groups
        self.filters = problem.out_channels // problem.groups
        self.taps = math.prod(problem.kernel_size)
        self.is_squared = np.may_share_memory(operands.input, operands.output)
        self.input = _by_group(operands.input, problem.groups)
        self.output = _by_group(operands.output, problem.groups)
        scratch, dtype = Scratch(resources.workspace), np.dtype(problem.dtype)
        sizes = self.blocking.scratch_sizes(resources.threads)
        self._weights = scratch.take(dtype, sizes[0])
        slots = max(1, min(resources.threads, self.blocking.task_count))
        self._columns, self._pixels, self._product = (scratch.take(dtype, slots, size // slots) for size in sizes[1:])

    def forward(self) -> None:
        weight = self._weight_matrices(slice(0, self.channels))

        def compute(task: tuple[list[Box], slice, int], slot: int) -> None:
            (box,), part, _ = task
            columns = self._filled_columns(box, part, slot)
            y = cut(self.output, box)
            matrices = self._in_place(y)
            if matrices is not None:
                np.matmul(weight, columns, out=matrices)
            else:
                result = self._matrices(self._pixels[slot], self.filters, y.shape[2:])
                np.matmul(weight, columns, out=_joined(result, 2))
                y[...] = result

        run(compute, self.blocking.tasks(), self.threads)

    def backward_input(self) -> None:
        weights = {part.start: self._weight_matrices(part).swapaxes(1, 2) for part in self.blocking.parts}

        def compute(task: tuple[list[Box], slice, int], slot: int) -> Iterator[None]:
            blocks, part, _ = task
            dx = self.input[:, part, blocks[0][0]]
            if not self.blocking.is_pointwise:
                dx[...] = 0
            for box in blocks:
                self._add_columns(weights[part.start], box, dx, slot)
                yield

        run(compute, self.blocking.tasks(), self.threads)

    def _add_columns(self, weight: np.ndarray, box: Box, dx: np.ndarray, slot: int) -> None:
        """Add to ``dx``, channels of the block's images, what the output gradient of the block gives."""
        dy = self._output_matrices(box, slot)
        if self.blocking.is_pointwise:
            pixels = cut(dx, box[1:])
            matrices = self._in_place(pixels)
            if matrices is not None:
                np.matmul(weight, dy, out=matrices)
                return
        columns = self._column_array(slot, box, dx.shape[1])
        np.matmul(weight, dy, out=self._column_matrices(columns))
        if self.blocking.is_pointwise:
            pixels[...] = columns[:, 0]
            return
        if _are_patches(self.problem):
            self._patches(dx, box)[...] = self._by_taps(columns)
            return
        for tap, inside, source in self._windows(box):
            pixels = cut(dx, source)
            pixels += cut(columns[:, tap], inside)

    def backward_weight(self) -> None:
        lanes = self.blocking.lanes
        sums = {part.start: self._weight_memory(part, lanes) for part in self.blocking.parts}

        def compute(task: tuple[list[Box], slice, int], slot: int) -> Iterator[None]:
            blocks, part, lane = task
            total = sums[part.start][lane].reshape(self.groups, self.filters, -1)
            if not blocks:
                total[...] = 0
            for box in blocks:
                columns = self._filled_columns(box, part, slot).swapaxes(1, 2)
                dy = self._output_matrices(box, slot)
                if box is blocks[0]:
                    np.matmul(dy, columns, out=total)
                else:
                    product = self._product[slot, : total.size].reshape(total.shape)
                    total += np.matmul(dy, columns, out=product)
                yield

        run(compute, self.blocking.tasks(), self.threads)
        for part in self.blocking.parts:
            total, *others = sums[part.start]
            for other in others:
                total += other
            self.operands.weight[:, part] = np.moveaxis(total, -1, 1)

    def _weight_memory(self, part: slice, lanes: int = 1) -> np.ndarray:
        """(lane, k of all groups, tap d, h, w, c) array for the channels ``part``."""
        per_channel = lanes * self.groups * self.filters * self.taps
        memory = self._weights[part.start * per_channel : part.stop * per_channel]
        shape = (lanes, self.groups * self.filters, *self.problem.kernel_size, part.stop - part.start)
        return memory.reshape(shape)

    def _weight_matrices(self, part: slice) -> np.ndarray:
        """(group, k, tap * c) copy of the weights of the channels ``part``."""
        copy = self._weight_memory(part)
        copy[0] = np.moveaxis(self.operands.weight[:, part], 1, -1)
        return copy.reshape(self.groups, self.filters, self.taps * copy.shape[-1])

    def _output_matrices(self, box: Box, slot: int) -> np.ndarray:
        """(group, k, pixel) of the output gradient, copied only where BLAS cannot read it in place."""
        dy = cut(self.output, box)
        # NumPy multiplies a matrix by its own transpose in another way.
        matrices = None if self.is_squared else self._in_place(dy)
        if matrices is None:
            copy = self._matrices(self._pixels[slot], self.filters, dy.shape[2:])
            copy[...] = dy
            matrices = _joined(copy, 2)
        return matrices

    def _filled_columns(self, box: Box, part: slice, slot: int) -> np.ndarray:
        """(group, tap * c, pixel) of the channels ``part``, with zeros where a tap lies in the padding."""
        images = self.input[:, part, box[0]]
        if self.blocking.is_pointwise:
            matrices = self._in_place(cut(images, box[1:]))
            if matrices is not None:
                return matrices
        columns = self._column_array(slot, box, images.shape[1])
        if _are_patches(self.problem):
            self._by_taps(columns)[...] = self._patches(images, box)
            return self._column_matrices(columns)
        if any(map(any, self.problem.padding)):
            columns[...] = 0
        for tap, inside, source in self._windows(box):
            cut(columns[:, tap], inside)[...] = cut(images, source)
        return self._column_matrices(columns)

    def _column_array(self, slot: int, box: Box, channels: int) -> np.ndarray:
        """(group, tap, c, n, d, h, w) array of a slot's memory."""
        pixels = tuple(run.stop - run.start for run in box)
        memory = self._columns[slot, : self.groups * self.taps * channels * math.prod(pixels)]
        if self.problem.layout == "channels_last" and channels >= MIN_PIXEL_CHANNELS:
            rows = np.moveaxis(memory.reshape(self.groups, *pixels, self.taps * channels), -1, 1)
        else:
            rows = memory.reshape(self.groups, self.taps * channels, *pixels)
        return rows.reshape(self.groups, self.taps, channels, *pixels)

    def _by_taps(self, columns: np.ndarray) -> np.ndarray:
        """(group, tap d, h, w, c, n, d, h, w) view of columns."""
        (_, height, width), step = self.problem.kernel_size, columns.strides[1]
        return np.lib.stride_tricks.as_strided(
            columns,
            (columns.shape[0], *self.problem.kernel_size, *columns.shape[2:]),
            (columns.strides[0], height * width * step, width * step, step, *columns.strides[2:]),
        )

    def _patches(self, images: np.ndarray, box: Box) -> np.ndarray:
        """The same of the elements that the pixels of ``box`` see; pixels share none."""
        kernel, pixels = self.problem.kernel_size, tuple(run.stop - run.start for run in box[1:])
        seen = tuple(slice(run.start * size, run.stop * size) for run, size in zip(box[1:], kernel, strict=True))
        images = cut(images, seen)
        group, channel, image, *steps = images.strides
        return np.lib.stride_tricks.as_strided(
            images,
            (images.shape[0], *kernel, *images.shape[1:3], *pixels),
            (group, *steps, channel, image, *(step * size for step, size in zip(steps, kernel, strict=True))),
        )

    def _column_matrices(self, columns: np.ndarray) -> np.ndarray:
        rows = columns.reshape(self.groups, self.taps * columns.shape[2], *columns.shape[3:])
        return _joined(rows, 2)

    def _matrices(self, memory: np.ndarray, rows: int, pixels: tuple[int, ...]) -> np.ndarray:
        """(group, row, n, d, h, w) in the order of the problem's layout."""
        memory = memory[: self.groups * rows * math.prod(pixels)]
        if self.problem.layout == "channels_first":
            return memory.reshape(self.groups, rows, *pixels)
        return np.moveaxis(memory.reshape(self.groups, *pixels, rows), -1, 1)

    def _in_place(self, array: np.ndarray) -> np.ndarray | None:
        """(group, row, n, d, h, w) as (group, row, pixel) without a copy; None where it does not lie as ``_matrices``.

        BLAS sums in another order for matrices of another memory order: which one it gets follows from the problem.
        """
        steps = [(size, stride) for size, stride in zip(array.shape[2:], array.strides[2:], strict=True) if size > 1]
        if any(outer != size * inner for (_, outer), (size, inner) in pairwise(steps)):
            return None
        (groups, rows), (group, row), itemsize = array.shape[:2], array.strides[:2], array.itemsize
        pixels, pixel = math.prod(array.shape[2:]), steps[-1][1] if steps else itemsize
        by_rows = self.problem.layout == "channels_first"
        (long, step), (short, apart) = ((pixels, pixel), (rows, row)) if by_rows else ((rows, row), (pixels, pixel))
        if short == 1:  # its stride, which may be any, is looked at by NumPy
            apart = long * itemsize
        # Products with vectors have other kernels for matrices without gaps.
        may_have_gaps = min(rows, pixels, self.filters, self.channels * self.taps) > 1
        if (
            (long > 1 and step != itemsize)
            or apart < long * itemsize
            or (apart > long * itemsize and not may_have_gaps)
        ):
            return None
        strides = (group, apart, itemsize) if by_rows else (group, itemsize, apart)
        return np.lib.stride_tricks.as_strided(array, (groups, rows, pixels), strides)

    def _windows(self, box: Box) -> Iterator[tuple[int, Box, Box]]:
        """Every tap that meets the input, the pixels of ``box`` that see the input through it, and what they see."""
        p = self.problem
        axes = zip(p.kernel_size, p.stride, p.dilation, p.padding, p.input_size, box[1:], strict=True)
        for tap, window in enumerate(product(*(tap_windows(*axis) for axis in axes))):
            if all(window):
                yield tap, tuple(pair[0] for pair in window), tuple(pair[1] for pair in window)  # type: ignore[index]


def _are_patches(problem: ConvProblem) -> bool:
    """Whether pixels lie side by side: all of them see elements of their own, and none of the padding."""
    is_close = all(d == 1 or size == 1 for d, size in zip(problem.dilation, problem.kernel_size, strict=True))
    return is_close and problem.kernel_size == problem.stride and not any(map(any, problem.padding))


def _by_group(array: np.ndarray, groups: int) -> np.ndarray:
    """(group, channel, n, d, h, w) view of (n, channel, d, h, w)."""
    batch, channels, *sizes = array.shape
    return array.reshape(batch, groups, channels // groups, *sizes).transpose(1, 2, 0, 3, 4, 5)


def _joined(array: np.ndarray, axis: int) -> np.ndarray:
    """The view with ``axis`` and those after it joined into one; they must be mergeable."""
    steps = [(size, stride) for size, stride in zip(array.shape[axis:], array.strides[axis:], strict=True) if size > 1]
    stride = steps[-1][1] if steps else array.itemsize
    shape = (*array.shape[:axis], math.prod(array.shape[axis:]))
    return np.lib.stride_tricks.as_strided(array, shape, (*array.strides[:axis], stride))
