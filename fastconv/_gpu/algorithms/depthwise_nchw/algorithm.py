"""depthwise_nchw: one source channel and any number of filters in every group, channels first, read where they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from ...._algorithm import Machine, Params
from ...._problem import ConvProblem, Sizes
from ... import depthwise
from ...algorithm import GpuAlgorithm, Operation
from ...depthwise import ITEMSIZE, MAX_STRIDE, SHARE, THREADS, splits_for
from ...launch import MAX_THREADS, Launch, Workspace
from ...layout import Layout, vector_elements
from ...machine import with_units
from ...phases import PhaseStruct, all_phases, phases_of, source_role
from ...source import DIVIDER, divider, kernel_source
from .tiling import MANY_TAPS, UNROLLED_TAPS, Tile, strided_rows, tile_for, wanted_results

ROOM = "depthwise_nchw"
WARP = 32
SECTOR = 32
"""Bytes."""
MAX_WASTE = 0.2
"""Of what results store, sectors that neighbouring rows share and both store: a tenth of all that moves. With many
taps, threads that idle since no whole slabs are left for them cost more."""
WANTED_BLOCKS = 2048
"""Blocks of a weight gradient."""
UNITS = np.dtype(
    [*((name, DIVIDER) for name in ("columns", "strips", "depths", "filters", "per_group")),
     ("count", np.uint32), ("per_split", np.uint32)]
)  # fmt: skip
"""fc_units of kernels.cu."""
MAX_GRADIENT_WEIGHTS = 64
"""That units of several columns hold in registers."""
PRODUCT_SHARE = 0.38
"""Of the multiply-adds' peak."""
UNIT_CYCLES, LOAD_CYCLES = 125, 10
"""Of a scheduler: what a unit of every lane takes beside its products, and each of its loads."""


