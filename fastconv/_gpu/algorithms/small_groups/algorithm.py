"""small_groups: 1 to 16 channels in a group and any number of filters, channels first, read where they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ...._algorithm import MAX_PHASES, Machine, Params
from ...._problem import ACTIVATIONS, ConvProblem
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...depthwise import ITEMSIZE, SHARE, splits_for
from ...launch import MAX_THREADS, Launch, Workspace
from ...layout import Layout, is_wide
from ...phases import PhaseStruct, phases_of, source_role
from ...source import DIVIDER, divider, kernel_source

ROOM = "small_groups"
THREADS = 128
MAX_CHANNELS = 16
"""Of a group, in the source."""
MAX_PLANE_TAPS = 25
MAX_ROW_TAPS = 11
MAX_FILTERS = 8
"""Of a thread."""
MAX_SUMS = 32
MAX_LOADS = 40
"""Of the source, for each plane of taps."""
MAX_GRADIENT_SUMS = 48
GRADIENT_ROWS = 4
SHARED_BYTES = 40 << 10
MAX_GRID_HEIGHT = 65535
WANTED_UNITS = 2**17
"""Threads that keep a large device busy."""
WANTED_BLOCKS = 2048
"""Of a weight gradient."""
MULTIPLIES = 0.45
"""Of the multiply-adds' peak, in the loop over channels."""
UNIT_MULTIPLY_ADDS = 900
"""In whose time a unit is set up and stored."""
GRADIENT_MULTIPLIES = 0.13
"""Of the peak, of weight gradients."""
UNITS = np.dtype(
    [*((name, DIVIDER) for name in ("columns", "strips", "depths")), ("count", np.uint32), ("per_split", np.uint32),
     ("filters", np.int32)]
)  # fmt: skip
"""fc_units of kernels.cu."""


