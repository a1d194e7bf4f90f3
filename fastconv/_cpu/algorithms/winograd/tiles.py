"""Tiles of a problem: their points, how many there are, and the channels that are multiplied, filled up."""

from __future__ import annotations

import functools
import math

from ...._problem import ConvProblem
from ...engine import runtime
from . import loops


def shape(problem: ConvProblem, tile_size: int) -> tuple[int, int]:
    """(points, results) of a tile, both axes together."""
    taken = [(tile_size, tile_size - taps + 1) if taps > 1 else (1, 1) for taps in taps_of_phase(problem)]
    return math.prod(count for count, _ in taken), math.prod(results for _, results in taken)


@functools.lru_cache(maxsize=64)
def count(problem: ConvProblem, tile_size: int) -> int:
    sizes = problem.input_size if problem.direction == "backward_input" else problem.output_size
    strides = problem.stride[1:] if problem.direction == "backward_input" else (1, 1)
    tiles = problem.batch * sizes[0]
    for size, taps, dilation, stride in zip(
        sizes[1:], taps_of_phase(problem), problem.dilation[1:], strides, strict=True
    ):
        if taps == 1:
            tiles *= size
        else:
            tiles *= min(dilation, size) * -(-size // dilation // stride // (tile_size - taps + 1))
    return tiles


@functools.lru_cache(maxsize=64)
def taps_of_phase(problem: ConvProblem) -> tuple[int, ...]:
    """Taps on h and w of every phase of a strided axis."""
    return tuple(-(-size // stride) for size, stride in zip(problem.kernel_size[1:], problem.stride[1:], strict=True))


def _result_phases(problem: ConvProblem) -> int:
    return math.prod(problem.stride[1:]) if problem.direction == "backward_input" else 1


def source_phases(problem: ConvProblem) -> int:
    return 1 if problem.direction == "backward_input" else math.prod(problem.stride[1:])


@functools.lru_cache(maxsize=64)
def channels(problem: ConvProblem) -> tuple[int, int]:
    """(reduction, filters) of one group, filled up to whole vectors and panels."""
    lanes, _, columns = runtime.tile_sizes(problem.dtype)
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    if problem.direction == "backward_input":
        channels, filters = filters, channels
    sources, results = source_phases(problem), _result_phases(problem)
    if loops.phases_are_lanes(problem):
        channels, filters, sources, results = channels * sources, filters * results, 1, 1
    reduction = -(-channels // lanes) * lanes * problem.kernel_size[0] * sources
    return reduction, -(-filters // columns) * columns * results


@functools.lru_cache(maxsize=64)
def panels(problem: ConvProblem) -> int:
    """Panels of one phase's filters."""
    panels = channels(problem)[1] // runtime.tile_sizes(problem.dtype)[2]
    return panels if loops.phases_are_lanes(problem) else panels // _result_phases(problem)
