"""The generator that initial weights and dropout draw from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

GENERATOR = np.random.Generator(np.random.PCG64())


def seed(number: int) -> None:
    """Begin the random numbers of layers anew: initial weights and dropout are then the same each time.

    Examples
    --------
    >>> from fastconv import nn
    >>> nn.seed(0)
    """
    GENERATOR.bit_generator.state = np.random.PCG64(number).state


def generator_state() -> dict[str, Any]:
    """Where the random numbers are, as a checkpoint keeps it."""
    return dict(GENERATOR.bit_generator.state)


def set_generator_state(state: Mapping[str, Any]) -> None:
    """Go on from what ``generator_state`` has given."""
    GENERATOR.bit_generator.state = dict(state)
