"""A convolution as a product of matrices: what the rooms of implicit GEMM share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._correlation import Correlation
from .._problem import ACTIVATIONS, ConvProblem, Epilogue
from .launch import Launch
from .source import DIVIDER, SHARED, divider, source_of

GEMM = np.dtype(
    [
        *((name, DIVIDER) for name in ("filter_tiles", "image", "plane", "row", "inner", "plane_taps", "row_taps")),
        *((name, DIVIDER) for name in ("channel_blocks", "group_rows")),
        *((name, np.int32) for name in ("rows", "columns", "depth", "depth_of_split", "splits")),
        *((name, np.int32) for name in ("padded_channels", "padded_filters")),
    ]
)
"""fc_gemm of csrc/gemm.cuh."""
MAX_GRID_HEIGHT = 65535
SUMMING_BLOCKS = 1024
"""About as many as a large device holds at a time: each decodes its columns once for all of its rows."""
MAX_LINES = 8
"""Threads that add the splits of one sum, where there are few sums and many splits: the bits are those of the shape."""
ALIGNED_BYTES = 256
"""Places in the workspace are multiples of it."""
ELEMENTS = {"float32": "FLOAT32", "float64": "FLOAT64", "float16": "FLOAT16", "bfloat16": "BFLOAT16", "int8": "INT8"}
"""What csrc/vectors.cuh calls them."""


def padded(size: int, multiple: int) -> int:
    """The next multiple."""
    return -(-size // multiple) * multiple


def matrix(problem: ConvProblem) -> tuple[int, int]:
    """Rows and columns of a group's result; of the largest stride phase."""
    c = Correlation.of(problem)
    if c.is_gradient:
        return c.filters, c.channels * math.prod(problem.kernel_size)
    return c.filters, c.batch * math.prod(c.pixels)


def depth(problem: ConvProblem, step: int) -> int:
    """Steps of so many products of the reduction; of the phase that has most taps."""
    c = Correlation.of(problem)
    if c.is_gradient:
        return -(-c.batch * math.prod(c.pixels) // step)
    return math.prod(c.taps) * -(-c.channels // step)


def by_value(struct: np.ndarray) -> np.ndarray:
    """A struct as an argument: CuPy passes an array of one element of any structured dtype by value."""
    return struct.reshape(1).view(f"V{struct.dtype.itemsize}")


def gemm_struct(c: np.ndarray, taps: tuple[int, int], dividers: Mapping[str, int], **values: int) -> np.ndarray:
    """fc_gemm of a correlation, of which a plane and a row have so many ``taps``; dividers that are not given are 1."""
    made, pixels = np.zeros((), GEMM), c["pixels"].tolist()
    of_pixels = {"image": math.prod(pixels), "plane": pixels[1] * pixels[2], "row": pixels[2]}
    of_taps = {"plane_taps": taps[0], "row_taps": taps[1], "inner": 1, "channel_blocks": 1}
    for name, value in {**of_pixels, **of_taps, "group_rows": values["rows"], **dividers}.items():
        made[name] = divider(max(value, 1))
    for name, number in values.items():
        made[name] = number
    return made


def finishing(epilogue: Epilogue) -> dict[str, int | str]:
    """#defines of an epilogue."""
    activation = epilogue.activation
    return {"HAS_BIAS": int(epilogue.bias), "HAS_ADD": int(epilogue.add),
            "ACTIVATION": 0 if activation is None else 1 + ACTIVATIONS.index(activation)}  # fmt: skip


NOT_FINISHED: dict[str, int | str] = {"HAS_BIAS": 0, "HAS_ADD": 0, "ACTIVATION": 0}
"""#defines where sums are stored as they are."""


def add_partials(problem: ConvProblem, gemm: np.ndarray, arguments: tuple[Any, ...], workspace_bytes: int,
                 taps_inside: bool = False, sums: bool = False) -> Launch:  # fmt: skip
    """The launch that adds the sums of the splits, which end at so many bytes of the workspace; ``sums``: the result is
    of their type."""
    is_gradient = problem.direction == "backward_weight"
    defines: dict[str, int | str] = {
        "ELEMENT": ELEMENTS[problem.dtype], "OF_GRADIENT": int(is_gradient), "TAPS_INSIDE": int(taps_inside),
        "OF_SUMS": int(sums),
        **(NOT_FINISHED if is_gradient else finishing(problem.epilogue)),
    }  # fmt: skip
    rows, columns, lines = problem.groups * int(gemm["rows"]), int(gemm["columns"]), 1
    while lines < MAX_LINES and 8 * lines <= gemm["splits"] and 2 * lines * rows * columns <= 256 * SUMMING_BLOCKS:
        lines *= 2
    source = source_of("csrc/add_partials.cu", {**defines, "LINES": lines}, *SHARED, "vectors.cuh", "gemm.cuh")
    blocks = -(-columns * lines // 256)
    grid = (blocks, min(rows, max(SUMMING_BLOCKS // blocks, 1)), 1)
    return Launch("add_partials", source, grid, (256, 1, 1), arguments, workspace_bytes=workspace_bytes)
