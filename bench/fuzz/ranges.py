"""How sizes, strides and the like are drawn: mostly small, always with a long tail, every axis for itself."""

from __future__ import annotations

import random
from collections.abc import Callable

PRIMES = (11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 97, 127, 131, 251, 257)
LANES = (8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 128)
"""About multiples of vectors and register tiles."""

Draw = Callable[[random.Random], int]


def _one_of(*parts: tuple[int, Draw]) -> Draw:
    weights = [weight for weight, _ in parts]

    def draw(rng: random.Random) -> int:
        return rng.choices(parts, weights)[0][1](rng)

    return draw


def _between(low: int, high: int) -> Draw:
    return lambda rng: rng.randint(low, high)


def _among(*numbers: int) -> Draw:
    return lambda rng: rng.choice(numbers)


size = _one_of(
    (40, _between(1, 9)), (30, _between(10, 40)), (10, _among(*PRIMES)), (10, _among(*LANES)), (10, _between(41, 300))
)
kernel = _one_of(
    (30, _between(1, 3)), (35, _among(3, 3, 5)), (20, _between(2, 7)), (10, _between(8, 16)), (5, _between(17, 70))
)
stride = _one_of((45, _among(1)), (30, _among(2)), (17, _between(2, 4)), (6, _between(5, 9)), (2, _between(10, 50)))
dilation = _one_of((52, _among(1)), (40, _between(2, 4)), (6, _between(5, 12)), (2, _between(13, 40)))
batch = _one_of((60, _among(1)), (35, _between(2, 4)), (5, _between(5, 17)))
channels = _one_of(
    (20, _among(1)), (40, _between(2, 9)), (20, _among(*LANES)), (12, _between(10, 64)), (8, _between(65, 520))
)
many = _between(65, 520)
groups = _one_of((70, _among(1)), (15, _between(2, 5)), (10, _among(*LANES)), (5, _between(6, 130)))
depthwise = _one_of((35, _between(1, 7)), (40, _among(*LANES)), (20, _between(8, 64)), (5, _between(65, 300)))
multiplier = _one_of((70, _among(1)), (30, _between(2, 4)))
outputs = _one_of((70, _between(1, 9)), (25, _between(10, 30)), (5, _among(0)))


def pair(rng: random.Random, reach: int) -> tuple[int, int]:
    """Padding of an axis on which the kernel reaches over ``reach`` elements."""
    match rng.choices(range(5), (30, 35, 20, 10, 5))[0]:
        case 0:
            return 0, 0
        case 1:
            return (reach // 2, reach // 2)
        case 2:
            return rng.randint(0, reach), rng.randint(0, reach)
        case 3:
            return rng.randint(-3, 4), rng.randint(-3, 4)
    return rng.randint(0, 2 * reach + 3), rng.randint(0, 2 * reach + 3)


def multiply_adds(rng: random.Random) -> int:
    """The most work that a problem may be; few are large."""
    return rng.choices((30_000, 400_000, 4_000_000, 20_000_000), (45, 40, 12, 3))[0]