class SmallGroups(GpuAlgorithm):
    """Up to 25 taps of a plane, in all directions; 16-bit types are summed in float32."""

    name = ROOM
    dtypes = frozenset(ITEMSIZE)

    def supports(self, problem: ConvProblem) -> bool:
        channels, filters = _per_group(problem)
        taps, size = problem.kernel_size, 8 if problem.dtype == "float64" else 4
        return (
            problem.layout == "channels_first"
            and not problem.is_empty
            and channels <= MAX_CHANNELS
            and max(taps[1:]) <= MAX_ROW_TAPS
            and taps[1] * taps[2] <= MAX_PLANE_TAPS
            and channels * math.prod(taps) * min(filters, MAX_FILTERS) * size <= SHARED_BYTES
            and problem.groups * filters * MAX_CHANNELS < MAX_GRID_HEIGHT
            and taps[0] * taps[1] < MAX_GRID_HEIGHT
            and problem.phases <= MAX_PHASES
            and places_fit(problem)
            and problem.batch * math.prod(max(problem.input_size, problem.output_size, key=math.prod)) < MAX_THREADS
            and math.prod(problem.weight_shape) < MAX_THREADS
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """The most filters and rows of pixels of a thread."""
        return [{"filters": filters, "rows": rows} for filters in (8, 4, 2) for rows in (4, 2, 8, 1)]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        if problem.direction != "backward_weight":
            return 0
        return max(launch.workspace_bytes for launch in self.launches(Operation.contiguous(problem), params))

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """The arrays once, or the multiply-adds, some of them for filters that there are not."""
        size = ITEMSIZE[problem.dtype]
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        rate = machine.multiply_adds_per_second["float64" if problem.dtype == "float64" else "float32"]
        if problem.direction == "backward_weight":
            seconds = problem.multiply_adds / rate / GRADIENT_MULTIPLIES
        else:
            filters = _per_group(problem)[1]
            count = min(filters, params["filters"])
            padded = -(-filters // count) * count / filters
            units = math.prod(problem.result_shape) * padded / (count * min(params["rows"], problem.result_shape[3]))
            seconds = (problem.multiply_adds * padded / MULTIPLIES + units * UNIT_MULTIPLY_ADDS) / rate
        if problem.direction == "backward_input":
            elements += math.prod(problem.input_shape) * min(problem.stride[2] - 1, 32 // size)
        seconds = max(elements * size / machine.bytes_per_second / SHARE, seconds)
        return problem.phases * machine.call_seconds + seconds

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        problem, layouts = operation.problem, operation.layouts
        if problem.direction == "backward_weight":
            (phase,) = phases_of(problem, layouts)
            return _weight_gradient(problem, params, layouts, phase)
        return tuple(
            launch for phase in phases_of(problem, layouts) for launch in _correlation(problem, params, layouts, phase)
        )


def _per_group(problem: ConvProblem) -> tuple[int, int]:
    """Channels of the source and of the result in a group."""
    sizes = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    return sizes[::-1] if problem.direction == "backward_input" else sizes


def _defines(problem: ConvProblem, layouts: Mapping[str, Layout], phase: PhaseStruct) -> dict[str, int | str]:
    """Those that all kernels have. A phase without taps still has results: its kernel has no planes of taps."""
    e = problem.epilogue
    images = [(problem.input_size, layouts["input"]), (problem.output_size, layouts["output"])]
    if e.add:
        images.append((problem.result_shape[2:], layouts["add"]))  # type: ignore[arg-type]
    kd, kh, kw = phase.taps
    return {
        "ELEMENT": problem.dtype.upper(),
        "WIDE": int(any(is_wide(sizes, lies.strides[2:], lies.dtype.itemsize) for sizes, lies in images)),
        "UNIT": int(layouts[source_role(problem)].strides[4] == 1), "THREADS": THREADS,
        "KD": kd if kh and kw else 0, "KH": max(kh, 1), "KW": max(kw, 1),
        **{f"S{axis}": step for axis, step in zip("DHW", phase.step, strict=True)},
        **{f"D{axis}": delta for axis, delta in zip("DHW", phase.delta, strict=True)},
        "CHANNELS": _per_group(problem)[0],
    }  # fmt: skip


def _source(defines: Mapping[str, int | str]) -> str:
    return kernel_source(ROOM, defines, "vectors.cuh", "depthwise.cuh")


def _rows(pixels: int, most: int, units: int) -> int:
    """Rows of a unit: as many strips as with the most, of the same height."""
    while most > 1 and units < most * WANTED_UNITS:
        most //= 2
    return -(-pixels // -(-pixels // most))


def _correlation(
    problem: ConvProblem, params: Params, layouts: Mapping[str, Layout], phase: PhaseStruct
) -> Iterator[Launch]:
    """One correlation: a forward problem, or a stride phase."""
    e, filters = problem.epilogue, _per_group(problem)[1]
    count = min(filters, params["filters"])
    runs = -(-filters // count)
    sums = MAX_SUMS // (2 if problem.dtype == "float64" else 1)
    units = problem.batch * math.prod(phase.pixels) * problem.groups * runs
    most = max(1, min(params["rows"], sums // count))
    while most > 1 and ((most - 1) * phase.step[1] + phase.taps[1]) * phase.taps[2] > MAX_LOADS:
        most -= 1
    rows = _rows(phase.pixels[1], most, units)
    defines = _defines(problem, layouts, phase) | {
        "FORWARD": 1, "ROWS": rows, "FILTERS": count, "RUNS": runs, "BIAS": int(e.bias), "ADD": int(e.add),
        "EXACT": int(problem.direction == "backward_input"),
        "ACTIVATION": 0 if e.activation is None else 1 + ACTIVATIONS.index(e.activation),
    }  # fmt: skip
    text, source = _source(defines), source_role(problem)
    counts = (phase.pixels[2], -(-phase.pixels[1] // rows), phase.pixels[0])
    of_units = np.array([(*map(divider, counts), problem.batch * math.prod(counts), 0, filters)], UNITS)
    grid = (-(-int(of_units["count"][0]) // THREADS), problem.groups * runs, 1)
    result = "input" if source == "output" else "output"
    arguments = (source, "weight", result, "bias", "add", phase.packed(), of_units)
    yield Launch("small_groups", text, grid, (THREADS, 1, 1), arguments)


def _weight_gradient(
    problem: ConvProblem, params: Params, layouts: Mapping[str, Layout], phase: PhaseStruct
) -> tuple[Launch, ...]:
    """Sums of every split, and their sums."""
    channels, filters = _per_group(problem)
    most = MAX_GRADIENT_SUMS // (2 if problem.dtype == "float64" else 1) // phase.taps[2]
    count = max(1, min(filters, params["filters"], 4, most))
    run = max(n for n in range(1, channels + 1) if channels % n == 0 and (n == 1 or n * count <= most))
    runs = -(-filters // count)
    rows = -(-phase.pixels[1] // -(-phase.pixels[1] // GRADIENT_ROWS))
    defines = _defines(problem, layouts, phase) | {"ROWS": rows, "FILTERS": count, "RUNS": runs, "RUN_CHANNELS": run}
    sums, totals = (_source(defines | {"WEIGHT": stage}) for stage in (1, 2))
    counts = (phase.pixels[2], -(-phase.pixels[1] // rows), phase.pixels[0])
    units, height = problem.batch * math.prod(counts), problem.groups * runs * (channels // run)
    slices = phase.taps[0] * phase.taps[1]
    splits, per_split = splits_for(height * slices, units, THREADS, WANTED_BLOCKS)
    size = math.prod(problem.weight_shape)
    scratch, struct = splits * size * (8 if problem.dtype == "float64" else 4), phase.packed()
    of_units = np.array([(*map(divider, counts), units, per_split, filters)], UNITS)
    first = Launch(
        "small_groups_weight_gradient", sums, (splits, height, slices), (THREADS, 1, 1),
        ("input", "output", Workspace(), struct, of_units), workspace_bytes=scratch,
    )  # fmt: skip
    second = Launch(
        "small_groups_sum_splits", totals, (-(-size // THREADS), 1, 1), (THREADS, 1, 1),
        (Workspace(), "weight", struct, np.uint32(size), np.uint32(splits)), workspace_bytes=scratch,
    )  # fmt: skip
    return first, second
