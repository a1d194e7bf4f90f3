"""depthwise_nhwc: one source channel and any number of filters in every group, channels last, read where they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...._algorithm import Machine, Params
from ...._problem import ConvProblem
from ... import depthwise
from ...algorithm import GpuAlgorithm, Operation
from ...depthwise import ITEMSIZE, MAX_STRIDE, SHARE, THREADS, splits_for
from ...launch import MAX_THREADS as FEWER_THREADS
from ...launch import Launch, Workspace
from ...layout import Layout, vector_elements
from ...phases import PhaseStruct, all_phases, phases_of
from ...source import DIVIDER, divider, kernel_source
from .tiling import (
    MANY_TAPS,
    MAX_THREADS,
    PIECES,
    SHARED_BYTES,
    UNROLLED_WEIGHTS,
    Block,
    Tile,
    block_for,
    gradient_tile,
    lanes_for,
    tile_for,
)  # fmt: skip

ROOM = "depthwise_nhwc"
MAX_CHANNEL_BLOCKS = 65535
WANTED_BLOCKS = 528
"""Blocks of a weight gradient."""
UNITS = np.dtype(
    [*((name, DIVIDER) for name in ("columns", "bands", "depths")), ("count", np.uint32), ("per_split", np.uint32),
     ("results", np.int32)]
)  # fmt: skip
"""fc_units of kernels.cu."""


class DepthwiseNhwc(GpuAlgorithm):
    """Depthwise convolutions of 1 to 31 taps on every axis, in all directions; 16-bit types are summed in float32."""

    name = ROOM
    dtypes = frozenset(ITEMSIZE)

    def supports(self, problem: ConvProblem) -> bool:
        return (
            depthwise.supports(problem, "channels_last")
            and problem.out_channels < MAX_CHANNEL_BLOCKS
            and _most_units(problem) < FEWER_THREADS
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """The most channels and results of a thread."""
        widest = 16 // ITEMSIZE[problem.dtype]
        if problem.direction == "backward_weight":
            return [{"channels": count, "results": 0} for count in (2, 4, 1, 8) if count <= widest]
        taps = math.prod(problem.kernel_size[1:])
        if MANY_TAPS <= taps <= UNROLLED_WEIGHTS:  # all in registers, of one channel
            wanted = [(1, 56), (1, 32), (1, 16), (2, 16), (4, 8)]
        else:
            wanted = [(4 if ITEMSIZE[problem.dtype] == 2 else 2, 16), (4, 8), (2, 8), (1, 16), (1, 8), (1, 4), (8, 4)]
        return [{"channels": count, "results": results} for count, results in wanted if count <= widest]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        return max(launch.workspace_bytes for launch in self.launches(Operation.contiguous(problem), params))

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """The arrays once, or the multiply-adds, of which wide kernels load every factor."""
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        rate = machine.multiply_adds_per_second["float64" if problem.dtype == "float64" else "float32"]
        launches = problem.phases if problem.direction == "backward_input" and not is_one_launch(problem) else 1
        seconds = elements * ITEMSIZE[problem.dtype] / machine.bytes_per_second
        return launches * machine.call_seconds + max(seconds, 2 * problem.multiply_adds / rate) / SHARE

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        problem, layouts = operation.problem, operation.layouts
        if problem.direction == "backward_weight":
            (phase,) = phases_of(problem, layouts)
            return _weight_gradient(problem, params, layouts, phase)
        if problem.direction == "backward_input" and is_one_launch(problem):
            return tuple(_correlation(problem, params, layouts, all_phases(problem, layouts), True))
        return tuple(
            launch
            for phase in phases_of(problem, layouts)
            for launch in _correlation(problem, params, layouts, phase, False)
        )


def _most_units(problem: ConvProblem) -> int:
    """Threads of the smallest launch that computes one result of one channel each."""
    if problem.direction == "backward_weight":
        return math.prod((problem.batch, *problem.output_size)) * THREADS
    return math.prod(problem.result_shape[2:]) * THREADS


def is_one_launch(problem: ConvProblem) -> bool:
    """Whether an input gradient is computed by one launch for all of its stride phases."""
    axes = zip(problem.stride, problem.dilation, problem.padding, strict=True)
    return all(before >= 0 and step <= MAX_STRIDE and 1 in (step, distance) for step, distance, (before, _) in axes)


@dataclass(frozen=True)
class _Roles:
    source: str
    result: str
    channels: int
    """Source channels of a group."""
    filters: int
    """Result channels of a group."""

    @classmethod
    def of(cls, problem: ConvProblem) -> _Roles:
        multiplier = problem.out_channels // problem.groups
        if problem.direction == "backward_input":
            return cls("output", "input", multiplier, 1)
        return cls("input", "output", 1, multiplier)


def _source(defines: Mapping[str, int | str]) -> str:
    return kernel_source(ROOM, defines, "vectors.cuh", "depthwise.cuh")


def _vector(problem: ConvProblem, lie: list[Layout], most: int) -> int:
    """The most channels of one access."""
    if problem.in_channels != problem.out_channels:
        return 1
    return vector_elements([problem.in_channels], lie, min(most, 16 // ITEMSIZE[problem.dtype]), axis=1)


def _defines(problem: ConvProblem, layouts: Mapping[str, Layout], phase: PhaseStruct) -> dict[str, int | str]:
    """Those that all kernels have. A phase without taps still has results: its kernel has no planes of taps."""
    roles = _Roles.of(problem)
    kd, kh, kw = phase.taps
    return depthwise.common_defines(problem, layouts) | {
        "KD": kd if kh and kw else 0, "KH": max(kh, 1), "KW": max(kw, 1),
        **{f"S{axis}": step for axis, step in zip("DHW", phase.step, strict=True)},
        **{f"D{axis}": delta for axis, delta in zip("DHW", phase.delta, strict=True)},
        "SOURCE_W": phase.fields["source_stride"][4], "RESULT_W": phase.fields["result_stride"][4],  # type: ignore[index]
        "PH": 0, "PW": 0, "CHANNELS": roles.channels, "FILTERS": roles.filters, "GRADIENT": 0,
    }  # fmt: skip


def _correlation(
    problem: ConvProblem, params: Params, layouts: Mapping[str, Layout], phase: PhaseStruct, is_whole: bool
) -> Iterator[Launch]:
    """One correlation: a forward problem, a stride phase, or all stride phases of an input gradient (``is_whole``)."""
    roles, results, size = _Roles.of(problem), problem.result_channels, ITEMSIZE[problem.dtype]
    lie = [layouts[role] for role in (roles.source, roles.result, "add") if role in layouts]
    taps = (phase.taps[0], max(phase.taps[1], 1), max(phase.taps[2], 1))
    steps = phase.step[1:] if is_whole else (1, 1)
    reach = tuple((taps[i] - 1) * phase.delta[i] / (1 if is_whole else phase.step[i]) for i in (1, 2))
    positions = problem.batch * math.prod(phase.pixels)
    vector = _vector(problem, lie, params["channels"])
    tile = tile_for(phase.pixels, taps, reach, steps, vector, params["results"], positions * results // vector,
                    2 if problem.dtype == "float64" else 1)  # fmt: skip
    defines = _defines(problem, layouts, phase)
    weight = _Weight.of(defines, phase, layouts["weight"], tile, size)
    vectors = results // tile.vector
    block = block_for(vectors, tile.vector * size, weight.staged_bytes, phase.pixels, tile, reach)
    defines |= {
        "FORWARD": 1, "ROWS": tile.rows, "COLUMNS": tile.columns, "VECTOR": tile.vector, "LANES": block.lanes,
        "PLACES": block.places, "STRIPS": block.strips, "THREADS": block.threads,
        "UNROLLED": int(tile.unrolled), "STAGED": int(weight.staged_bytes > 0),
        "BLOCKS": tile.blocks if tile.unrolled and (is_whole or max(phase.step) == 1) else 3,
        "EXACT": int(problem.direction == "backward_input"),
        "WHOLE_ROWS": int(phase.pixels[1] % tile.rows == 0), "WHOLE_COLUMNS": int(phase.pixels[2] % tile.columns == 0),
    }  # fmt: skip
    if is_whole:
        defines |= {"GRADIENT": 1, "PH": phase.first[1], "PW": phase.first[2]}
    if weight.is_packed:
        yield _pack(problem, defines, phase, weight, results)
    text = _source(defines)
    counts = (-(-phase.pixels[2] // tile.columns), -(-phase.pixels[1] // (tile.rows * block.strips)), phase.pixels[0])
    units = math.prod(counts) * block.strips
    pointers = (roles.source, Workspace() if weight.is_packed else "weight", roles.result, "bias", "add")
    for begin, images in depthwise.batches(problem.batch, units * THREADS):
        count = images * units
        of_units = np.array([(*map(divider, counts), count, 0, results)], UNITS)
        struct = phase.packed(**phase.at_image(begin), **weight.fields)
        grid = (-(-count // block.places), -(-vectors // block.lanes), 1)
        yield Launch("depthwise_nhwc", text, grid, (block.threads, 1, 1), (*pointers, struct, of_units),
                     workspace_bytes=weight.packed_bytes)  # fmt: skip


@dataclass(frozen=True)
class _Weight:
    """Where the kernel reads weights: where they lie, from shared memory, or packed first."""

    fields: dict[str, object]
    """Of fc_correlation, where they are packed."""
    staged_bytes: int = 0
    """Of one lane; 0: they are not staged."""
    packed_bytes: int = 0
    count: int = 0

    @property
    def is_packed(self) -> bool:
        return self.packed_bytes > 0

    @classmethod
    def of(cls, defines: Mapping[str, int | str], phase: PhaseStruct, lies: Layout, tile: Tile, size: int) -> _Weight:
        channels, *taps = (int(defines[name]) for name in ("CHANNELS", "KD", "KH", "KW"))
        fields = phase.fields
        filters, groups = int(fields["filters"]), int(fields["groups"])  # type: ignore[call-overload]
        along = fields["weight_group_stride"] if filters == 1 else fields["weight_stride"][0]  # type: ignore[index]
        strides = [*fields["weight_stride"][1:], fields["weight_at"]]  # type: ignore[index]
        is_vector = along == 1 and lies.alignment % (tile.vector * size) == 0
        if not math.prod(taps) or (is_vector and all(stride % tile.vector == 0 for stride in strides)):
            return cls({})
        staged = channels * math.prod(taps) * tile.vector * size
        if 8 * staged <= SHARED_BYTES:
            return cls({}, staged_bytes=staged)
        results = groups * filters
        row = results * taps[2]
        packed = (1, results * math.prod(taps), row * taps[1], row, results)
        count = results * channels * math.prod(taps)
        struct = {"weight_stride": packed, "weight_group_stride": filters, "weight_at": 0}
        return cls(struct, packed_bytes=count * size, count=count)


def _pack(problem: ConvProblem, defines: Mapping[str, int | str], phase: PhaseStruct, weight: _Weight,
          results: int) -> Launch:  # fmt: skip
    text = kernel_source(
        ROOM, {**defines, "PACKING": 1, "STAGED": 0, "THREADS": THREADS}, "vectors.cuh", "depthwise.cuh"
    )
    arguments = ("weight", Workspace(), phase.packed(), np.array([divider(results)], DIVIDER), np.uint32(weight.count))
    grid = (-(-weight.count // THREADS), 1, 1)
    return Launch("depthwise_nhwc_pack", text, grid, (THREADS, 1, 1), arguments, workspace_bytes=weight.packed_bytes)


def _weight_gradient(
    problem: ConvProblem, params: Params, layouts: Mapping[str, Layout], phase: PhaseStruct
) -> tuple[Launch, ...]:
    """Sums of every split, and their sums."""
    filters = problem.out_channels
    vector = _vector(problem, [layouts["input"], layouts["output"]], params["channels"])
    tile = gradient_tile(phase.pixels, phase.taps, phase.step, phase.delta, vector)
    vector, size = tile.vector, ITEMSIZE[problem.dtype]
    lanes = lanes_for(filters // vector, PIECES[1] // (vector * size))
    block = Block(lanes, max(1, MAX_THREADS // lanes), 1)
    defines = _defines(problem, layouts, phase) | {
        "ROWS": tile.rows, "COLUMNS": tile.columns, "VECTOR": vector, "LANES": lanes, "PLACES": block.places,
        "STRIPS": 1, "THREADS": block.threads, "TAP_ROWS": tile.tap_rows, "WEIGHT": 1,
    }  # fmt: skip
    counts = (phase.pixels[2] // tile.columns, phase.pixels[1] // tile.rows, phase.pixels[0])
    units, chunks = problem.batch * math.prod(counts), -(-filters // (lanes * vector))
    slices = phase.taps[0] * (phase.taps[1] // tile.tap_rows)
    splits, per_split = splits_for(chunks * slices, units, block.places, WANTED_BLOCKS)
    of_units = np.array([(*map(divider, counts), units, per_split, filters)], UNITS)
    first = Launch(
        "depthwise_nhwc_weight_gradient", _source(defines), (splits, chunks, slices), (block.threads, 1, 1),
        ("input", "output", Workspace(), phase.packed(), of_units),
        workspace_bytes=depthwise.partial_bytes(problem, splits),
    )  # fmt: skip
    return first, depthwise.sum_splits(problem, phase, splits, True)
