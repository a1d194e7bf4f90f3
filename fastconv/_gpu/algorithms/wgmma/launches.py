"""Forward and input gradients as launches: the packing of weights, and a product for every stride phase."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...._algorithm import Params
from ...._correlation import Correlation
from ...._problem import RESULT, ConvProblem
from ...algorithm import Operation
from ...compile import SM_90A
from ...gemm import ALIGNED_BYTES, ELEMENTS, MAX_GRID_HEIGHT, by_value, finishing, padded
from ...launch import MAX_BLOCKS, Launch, Workspace
from ...layout import Layout
from ...nonfinite import computed_again
from ...parts import checked_axes
from ...phases import phases_of, source_role
from ...source import CORRELATION, DIVIDER, divider, kernel_source
from ...tensor_map import TensorMap
from .boxes import CHANNELS, ITEM_BYTES, ROW_BYTES, Box, Source, box_of, flattened, is_run, pixels_of, source_of
from .tiles import Tile, tile_of

BOXES = np.dtype(
    [
        *((name, DIVIDER) for name in ("filter_tiles", "across_w", "across_h", "across_d", "w", "h", "d")),
        *((name, np.int32) for name in ("n", "bytes")),
    ]
)
"""fc_boxes of kernels.cu."""
PACK_THREADS = 256
RUN = 8
"""Results of one store."""
WEIGHTS_MULTIPLE = 8
"""Channels of packed weights are a multiple of it: rows of 16 bytes."""


@dataclass(frozen=True)
class Product:
    """A stride phase, as the copy unit takes it."""

    c: np.ndarray
    """Its flattened correlation; strides of weights count taps of the packed ones."""
    checked: int
    source: Source


def products_of(operation: Operation) -> list[Product] | None:
    """Those of all stride phases; None where the copy unit cannot address the source of one of them."""
    problem, taps = operation.problem, operation.problem.kernel_size
    layouts = {role: _without_idle(problem, role, layout) for role, layout in operation.layouts.items()}
    layouts["weight"] = Layout(np.dtype(np.uint16), (0, 0, taps[1] * taps[2], taps[2], 1))
    found = []
    for phase in phases_of(problem, layouts):
        c = phase.packed().reshape(())
        flat = flattened(c)
        source = source_of(flat, layouts[source_role(problem)])
        if source is None:
            return None
        found.append(Product(flat, checked_axes(c), source))
    return found


def _without_idle(problem: ConvProblem, role: str, layout: Layout) -> Layout:
    """With strides of 0 for axes of one element, so that they are never in the way."""
    shapes = {"input": problem.input_shape, "output": problem.output_shape, "weight": problem.weight_shape}
    shape = problem.result_shape if role == "add" else shapes[role]
    strides = tuple(stride if size > 1 else 0 for stride, size in zip(layout.strides, shape, strict=True))
    return replace(layout, strides=strides)


def blocks_of(product: Product, tile: Tile) -> int:
    """Of a group."""
    box = box_of(product.c, product.source, tile.bn)
    return -(-int(product.c["filters"]) // tile.bm) * math.prod(box.across(pixels_of(product.c)))


def fits(problem: ConvProblem, products: list[Product], tile: Tile) -> bool:
    """Whether grids are large enough."""
    return problem.groups <= MAX_GRID_HEIGHT and all(blocks_of(product, tile) <= MAX_BLOCKS for product in products)


# -- weights
def _pairs(problem: ConvProblem) -> int:
    """Pairs of channels of a packed filter."""
    return padded(Correlation.of(problem).channels, WEIGHTS_MULTIPLE) // 2


def _pack_blocks(problem: ConvProblem) -> int:
    return -(-Correlation.of(problem).filters * _pairs(problem) // PACK_THREADS)


def marks_of(problem: ConvProblem) -> int:
    """Bytes in front of packed weights that say which blocks have met some that are not finite: where there is padding
    that the definition does not multiply by them."""
    return _pack_blocks(problem) * problem.groups if problem.direction == "backward_input" else 0


def packed_bytes(problem: ConvProblem) -> int:
    """Bytes of the packed weights, and of the marks in front of them."""
    rows = math.prod(problem.kernel_size) * problem.groups * Correlation.of(problem).filters
    return padded(marks_of(problem), ALIGNED_BYTES) + padded(4 * rows * _pairs(problem), ALIGNED_BYTES)


def pack_launch(problem: ConvProblem, weight: Layout, to: str | Workspace) -> Launch:
    """What packs all taps of the problem, whatever phase they belong to."""
    common, c = Correlation.of(problem), np.zeros((), CORRELATION)
    k, channel, *taps = weight.strides
    c["groups"], c["channels"], c["filters"] = problem.groups, common.channels, common.filters
    c["taps"] = problem.kernel_size
    c["weight_stride"] = (channel, k, *taps) if problem.direction == "backward_input" else (k, channel, *taps)
    c["weight_group_stride"] = problem.out_channels // problem.groups * k
    source = _text(problem.dtype, KERNEL="PACK", MARKED=int(marks_of(problem) > 0))
    pairs = np.array([divider(_pairs(problem))], DIVIDER)
    return Launch("pack_weights", source, (_pack_blocks(problem), problem.groups, 1), (PACK_THREADS, 1, 1),
                  ("weight", to, by_value(c), by_value(pairs)),
                  workspace_bytes=0 if to == "packed" else packed_bytes(problem))  # fmt: skip


# -- products
def launches(operation: Operation, params: Params) -> tuple[Launch, ...]:
    """What computes the operation; "packed" is what ``pack_launch`` has made of the weights."""
    problem, products = operation.problem, products_of(operation)
    assert products is not None
    packed: str | Workspace = "packed" if operation.is_packed else Workspace()
    sequence = [] if operation.is_packed else [pack_launch(problem, operation.layouts["weight"], packed)]
    tile = tile_of(params)
    sequence += [_launch(operation, product, tile, packed) for product in products]
    marks = marks_of(problem)
    if marks and any(product.checked for product in products):
        sequence += computed_again(operation, packed, marks)
    return tuple(sequence)


def _launch(operation: Operation, product: Product, tile: Tile, packed: str | Workspace) -> Launch:
    problem, c, source = operation.problem, product.c, product.source
    box, epilogue = box_of(c, source, tile.bn), problem.epilogue
    stored, run = _stored(operation, c, box)
    text = _text(
        problem.dtype, KERNEL="CORRELATE", ALONG=source.along, SPAN=box.w * ITEM_BYTES, STORED=stored, RUN=run,
        **tile.defines(), **finishing(epilogue),
    )  # fmt: skip
    maps = _source_map(source, box, source_role(problem)), _weights_map(problem, tile, packed)
    more = ("bias" if epilogue.bias else None), ("add" if epilogue.add else None)
    return Launch(
        "correlate", text, (blocks_of(product, tile), problem.groups, 1), (tile.threads, 1, 1),
        (*maps, RESULT[problem.direction], *more, by_value(c), by_value(_boxes(c, box, tile))), tile.shared_bytes,
        0 if packed == "packed" else packed_bytes(problem),
    )  # fmt: skip


def _stored(operation: Operation, c: np.ndarray, box: Box) -> tuple[str, int]:
    """What results are stored along, and how many at once."""
    problem = operation.problem
    places = [("result", operation.layouts[RESULT[problem.direction]])]
    places += [("add", operation.layouts["add"])] if problem.epilogue.add else []

    def are_runs(axis: int) -> bool:
        return all(is_run(c, name, axis, RUN, layout.alignment) for name, layout in places)

    if c["filters"] % RUN == 0 and are_runs(1):
        return "FILTERS", RUN
    if c["pixels"][2] % RUN == 0 and box.w % RUN == 0 and are_runs(4):
        return "PIXELS", RUN
    by_filter, by_pixel = (abs(int(c["result_stride"][axis])) for axis in (1, 4))
    return ("FILTERS" if 0 < by_filter < by_pixel else "PIXELS"), 1


def _source_map(source: Source, box: Box, role: str) -> TensorMap:
    w, h, d = source.steps
    if source.along == "CHANNELS":
        extents, steps, swizzle = (CHANNELS, box.w, box.h, box.d, box.n), (1, w, h, d, 1), ROW_BYTES
    else:
        extents, steps, swizzle = (box.w, CHANNELS, box.h, box.d, box.n), (w, 1, h, d, 1), box.w * ITEM_BYTES
    return TensorMap(role, source.offset_bytes, source.sizes, source.strides, extents, steps, swizzle)


def _weights_map(problem: ConvProblem, tile: Tile, packed: str | Workspace) -> TensorMap:
    common, row = Correlation.of(problem), 4 * _pairs(problem)
    rows = problem.groups * common.filters
    sizes, strides = (common.channels, rows, math.prod(problem.kernel_size)), (row, row * rows)
    at = padded(marks_of(problem), ALIGNED_BYTES)
    return TensorMap(packed, at, sizes, strides, (CHANNELS, tile.bm, 1), (1, 1, 1), ROW_BYTES)


def _boxes(c: np.ndarray, box: Box, tile: Tile) -> np.ndarray:
    made, across = np.zeros((), BOXES), box.across(pixels_of(c))
    dividers = {"filter_tiles": -(-int(c["filters"]) // tile.bm), "w": box.w, "h": box.h, "d": box.d}
    for name, value in (dividers | dict(zip(("across_w", "across_h", "across_d"), across, strict=False))).items():
        made[name] = divider(value)
    made["n"], made["bytes"] = box.n, (tile.bm + box.pixels) * ROW_BYTES
    return made


_DEFINES: Mapping[str, int | str] = {"MARKED": 0, "HAS_BIAS": 0, "HAS_ADD": 0, "ACTIVATION": 0}


def _text(dtype: str, **defines: int | str) -> str:
    return _text_of(dtype, tuple({**_DEFINES, **defines}.items()))


@functools.cache
def _text_of(dtype: str, defines: tuple[tuple[str, int | str], ...]) -> str:
    chosen = {"ELEMENT": ELEMENTS[dtype], **dict(defines)}
    if chosen["KERNEL"] == "PACK":
        return kernel_source("wgmma", chosen, "vectors.cuh")
    chosen["FC_WGMMA_TYPE"] = {"bfloat16": '"bf16"', "float16": '"f16"'}[dtype]
    return SM_90A + kernel_source("wgmma", chosen, "vectors.cuh", "device_sm90.cuh")
