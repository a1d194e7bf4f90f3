"""What every algorithm's time is made of, counted from the problem alone."""

from __future__ import annotations

import functools
import math

import numpy as np

from ..._correlation import Correlation
from ..._problem import ConvProblem
from ..engine import runtime

REAL_OF = {
    "complex64": "float32",
    "complex128": "float64",
    "int8": "float64",
    "float16": "float32",
    "bfloat16": "float32",
}
"""The arithmetic of the other dtypes."""
ITEM_BYTES = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16, "int8": 4, "float16": 2, "bfloat16": 2}
CACHED_BYTES = (2**19, 2**21, 2**23)
"""Arrays larger than these leave one cache after another; which ones, the coefficients say."""
CACHED_WEIGHT_BYTES = 2**20
CACHE_LINE = 16
"""Elements that come with one that is read alone."""
COPIED_STRIDES = (1, 2, 4)
"""Strides of pixels for which there is vector code."""

GENERAL = (
    # Multiply-adds: of the definition; of whole phases; the latter in whole vectors along the axes that kernels choose.
    "defined_products",
    "products",
    "width_products",
    "filter_products",
    "panel_products",
    "channel_products",
    "group_products",
    "single_products",
    "strided_products",
    "strided_width_products",
    "dilated_products",
    "volume_products",
    "line_products",
    "row_products",
    "tap_line_products",
    "narrow_products",
    "inside_products",
    "row_inside_products",
    "row_inside_width_products",
    "row_inside_filter_products",
    "pointwise_products",
    # Sums that are started and stored, one by one and in whole vectors.
    "results",
    "width_results",
    "scattered_results",
    "narrow_results",
    # Arrays, and what of them leaves the caches.
    "source_bytes",
    "result_bytes",
    "weight_bytes",
    "beyond_l1_bytes",
    "beyond_l2_bytes",
    "beyond_l3_bytes",
    "weight_beyond_bytes",
    "last_source_bytes",
    "last_result_bytes",
    "last_beyond_bytes",
    "strided_source_bytes",
    "strided_result_bytes",
    "sparse_source_bytes",
    "sparse_result_bytes",
    "dilated_source_bytes",
    "volume_source_bytes",
    "line_source_bytes",
    "scattered_source_bytes",
    "pointwise_input_bytes",
    "pointwise_output_bytes",
    "replicated_bytes",
    "slot_bytes",
    "spread_result_bytes",
    "phase_weight_bytes",
    "image_weight_bytes",
    # Operands of products, had they been copied: pixels once per tap, gradients once per channel...
    "column_bytes",
    "last_column_bytes",
    "strided_column_bytes",
    "sparse_column_bytes",
    "dilated_column_bytes",
    "row_bytes",
    "pixel_bytes",
    "filter_bytes",
    # Fixed costs: of a call, a phase, a plane, a row of the result and of the source...
    "call_steps",
    "phase_steps",
    "plane_steps",
    "row_steps",
    "source_row_steps",
    "tap_row_steps",
    "channel_steps",
)
"""Names of ``general``'s counts, in its order."""


