"""A problem as products of matrices, and what has to be done before and after them.

Of each group, rows are filters, and columns are the pixels of an image or of several:

    forward          result = weight x columns of the input
    backward_input   columns of the input = weight^T x output; the result is their sum
    backward_weight  result = output x (columns of the input)^T, summed over the images

A matrix is taken where it lies if the array's strides allow it, and a result computed in its place; what else there is
lies in scratch memory, for some images at a time. Where an image has few pixels, matrices are of several images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...._problem import RESULT, ConvProblem
from ...algorithm import Operation
from ...cublas import ALIGNED_BYTES, Matrices, Product, scratch_bytes
from ...launch import Launch, Workspace
from .columns import Columns, Finish, Image, Windows, fold, unfold

FEW_PIXELS = 512
"""Images with fewer are put side by side."""


def distance(sizes: Sequence[int], strides: Sequence[int]) -> int | None:
    """From one element to the next of axes that lie like one, in C order; None where they do not."""
    found, count = None, 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size == 1:
            continue
        if found is None:
            found = stride
        elif stride != found * count:
            return None
        count *= size
    return 1 if found is None else found


def is_pointwise(problem: ConvProblem) -> bool:
    """Whether every pixel reads one element of each channel, and none outside of the image."""
    return problem.kernel_size == (1, 1, 1) and problem.padding == ((0, 0),) * 3


def batches(a: Matrices, b: Matrices, c: Matrices, sizes: tuple[int, int, int], images: int, groups: int,
            of_group: tuple[int, int, int]) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """The fewest products that multiply the matrices of all images and groups: a, b, c, their sizes, and how many.

    ``batch`` of the matrices is from an image to the next one, ``of_group`` from a group to the next one.
    """
    rows, columns, depth = sizes
    if images > 1 and not a.batch and (b.batch, c.batch) == (columns * b.column, columns * c.column):
        images, columns = 1, images * columns
    elif images > 1 and not c.batch and (a.batch, b.batch) == (depth * a.column, depth * b.row):
        images, depth = 1, images * depth
    by_image = a.batch, b.batch, c.batch
    inner, outer, count, times = by_image, of_group, images, groups
    if images < groups and c.batch:
        inner, outer, count, times = of_group, by_image, groups, images
    elif images == 1:
        inner, outer, count, times = of_group, (0, 0, 0), groups, 1
    for i in range(times):
        moved = [replace(m.moved(i * far), batch=near) for m, near, far in zip((a, b, c), inner, outer, strict=True)]
        yield (*moved, (rows, columns, depth), count)


class Builder:
    """The steps of an operation."""

    def __init__(self, operation: Operation, images: int, tf32: bool) -> None:
        problem = operation.problem
        self.problem, self.layouts = problem, operation.layouts
        self.slice, self.tf32 = min(images, problem.batch), tf32
        self.groups, self.pixels, self.taps = (
            problem.groups,
            math.prod(problem.output_size),
            math.prod(problem.kernel_size),
        )
        self.filters, self.channels = problem.out_channels // self.groups, problem.in_channels // self.groups
        given = next(role for role in ("input", "output") if role != RESULT[problem.direction])
        self.element = self.layouts[given].dtype
        self.sum = np.dtype(np.float64 if self.element == np.float64 else np.float32)
        self.scratch_bytes = scratch_bytes(math.prod(problem.result_shape) * self.sum.itemsize)
        self.used_bytes = self.scratch_bytes
        self.steps: list[Launch | Product] = []

    def build(self) -> tuple[Launch | Product, ...]:
        """All of them."""
        if self.problem.direction == "backward_weight":
            self._weight_gradient()
        else:
            self._correlate()
        return tuple(replace(step, workspace_bytes=self.used_bytes) for step in self.steps)

    # -- arrays
    def _image(self, role: str, first: int = 0, count: int = 0) -> Image:
        """Some images of an array; of weights: the filters."""
        layout, problem = self.layouts[role], self.problem
        if role == "weight":
            return Image(role, layout.dtype, layout.strides, problem.kernel_size, problem.out_channels)
        of = RESULT[problem.direction] if role == "add" else role
        sizes = problem.input_size if of == "input" else problem.output_size
        return Image(role, layout.dtype, layout.strides, sizes, count, first)

    def _in_place(self, role: str, step: Sequence[int] = (1, 1, 1)) -> Columns | None:
        """Images whose pixels lie one ``step`` apart, if cuBLAS takes them where they lie."""
        layout, per_group = self.layouts[role], self.filters if role == "output" else self.channels
        image, channel, *axes = layout.strides
        pixel = distance(self.problem.output_size, [stride * n for stride, n in zip(axes, step, strict=True)])
        if pixel is None or image < 0 or (channel <= 0 and self.groups > 1):
            return None
        found = Columns(role, layout.dtype, self.groups, per_group, 1, image, per_group * channel, channel, 0, pixel)
        return found if found.matrices().is_usable(per_group, self.pixels) else None

    def _take(self, elements: int, dtype: np.dtype) -> Workspace:
        place = Workspace(self.used_bytes)
        self.used_bytes += _aligned(elements * dtype.itemsize)
        return place

    def _staged(self, dtype: np.dtype, like: str, taps: int, taps_first: bool, joined: bool) -> Columns:
        """Columns in scratch memory, of a slice; channels side by side where they are so in the array ``like``."""
        per_group = self.filters if like == "output" else self.channels
        of_group = per_group * taps
        rows = self.groups * of_group
        place = self._take(self.slice * rows * self.pixels, dtype)
        channel, tap = (1, per_group) if taps_first else (taps, 1)
        if self._is_last(like):
            image, row, pixel = self.pixels * rows, 1, rows
        elif joined:
            image, row, pixel = self.pixels, self.slice * self.pixels, 1
        else:
            image, row, pixel = self.pixels * rows, self.pixels, 1
        return Columns(
            place, dtype, self.groups, per_group, taps, image, of_group * row, channel * row, tap * row, pixel
        )

    def _is_last(self, role: str) -> bool:
        _, channel, _, _, column = self.layouts[role].strides
        return channel == 1 and column != 1

    def _folds(self, columns: Columns) -> bool:
        """Whether the pixels of all images lie like those of one."""
        return self.problem.batch == 1 or columns.image == self.pixels * columns.pixel

    def _filters(self, taps_first: bool) -> tuple[Matrices, bool] | None:
        """Filters by (tap, channel) or (channel, tap), as they lie; None where they have to be moved."""
        layout, problem = self.layouts["weight"], self.problem
        k, c, *taps = layout.strides
        if k <= 0 and self.groups > 1:
            return None
        orders = (
            (True,) if taps_first and self.taps > 1 else (taps_first, not taps_first)
        )  # side by side as channels lie
        for first in orders:
            sizes, strides = (self.channels, *problem.kernel_size), (c, *taps)
            if first:
                sizes, strides = (*problem.kernel_size, self.channels), (*taps, c)
            column = distance(sizes, strides)
            if column is not None:
                found = Matrices("weight", layout.dtype, k, column)
                if found.is_usable(self.filters, self.channels * self.taps):
                    return found, first
        return None

    def _moved_filters(self, place: str | Workspace, dtype: np.dtype, taps_first: bool, parts: int = 1) -> Columns:
        """Filters side by side, or some arrays of them: what unfold makes of weights, and finish weights of."""
        depth = self.channels * self.taps
        channel, tap = (1, self.channels) if taps_first else (self.taps, 1)
        return Columns(place, dtype, 1, self.channels, parts, depth, 0, channel, self.problem.out_channels * depth, tap)

    def _weight(self, taps_first: bool) -> tuple[Matrices, bool]:
        """Weights as matrices of filters, where they lie or copied, and whether taps come first."""
        found = self._filters(taps_first)
        if found is not None:
            return found
        depth, dtype = self.channels * self.taps, self.layouts["weight"].dtype
        place = self._take(self.problem.out_channels * depth, dtype)
        copied = self._moved_filters(place, dtype, taps_first)
        self.steps.append(unfold(self._image("weight"), copied, Windows(self.problem.kernel_size)))
        return Matrices(place, dtype, depth, 1), taps_first

    # -- steps
    def _multiply(self, a: Matrices, b: Matrices, c: Matrices, sizes: tuple[int, int, int], images: int,
                  of_group: tuple[int, int, int], adds: bool = False) -> None:  # fmt: skip
        for left, right, result, (rows, columns, depth), count in batches(
            a, b, c, sizes, images, self.groups, of_group
        ):
            self.steps.append(Product(left, right, result, rows, columns, depth, count, adds, self.tf32, Workspace(0),
                                      self.scratch_bytes))  # fmt: skip

    def _source(self, found: Columns | None, staged: Columns, windows: Windows, first: int, count: int) -> Columns:
        """Columns of some images: where they lie, or unfolded."""
        if found is not None:
            return replace(found, offset=first * found.image)
        role = "output" if self.problem.direction == "backward_input" else "input"
        self.steps.append(unfold(self._image(role, first, count), staged, windows))
        return staged

    def _correlate(self) -> None:
        """Forward, and input gradients."""
        problem, backward = self.problem, self.problem.direction == "backward_input"
        pointwise, windows, copy = is_pointwise(problem), Windows.of(problem), Windows(problem.output_size)
        source_role, role = ("output", "input") if backward else ("input", "output")
        is_sum = backward and not (pointwise and problem.stride == (1, 1, 1))
        source = (
            self._in_place(source_role, (1, 1, 1) if backward else problem.stride) if backward or pointwise else None
        )
        result = None if is_sum else self._in_place(role)
        if result is not None and problem.epilogue and result.dtype != self.sum:
            result = None  # what is added is added before the rounding
        joined = problem.batch > 1 and (self.pixels < FEW_PIXELS or source is None is result)
        if joined:
            source, result = (found if found and self._folds(found) else None for found in (source, result))
        weight, taps_first = self._weight(self._is_last("input"))
        source_taps, taps = (1, self.taps) if backward else (self.taps, 1)
        columns = source or self._staged(self.element, source_role, source_taps, taps_first, joined)
        sums = result or self._staged(self.sum, role, taps, taps_first, joined)
        sizes = self.filters, self.pixels, self.channels * self.taps
        of_weight = self.filters * weight.row
        if backward:
            weight, sizes = replace(weight, row=weight.column, column=weight.row), (sizes[2], sizes[1], sizes[0])
        size = problem.batch if source and result else self.slice
        for first in range(0, problem.batch, size):
            count = min(size, problem.batch - first)
            right = self._source(source, columns, copy if backward else windows, first, count)
            made = replace(sums, offset=first * sums.image) if result else sums
            distances = of_weight, right.group, made.group
            self._multiply(weight, right.matrices(), made.matrices(), sizes, count, distances)
            if result is None or problem.epilogue:
                add = self._image("add", first, count) if problem.epilogue.add else None
                image = self._image(role, first, count)
                self.steps.append(fold(made, image, windows if is_sum else None, Finish(problem.epilogue, add)))

    def _weight_gradient(self) -> None:
        problem, depth = self.problem, self.channels * self.taps
        windows, copy = Windows.of(problem), Windows(problem.output_size)
        source = self._in_place("input", problem.stride) if is_pointwise(problem) else None
        gradient = self._in_place("output")
        joined = problem.batch > 1 and (self.pixels < max(FEW_PIXELS, depth) or (source is None is gradient))
        if joined:
            source, gradient = (found if found and self._folds(found) else None for found in (source, gradient))
        in_place = self._filters(self._is_last("input")) if self.layouts["weight"].dtype == self.sum else None
        taps_first = self._is_last("input") if in_place is None else in_place[1]
        columns = source or self._staged(self.element, "input", self.taps, taps_first, joined)
        gradients = gradient or self._staged(self.element, "output", 1, False, joined)
        one = self._folds(columns) and self._folds(gradients)
        size = problem.batch if source and gradient else self.slice
        parts = 1 if one else size
        if in_place is not None and one:
            sums = in_place[0]
        else:
            place = self._take(parts * problem.out_channels * depth, self.sum)
            sums = Matrices(place, self.sum, depth, 1, 0 if one else problem.out_channels * depth)
        for first in range(0, problem.batch, size):
            count = min(size, problem.batch - first)
            right = self._source(source, columns, windows, first, count)
            left = gradients
            if gradient:
                left = replace(gradient, offset=first * gradient.image)
            else:
                self.steps.append(unfold(self._image("output", first, count), gradients, copy))
            distances = left.group, right.group, self.filters * sums.row
            sizes = self.filters, depth, self.pixels
            self._multiply(left.matrices(), right.transposed(), sums, sizes, count, distances, first > 0)
        if sums.place != "weight":
            self.steps.append(fold(self._moved_filters(sums.place, self.sum, taps_first, parts), self._image("weight"),
                                   None, Finish()))  # fmt: skip


def _aligned(size: int) -> int:
    return -(-size // ALIGNED_BYTES) * ALIGNED_BYTES