class DepthwiseNchw(GpuAlgorithm):
    """Depthwise convolutions of 1 to 31 taps on every axis, in all directions; 16-bit types are summed in float32."""

    name = ROOM
    dtypes = frozenset(ITEMSIZE)

    def supports(self, problem: ConvProblem) -> bool:
        return depthwise.supports(problem, "channels_first") and _most_units(problem) < MAX_THREADS

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """The most results and columns of a thread; columns are fewer where rows do not consist of whole vectors."""
        shape = problem.output_shape if problem.direction == "backward_weight" else problem.result_shape
        taps = math.prod(problem.kernel_size)
        size = ITEMSIZE[problem.dtype]
        is_strided_gradient = problem.direction == "backward_input" and is_one_launch(problem)
        results = wanted_results(math.prod(shape), taps, problem.direction, size, is_strided_gradient)
        widest = 16 // size
        default = {"results": results, "columns": widest}
        columns = [count for count in (1, 2, 4, 8) if count <= widest]
        others = [{"results": results, "columns": count} for results in (8, 16, 32) for count in columns]
        return [default, *(params for params in others if params != default)]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        if problem.direction != "backward_weight":
            return 0
        return max(launch.workspace_bytes for launch in self.launches(Operation.contiguous(problem), params))

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """The arrays once, or the multiply-adds; a strided gradient by phases writes a part of every sector."""
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        size = ITEMSIZE[problem.dtype]
        rate = machine.multiply_adds_per_second["float64" if problem.dtype == "float64" else "float32"]
        launches = 1
        if problem.direction == "backward_input" and not is_one_launch(problem):
            launches = problem.phases
            elements += math.prod(problem.input_shape) * min(problem.stride[2] - 1, 32 // size)
        moved, computed = elements * size / machine.bytes_per_second, problem.multiply_adds / rate
        issued = 0.0
        if problem.direction == "forward" or launches > 1:
            here = with_units(machine)
            issued = launches * _cycles(problem, params) / (4 * here.multiprocessors) / here.hertz
        return launches * machine.call_seconds + max(moved / SHARE, computed / PRODUCT_SHARE, issued)

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        problem, layouts = operation.problem, operation.layouts
        if problem.direction == "backward_weight":
            (phase,) = phases_of(problem, layouts)
            return _weight_gradient(problem, params, layouts, phase)
        if problem.direction == "backward_input" and is_one_launch(problem):
            return tuple(_strided_gradient(problem, params, layouts))
        return tuple(
            launch for phase in phases_of(problem, layouts) for launch in _forward(problem, params, layouts, phase)
        )


def _cycles(problem: ConvProblem, params: Params) -> float:
    """Of one scheduler, for all units of a correlation: where rows are no whole vectors there are many of them, each
    with loads of its own."""
    (phase, *_) = phases_of(problem, Operation.contiguous(problem).layouts)
    (kd, kh, kw), (_, sh, sw), (_, dh, dw) = phase.taps, phase.step, phase.delta
    depths, height, width = phase.pixels
    whole = math.gcd(width, problem.input_size[2] if problem.direction == "forward" else width)
    columns = math.gcd(whole, min(params["columns"], 16 // ITEMSIZE[problem.dtype]))
    tile = tile_for(phase.pixels, phase.taps, phase.step, phase.delta, columns, params["results"])
    lines = (tile.rows - 1) * sh + (kh - 1) * dh + 1 if tile.unrolled else tile.rows * kh
    read = phase.first[2] % tile.columns + (tile.columns - 1) * sw + (kw - 1) * dw
    loads = lines * (kw if tile.columns == 1 else read // tile.columns + 1)
    of_channel = kd * (loads * LOAD_CYCLES + kh * kw * tile.rows * tile.columns)
    units = problem.batch * problem.result_channels * depths * -(-height // tile.rows) * width // tile.columns
    return units / WARP * (UNIT_CYCLES + int(phase.fields["channels"]) * of_channel)  # type: ignore[call-overload]


def _most_units(problem: ConvProblem) -> int:
    """Threads of the smallest launch, with units of two rows."""
    if problem.direction == "backward_weight":
        shape = (problem.batch, *problem.output_size)
    else:
        shape = (problem.result_channels, *problem.result_shape[2:])  # type: ignore[assignment]
    return math.prod((*shape[:2], -(-shape[2] // 2), shape[3]))


def is_one_launch(problem: ConvProblem) -> bool:
    """Whether an input gradient with strides is computed by one launch for all of its phases."""
    (depth, *kernel), (step, *strides), (_, *dilation) = problem.kernel_size, problem.stride, problem.dilation
    return (
        depth == step == 1
        and problem.padding[0] == (0, 0)
        and 1 < max(strides) <= MAX_STRIDE
        and max(dilation) == 1
        and min(before for before, _ in problem.padding) >= 0
        and kernel[0] * -(-kernel[1] // strides[1]) <= 64
    )


def _defines(problem: ConvProblem, layouts: Mapping[str, Layout], tile: Tile) -> dict[str, int | str]:
    """Those that all kernels have."""
    return depthwise.common_defines(problem, layouts) | {
        "UNIT": int(layouts[source_role(problem)].strides[4] == 1),
        "ROWS": tile.rows, "COLUMNS": tile.columns, "UNROLLED": int(tile.unrolled),
    }  # fmt: skip


def _axes(phase: PhaseStruct, rows: int, columns: int) -> dict[str, int]:
    """A phase without taps still has results: its kernel has one tap in none of its planes."""
    (kd, kh, kw), (_, sh, sw), (_, dh, dw) = phase.taps, phase.step, phase.delta
    lead, channels = phase.first[2] % columns, int(phase.fields["channels"])  # type: ignore[call-overload]
    kd = kd if kh and kw else 0
    weight = phase.fields["weight_stride"]
    return {
        "WHOLE": int(phase.pixels[1] % rows == 0),
        "BLOCKS": 3 if max(kh * kw if kh * kw <= UNROLLED_TAPS else kw, 1) >= MANY_TAPS else 4,
        "WEIGHT_H": weight[3],  # type: ignore[index]
        "WEIGHT_W": weight[4],  # type: ignore[index]
        "CHANNELS": 1 if channels == 1 else 0,
        "KD": kd,
        "KH": max(kh, 1),
        "KW": max(kw, 1),
        "SH": sh,
        "SW": sw,
        "DH": dh,
        "DW": dw,
        "LEAD": lead,
    }


def _block(problem: ConvProblem, lies: Layout, size: Sizes, units: int, width: int) -> dict[str, int]:
    """THREADS, UNITS and SLABS of a block, of results that lie so; ``units`` of a slab. Rows of whole sectors, or of
    nearly so, are stored as they are."""
    itemsize = ITEMSIZE[problem.dtype]
    channels, whole = problem.result_channels, lies.strides
    is_dense = whole == Layout.packed(lies.dtype, (problem.batch, channels, *size)).strides
    row = width * itemsize
    most = MAX_WASTE * row if math.prod(problem.kernel_size[1:]) >= MANY_TAPS else 0
    if not is_dense or units > THREADS or SECTOR - math.gcd(row, SECTOR) <= most:
        return {"THREADS": THREADS, "UNITS": THREADS, "SLABS": 0}
    slabs = min(THREADS // units, problem.batch * channels * size[0])
    return {"THREADS": -(-slabs * units // WARP) * WARP, "UNITS": slabs * units, "SLABS": slabs}


def _grid(count: int, block: Mapping[str, int | str]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    return (-(-count // int(block["UNITS"])), 1, 1), (int(block["THREADS"]), 1, 1)


def _units(problem: ConvProblem, columns: int, strips: int, depths: int, per_image: int, per_group: int,
           count: int, per_split: int = 0) -> np.ndarray:  # fmt: skip
    counts = (columns, strips, depths, per_image, per_group)
    return np.array([(*map(divider, counts), count, per_split)], UNITS)


def _pointers(problem: ConvProblem) -> tuple[str | None, ...]:
    e, source = problem.epilogue, source_role(problem)
    result = "input" if source == "output" else "output"
    return source, "weight", result, "bias" if e.bias else None, "add" if e.add else None


def _forward(
    problem: ConvProblem, params: Params, layouts: Mapping[str, Layout], phase: PhaseStruct
) -> Iterator[Launch]:
    """One correlation: a forward problem, or a stride phase."""
    source, _, result, *_ = _pointers(problem)
    per_image = problem.result_channels
    rows = [phase.fields["source_size"][2], phase.pixels[2]]  # type: ignore[index]
    size = ITEMSIZE[problem.dtype]
    lie = [layouts[str(source)]]
    lie += [replace(layouts[role], strides=tuple(phase.fields[f"{name}_stride"]))  # type: ignore[arg-type]
            for name, role in (("result", str(result)), ("add", "add")) if role in layouts]  # fmt: skip
    is_whole = all(phase.fields[f"{name}_at"] == 0 for name in ("source", "result", "add"))
    columns = vector_elements(rows, lie, min(params["columns"], 16 // size)) if is_whole else 1
    tile = tile_for(phase.pixels, phase.taps, phase.step, phase.delta, columns, params["results"])
    across, strips = phase.pixels[2] // tile.columns, -(-phase.pixels[1] // tile.rows)
    defines = _defines(problem, layouts, tile) | _axes(phase, tile.rows, tile.columns)
    is_exact = problem.direction == "backward_input"
    blocks = 4 if tile.unrolled else defines["BLOCKS"]
    defines |= {"FORWARD": 1, "EXACT": int(is_exact), "BLOCKS": blocks}
    defines |= _block(problem, lie[1], phase.pixels, strips * across, phase.pixels[2])
    text = kernel_source(ROOM, defines, "vectors.cuh", "depthwise.cuh")
    units = per_image * phase.pixels[0] * strips * across
    per_group = int(phase.fields["filters"])  # type: ignore[call-overload]
    for begin, images in depthwise.batches(problem.batch, units):
        count = images * units
        sizes = _units(problem, across, strips, phase.pixels[0], per_image, per_group, count)
        arguments = (*_pointers(problem), phase.packed(**phase.at_image(begin)), sizes)
        yield Launch("depthwise_forward", text, *_grid(count, defines), arguments)


def _strided_gradient(problem: ConvProblem, params: Params, layouts: Mapping[str, Layout]) -> Iterator[Launch]:
    """All stride phases of an input gradient; the struct has the problem's own padding and weights."""
    phase = all_phases(problem, layouts)
    (depth, height, width), sh, top = problem.input_size, problem.stride[1], problem.padding[1][0]
    columns = _gradient_columns(problem, layouts, params["columns"])
    rows = strided_rows(height, sh, top, params["results"] // columns)
    defines = _defines(problem, layouts, Tile(rows, columns, True)) | _axes(phase, rows, columns)
    sw, before, taps = problem.stride[2], problem.padding[2][0], problem.kernel_size[2]
    first = -(-(before - taps + 1) // sw)
    defines |= {"GRADIENT": 1, "PW": before, "FIRST": first, "LEAD": first % max(1, columns // sw)}
    defines["WHOLE"] = int(top % sh == 0 and height % rows == 0)
    strips = -(-(height + top % sh) // rows)
    defines |= _block(problem, layouts["input"], problem.input_size, strips * width // columns, width)
    text = kernel_source(ROOM, defines, "vectors.cuh", "depthwise.cuh")
    units = problem.in_channels * depth * strips * width // columns
    for begin, images in depthwise.batches(problem.batch, units):
        count = images * units
        sizes = _units(problem, width // columns, strips, depth, problem.in_channels, 1, count)
        arguments = (*_pointers(problem), phase.packed(**phase.at_image(begin)), sizes)
        yield Launch("depthwise_strided_gradient", text, *_grid(count, defines), arguments)


def _gradient_columns(problem: ConvProblem, layouts: Mapping[str, Layout], most: int) -> int:
    """Columns of a unit, a multiple of the stride: vectors of the result, and of the output's gradient."""
    width, source, sw = problem.input_size[2], problem.output_size[2], problem.stride[2]
    results = [layouts[role] for role in ("input", "add") if role in layouts]
    columns = vector_elements([width], results, min(most, 16 // ITEMSIZE[problem.dtype]))
    if math.prod(problem.kernel_size) > MAX_GRADIENT_WEIGHTS:
        return 1
    while columns % sw == 0 and vector_elements([source], [layouts["output"]], columns // sw) < columns // sw:
        columns //= 2
    return columns if columns % sw == 0 else 1


def _weight_gradient(
    problem: ConvProblem, params: Params, layouts: Mapping[str, Layout], phase: PhaseStruct
) -> tuple[Launch, ...]:
    """Sums of every split, and where there are several their sums."""
    size = ITEMSIZE[problem.dtype]
    sizes = [problem.input_size[2], problem.output_size[2]]
    lie = [layouts["input"], layouts["output"]]
    columns = vector_elements(sizes, lie, min(params["columns"], 16 // size))
    tile = tile_for(phase.pixels, phase.taps, phase.step, phase.delta, columns, params["results"])
    tap_rows = phase.taps[1] if tile.unrolled else 1
    defines = _defines(problem, layouts, tile) | _axes(phase, tile.rows, tile.columns)
    defines |= {"TAP_ROWS": tap_rows, "THREADS": THREADS, "UNITS": THREADS, "SLABS": 0}
    text = kernel_source(ROOM, defines | {"WEIGHT": 1}, "vectors.cuh", "depthwise.cuh")
    across, strips = phase.pixels[2] // tile.columns, -(-phase.pixels[1] // tile.rows)
    slices = phase.taps[1] // tap_rows
    filters, per_group = problem.out_channels, problem.out_channels // problem.groups
    units = problem.batch * phase.pixels[0] * strips * across
    splits, per_split = splits_for(filters * slices * phase.taps[0], units, THREADS, WANTED_BLOCKS)
    scratch = depthwise.partial_bytes(problem, splits) if splits > 1 else 0
    struct, by_slice = phase.packed(), np.array([divider(slices)], DIVIDER)
    places = _units(problem, across, strips, phase.pixels[0], 1, per_group, units, per_split)
    first = Launch(
        "depthwise_weight_gradient", text, (filters, splits, slices * phase.taps[0]), (THREADS, 1, 1),
        ("input", "output", "weight", Workspace() if scratch else None, struct, places, by_slice),
        workspace_bytes=scratch,
    )  # fmt: skip
    return (first, depthwise.sum_splits(problem, phase, splits, False)) if scratch else (first,)
