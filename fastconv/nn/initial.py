"""Initial weights, those of ``torch.nn``'s layers, from the generator that ``nn.seed`` sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .generator import GENERATOR
from .parameter import Parameter


def uniform(shape: tuple[int, ...], fan_in: int, dtype: Any) -> Parameter:
    """Between plus and minus ``1 / sqrt(fan_in)``: weights and biases of convolutions and linear layers.

    It is the uniform distribution of He et al., "Delving deep into rectifiers" (2015), for a leaky ReLU of slope
    ``sqrt(5)``, which is what ``torch.nn`` begins with.
    """
    bound = 1 / math.sqrt(max(fan_in, 1))
    values = GENERATOR.random(shape, np.float32)
    values *= 2 * bound
    values -= bound
    return Parameter(values.astype(dtype, copy=False))


def normal(shape: tuple[int, ...], dtype: Any) -> Parameter:
    """Of variance 1: embeddings."""
    return Parameter(GENERATOR.standard_normal(shape, np.float32).astype(dtype, copy=False))


def ones(shape: tuple[int, ...], dtype: Any) -> Parameter:
    """Scales."""
    return Parameter(np.ones(shape, dtype))


def zeros(shape: tuple[int, ...], dtype: Any) -> Parameter:
    """Shifts."""
    return Parameter(np.zeros(shape, dtype))
