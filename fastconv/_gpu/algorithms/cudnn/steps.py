"""A problem as a graph of cuDNN, and what has to be done before and after it.

The library takes arrays without gaps, channels first or last, all of them in the same order. Weights that lie
otherwise are copied before. A result that lies otherwise lies in scratch memory first; one that something is added to
before it is rounded, as sums of float32, which the library does not make of 16-bit operands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...._problem import RESULT, ConvProblem
from ...algorithm import Operation
from ...cudnn import Convolution, Graph, Tensor
from ...elementwise import algorithm as elementwise
from ...launch import Step, Workspace
from ...layout import Layout
from ..gemm.columns import Columns, Finish, Image, fold

ORDERS = ((0, 1, 2, 3, 4), (0, 2, 3, 4, 1))
"""Of axes: channels first, channels last."""
ROLES = ("input", "weight", "output")
ALIGNED_BYTES = 256
"""Places in the workspace are multiples of it."""


def graph_of(operation: Operation, tf32: bool) -> Graph | None:
    """What the library is asked for; None where it takes no arrays that lie so."""
    made = _Builder.of(operation)
    return None if made is None else made.graph(tf32)


def steps_of(operation: Operation, rank: int, tf32: bool) -> tuple[Step, ...]:
    """All of them, by the library's plan of that rank."""
    made = _Builder.of(operation)
    assert made is not None, operation
    return made.steps(rank, tf32)


class _Builder:
    """An operation with its arrays in one order."""

    def __init__(self, operation: Operation, order: Sequence[int]) -> None:
        self.operation, self.problem, self.used_bytes = operation, operation.problem, 0
        self.role = RESULT[self.problem.direction]
        self.shapes = dict(zip(ROLES, shapes_of(self.problem), strict=True))
        self.places: dict[str, str | Workspace] = {role: role for role in ROLES}
        self.layouts: dict[str, Layout] = {}
        for role, shape in self.shapes.items():
            own = operation.layouts[role]
            packed = Layout.packed(own.dtype, shape, order)
            if lies_like(own, packed, shape) and not (role == self.role and self.problem.epilogue):
                self.layouts[role] = Layout(own.dtype, packed.strides, own.alignment)
                continue
            sums = np.dtype(np.float32) if role == self.role and self.problem.epilogue else own.dtype
            self.layouts[role] = Layout(sums, packed.strides)
            self.places[role] = Workspace(self.used_bytes)
            self.used_bytes += -(-math.prod(shape) * sums.itemsize // ALIGNED_BYTES) * ALIGNED_BYTES

    @classmethod
    def of(cls, operation: Operation) -> _Builder | None:
        """In the order that the operands have; None where they have no such order."""
        for order in ORDERS:
            made = cls(operation, order)
            if all(role in ("weight", made.role) or made.places[role] == role for role in ROLES):
                return made
        return None

    def graph(self, tf32: bool) -> Graph:
        problem, axes = self.problem, range(3)
        if (problem.input_size[0], problem.kernel_size[0], problem.padding[0]) == (1, 1, (0, 0)):
            axes = range(1, 3)
        source, weight, output = (self._tensor(role, [2 + axis for axis in axes]) for role in ROLES)
        stride, dilation = (tuple(of[axis] for axis in axes) for of in (problem.stride, problem.dilation))
        padding = tuple(problem.padding[axis] for axis in axes)
        return Graph(problem.direction, source, weight, output, stride, dilation, padding, tf32)

    def _tensor(self, role: str, axes: Sequence[int]) -> Tensor:
        kept, layout = (0, 1, *axes), self.layouts[role]
        sizes, strides = (tuple(of[axis] for axis in kept) for of in (self.shapes[role], layout.strides))
        return Tensor(layout.dtype.name, sizes, strides, layout.alignment)

    def steps(self, rank: int, tf32: bool) -> tuple[Step, ...]:
        made: list[Step] = []
        copied, places = self.places["weight"], tuple(self.places[role] for role in ROLES)
        if self.role != "weight" and isinstance(copied, Workspace):
            own = self.operation.layouts["weight"]
            made += elementwise.copied(self.shapes["weight"], own, self.layouts["weight"], ("weight", copied))
        made.append(Convolution(self.graph(tf32), rank, places, Workspace(self.used_bytes)))
        sums = self.places[self.role]
        if isinstance(sums, Workspace) and self.problem.epilogue:
            made.append(self._finish())
        elif isinstance(sums, Workspace):
            own = self.operation.layouts[self.role]
            made += elementwise.copied(self.shapes[self.role], self.layouts[self.role], own, (sums, self.role))
        return tuple(made)

    def _finish(self) -> Step:
        """The result of its sums of float32."""
        problem, own, sums = self.problem, self.operation.layouts[self.role], self.layouts[self.role]
        count, rows, *sizes = self.shapes[self.role]
        image, channel, _, _, pixel = sums.strides
        columns = Columns(self.places[self.role], sums.dtype, 1, rows, 1, image, 0, channel, 0, pixel)
        add = None
        if problem.epilogue.add:
            add = Image("add", own.dtype, self.operation.layouts["add"].strides, tuple(sizes), count)
        result = Image(self.role, own.dtype, own.strides, tuple(sizes), count)
        return fold(columns, result, None, Finish(problem.epilogue, add))


def shapes_of(problem: ConvProblem) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of the arrays by ROLES."""
    return problem.input_shape, problem.weight_shape, problem.output_shape


def lies_like(layout: Layout, packed: Layout, shape: Sequence[int]) -> bool:
    """Whether elements lie in the same places; axes of one element have any stride."""
    pairs = zip(layout.strides, packed.strides, shape, strict=True)
    return all(own == other or size == 1 for own, other, size in pairs)
