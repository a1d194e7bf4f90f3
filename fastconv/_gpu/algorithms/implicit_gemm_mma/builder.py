"""What launches of all directions share: the tile, and how arrays lie."""

from __future__ import annotations

import functools

import numpy as np

from ...._algorithm import Params
from ...._correlation import Correlation
from ...algorithm import Operation
from ...gemm import ELEMENTS, NOT_FINISHED
from ...layout import Layout
from ...parts import UNLIMITED, Limits
from ...phases import source_role
from ...source import SHARED, source_of
from .tiles import UNIT_BYTES, Tile, tile_of

PRODUCTS = {"bf16": 1, "tf32": 1, "3xtf32": 3, "int8": 1}
"""Products of tensor cores for one of the definition, by the arithmetic."""

ITEM_BYTES = {"bf16": 2, "tf32": 4, "3xtf32": 4, "int8": 1}
"""Of operands."""


class Builder:
    """Makes the launches of an operation; ``limits`` are less than those of the device in tests."""

    def __init__(self, operation: Operation, params: Params, arithmetic: str, limits: Limits = UNLIMITED) -> None:
        problem = self.problem = operation.problem
        self.operation, self.params, self.limits = operation, params, limits
        self.tile, self.common = self.tile_of(arithmetic), Correlation.of(problem)
        self.products = PRODUCTS[arithmetic]
        self.itemsize = ITEM_BYTES[arithmetic]
        self.chunk = UNIT_BYTES // self.itemsize
        source = source_role(problem)
        self.roles = source, "input" if source == "output" else "output"
        """Of the source and the result of correlations."""
        shapes = {"input": problem.input_shape, "output": problem.output_shape, "weight": problem.weight_shape,
                  "add": problem.result_shape}  # fmt: skip
        self.layouts = {role: _without_single_axes(layout, shapes[role]) for role, layout in operation.layouts.items()}

    def tile_of(self, arithmetic: str) -> Tile:
        """What a block computes."""
        return tile_of(arithmetic, self.problem.direction, self.params)

    def text(self, file: str, **defines: int | str) -> str:
        """The source of a kernel."""
        return _text(file, ELEMENTS[self.problem.dtype], self.products, self.tile, tuple(defines.items()))

    def is_aligned(self, c: np.ndarray, name: str, role: str, unit: int, count: int) -> bool:
        """Whether ``count`` elements along axis ``unit`` (of n, channel, d, h, w) are in one piece and aligned."""
        strides, layout = c[f"{name}_stride"].tolist(), self.layouts[role]
        others = [stride for axis, stride in enumerate(strides) if axis != unit]
        return (
            strides[unit] == 1
            and all(stride % count == 0 for stride in (*others, int(c[f"{name}_at"])))
            and layout.alignment % (count * layout.dtype.itemsize) == 0
        )

    def by_channels(self, c: np.ndarray, name: str, role: str, channels: int) -> str:
        """Whether whole units of an array's channels can be copied, or single elements are read."""
        whole = self.problem.groups == 1 or channels % self.chunk == 0
        return "CHANNELS" if whole and self.is_aligned(c, name, role, 1, self.chunk) else "PIXELS"


def _without_single_axes(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """Axes with one element have no stride, so that they are never in the way of vectors."""
    strides = [stride if size > 1 else 0 for stride, size in zip(layout.strides, shape, strict=True)]
    return Layout(layout.dtype, tuple(strides), layout.alignment)


_DEFINES: dict[str, int | str] = {
    "WIDE": 0,
    "SPLIT": 0,
    "MARKED": 0,
    "OF_SUMS": 0,
    "STORED": "SINGLY",
    "SOURCE_ZERO": 0,
    "FILTER_ZEROS": 0,
    "SOURCE_SIGNED": 1,
    "WEIGHT_SIGNED": 1,
    **NOT_FINISHED,
}


@functools.cache
def _text(file: str, element: str, products: int, tile: Tile, defines: tuple[tuple[str, int | str], ...]) -> str:
    head = {"ELEMENT": element, "PRODUCTS": products, **tile.defines(), **_DEFINES, **dict(defines)}
    return source_of(f"algorithms/implicit_gemm_mma/{file}", head, *SHARED, "vectors.cuh", "gemm.cuh", "mma.cuh")
