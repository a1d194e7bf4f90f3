"""A problem as launches of the room's kernels: grid, block, #defines, structs, and what each pointer is."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...._algorithm import Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...algorithm import Operation
from ...gemm import ALIGNED_BYTES, NOT_FINISHED, add_partials, by_value, finishing, gemm_struct, matrix, padded
from ...launch import Launch, Workspace
from ...layout import Layout
from ...nonfinite import computed_again
from ...parts import UNLIMITED, Limits, checked_axes, cut, extent, folded
from ...source import CORRELATION, SHARED, source_of
from .tiles import Tile, tile_of

VECTOR_BYTES = 16
TAPS_AT_ONCE = 9
"""Of weights that a thread packs."""


def launches(operation: Operation, params: Params, limits: Limits = UNLIMITED) -> tuple[Launch, ...]:
    """What computes the operation; "packed" is what ``pack_launch`` has made of the weights."""
    problem = operation.problem
    if 0 in problem.result_shape:
        return ()
    build = _Builder(operation, params, limits)
    if problem.direction == "backward_weight":
        return build.gradient()
    return build.correlations(operation.is_packed)


def pack_launch(problem: ConvProblem, params: Params, weight: Layout) -> Launch:
    """What packs weights into ``packed_bytes`` bytes, for any launches of the problem with the same tile."""
    return _Builder(Operation(problem, {"weight": weight}), params, UNLIMITED).pack("packed")


def marks_of(problem: ConvProblem, params: Params) -> int:
    """Bytes in front of packed weights that say which blocks have met some that are not finite: where there is padding
    that the definition does not multiply by them."""
    if problem.direction != "backward_input":
        return 0
    tile, c = tile_of(problem, params), Correlation.of(problem)
    return math.prod(_pack_grid(problem, padded(c.channels, tile.bk), padded(c.filters, tile.bm)))


def _pack_grid(problem: ConvProblem, padded_channels: int, padded_filters: int) -> tuple[int, int, int]:
    return -(-padded_filters // 32), max(-(-padded_channels // 8), 1), problem.groups


def packed_bytes(problem: ConvProblem, params: Params) -> int:
    """Bytes of the packed weights, and of the marks in front of them."""
    tile, c = tile_of(problem, params), Correlation.of(problem)
    size = problem.groups * math.prod(problem.kernel_size) * padded(c.channels, tile.bk) * padded(c.filters, tile.bm)
    marks = padded(marks_of(problem, params), ALIGNED_BYTES)
    return marks + padded(size * np.dtype(problem.dtype).itemsize, ALIGNED_BYTES)


def partial_bytes(problem: ConvProblem, params: Params) -> int:
    """Bytes of the partial sums of a split reduction; the parts of a weight gradient's batch are splits, too."""
    splits = params["splits"]
    if problem.direction == "backward_weight":
        most = max(math.prod(problem.input_shape), math.prod(problem.output_shape))
        splits = max(splits, min(1 << (-(-most // UNLIMITED.elements) - 1).bit_length(), problem.batch))
    if splits <= 1:
        return 0
    rows, columns = matrix(problem)
    return padded(splits * problem.groups * rows * columns * np.dtype(problem.dtype).itemsize, ALIGNED_BYTES)


class _Builder:
    def __init__(self, operation: Operation, params: Params, limits: Limits) -> None:
        self.operation, self.params, self.limits = operation, params, limits
        problem = self.problem = operation.problem
        self.layouts = operation.layouts
        self.common, self.tile = Correlation.of(problem), tile_of(problem, params)
        self.itemsize = np.dtype(problem.dtype).itemsize
        self.vector = VECTOR_BYTES // self.itemsize
        self.is_input_gradient = problem.direction == "backward_input"
        self.roles = ("output", "input") if self.is_input_gradient else ("input", "output")
        """Of the source and the result."""

    # -- the struct that all kernels share
    def _strides(self, role: str) -> tuple[int, ...]:
        """Of axes with one element: 0, so that they are never in the way of vectors."""
        shape = {"input": self.problem.input_shape, "weight": self.problem.weight_shape}
        sizes = shape.get(role, self.problem.output_shape)
        if role == "add":
            sizes = self.problem.result_shape
        strides = self.layouts[role].strides if role in self.layouts else (0,) * 5
        return tuple(stride if size > 1 else 0 for stride, size in zip(strides, sizes, strict=True))

    def _weight_strides(self) -> tuple[int, ...]:
        """As (filter, channel, taps) of the correlation."""
        k, c, *taps = self._strides("weight")
        return (c, k, *taps) if self.is_input_gradient else (k, c, *taps)

    def _phase(self, index: tuple[int, ...], weight: tuple[int, ...], weight_group: int) -> np.ndarray:
        """The correlation of a stride phase, whose weights have these strides."""
        common, c = self.common, np.zeros((), CORRELATION)
        c["batch"], c["groups"] = common.batch, common.groups
        c["channels"], c["filters"] = common.channels, common.filters
        c["slope"] = self.problem.epilogue.slope
        source, result = (self._strides(role) for role in self.roles)
        c["source_stride"], c["result_stride"], c["add_stride"] = source, result, self._strides("add")
        c["weight_stride"], c["weight_group_stride"] = weight, weight_group
        for axis, (a, begin) in enumerate(zip(common.axes, index, strict=True)):
            phase = a.phase(begin)
            for name, value in (("pixels", phase.pixels), ("taps", phase.taps), ("source_size", a.source_size),
                                ("step", a.step), ("first", phase.first), ("delta", a.delta)):  # fmt: skip
                c[name][axis] = value
            for name in ("result", "add"):
                c[f"{name}_at"] += begin * c[f"{name}_stride"][2 + axis]
                c[f"{name}_stride"][2 + axis] *= a.stride
            c["weight_at"] += phase.first_tap * c["weight_stride"][2 + axis]
            c["weight_stride"][2 + axis] *= a.tap_step
        return c

    def _gemm(self, c: np.ndarray, rows: int, columns: int, depth: int, splits: int) -> np.ndarray:
        taps, tile, channels = c["taps"].tolist(), self.tile, int(c["channels"])
        of_split = -(-depth // splits)
        return gemm_struct(
            c, (taps[1] * taps[2], taps[2]),
            {"filter_tiles": -(-rows // tile.bm), "channel_blocks": -(-channels // tile.bk),
             "inner": math.prod(taps) if self._taps_inside(c) else channels},
            rows=rows, columns=columns, depth=depth, splits=splits, padded_channels=padded(channels, tile.bk),
            depth_of_split=padded(of_split, tile.bk) if self.common.is_gradient else of_split,
            padded_filters=padded(int(c["filters"]), tile.bm),
        )  # fmt: skip

    def _taps_inside(self, c: np.ndarray) -> bool:
        """Whether neighbouring columns of a weight gradient are taps of one channel: as its elements lie."""
        return abs(int(self._strides("weight")[1])) != 1 or math.prod(c["taps"].tolist()) == 1

    # -- what goes into the text of the kernels
    def _source(self, kernel: str, **defines: int | str) -> str:
        real = {"float32": "float", "float64": "double"}[self.problem.dtype]
        return _text(kernel, real, self.tile, tuple(defines.items()))

    def _along(self, c: np.ndarray) -> str:
        """Whether neighbouring lanes read pixels or channels: what lies closer together."""
        axis = max((axis for axis in range(3) if c["pixels"][axis] > 1), default=2)
        pixel = abs(int(c["source_stride"][2 + axis])) * int(c["step"][axis])
        channel = abs(int(c["source_stride"][1]))
        return "CHANNELS" if 0 < channel < max(pixel, 1) or (pixel == 0 and channel == 1) else "PIXELS"

    def _is_aligned(self, c: np.ndarray, name: str, role: str, unit: int) -> bool:
        """Whether vectors along axis ``unit`` (of n, channel, d, h, w) are in one piece and aligned."""
        strides = c[f"{name}_stride"].tolist()
        others = [stride for axis, stride in enumerate(strides) if axis != unit]
        return (
            strides[unit] == 1
            and all(stride % self.vector == 0 for stride in (*others, int(c[f"{name}_at"])))
            and self.layouts[role].alignment % VECTOR_BYTES == 0
        )

    def _source_vector(self, c: np.ndarray, checked: int) -> bool:
        vector = self.vector
        return bool(
            c["taps"][2] == 1
            and not checked & 4
            and c["step"][2] == 1
            and c["first"][2] % vector == 0
            and c["pixels"][2] % vector == 0
            and self._is_aligned(c, "source", self.roles[0], 4)
        )

    def _stored(self, c: np.ndarray) -> str:
        """What vectors of results lie along: pixels (columns), channels (rows) or nothing."""
        places = [("result", self.roles[1]), *([("add", "add")] if self.problem.epilogue.add else [])]
        if c["pixels"][2] % self.vector == 0 and all(self._is_aligned(c, *place, 4) for place in places):
            return "COLUMNS"
        if c["filters"] % self.vector == 0 and all(self._is_aligned(c, *place, 1) for place in places):
            return "ROWS"
        return "SINGLY"

    # -- forward and input gradients
    def pack(self, to: str | Workspace) -> Launch:
        """All taps of the problem, whatever phase they belong to."""
        problem = self.problem
        weight = self._weight_strides()
        group = problem.out_channels // problem.groups * self._strides("weight")[0]
        c = np.zeros((), CORRELATION)
        c["channels"], c["filters"], c["taps"] = self.common.channels, self.common.filters, problem.kernel_size
        c["weight_stride"], c["weight_group_stride"] = weight, group
        gemm = self._gemm(c, 1, 1, 1, 1)
        grid = _pack_grid(problem, int(gemm["padded_channels"]), int(gemm["padded_filters"]))
        at_once = TAPS_AT_ONCE if math.prod(problem.kernel_size) > 1 else 1
        return Launch(
            "pack_weights", self._source("PACK", MARKED=int(self.is_input_gradient), AT_ONCE=at_once),
            grid, (256, 1, 1), ("weight", to, by_value(c), by_value(gemm)),
            workspace_bytes=0 if to == "packed" else packed_bytes(problem, self.params),
        )  # fmt: skip

    def correlations(self, is_packed: bool) -> tuple[Launch, ...]:
        """A launch for every stride phase; where batches are cut, for every part of it."""
        problem, tile, splits = self.problem, self.tile, self.params["splits"]
        matrix_size = padded(self.common.channels, tile.bk) * padded(self.common.filters, tile.bm)
        _, kh, kw = problem.kernel_size
        taps = (kh * kw * matrix_size, kw * matrix_size, matrix_size)
        strides = (1, padded(self.common.filters, tile.bm), *taps)
        group = math.prod(problem.kernel_size) * matrix_size
        found = [
            self._phase(index, strides, group)
            for index in itertools.product(*(range(axis.phases) for axis in self.common.axes))
        ]
        marks = marks_of(problem, self.params)
        for c in found:
            c["weight_at"] += padded(marks, ALIGNED_BYTES) // self.itemsize
        checked = functools.reduce(int.__or__, map(checked_axes, found))
        parts = [part for c in found for part in cut(folded(c, checked), self.limits, self.common.is_gradient)]
        at = 0 if is_packed else packed_bytes(problem, self.params)
        partial, packed = Workspace(at), "packed" if is_packed else Workspace(0)
        sequence = [] if is_packed else [self.pack(packed)]
        for c in parts:
            sequence += self._correlate(c, checked, packed, partial, splits)
        if marks and checked:
            sequence += computed_again(self.operation, packed, marks)
        return tuple(sequence)

    def _correlate(self, c: np.ndarray, checked: int, packed: str | Workspace, partial: Workspace,
                   splits: int) -> Iterator[Launch]:  # fmt: skip
        problem, tile, epilogue = self.problem, self.tile, self.problem.epilogue
        rows, columns = int(c["filters"]), int(c["batch"]) * math.prod(c["pixels"].tolist())
        steps = math.prod(c["taps"].tolist()) * -(-int(c["channels"]) // tile.bk)
        splits = min(splits, max(steps, 1))
        is_split, gemm = splits > 1, self._gemm(c, rows, columns, steps, splits)
        gemm["splits"] = splits = max(-(-steps // int(gemm["depth_of_split"] or 1)), 1)
        along = self._along(c)
        vector = "VEC" if along == "PIXELS" and self._source_vector(c, checked) else 1
        wide = int(self.limits.wide or extent(c, is_gradient=False) > self.limits.elements)
        by_columns = "COLUMNS" if columns % self.vector == 0 else "SINGLY"
        defines: dict[str, int | str] = {
            "WIDE": wide, "ALONG": along, "SOURCE_VECTOR": vector, "CHECKED": checked, "SPLIT": int(is_split),
            "WHOLE_BLOCKS": int(c["channels"] % tile.bk == 0), "STORED": by_columns if is_split else self._stored(c),
            **(NOT_FINISHED if is_split else finishing(epilogue)),
        }  # fmt: skip
        bias, add = ("bias" if epilogue.bias else None), ("add" if epilogue.add else None)
        source, result = self.roles
        structs = by_value(c), by_value(gemm)
        ends: tuple[Any, ...] = (partial, None, None) if is_split else (result, bias, add)
        of_partials = splits * problem.groups * rows * columns * self.itemsize if is_split else 0
        size = partial.offset_bytes + padded(of_partials, ALIGNED_BYTES)
        grid = (int(gemm["filter_tiles"]["d"]) * -(-columns // tile.bn), problem.groups, splits)
        yield Launch("correlate", self._source("CORRELATE", **defines), grid, (tile.threads, 1, 1),
                     (source, packed, *ends, *structs), workspace_bytes=size)  # fmt: skip
        if is_split:
            yield add_partials(problem, gemm, (partial, result, bias, add, *structs), size)

    # -- weight gradients
    def _by_channels(self, c: np.ndarray) -> bool:
        """Whether vectors of channels can be read of both arrays."""
        places = (("source", self.roles[0]), ("result", self.roles[1]))
        return (
            c["channels"] % self.vector == 0
            and c["filters"] % self.vector == 0
            and all(self._is_aligned(c, *place, 1) for place in places)
        )

    def gradient(self) -> tuple[Launch, ...]:
        """One launch, or one for each part of the pixels; and the sum of their splits."""
        problem, tile = self.problem, self.tile
        group = problem.out_channels // problem.groups * self._strides("weight")[0]
        c = self._phase((0, 0, 0), self._weight_strides(), group)
        checked = checked_axes(c)
        inside = self._taps_inside(c)
        parts = list(cut(folded(c, checked), self.limits, self.common.is_gradient))
        rows, columns = matrix(problem)
        sequence, splits = [], 0
        size = problem.groups * rows * columns * self.itemsize
        pixels = [int(part["batch"]) * math.prod(part["pixels"].tolist()) for part in parts]
        is_split = len(parts) > 1 or min(self.params["splits"], -(-pixels[0] // tile.bk)) > 1
        for part, depth in zip(parts, pixels, strict=True):
            wanted = max(min(self.params["splits"] // len(parts), -(-depth // tile.bk)), 1)
            gemm = self._gemm(part, rows, columns, depth, wanted)
            gemm["splits"] = of_part = max(-(-depth // max(int(gemm["depth_of_split"]), 1)), 1)
            source = self._gradient_source(part, rows, columns, checked, is_split)
            grid = (int(gemm["filter_tiles"]["d"]) * -(-columns // tile.bn), problem.groups, of_part)
            to: str | Workspace = Workspace(splits * size) if is_split else "weight"
            structs = by_value(part), by_value(gemm)
            splits += of_part
            sequence.append(Launch("weight_gradient", source, grid, (tile.threads, 1, 1), (*self.roles, to, *structs),
                                   workspace_bytes=splits * size if is_split else 0))  # fmt: skip
        if is_split:
            gemm["splits"] = splits
            arguments = (Workspace(0), "weight", None, None, by_value(c), by_value(gemm))
            sequence.append(add_partials(problem, gemm, arguments, splits * size, inside))
        return tuple(sequence)

    def _gradient_source(self, c: np.ndarray, rows: int, columns: int, checked: int, is_split: bool) -> str:
        tile, along, inside = self.tile, self._along(c), self._taps_inside(c)
        common: dict[str, int | str] = {
            "WIDE": int(self.limits.wide or extent(c, is_gradient=True) > self.limits.elements),
            "SPLIT": int(is_split), "WHOLE_ROWS": int(rows % tile.bm == 0),
            "WHOLE_COLUMNS": int(columns % tile.bn == 0),
            "STORED": "COLUMNS" if is_split and columns % self.vector == 0 else "SINGLY",
        }  # fmt: skip
        if along == "PIXELS" and not checked and math.prod(c["taps"].tolist()) == 1:
            return self._source("POINTWISE", FLAT=int(math.prod(c["pixels"].tolist()) == c["pixels"][2]), **common)
        is_vector = along == "CHANNELS" and columns % self.vector == 0 and not inside and self._by_channels(c)
        return self._source("GRADIENT", ALONG=along, VECTOR="VEC" if is_vector else 1, CHECKED=checked,
                            TAPS_INSIDE=int(inside), **common)  # fmt: skip


_DEFINES: dict[str, int | str] = {
    "WIDE": 0, "ALONG": "PIXELS", "SOURCE_VECTOR": 1, "CHECKED": 7, "WHOLE_BLOCKS": 0, "SPLIT": 0, "HAS_BIAS": 0,
    "HAS_ADD": 0, "ACTIVATION": 0, "STORED": "SINGLY", "TAPS_INSIDE": 1,
    "VECTOR": 1, "WHOLE_ROWS": 0, "WHOLE_COLUMNS": 0, "MARKED": 0,
}  # fmt: skip


@functools.cache
def _text(kernel: str, real: str, tile: Tile, defines: tuple[tuple[str, int | str], ...]) -> str:
    chosen = {**_DEFINES, **dict(defines)}
    if chosen["WIDE"] or (chosen["ALONG"] == "CHANNELS" and kernel == "CORRELATE" and not chosen["WHOLE_BLOCKS"]):
        tile = replace(tile, resident=max(tile.resident * 3 // 4, 1))  # more registers, where some would be spilled
    file = "pointwise.cu" if kernel == "POINTWISE" else "kernels.cu"
    head = {"KERNEL": kernel, "REAL": real, **tile.defines(), **chosen}
    return source_of(f"algorithms/implicit_gemm/{file}", head, *SHARED, "gemm.cuh", "fma.cuh")
