"""Forward and input gradients as launches."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...._algorithm import Params
from ...algorithm import Operation
from ...gemm import ALIGNED_BYTES, NOT_FINISHED, add_partials, by_value, finishing, gemm_struct, padded
from ...launch import Launch, Workspace
from ...layout import Layout
from ...nonfinite import computed_again
from ...parts import UNLIMITED, Limits, checked_axes, cut, extent, folded
from ...phases import phases_of
from ...source import CORRELATION
from .builder import Builder
from .patches import MAX_POSITIONS, Box, Patch, box_of, box_struct, max_taps
from .tiles import UNIT_BYTES

VECTOR = 4
"""Results of one store along rows."""
PACK_THREADS = 128
MAX_PACKED_AT_ONCE = 64
"""Taps."""


@dataclass(frozen=True)
class Product:
    """A part of a stride phase: a launch, or as many as its splits and their sum."""

    c: np.ndarray
    checked: int
    box: Box | None
    depth: int
    """Patches."""
    of_split: int
    tiles: tuple[int, int]
    """Blocks along rows and along columns."""

    @property
    def splits(self) -> int:
        return max(-(-self.depth // max(self.of_split, 1)), 1)

    @property
    def columns(self) -> int:
        return int(self.c["batch"]) * math.prod(self.c["pixels"].tolist())

    @property
    def blocks(self) -> int:
        """Of a group."""
        return math.prod(self.tiles) * self.splits


class Correlations(Builder):
    """A launch for every stride phase; where batches are cut, for every part of it."""

    def __init__(self, operation: Operation, params: Params, arithmetic: str, limits: Limits = UNLIMITED) -> None:
        super().__init__(operation, params, arithmetic, limits)
        self.channels = padded(self.common.channels, self.tile.bk)
        self.filters = padded(self.common.filters, self.tile.bm)
        self.matrix = self.channels * self.filters * (2 if self.products == 3 else 1)
        """Elements of a tap's packed weights."""
        self.max_taps = max_taps(arithmetic)
        self.is_of_sums = arithmetic == "int8" or operation.is_of_sums
        """Whether the result is of the type of sums."""
        units = self.channels // (2 * self.chunk) * self.filters // 16 * 32
        taps = math.prod(self.problem.kernel_size)
        self.pack_grid = -(-units // PACK_THREADS), self.problem.groups, min(taps, MAX_PACKED_AT_ONCE)
        is_marked = self.problem.direction == "backward_input" and self.products == 1
        self.pack_marks = math.prod(self.pack_grid) if is_marked else 0
        """Bytes in front of packed weights that say which blocks have met some that are not finite."""
        self.front_bytes = ALIGNED_BYTES if arithmetic == "int8" else padded(self.pack_marks, ALIGNED_BYTES)
        """These, or the zero point of bytes."""

    @functools.cached_property
    def packed_bytes(self) -> int:
        """Of the packed weights, and of the marks in front of them."""
        size = self.problem.groups * math.prod(self.problem.kernel_size) * self.matrix * self.itemsize
        return self.front_bytes + padded(size, ALIGNED_BYTES)

    def launches(self) -> tuple[Launch, ...]:
        """All of them, the packing of weights first."""
        products = [product for c in self._phases() for product in self._products(c)]
        groups, is_packed = self.problem.groups, self.operation.is_packed
        at = 0 if is_packed else self.packed_bytes
        partials = [p.splits * groups * int(p.c["filters"]) * p.columns * 4 for p in products if p.splits > 1]
        marks_at = at + padded(max(partials, default=0), ALIGNED_BYTES)
        packed: str | Workspace = "packed" if is_packed else Workspace()
        sequence, marks = [] if is_packed else [self.pack(packed)], 0
        for product in products:
            mark = Workspace(marks_at + marks) if self.products == 3 else None
            marks += product.blocks * groups if mark else 0
            sequence += self._launched(product, packed, Workspace(at), mark, marks_at + marks)
        if marks:
            sequence += computed_again(self.operation, Workspace(marks_at), marks)
        elif self.pack_marks and any(product.checked for product in products):
            sequence += computed_again(self.operation, packed, self.pack_marks)
        return tuple(sequence)

    def _phases(self) -> Iterator[np.ndarray]:
        """Correlations with packed weights."""
        _, kh, kw = self.problem.kernel_size
        weight = Layout(np.dtype(np.uint8), (0, 0, kh * kw * self.matrix, kw * self.matrix, self.matrix))
        group = math.prod(self.problem.kernel_size) * self.matrix
        for phase in phases_of(self.problem, {**self.layouts, "weight": weight}):
            c = phase.packed(weight_group_stride=group).reshape(())
            c["weight_at"] += self.front_bytes // self.itemsize
            yield c

    def _products(self, phase: np.ndarray) -> Iterator[Product]:
        checked, tile = checked_axes(phase), self.tile
        for c in cut(folded(phase, checked), self.limits, False):
            box = box_of(c, tile, MAX_POSITIONS, self.max_taps)
            taps = c["taps"].tolist()
            inner = taps[1] * taps[2] if box else 1
            depth = math.prod(taps) // inner * (self.channels // tile.bk)
            splits = min(self.params["splits"], max(depth, 1))
            planes, columns = int(c["batch"]) * int(c["pixels"][0]), int(c["batch"]) * math.prod(c["pixels"].tolist())
            across = box.boxes(planes, *c["pixels"][1:].tolist()) if box else -(-columns // tile.bn)
            yield Product(c, checked, box, depth, -(-depth // splits), (self.filters // tile.bm, across))

    def pack(self, to: str | Workspace) -> Launch:
        """All taps of the problem, whatever phase they belong to."""
        problem = self.problem
        k, c, *taps = self.layouts["weight"].strides
        struct = np.zeros((), CORRELATION)
        struct["channels"], struct["filters"] = self.common.channels, self.common.filters
        struct["taps"] = problem.kernel_size
        struct["weight_stride"] = (c, k, *taps) if problem.direction == "backward_input" else (k, c, *taps)
        struct["weight_group_stride"] = problem.out_channels // problem.groups * k
        _, kh, kw = problem.kernel_size
        gemm = gemm_struct(
            struct, (kh * kw, kw), {}, rows=1, padded_channels=self.channels, padded_filters=self.filters
        )
        return Launch(
            "pack_weights", self.text("kernels.cu", KERNEL="PACK", MARKED=int(self.pack_marks > 0)),
            self.pack_grid, (PACK_THREADS, 1, 1),
            ("weight", to, by_value(struct), by_value(gemm), *self._zero_points()),
            workspace_bytes=0 if to == "packed" else self.packed_bytes,
        )  # fmt: skip

    def _zero_points(self) -> tuple[Any, ...]:
        """Arguments of the kernels for bytes."""
        if self.problem.dtype != "int8":
            return ()
        return np.int32(self.operation.input_zero), self.operation.filter_zeros

    def _of_bytes(self) -> dict[str, int | str]:
        """#defines of the kernels for bytes."""
        if self.problem.dtype != "int8":
            return {}
        signed = {f"{name}_SIGNED": int(self.layouts[role].dtype == np.int8)
                  for name, role in (("SOURCE", self.roles[0]), ("WEIGHT", "weight"))}  # fmt: skip
        operation = self.operation
        return {**signed, "SOURCE_ZERO": int(operation.input_zero != 0),
                "FILTER_ZEROS": int(operation.filter_zeros is not None)}  # fmt: skip

    def _gemm(self, product: Product) -> np.ndarray:
        c, taps = product.c, product.c["taps"].tolist()
        return gemm_struct(
            c, (1, 1) if product.box else (taps[1] * taps[2], taps[2]),
            {"filter_tiles": product.tiles[0], "channel_blocks": self.channels // self.tile.bk},
            rows=int(c["filters"]), columns=product.columns, depth=product.depth, depth_of_split=product.of_split,
            splits=product.splits, padded_channels=self.channels, padded_filters=self.filters,
        )  # fmt: skip

    def _stored(self, product: Product, vector: int) -> str:
        """What vectors of results lie along: so many pixels (columns), channels (rows) or nothing."""
        c, box = product.c, product.box
        whole = c["pixels"][2] % vector == 0
        if product.splits > 1:
            return "COLUMNS" if whole or (box is None and product.columns % vector == 0) else "SINGLY"
        places = [("result", self.roles[1]), *([("add", "add")] if self.problem.epilogue.add else [])]
        if whole and all(self.is_aligned(c, *place, 4, vector) for place in places):
            return "COLUMNS"
        if c["filters"] % VECTOR == 0 and all(self.is_aligned(c, *place, 1, VECTOR) for place in places):
            return "ROWS"
        return "SINGLY"

    def _launched(self, product: Product, packed: str | Workspace, partials: Workspace, mark: Workspace | None,
                  workspace_bytes: int) -> Iterator[Launch]:  # fmt: skip
        c, epilogue, is_split = product.c, self.problem.epilogue, product.splits > 1
        source, result = self.roles
        along = self.by_channels(c, "source", source, self.common.channels)
        patch = Patch.of(self.tile, product.box, along, self.itemsize)
        wide = int(self.limits.wide or extent(c, is_gradient=False) > self.limits.elements)
        defines: dict[str, int | str] = {
            "KERNEL": "CORRELATE", "WIDE": wide, "CHECKED": product.checked & (1 if product.box else 7),
            "SPLIT": int(is_split), "OF_SUMS": int(is_split or self.is_of_sums),
            "MARKED": int(mark is not None), "STORED": self._stored(product, patch.lane_columns),
            "WHOLE_BLOCKS": int(self.common.channels % self.tile.bk == 0), **patch.defines(),
            "SEVERAL": int(product.depth > self.channels // self.tile.bk),
            **(NOT_FINISHED if is_split else finishing(epilogue)), **self._of_bytes(),
        }  # fmt: skip
        bias, add = ("bias" if epilogue.bias else None), ("add" if epilogue.add else None)
        ends: tuple[Any, ...] = (partials, None, None) if is_split else (result, bias, add)
        structs = by_value(c), by_value(self._gemm(product))
        shared = self._shared_bytes(patch, wide, epilogue.add and not is_split)
        yield Launch(
            "correlate", self.text("kernels.cu", **defines),
            (math.prod(product.tiles), self.problem.groups, product.splits), (self.tile.threads, 1, 1),
            (source, packed, *ends, mark, *structs, by_value(box_struct(c, product.box)),
             *self._zero_points()), shared, workspace_bytes,
        )  # fmt: skip
        if is_split:
            arguments = (partials, result, bias, add, *structs)
            yield add_partials(self.problem, self._gemm(product), arguments, workspace_bytes,
                               sums=self.is_of_sums)  # fmt: skip

    def _shared_bytes(self, patch: Patch, wide: int, has_add: bool) -> int:
        tile, pieces = self.tile, 2 if self.products == 3 else 1
        stages = patch.stages * patch.taps * tile.bm * tile.bk * self.itemsize * pieces
        patches = patch.buffers * (tile.bk // self.chunk) * (patch.positions + 2) * UNIT_BYTES
        offsets = tile.bn * (1 + has_add + (patch.box is None)) + patch.held * tile.threads
        return stages + patches + offsets * (8 if wide else 4) + (8 * patch.box.turns if patch.box else 12 * tile.bn)
