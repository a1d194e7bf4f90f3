"""Sets of layers, what is asked of them, and what is predicted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fastconv import ConvProblem

from .plans import Planned


def _is_signal(problem: ConvProblem) -> bool:
    return problem.input_size[:2] == (1, 1) and problem.kernel_size[:2] == (1, 1)


def _is_dense(problem: ConvProblem) -> bool:
    return problem.groups == 1 and min(problem.in_channels, problem.out_channels) >= 16 and not _is_signal(problem)


SETS: dict[str, Callable[[ConvProblem], bool]] = {
    "depthwise": lambda p: p.groups == p.in_channels > 1,
    "grouped": lambda p: 1 < p.groups < p.in_channels,
    "1-D": _is_signal,
    "transposed": lambda p: p.direction == "backward_input" and max(p.stride) > 1,
    "large kernels": lambda p: max(p.kernel_size) >= 7,
    "few channels": lambda p: p.groups == 1 and min(p.in_channels, p.out_channels) < 16 and not _is_signal(p),
    "dense 3x3": lambda p: _is_dense(p) and p.kernel_size == (1, 3, 3),
    "dense 3x3, 128 channels and more": lambda p: (
        _is_dense(p) and p.kernel_size == (1, 3, 3) and min(p.in_channels, p.out_channels) >= 128
    ),
    "dense 1x1": lambda p: _is_dense(p) and p.kernel_size == (1, 1, 1),
}
"""A layer may be in several."""


@dataclass(frozen=True)
class Target:
    """The least geometric mean of a share in a set."""

    of: str
    share: float
    dtypes: tuple[str, ...]


SIMT, MMA = "of the FMA units' peak", "of mma.sync's ceiling"
COPY, SECTORS = "of the copy bandwidth", "sectors by the fewest"
REAL, HALF = ("float32",), ("float16", "bfloat16")
TARGETS: dict[str, tuple[Target, ...]] = {
    "dense 3x3": (Target(SIMT, 0.70, REAL),),
    "dense 1x1": (Target(SIMT, 0.70, REAL),),
    "dense 3x3, 128 channels and more": (Target(MMA, 0.80, HALF),),
}


@dataclass(frozen=True)
class Row:
    """A set of layers of one pass and type."""

    name: str
    direction: str
    layers: int
    share: float
    """Of the roofline, geometric mean."""
    worst: float
    worst_layer: str
    compared: str
    """With what is asked for; empty where only cuDNN's times could tell."""


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def rows(found: Sequence[tuple[str, Planned]]) -> list[Row]:
    """Of every set that has layers among these, by direction."""
    made = []
    for direction in dict.fromkeys(one.problem.direction for _, one in found):
        here = [(name, one) for name, one in found if one.problem.direction == direction]
        for name, is_in in SETS.items():
            if chosen := [(layer, one) for layer, one in here if is_in(one.problem)]:
                made.append(_row(name, direction, chosen))
        if bound := [(layer, one) for layer, one in here if one.is_memory_bound]:
            made.append(_row("memory-bound", direction, bound))
    return made


def _row(name: str, direction: str, chosen: Sequence[tuple[str, Planned]]) -> Row:
    layer, worst = min(chosen, key=lambda pair: pair[1].share)
    planned = [one for _, one in chosen]
    compared = []
    if name == "memory-bound":
        copied = geometric_mean(one.memory_floor / one.seconds for one in planned)
        compared = [_against(COPY, copied, 0.85), f"{geometric_mean(one.sectors for one in planned):.2f} x {SECTORS}"]
    for target in TARGETS.get(name, ()):
        if planned[0].problem.dtype in target.dtypes:
            compared.append(_against(target.of, geometric_mean(one.product_floor / one.seconds for one in planned),
                                     target.share))  # fmt: skip
    return Row(name, direction, len(chosen), geometric_mean(one.share for one in planned), worst.share, layer,
               "; ".join(compared))  # fmt: skip


def _against(of: str, share: float, target: float) -> str:
    return f"{share:.0%} {of} (target {target:.0%}{'' if share < target else ', met'})"
