"""What a Winograd convolution's time is made of: products of transformed tiles, transforms, and what is read again."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...._algorithm import Params
from ...._problem import ConvProblem
from ...cost.counts import ITEM_BYTES
from . import loops, tiles

CACHED_ITEM_BYTES = 2**20
"""Transformed tiles and products of an item up to this size stay in the cache between their stages."""
CACHED_WEIGHTS_BYTES = 2**20
"""Transformed weights of a block of an item of panels up to this size mostly stay in L2 until they are multiplied."""
CACHED_SUMS_BYTES = (2**21, 2**24)
"""Sums of a weight gradient larger than this are written to the next cache, and to memory, in every pass."""
MAX_SPILLED = 8


@dataclass(frozen=True)
class _Tiles:
    """What the blockings of one tile size have in common."""

    points: int
    reduction: int
    filters: int
    count: int
    sources: int
    """Bytes of all transformed tiles of the source; of results, and of weights."""
    results: int
    weights: int
    counts: Mapping[str, float]


@functools.lru_cache(maxsize=64)
def _tiles_of(problem: ConvProblem, tile_size: int) -> _Tiles:
    points, _ = tiles.shape(problem, tile_size)
    reduction, filters = tiles.channels(problem)
    count, item, groups = tiles.count(problem, tile_size), ITEM_BYTES[problem.dtype], problem.groups
    products = groups * points * reduction * filters * count
    needed_share = loops.needed_share(problem, {"tile_size": tile_size, "tiles": 1, "panels": 0})
    sources, results = groups * points * reduction * count * item, groups * points * filters * count * item
    weights = groups * points * reduction * filters * item
    found: dict[str, float] = {
        "tile_products": needed_share * products,
        "all_tile_products": products,
        "tile_source_bytes": sources,
        "tile_result_bytes": results,
        "tile_weight_bytes": weights,
    }
    if min(problem.kernel_size[1:]) == 1:
        found["line_source_tile_bytes"], found["line_result_tile_bytes"] = sources, results
    if max(problem.kernel_size) > 3:
        found["long_source_tile_bytes"] = sources
    if problem.dilation[2] > 1 and problem.layout != "channels_last":
        found["spread_bytes"] = (math.prod(problem.input_shape) + math.prod(problem.output_shape)) * item
    return _Tiles(points, reduction, filters, count, sources, results, weights, found)


def counts(problem: ConvProblem, params: Params) -> Mapping[str, float]:
    """The counts of one tile size and blocking."""
    t = _tiles_of(problem, params["tile_size"])
    found = _of_passes(problem, params, t) if problem.direction == "backward_weight" else _of_items(problem, params, t)
    found.update(t.counts)
    return found


def _of_passes(problem: ConvProblem, params: Params, t: _Tiles) -> dict[str, float]:
    groups, passes = problem.groups, -(-t.count // params["tiles"])
    found = {
        "pass_weight_bytes": passes * t.weights,
        "pass_steps": passes * groups,
        "pass_operand_bytes": params["tiles"] * (t.sources + t.results),
    }
    for name, size in zip(("pass_beyond_l2_bytes", "pass_beyond_l3_bytes"), CACHED_SUMS_BYTES, strict=True):
        found[name] = passes * t.weights if t.weights > groups * size else 0
    if groups > 1:
        found["grouped_operand_bytes"], found["grouped_weight_bytes"] = t.sources + t.results, t.weights
    return found


def _of_items(problem: ConvProblem, params: Params, t: _Tiles) -> dict[str, float]:
    groups, found = problem.groups, dict[str, float]()
    if params["panels"]:
        items = -(-tiles.panels(problem) // params["panels"])
        held = (t.sources + t.results / items) / groups
        found["item_source_bytes"], found["item_steps"] = items * t.sources, items * groups
        if loops.block_bytes(problem, params) > CACHED_WEIGHTS_BYTES:
            found["streamed_weight_bytes"] = t.weights
    else:
        blocks = -(-t.count // params["tiles"])
        item = ITEM_BYTES[problem.dtype]
        held = t.points * (t.reduction + t.filters) * min(params["tiles"], t.count) * item
        found["block_weight_bytes"], found["block_steps"] = blocks * t.weights, blocks * groups
        if t.weights > groups * CACHED_WEIGHTS_BYTES:
            found["streamed_weight_bytes"] = blocks * t.weights
    spilled = held / CACHED_ITEM_BYTES - 1
    if spilled > 0:
        found["uncached_bytes"] = t.sources + t.results
        found["spilled_bytes"] = min(spilled, MAX_SPILLED) * (t.sources + t.results)
    return found
