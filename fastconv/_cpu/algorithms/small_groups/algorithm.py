"""small_groups: few channels in every group, filters of several groups as lanes."""

from __future__ import annotations

import numpy as np

from ...._algorithm import MAX_PHASES, Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm, beside_weight
from ...engine import runtime
from ...engine.filter_lanes import PhasesKernel
from ..depthwise_nhwc.algorithm import MIN_ITEMS, all_pixels_reach, parts_of, splits_of
from . import loops

BAND_BYTES = 2**15
"""Of the rows of the source that are copied for one vector of filters: what a first-level cache holds."""
WIDE_BYTES = 2**15
"""Of one of these rows, at most."""


class SmallGroups(CompiledAlgorithm):
    """Small groups, in float32 and float64; depthwise ones where rows are neighbours in memory."""

    name = "small_groups"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True

    def supports(self, problem: ConvProblem) -> bool:
        """Where the channels that a vector of filters needs are one vector or its groups fill vectors."""
        if problem.groups == 1 or problem.phases > MAX_PHASES:
            return False
        c = Correlation.of(problem)
        channels, filters = c.channels, c.filters
        if problem.layout == "channels_last":
            if filters == 1:
                return False
        elif problem.direction == "backward_input" and problem.stride[0] > 1:
            return False  # whose rows are written one by one
        if problem.direction == "backward_weight" and not all_pixels_reach(problem):
            return False
        lanes, _, _ = runtime.tile_sizes(problem.dtype)
        if channels > loops.MAX_CHANNELS:
            return False
        if filters % lanes == 0:
            return True
        return lanes % filters == 0 and channels <= filters and problem.groups * channels >= lanes

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        kernel = self.bind(problem, params)
        return kernel.shared_bytes + threads * kernel.thread_bytes

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        kernel = self.bind(problem, params)
        return kernel.pack(beside_weight(problem, weight)) if isinstance(kernel, PhasesKernel) else None

    def bind(self, problem: ConvProblem, params: Params) -> loops.SmallGroupsKernel | loops.SmallGroupsGradient:
        band, columns = _band(problem)
        if problem.direction == "backward_weight":
            return loops.SmallGroupsGradient(problem, splits_of(problem), parts_of(problem), band, columns)
        return loops.SmallGroupsKernel(problem, band, columns, _parts(problem))


def _band(problem: ConvProblem) -> tuple[int, int]:
    """Rows and columns of the result that are computed from one copy of what they read."""
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    c = Correlation.of(problem)
    channels, filters = c.channels, c.filters
    vectors = -(-channels // lanes) if filters % lanes == 0 else 1
    pixel_bytes = vectors * lanes * np.dtype(problem.dtype).itemsize * problem.kernel_size[0]
    _, rows, columns = c.pixels
    step = c.step[1:]
    around = [(problem.kernel_size[axis] - 1) * problem.dilation[axis] for axis in (1, 2)]
    width = _even(columns, max((WIDE_BYTES // pixel_bytes - around[1]) // step[1], around[1] // step[1], 1))
    row_bytes = pixel_bytes * (width * step[1] + around[1])
    return _even(rows, max((BAND_BYTES // row_bytes - around[0]) // step[0], around[0] // step[0], 1)), width


def _even(size: int, most: int) -> int:
    """The size of equal parts of at most ``most``."""
    return -(-size // max(-(-size // most), 1)) or 1


def _parts(problem: ConvProblem) -> int:
    """Parts of the filters, where images and bands are few."""
    lanes, _, _ = runtime.tile_sizes(problem.dtype)
    c = Correlation.of(problem)
    if c.groups * c.filters % lanes:
        return 1
    planes, rows, columns = c.pixels
    height, width = _band(problem)
    items = max(problem.batch * planes * -(-rows // height) * -(-columns // width), 1)
    return min(-(-MIN_ITEMS // items), c.groups * c.filters // lanes)
