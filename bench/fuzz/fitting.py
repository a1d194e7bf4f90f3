"""Cases made small enough to be checked, and large enough for their kernels."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from .case import Case, Sizes
from .definition import convolution_of, transposed_sizes


class Limits(NamedTuple):
    """The most that a problem may be."""

    elements: int = 1_500_000
    """Of one array."""
    multiply_adds: int = 2**62


LIMITS = Limits()
MAX_TAPS = 1500
"""The most taps of a kernel or window: definitions go through them one by one."""


def fitted(rng: random.Random, case: Case, budget: int, limits: Limits = LIMITS) -> Case:
    """The case with numbers halved, at random, until it is small enough; sizes always have room for the kernel."""
    budget = min(budget, limits.multiply_adds)
    while True:
        case = with_room(case)
        if _work(case) <= budget and _elements(case) <= limits.elements and _taps(case) <= MAX_TAPS:
            return case
        name = rng.choice(("batch", "channels", "filters", "groups", "points", "size", "size", "kernel", "dilation"))
        value = getattr(case, name)
        if isinstance(value, tuple):
            axis = max(range(case.rank), key=lambda i: value[i]) if rng.random() < 0.5 else rng.randrange(case.rank)
            case = case.replace(**{name: (*value[:axis], max(value[axis] * 2 // 3, 1), *value[axis + 1 :])})
        else:
            case = case.replace(**{name: max(value * 2 // 3, 1)})
        if isinstance(case.padding, tuple):
            reach = [step * (k - 1) for step, k in zip(case.dilation, case.kernel, strict=True)]
            pairs = zip(case.padding, reach, strict=True)
            case = case.replace(padding=tuple((min(a, 2 * r + 3), min(b, 2 * r + 3)) for (a, b), r in pairs))


def with_room(case: Case) -> Case:
    """Sizes of at least what the kernel reaches over; of a transposed convolution, those that leave a result."""
    if "causal" in case.function:
        return case
    size = list(case.size)
    for axis in range(case.rank):
        lacking = 1 - (
            transposed_sizes(case)[axis] if case.is_transposed else convolution_of(case).output_sizes(case.size)[axis]
        )
        if lacking > 0 and not (isinstance(case.padding, str) and case.padding != "valid"):
            size[axis] += lacking if case.is_transposed else lacking * case.stride[axis]
    return case.replace(size=tuple(size))


def _output_sizes(case: Case) -> Sizes:
    return transposed_sizes(case) if case.is_transposed else convolution_of(case).output_sizes(case.size)


def _taps(case: Case) -> int:
    if "global" in case.function:
        return math.prod(case.size)
    if case.output_size is not None:
        outputs = zip(case.size, case.output_size, strict=True)
        return math.prod(1 if wanted is None else -(-size // max(wanted, 1)) for size, wanted in outputs)
    return math.prod(case.kernel)


def _work(case: Case) -> int:
    positions = case.size if case.is_transposed else _output_sizes(case)
    products = math.prod(case.kernel) * case.channels * case.filters + case.points * case.filters
    return case.batch * case.groups * math.prod(max(size, 0) for size in positions) * products


def _elements(case: Case) -> int:
    first, second = math.prod(case.size), math.prod(max(size, 0) for size in _output_sizes(case))
    ways = (case.channels, max(case.filters, case.points))
    x, y = (ways[1], ways[0]) if case.is_transposed else ways
    padded = 1
    if isinstance(case.padding, tuple) and not case.is_transposed:
        padded = (
            math.prod(max(n + sum(p), 1) for n, p in zip(case.size, case.padding, strict=True)) // max(first, 1) + 1
        )
    weight = case.groups * case.channels * case.filters * math.prod(case.kernel)
    return max(case.batch * case.groups * max(x * first * padded, y * second), weight)