def whole(size: int, multiple: int) -> float:
    """How many times the work is done where ``size`` is filled up to a multiple."""
    return -(-size // multiple) * multiple / size


@functools.lru_cache(maxsize=256)
def general(problem: ConvProblem) -> np.ndarray:
    """The counts of a problem that is not empty; named by GENERAL."""
    c, p = Correlation.of(problem), problem
    lanes, _, columns = runtime.tile_sizes(REAL_OF.get(p.dtype, p.dtype))
    item = ITEM_BYTES[p.dtype]
    inputs, outputs = math.prod(p.input_shape) * item, math.prod(p.output_shape) * item
    weights = math.prod(p.weight_shape) * item
    source, result = (outputs, inputs) if p.direction == "backward_input" else (inputs, outputs)
    planes, rows, width = (max(size, 1) for size in c.pixels)
    filters, channels, groups = max(c.filters, 1), max(c.channels, 1), c.groups
    phases, taps = math.prod(c.phases), math.prod(c.taps)
    lines = p.batch * planes * rows * phases
    products = lines * width * groups * filters * channels * taps
    results = weights // item if c.is_gradient else result // item
    by_width, by_group = whole(width, lanes), whole(groups * filters, lanes)
    by_row = products * inside_share(c, 0) * inside_share(c, 1)
    total = source + result + weights
    beyond = [float(max(0, total - size)) for size in CACHED_BYTES]
    column, row = products / filters * item, products / channels * item
    is_last, is_strided = p.layout == "channels_last", max(p.stride) > 1
    is_sparse, is_copied = p.stride[2] > COPIED_STRIDES[-1], p.stride[2] in COPIED_STRIDES
    is_line, is_point = p.kernel_size[0] == p.kernel_size[1] == 1, p.kernel_size == (1, 1, 1)
    is_dilated, is_volume = max(p.dilation) > 1, p.kernel_size[0] > 1 or p.input_size[0] > 1
    counts = (
        p.multiply_adds,
        products,
        products * by_width,
        products * whole(filters, lanes),
        products * whole(filters, columns),
        products * whole(channels, lanes),
        products * by_group,
        products if groups * filters < lanes else 0,
        products if is_strided else 0,
        products * by_width if is_strided else 0,
        products if is_dilated else 0,
        products if is_volume else 0,
        products if is_line else 0,
        p.multiply_adds * products_of_axis(c, p, 2),
        products * by_width / max(c.taps[2], 1),
        products * by_width if width < lanes else 0,
        by_row * inside_share(c, 2),
        by_row,
        by_row * by_width,
        by_row * by_group,
        products if is_point else 0,
        results,
        results * by_width,
        results if is_last and groups * filters > 1 else 0,
        results * by_width if width < lanes else 0,
        source,
        result,
        weights,
        *beyond,
        max(0, weights - CACHED_WEIGHT_BYTES),
        source if is_last else 0,
        result if is_last else 0,
        beyond[1] if is_last else 0,
        source if is_strided else 0,
        result if is_strided else 0,
        source if is_sparse else 0,
        result if is_sparse else 0,
        source if is_dilated else 0,
        source if is_volume else 0,
        source if is_line else 0,
        source if is_last and groups > 1 and channels < lanes else 0,
        inputs if is_point else 0,
        outputs if is_point else 0,
        source * filters,
        source * min(p.stride[2], p.kernel_size[2]),
        result * min(p.stride[2], CACHE_LINE) if phases > 1 else 0,
        weights * min(phases, CACHE_LINE) if phases > 1 else 0,
        weights * p.batch,
        column,
        column if is_last else 0,
        column if is_strided else 0,
        column if not is_copied else 0,
        column if is_dilated else 0,
        row,
        products / (lines * width) * item,
        column / taps,
        1,
        p.phases,
        p.batch * groups * phases,
        lines * groups * filters,
        lines * groups * channels,
        lines * groups * filters * channels * math.prod(c.taps[:2]),
        p.batch * groups * channels,
    )
    return np.array(counts, np.float64)


def products_of_axis(c: Correlation, problem: ConvProblem, axis: int) -> float:
    """Times that the products of an axis are those of the definition, where its whole phases are computed."""
    defined = max(problem.output_size[axis] * problem.kernel_size[axis], 1)
    if problem.direction != "backward_input":
        return 1.0
    return c.pixels[axis] * c.taps[axis] * c.phases[axis] / defined


def inside_share(c: Correlation, axis: int) -> float:
    """The share of an axis' products that find their element inside the source, about, and not in the padding."""
    a = c.axes[axis]
    pixels, taps, step, apart = max(c.pixels[axis], 1), max(c.taps[axis], 1), a.step, max(abs(a.delta), 1)
    origin = c.origin[axis]
    before = max(-origin, 0)
    behind = max((pixels - 1) * step + origin + (taps - 1) * apart - a.source_size + 1, 0)
    if before == behind == 0:
        return 1.0
    lost = 0.0
    for over in (before, behind):
        # From the outermost tap inwards: `none` that find nothing, then up to `some` each some pixels more.
        some = min(taps, -(-over // apart))
        none = min(max((over - pixels * step) // apart + 1, 0), some)
        most, least = -(-(over - none * apart) // step), -(-(over - (some - 1) * apart) // step)
        lost += none * pixels + (some - none) * (most + least) / 2
    return max(1 - lost / (pixels * taps), 0)


_PLACES = {name: place for place, name in enumerate(GENERAL)}


def count(problem: ConvProblem, name: str) -> float:
    """One of the general counts."""
    return float(general(problem)[_PLACES[name]])
