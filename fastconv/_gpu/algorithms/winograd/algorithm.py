"""winograd: F(2x2, 3x3) in one kernel, for layers of 3x3 taps of stride 1 in strict float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...._algorithm import ErrorBound, Machine, Params, unit_roundoff
from ...._minimal_filtering import normwise_roundoffs, usual_roundoffs
from ...._problem import ACTIVATIONS, RESULT, ConvProblem
from ... import device, memory
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...launch import Launch, Step, Workspace, run, struct
from ...layout import Layout, alignment_of
from ...machine import with_units
from ...nonfinite import computed_again
from ...source import divider, kernel_source

FILTERS, TILES, CHANNELS, POINTS, THREADS = 64, 32, 8, 16, 512
"""Of a block; channels of a step."""
SHARED_BYTES = 2 * POINTS * CHANNELS * (FILTERS + TILES) * 4
MAX_GRID_HEIGHT = 65535
OFFSET_LIMIT = 2**31
"""Offsets inside a tile are 64-bit where they reach so far, in elements."""
ALIGNED_BYTES = 256
WINOGRAD = np.dtype(
    [
        *((f"{name}_stride", np.int64, 5) for name in ("source", "result", "add", "weight")),
        *((name, np.int64) for name in ("weight_at", "weight_group_stride")),
        *((name, np.int32, 2) for name in ("source_size", "result_size", "before")),
        *((name, np.int32) for name in ("channels", "filters", "steps", "tiles", "filter_blocks")),
        *((name, np.uint32, 3) for name in ("blocks", "image", "plane", "row")),
        ("reserved", np.int32),
        ("slope", np.float64),
    ]
)
"""fc_winograd of kernels.cu."""

# Predicted for an H200.
STEP_CYCLES, OUTSIDE_CYCLES = 3600, 12_400
"""Of a block's step, and of what is before its first one and after its last one."""
PRODUCTS_PER_CYCLE = 128
"""Of a multiprocessor."""
LAUNCH_SECONDS = 2.5e-6
MANY_ROUNDS = 4


