"""Subject: a Case made ready to be called, with what is expected of it and how closely."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv import ConvProblem, _accuracy, _registry, _select

from .case import Case
from .values import numpy_dtype, wide

Arrays = Mapping[str, np.ndarray]
Results = tuple[np.ndarray | None, ...]

SIGNIFICANDS = {"float32": 24, "float16": 24, "bfloat16": 24, "complex64": 24, "float64": 53, "complex128": 53}
"""Bits of the numbers in which a dtype's products are summed: integers below are exact."""
LOOSE = {"float32": 2e-5, "float16": 2e-2, "bfloat16": 1e-1, "complex64": 1e-4, "float64": 1e-11, "complex128": 1e-11}
"""Error as a part of the sums of magnitudes, where no algorithm's bound applies: the finest error is not looked for."""
LOOSE_PRECISION = {"medium": 1e-2}
ROUNDOFFS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "complex64": 2.0**-23}
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
LARGEST = {"float16": 60000.0}


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


def wrong(result: np.ndarray, expected: Expected, case: Case, how: How) -> str | None:
    """What is wrong with a result, in words."""
    value = expected.value
    if result.shape != value.shape:
        return f"shape {result.shape} instead of {value.shape}"
    if result.dtype.kind in "iub":
        differ = result != (value if value.dtype.kind in "iub" else value.astype(np.int64)).astype(result.dtype)
        return _told(differ, result, value)
    with np.errstate(all="ignore"):
        finite = np.isfinite(value)
        if not finite.all():
            misplaced = _misplaced(result, value)
            if misplaced.any():
                return _told(misplaced, result, value)
        if is_exact(expected, case, how):
            differ = result != value.astype(result.dtype)
            return _told(differ & finite, result, value)
        allowed = _allowed(expected, case, how)
        error = np.abs(wide(result) - value)
        return _told(
            ~(error <= allowed) & finite, result, value, f", at most {float(np.nanmax(allowed, initial=0)):.2g} off"
        )


def is_exact(expected: Expected, case: Case, how: How) -> bool:
    """Whether the result has to be the exact value, rounded once."""
    if expected.magnitude is None:
        return True
    if case.data == "normal" or expected.smooth or case.precision == "medium":
        return False
    bits = SIGNIFICANDS[case.dtype] - (3 if case.dtype.startswith("complex") else 1)
    with np.errstate(all="ignore"):
        largest = np.nanmax(np.where(np.isfinite(expected.magnitude), expected.magnitude, 0), initial=0)
    if largest > 2**bits:
        return False
    algorithm = algorithm_of(expected, how)
    return algorithm is not None and algorithm.exact_on_integers


def algorithm_of(expected: Expected, how: How) -> Any:
    """The algorithm that computes a result; None where it is not known."""
    if how.algorithm != "auto":
        return _registry.find(how.algorithm)
    return None if expected.problem is None else _select.plan_for(expected.problem, "auto", how.threads).algorithm


def _allowed(expected: Expected, case: Case, how: How) -> np.ndarray:
    """The largest error of every element."""
    assert expected.magnitude is not None
    magnitude = np.where(np.isfinite(expected.magnitude), expected.magnitude, 0)
    size = np.where(np.isfinite(expected.value), np.abs(expected.value), 0)
    rounding = ROUNDOFFS.get(case.dtype, 2.0**-52) * size + SMALLEST.get(case.dtype, 0.0)
    algorithm = algorithm_of(expected, how)
    if expected.problem is None or expected.smooth or algorithm is None or expected.problem.is_empty:
        loose = max(LOOSE[case.dtype], LOOSE_PRECISION.get(case.precision or "", 0.0))
        allowed = loose * (magnitude + magnitude.max(initial=0) * 0.1 + expected.typical) + rounding
    else:
        bound = _accuracy.bound_of(algorithm, expected.problem)
        if bound.elementwise is not None:
            allowed = (
                bound.elementwise + 8 * ROUNDOFFS.get("float32" if case.dtype != "float64" else "", 2.0**-52)
            ) * magnitude + rounding
        else:
            allowed = 2 * bound.relative * max(size.max(initial=0), 2 * expected.typical) + rounding
    allowed = np.broadcast_to(allowed, size.shape)
    return np.where(size > LARGEST[case.dtype], np.inf, allowed) if case.dtype in LARGEST else allowed


def _misplaced(result: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Where NaN and infinities are not those of the definition."""
    if value.dtype.kind == "c":
        return np.isfinite(result) != np.isfinite(value)
    found = result.astype(np.float64)
    kinds = (np.isnan, np.isposinf, np.isneginf)
    return np.logical_or.reduce([kind(found) != kind(value) for kind in kinds])


def _told(differ: np.ndarray, result: np.ndarray, value: np.ndarray, more: str = "") -> str | None:
    count = int(np.count_nonzero(differ))
    if not count:
        return None
    first = tuple(int(i) for i in np.argwhere(differ)[0])
    words = f"{count} of {result.size} elements differ, the first at {first}"
    return f"{words}: {result[first]} instead of {value[first]}{more}"
