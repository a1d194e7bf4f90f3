"""What the rooms of depthwise convolutions have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from .._algorithm import MAX_PHASES
from .._problem import ACTIVATIONS, ConvProblem
from .algorithm import places_fit
from .launch import MAX_THREADS, Launch, Workspace
from .layout import Layout, is_wide
from .phases import PhaseStruct
from .source import DIVIDER, SHARED, divider, source_of

ITEMSIZE = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
SHARE = 0.85
"""Of the copy bandwidth, and of the multiply-adds' peak."""
THREADS = 128
"""Of a block."""
MAX_STRIDE = 4
"""Strides of input gradients that are computed in one launch."""
MAX_ROW_TAPS = 31
SUM_COLUMNS = 32
SUM_LINES = 16
"""Threads of a block that adds splits: weights beside each other, and threads for each of them."""


def supports(problem: ConvProblem, layout: str) -> bool:
    """Whether a problem is depthwise, with arrays of this layout, and of sizes that kernels address."""
    return (
        problem.groups == problem.in_channels
        and problem.layout == layout
        and not problem.is_empty
        and max(problem.kernel_size) <= MAX_ROW_TAPS
        and problem.phases <= MAX_PHASES
        and places_fit(problem)
    )


def common_defines(problem: ConvProblem, layouts: Mapping[str, Layout]) -> dict[str, int | str]:
    """Element type, width of offsets, and the epilogue."""
    e = problem.epilogue
    images = [(problem.input_size, layouts["input"]), (problem.output_size, layouts["output"])]
    if e.add:
        images.append((problem.result_shape[2:], layouts["add"]))  # type: ignore[arg-type]
    return {
        "ELEMENT": problem.dtype.upper(),
        "WIDE": int(any(is_wide(sizes, lies.strides[2:], lies.dtype.itemsize) for sizes, lies in images)),
        "BIAS": int(e.bias), "ADD": int(e.add),
        "ACTIVATION": 0 if e.activation is None else 1 + ACTIVATIONS.index(e.activation),
    }  # fmt: skip


def batches(batch: int, threads: int) -> Iterator[tuple[int, int]]:
    """First image and number of images of every launch, so that the threads of each, so many of an image, are fewer
    than 2^31."""
    most = max(1, (MAX_THREADS - THREADS) // threads)
    for begin in range(0, batch, most):
        yield begin, min(most, batch - begin)


def splits_for(blocks: int, units: int, threads: int, wanted_blocks: int) -> tuple[int, int]:
    """Splits of a weight gradient's sums, and units of each: so many that the device is busy, each with work for
    every thread. From the problem alone, so that results have the same bits on every device."""
    most = max(1, units // (2 * threads))
    splits = min(most, max(1, math.ceil(wanted_blocks / blocks)), 1024)
    per_split = -(-units // splits)
    per_split = -(-per_split // threads) * threads if splits > 1 else units
    return -(-units // per_split), per_split


def partial_bytes(problem: ConvProblem, splits: int) -> int:
    """Of the sums of all splits of a weight gradient."""
    return splits * math.prod(problem.weight_shape) * (8 if problem.dtype == "float64" else 4)


def sum_splits(problem: ConvProblem, phase: PhaseStruct, splits: int, filters_last: bool) -> Launch:
    """The launch that adds them, from the workspace's start on: of every filter its taps, or of every tap its filters
    (``filters_last``)."""
    count, filters = math.prod(problem.weight_shape), problem.out_channels
    defines: dict[str, int | str] = {
        "ELEMENT": problem.dtype.upper(), "LINES": SUM_LINES, "FILTERS_LAST": int(filters_last),
        "KH": phase.taps[1], "KW": phase.taps[2],
    }  # fmt: skip
    text = source_of("csrc/sum_splits.cu", defines, *SHARED, "vectors.cuh")
    inner = np.array([divider(filters if filters_last else count // filters)], DIVIDER)
    arguments = (Workspace(), "weight", phase.packed(), inner, np.uint32(count), np.uint32(splits))
    return Launch("sum_splits", text, (-(-count // SUM_COLUMNS), 1, 1), (SUM_COLUMNS * SUM_LINES, 1, 1), arguments,
                  workspace_bytes=partial_bytes(problem, splits))  # fmt: skip