class Winograd(GpuAlgorithm):
    """3x3 taps, stride 1, no dilation, two-dimensional images or planes."""

    name = "winograd"
    dtypes = frozenset({"float32"})
    exact_on_integers = True
    """Halves of integers are exact, too."""

    def is_available(self) -> bool:
        """Whether blocks of the current device may have so much shared memory."""
        try:
            return device.current().shared_bytes >= SHARED_BYTES
        except RuntimeError:
            return True

    def supports(self, problem: ConvProblem) -> bool:
        return (
            problem.direction != "backward_weight"
            and problem.kernel_size == (1, 3, 3)
            and problem.stride == problem.dilation == (1, 1, 1)
            and problem.padding[0] == (0, 0)
            and problem.groups <= MAX_GRID_HEIGHT
            and places_fit(problem)
            and 0 < _tiles(problem) < 2**31 - TILES
            and _blocks(problem) < 2**31
            and -(-_sides(problem)[0] // CHANNELS) <= MAX_GRID_HEIGHT
            and self.is_available()
        )

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        return _marks_bytes(problem) + packed_bytes(problem)

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Steps of all blocks, shared out; rows of channels that lie side by side are read in eighths of a sector."""
        blocks, multiprocessors = _blocks(problem) * problem.groups, with_units(machine).multiprocessors
        rounds: float = -(-blocks // multiprocessors)
        if rounds > MANY_ROUNDS:  # multiprocessors take blocks as they finish
            rounds = blocks / multiprocessors + 0.3
        of_block = -(-_sides(problem)[0] // CHANNELS) * STEP_CYCLES + OUTSIDE_CYCLES
        scattered = 3 if problem.layout == "channels_last" else 1
        cycles_per_second = machine.multiply_adds_per_second["float32"] / (multiprocessors * PRODUCTS_PER_CYCLE)
        seconds = rounds * of_block * scattered / cycles_per_second
        itemsize = np.dtype(problem.dtype).itemsize
        moved = (math.prod(problem.input_shape) + math.prod(problem.output_shape)) * itemsize
        packing = 3 * packed_bytes(problem) / machine.bytes_per_second
        launches = 3 * LAUNCH_SECONDS + machine.call_seconds
        return max(seconds, moved / machine.bytes_per_second) + packing + launches

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        roundoff, channels = unit_roundoff(problem), _sides(problem)[0]
        return ErrorBound(
            elementwise=None,
            normwise=roundoff * normwise_roundoffs(4, 3, 2, channels),
            relative=roundoff * usual_roundoffs(4, 3, channels),
        )

    def pack(self, problem: ConvProblem, params: Params, weight: Any, threads: int) -> Any:
        """Transformed weights, an array of bytes on the device."""
        packed = memory.empty((packed_bytes(problem),), np.dtype(np.uint8))
        lies = Layout.of(weight.dtype, weight.strides, range(5), alignment_of(weight))
        run((_pack(problem, _weights(problem, lies), "packed"),), weight=weight, packed=packed)
        return packed

    def launches(self, operation: Operation, params: Params) -> tuple[Step, ...]:
        problem, layouts = operation.problem, operation.layouts
        backward = problem.direction == "backward_input"
        source, result = ("output", "input") if backward else ("input", "output")
        epilogue, marks = problem.epilogue, Workspace(0)
        size = _marks_bytes(problem)
        packed: str | Workspace = "packed" if operation.is_packed else Workspace(size)
        c = _weights(problem, layouts["weight"])
        c["source_stride"], c["result_stride"] = layouts[source].strides, layouts[result].strides
        if epilogue.add:
            c["add_stride"] = layouts["add"].strides
        defines: dict[str, int | str] = {
            "KERNEL": "CORRELATE", "CONTIGUOUS": int(layouts[source].strides[4] == 1),
            "UNROLLED": CHANNELS if layouts[source].strides[4] == 1 else CHANNELS // 4,
            "WIDE": int(3 * sum(map(abs, layouts[source].strides[3:])) >= OFFSET_LIMIT),
            "ACTIVATION": 0 if epilogue.activation is None else 1 + ACTIVATIONS.index(epilogue.activation),
        }  # fmt: skip
        arguments = (
            source,
            packed,
            result,
            "bias" if epilogue.bias else None,
            "add" if epilogue.add else None,
            marks,
            c,
        )
        blocks = _blocks(problem)
        total = size if operation.is_packed else size + packed_bytes(problem)
        correlate = Launch("winograd_correlate", kernel_source("winograd", defines), (blocks, problem.groups, 1),
                           (THREADS, 1, 1), arguments, SHARED_BYTES, total)  # fmt: skip
        first = () if operation.is_packed else (_pack(problem, c, packed),)
        return (*first, correlate, *computed_again(operation, marks, blocks * problem.groups))


def _sides(problem: ConvProblem) -> tuple[int, int]:
    """Channels that are summed over, and filters, of a group."""
    sides = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    return sides[::-1] if problem.direction == "backward_input" else sides


def _result_size(problem: ConvProblem) -> tuple[int, ...]:
    return problem.input_size if RESULT[problem.direction] == "input" else problem.output_size


def _tile_counts(problem: ConvProblem) -> tuple[int, int, int]:
    depth, height, width = _result_size(problem)
    return depth, -(-height // 2), -(-width // 2)


def _tiles(problem: ConvProblem) -> int:
    return problem.batch * math.prod(_tile_counts(problem))


def _blocks(problem: ConvProblem) -> int:
    """Of a group."""
    return -(-_tiles(problem) // TILES) * -(-_sides(problem)[1] // FILTERS)


def _marks_bytes(problem: ConvProblem) -> int:
    return -(-_blocks(problem) * problem.groups // ALIGNED_BYTES) * ALIGNED_BYTES


def packed_bytes(problem: ConvProblem) -> int:
    """Of the transformed weights."""
    channels, filters = _sides(problem)
    blocks = problem.groups * -(-filters // FILTERS) * -(-channels // CHANNELS)
    return blocks * POINTS * CHANNELS * FILTERS * np.dtype(problem.dtype).itemsize


def _weights(problem: ConvProblem, weight: Layout) -> np.ndarray:
    """The struct, but for strides of data. An input gradient reads the taps from the last to the first."""
    channels, filters = _sides(problem)
    k, c, d, h, w = weight.strides
    before, source_size = [pair[0] for pair in problem.padding[1:]], problem.input_size
    group, at = problem.out_channels // problem.groups * k, 0
    if problem.direction == "backward_input":
        k, c, h, w, at = c, k, -h, -w, 2 * (h + w)
        before, source_size = [2 - pad for pad in before], problem.output_size
    counts = _tile_counts(problem)
    blocks = -(-filters // FILTERS)
    return struct(
        WINOGRAD, weight_stride=(k, c, d, h, w), weight_at=at, weight_group_stride=group, source_size=source_size[1:],
        result_size=_result_size(problem)[1:], before=before, channels=channels, filters=filters,
        steps=-(-channels // CHANNELS), tiles=_tiles(problem), filter_blocks=blocks, blocks=divider(blocks),
        image=divider(math.prod(counts)), plane=divider(counts[1] * counts[2]), row=divider(counts[2]),
        slope=problem.epilogue.slope,
    )  # fmt: skip


def _pack(problem: ConvProblem, c: np.ndarray, to: str | Workspace) -> Launch:
    channels, filters = _sides(problem)
    grid = (-(-filters // FILTERS), -(-channels // CHANNELS), problem.groups)
    text = kernel_source("winograd", {"KERNEL": "PACK", "WIDE": 0})
    end = 0 if isinstance(to, str) else to.offset_bytes + packed_bytes(problem)
    return Launch("winograd_pack", text, grid, (THREADS, 1, 1), ("weight", to, c), workspace_bytes=end)
