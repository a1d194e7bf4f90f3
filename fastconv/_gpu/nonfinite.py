"""Data that are not finite: what an algorithm would spread NaN and Inf over is computed again, by the definition.

The host does not wait to see the data. Kernels that may spoil results mark on the device whether they have, and one
more launch reads the marks: it does nothing where none is set.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .algorithm import Operation
from .algorithms.reference import ALGORITHMS
from .launch import Launch, Workspace

MAX_BLOCKS = 264
"""Of the launch that mostly does nothing: two for each multiprocessor of a large device."""


def computed_again(operation: Operation, marks: str | Workspace, count: int) -> tuple[Launch, ...]:
    """Launches that compute the whole result where one of ``count`` bytes is not 0."""
    made = ALGORITHMS[0].launches(operation, {})
    return tuple(
        replace(
            launch,
            grid=(min(launch.grid[0], MAX_BLOCKS),),
            arguments=(*launch.arguments[:-2], marks, np.int64(count)),
        )
        for launch in made
    )
