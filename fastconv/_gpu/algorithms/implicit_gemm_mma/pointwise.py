"""Kernels of one tap on planes in one piece, in all directions: rows of pixels and weights are copied as they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...gemm import ALIGNED_BYTES, NOT_FINISHED, add_partials, by_value, finishing, padded
from ...launch import Launch, Workspace
from ...parts import extent
from ...phases import phases_of
from .builder import Builder
from .correlations import Correlations, Product
from .gradient import Gradient
from .tiles import UNIT_BYTES, Tile

LANE_COLUMNS = 2
VECTORS = (8, 4, 2)
"""Elements of a copy."""


def _are_planes(c: np.ndarray, checked: int) -> bool:
    """Whether pixels are one axis that is read without padding through one tap."""
    return bool(
        not checked
        and math.prod(c["taps"].tolist()) == 1
        and math.prod(c["pixels"].tolist()) == c["pixels"][2]
        and not c["first"].any()
        and c["step"][2] == 1
    )


def _row_vector(build: Builder, c: np.ndarray, name: str, role: str) -> int:
    """Pixels of a copy of an array; 1: none can be copied."""
    flat = c.copy()
    flat[f"{name}_stride"][2:4] = 0  # axes of one pixel
    fits = (n for n in VECTORS if c["pixels"][2] % n == 0 and build.is_aligned(flat, name, role, 4, n))
    return next(fits, 1)


def _weight_vector(build: Builder, c: np.ndarray, axis: int) -> int:
    """Weights of a copy along filters (0) or channels (1)."""
    flat, size = c.copy(), int(c[("filters", "channels")[axis]])
    flat["weight_stride"][2:] = 0
    fits = (n for n in VECTORS if size % n == 0 and int(c["weight_group_stride"]) % n == 0
            and build.is_aligned(flat, "weight", "weight", axis, n))  # fmt: skip
    return next(fits, 1)


class PointwiseCorrelations(Correlations):
    """Forward and input gradients, with weights that nobody has packed."""

    def is_possible(self) -> bool:
        """Whether all parts of the problem are such."""
        if self.products > 1 or self.itemsize > 2 or self.operation.is_packed or not self.tile.pointwise:
            return False
        found = [product for c in self._phases() for product in self._products(c)]
        return bool(found) and all(
            _are_planes(p.c, p.checked) and min(self._vectors(p.c)) > 1 for p in found
        )  # fmt: skip

    def launches(self) -> tuple[Launch, ...]:
        """All of them."""
        products = [product for c in self._phases() for product in self._products(c)]
        return tuple(launch for p in products for launch in self._launched(p, "weight", Workspace(), None, 0))

    def _phases(self) -> Iterator[np.ndarray]:
        return (phase.packed().reshape(()) for phase in phases_of(self.problem, self.layouts))

    def _vectors(self, c: np.ndarray) -> tuple[int, int]:
        is_deep = self.problem.direction == "forward"
        return _weight_vector(self, c, int(is_deep)), _row_vector(self, c, "source", self.roles[0])

    def _launched(self, product: Product, packed: str | Workspace, partials: Workspace, mark: Workspace | None,
                  workspace_bytes: int) -> Iterator[Launch]:  # fmt: skip
        c, epilogue, is_split = product.c, self.problem.epilogue, product.splits > 1
        (a, b), is_deep = self._vectors(c), self.problem.direction == "forward"
        wide, stored = self._is_wide(c), self._stored(product, LANE_COLUMNS)
        source = _text(
            self, wide, GRADIENT=0, A_DEEP=int(is_deep), B_DEEP=0, A_VECTOR=a, B_VECTOR=b, SPLIT=int(is_split),
            OF_SUMS=int(is_split or self.operation.is_of_sums), STORED="SINGLY" if stored == "ROWS" else stored,
            **(NOT_FINISHED if is_split else finishing(epilogue)),
        )  # fmt: skip
        bias, add = ("bias" if epilogue.bias else None), ("add" if epilogue.add else None)
        ends: tuple[Any, ...] = (partials, None, None) if is_split else (self.roles[1], bias, add)
        structs = by_value(c), by_value(self._gemm(product))
        size = product.splits * self.problem.groups * int(c["filters"]) * product.columns * 4 if is_split else 0
        shared = shared_bytes(self.tile, is_deep, False, wide, epilogue.add and not is_split)
        yield Launch("correlate", source, (math.prod(product.tiles), self.problem.groups, product.splits),
                     (self.tile.threads, 1, 1), (self.roles[0], packed, *ends, *structs), shared,
                     padded(size, ALIGNED_BYTES))  # fmt: skip
        if is_split:
            yield add_partials(self.problem, self._gemm(product), (partials, self.roles[1], bias, add, *structs),
                               padded(size, ALIGNED_BYTES), sums=self.operation.is_of_sums)  # fmt: skip

    def _is_wide(self, c: np.ndarray) -> int:
        return int(self.limits.wide or extent(c, is_gradient=False) > self.limits.elements)


class PointwiseGradient(Gradient):
    """Weight gradients, where both arrays' pixels are such; else what its base launches."""

    checked = 7

    def _kept(self, c: np.ndarray, checked: int) -> np.ndarray:
        self.checked = checked
        return super()._kept(c, checked)

    def _vectors(self, c: np.ndarray) -> tuple[int, int]:
        if self.products > 1 or self.itemsize > 2 or not self.tile.pointwise or not _are_planes(c, self.checked):
            return 1, 1
        return _row_vector(self, c, "result", "output"), _row_vector(self, c, "source", "input")

    def _source(self, c: np.ndarray, checked: int, is_split: bool, is_marked: bool) -> str:
        a, b = self._vectors(c)
        if min(a, b) == 1:
            return super()._source(c, checked, is_split, is_marked)
        stored = "COLUMNS" if is_split or _weight_vector(self, c, 1) > 1 else "SINGLY"
        return _text(self, int(self._is_wide(c)), GRADIENT=1, A_DEEP=1, B_DEEP=1, A_VECTOR=a, B_VECTOR=b,
                     SPLIT=int(is_split), OF_SUMS=int(is_split), STORED=stored)  # fmt: skip

    def _shared_bytes(self, c: np.ndarray) -> int:
        if min(self._vectors(c)) == 1:
            return super()._shared_bytes(c)
        return shared_bytes(self.tile, True, True, int(self._is_wide(c)), False)


def shared_bytes(tile: Tile, a_deep: bool, b_deep: bool, wide: int, has_add: bool) -> int:
    """Of a block."""
    sizes = ((tile.bm, a_deep), (tile.bn, b_deep))
    rows = sum((size if deep else tile.bk) * ((tile.bk if deep else size) * 2 + UNIT_BYTES) for size, deep in sizes)
    return tile.stages * rows + tile.bn * (1 + has_add) * (8 if wide else 4)


def _text(build: Builder, wide: int, **defines: int | str) -> str:
    resident = build.tile.resident - (wide and build.tile.resident > 2)  # 64-bit offsets take more registers
    return build.text("pointwise.cu", ROWS_APART=8, LANE_COLUMNS=LANE_COLUMNS, WIDE=wide, RESIDENT=resident, **defines)
