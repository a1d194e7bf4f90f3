"""What an algorithm of the GPU is: launches of kernels, made once for all arrays that lie alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._algorithm import Algorithm, Params
from .._problem import ConvProblem
from .launch import Launch
from .layout import Layout


@dataclass(frozen=True)
class Operation:
    """A problem with all that kernels have to know of its arrays, the result among them."""

    problem: ConvProblem
    layouts: Mapping[str, Layout]
    """By role; the bias is contiguous. The result of 16-bit problems may be one of float32."""
    conjugated: str | None = None
    """The operand whose conjugate is multiplied by."""
    input_zero: int = 0
    """Subtracted from the elements of an 8-bit input."""
    filter_zeros: Any = None
    """Subtracted from 8-bit weights: an int16 for every filter, on the device."""
    is_packed: bool = False
    """Whether there is an array "packed", what ``pack`` has made of the weight."""


class GpuAlgorithm(Algorithm):
    """An algorithm of the GPU: launches whose arguments name arrays by their roles, and places in the workspace."""

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        """Compute the result, epilogue included; there is at least one element of it."""
        raise NotImplementedError
