"""Subject: a Case made ready to be called, with what is expected of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fastconv import ConvProblem

from .case import Case
from .values import numpy_dtype

Arrays = Mapping[str, np.ndarray]
Results = tuple[np.ndarray | None, ...]


@dataclass
class How:
    """One way to make a call."""

    algorithm: str = "auto"
    threads: int = 1
    out: np.ndarray | None = None
    packed: bool = False


@dataclass
class Expected:
    """One result: its exact value, and what is known about the sums of products behind it."""

    value: np.ndarray
    magnitude: np.ndarray | None = None
    """Sums of the magnitudes of the products; None: the value is exact as it is."""
    problem: ConvProblem | None = None
    """What is computed, where that is one direction of one convolution."""
    typical: float = 0.0
    """Size of a sum of so many products with random signs."""
    smooth: bool = False
    """Whether functions that are not exact on integers were applied."""
    inherited: np.ndarray | float = 0.0
    """Errors that those of earlier results lead to."""


@dataclass
class Subject:
    """A case's arrays in the user's axes, its call, and its definition."""

    case: Case
    arrays: dict[str, np.ndarray]
    call: Callable[[Arrays, How], Results]
    expect: Callable[[Arrays], Sequence[Expected | None]]
    directions: tuple[str, ...] = ("-",)
    result_dtype: np.dtype | None = None
    """None: that of the case."""
    result_shape: tuple[int, ...] | None = None
    """That of the one result, where the function takes ``out``."""
    algorithms: bool = True
    threads: bool = True
    packs: bool = False
    refused: str | None = None
    """Why ValueError is expected."""
    plain: list[ConvProblem] = field(default_factory=list)
    """The problems that ``fastconv verify`` may repeat."""

    @property
    def dtype(self) -> np.dtype:
        return self.result_dtype or numpy_dtype(self.case.dtype)
