"""Forward problems and input gradients of few channels as launches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...._algorithm import Params
from ...algorithm import Operation
from ...gemm import ALIGNED_BYTES, ELEMENTS, by_value, finishing, padded
from ...launch import Launch, Workspace
from ...layout import Layout, is_wide, vector_elements
from ...nonfinite import computed_again
from ...phases import NO_STRIDES, source_role
from ...source import CORRELATION, DIVIDER, SHARED, divider, source_of
from .phases import MAX_PHASES, grid_of
from .tiles import TILES, box_of, run_of

PIECES = {"bf16": 1, "tf32": 1, "3xtf32": 2}
"""Of a weight, by the arithmetic."""
PER_WORD = {"bf16": 2, "tf32": 1, "3xtf32": 1}
"""Channels."""
PACK_THREADS = 128
WANTED_BLOCKS = 2048
"""Where there are more boxes, a block computes several with the same weights."""
MAX_BOXES = 16
"""Of a block."""
VECTOR = 4
"""Results along channels that are stored at once."""
_OF_PHASES = ("number", "taps", "first_tap")
_OF_AXES = ("slope", "distance", "tap_step")
TILES_STRUCT = np.dtype(
    [
        *((name, DIVIDER) for name in ("planes", "plane", "row")),
        ("count", np.int32),
        ("blocks", np.int32),
        ("rows", np.int32),
        *((name, np.int32, (3, MAX_PHASES)) for name in _OF_PHASES),
        *((name, np.int32, 3) for name in _OF_AXES),
    ]
)
"""fc_tiles of kernels.cu."""


class Correlations:
    """One launch for all phases, one that packs the weights, and one for data that are not finite."""

    def __init__(self, operation: Operation, params: Params, arithmetic: str) -> None:
        problem = self.problem = operation.problem
        self.operation, self.layouts = operation, operation.layouts
        self.source = source_role(problem)
        self.result = "input" if self.source == "output" else "output"
        self.grid = grid_of(problem)
        self.tile = next(tile for tile in TILES[arithmetic] if tile.name == params["tile"])
        self.pieces, self.per_word = PIECES[arithmetic], PER_WORD[arithmetic]
        self.products = 3 if arithmetic == "3xtf32" else 1
        box = box_of(self.grid, self.tile, self.pieces, self.per_word, self._vector())
        assert box is not None  # as in parameters()
        self.box = box
        self.blocks = -(-self.grid.rows // self.tile.rows)
        """Of rows of a group."""
        self.units = problem.groups * self.blocks * box.chunks * box.steps * self.tile.rows * 2

    def _vector(self) -> int:
        """Elements of a source row that are loaded at once."""
        lies, most = self.layouts[self.source], 16 // self.layouts[self.source].dtype.itemsize
        width = (self.problem.output_size if self.source == "output" else self.problem.input_size)[2]
        return most if vector_elements((width,), [lies], most) == most else 1

    @property
    def _packed_bytes(self) -> int:
        """Of the packed weights."""
        return self.units * self.pieces * 16

    def launches(self) -> tuple[Launch, ...]:
        """All of them."""
        problem, box, epilogue = self.problem, self.box, self.problem.epilogue
        _, height, width = self.grid.pixels
        boxes = problem.batch * self.grid.pixels[0] * math.prod(box.boxes(height, width))
        is_marked = self.products == 3 or problem.direction == "backward_input"
        marks_at = padded(self._packed_bytes, ALIGNED_BYTES)
        of_rows = problem.groups * self.blocks
        across = -(-boxes // min(max(boxes * of_rows // WANTED_BLOCKS, 1), MAX_BOXES))
        marks = across * of_rows if is_marked else 0
        arguments: tuple[Any, ...] = (
            self.source, Workspace(), self.result, "bias" if epilogue.bias else None, "add" if epilogue.add else None,
            Workspace(marks_at) if is_marked else None, by_value(self._correlation()), by_value(self._tiles()),
        )  # fmt: skip
        correlate = Launch(
            "few_channels", self._text(KERNEL="CORRELATE", MARKED=int(is_marked), **self._stored()),
            (across, of_rows, 1), (self.tile.threads, 1, 1), arguments, box.shared_bytes,
            marks_at + marks,
        )  # fmt: skip
        again = computed_again(self.operation, Workspace(marks_at), marks) if is_marked else ()
        return self._pack(), correlate, *again

    def _pack(self) -> Launch:
        """All weights as fragments."""
        return Launch(
            "pack_few_channels", self._text(KERNEL="PACK"), (-(-self.units // PACK_THREADS), 1, 1),
            (PACK_THREADS, 1, 1),
            ("weight", Workspace(), by_value(self._correlation()), by_value(self._tiles()), np.int32(self.units)),
            workspace_bytes=self._packed_bytes,
        )  # fmt: skip

    def _correlation(self) -> np.ndarray:
        """Places in the whole result, not in that of a phase; steps, distances and taps are in the text."""
        c, weight = np.zeros((), CORRELATION), list(self.layouts["weight"].strides)
        c["weight_group_stride"] = self.problem.out_channels // self.problem.groups * weight[0]
        if self.problem.direction == "backward_input":
            weight[:2] = weight[1], weight[0]
        c["weight_stride"] = weight
        c["source_stride"], c["result_stride"] = self.layouts[self.source].strides, self.layouts[self.result].strides
        c["add_stride"] = self.layouts["add"].strides if "add" in self.layouts else NO_STRIDES
        c["batch"], c["groups"] = self.problem.batch, self.problem.groups
        c["channels"], c["filters"] = self.grid.channels, self.grid.filters
        c["pixels"] = self.problem.result_shape[2:]
        c["source_size"] = self.problem.output_size if self.source == "output" else self.problem.input_size
        c["first"] = self.grid.first
        c["slope"] = self.problem.epilogue.slope
        return c

    def _tiles(self) -> np.ndarray:
        made, (depth, height, width) = np.zeros((), TILES_STRUCT), self.grid.pixels
        down, along = self.box.boxes(height, width)
        made["planes"], made["plane"], made["row"] = (divider(n) for n in (depth * down * along, down * along, along))
        made["count"] = self.problem.batch * depth * down * along
        made["blocks"], made["rows"] = self.blocks, self.grid.rows
        for i, axis in enumerate(self.grid.axes):
            values = axis.numbers, axis.own_taps, axis.first_taps
            for name, of_phases in zip(_OF_PHASES, values, strict=True):
                made[name][i, : axis.phases] = of_phases
            for name, value in zip(_OF_AXES, (axis.slope, axis.distance, axis.tap_step), strict=True):
                made[name][i] = value
        return made

    def _stored(self) -> dict[str, int | str]:
        """What vectors of results lie along: pixels (columns), channels (rows) or nothing."""
        epilogue, phases = self.problem.epilogue, self.grid.phases
        itemsize = self.layouts[self.result].dtype.itemsize
        run = run_of(self.grid, itemsize)
        lie = [self.layouts[role] for role in (self.result, *(["add"] if epilogue.add else []))]
        most = min(run * phases[2], 16 // itemsize)
        width = self.problem.result_shape[4]
        whole = width % (run * phases[2]) == 0 and (2 * self.tile.mt) % phases[2] == 0
        if whole and most & (most - 1) == 0 and vector_elements((width,), lie, most) == most:
            return {"STORED": "COLUMNS", "RUN": run}
        is_single = math.prod(phases) == 1 and self.grid.filters % VECTOR == 0 and self.tile.mt > 1
        if is_single and vector_elements((self.grid.filters,), lie, VECTOR, 1) == VECTOR:
            return {"STORED": "ROWS", "RUN": run}
        return {"STORED": "SINGLY", "RUN": run}

    def _text(self, **defines: int | str) -> str:
        problem, grid, box = self.problem, self.grid, self.box
        images: list[tuple[tuple[int, ...], Layout]] = [
            (problem.input_shape[1:], self.layouts["input"]), (problem.output_shape[1:], self.layouts["output"]),
            (problem.result_shape[1:], self.layouts.get("add", self.layouts[self.result])),
        ]  # fmt: skip
        head: dict[str, int | str] = {
            "PACK": 0, "CORRELATE": 1, "ELEMENT": ELEMENTS[problem.dtype], "PRODUCTS": self.products,
            **self.tile.defines(), "STORED": "SINGLY", "MARKED": 0, "RUN": 4,
            "OF_SUMS": int(self.operation.is_of_sums),
            "WIDE": int(any(is_wide(sizes, lies.strides[1:], lies.dtype.itemsize) for sizes, lies in images)),
            "HEIGHT": box.height, "WIDTH": box.width, "PART": box.part, "CHANNEL_WORDS": box.channel_words,
            "CHUNKS": box.chunks, "CHANNELS": grid.channels, "LOAD": box.vector, "SHIFT": box.shift,
        }  # fmt: skip
        for names, values in ("K", grid.taps), ("S", grid.step), ("D", grid.delta), ("P", grid.phases):
            head |= {names + axis: value for axis, value in zip("DHW", values, strict=True)}
        return source_of("algorithms/few_channels/kernels.cu", head | finishing(problem.epilogue) | defines, *SHARED,
                         "vectors.cuh", "mma.cuh")  # fmt: skip
