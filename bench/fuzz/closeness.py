"""How close a result has to be to the exact one: equal for sums of small integers, else within the bound that holds."""

from __future__ import annotations

import numpy as np

from fastconv import ConvProblem, _accuracy
from fastconv._algorithm import Algorithm
from fastconv._backend import find_algorithm
from fastconv._choose import select

from . import device
from .case import Case
from .subject import Expected, How
from .values import wide

SUMMED_BITS = {"float32": 23, "float16": 23, "bfloat16": 23, "complex64": 21, "float64": 52, "complex128": 50}
"""Integers of so many bits are exact in what the products of a dtype are summed in; complex products are several."""
ROUNDOFFS = {
    **{"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8, "complex64": 2.0**-23},
    **{"float64": 2.0**-53, "complex128": 2.0**-52},
}
"""Relative error of rounding a result to its dtype."""
SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
LARGEST = {"float16": 60000.0}
"""From here on a result may be infinite."""
EPILOGUE_ROUNDOFFS = 8
"""So many are allowed to bias, add, activation, and to exact values of float64, on top of an algorithm's bound."""
LOOSE = {"float32": 2e-5, "float16": 2e-2, "bfloat16": 1e-1, "complex64": 1e-4, "float64": 1e-11, "complex128": 1e-11}
"""Error as a part of the sums of magnitudes where no algorithm's bound applies."""
LOOSE_PRECISION = {"medium": 1e-2}
SMALL = ConvProblem.parse("forward 1x4x8x8 4x4x1x1 float32")


def wrong(result: np.ndarray, expected: Expected, case: Case, how: How) -> str | None:
    """What is wrong with a result, in words."""
    value = expected.value
    if result.shape != value.shape:
        return f"shape {result.shape} instead of {value.shape}"
    if result.dtype.kind in "iub":
        # Sums beyond the dtype wrap around.
        whole = value if value.dtype.kind in "iub" else value.astype(np.int64)
        return _told(result != whole.astype(result.dtype), result, value)
    with np.errstate(all="ignore"):
        finite = np.isfinite(value)
        misplaced = None if finite.all() else _told(_misplaced(result, value), result, value)
        if misplaced is not None:
            return misplaced
        if is_exact(expected, case, how):
            return _told((result != value.astype(result.dtype)) & finite, result, value)
        allowed = _allowed(expected, case, how)
        differ = ~(np.abs(wide(result) - value) <= allowed) & finite
        return _told(differ, result, value, f", at most {float(allowed.max(initial=0)):.2g} off")


def is_exact(expected: Expected, case: Case, how: How) -> bool:
    """Whether the result has to be the exact value, rounded once."""
    if expected.magnitude is None:
        return True
    if case.data == "normal" or expected.smooth or case.precision == "medium":
        return False
    if _finite(expected.magnitude).max(initial=0) > 2 ** SUMMED_BITS[case.dtype]:
        return False
    algorithm = algorithm_of(expected, how)
    return algorithm is not None and algorithm.exact_on_integers


def algorithm_of(expected: Expected, how: How) -> Algorithm | None:
    """The algorithm that computes a result; None where it is not known."""
    if how.algorithm != "auto":
        return find_algorithm(how.algorithm, device.backend())
    if expected.problem is None:
        return None
    return select.plan_for(expected.problem, "auto", how.threads, backend=device.backend()).algorithm


def _allowed(expected: Expected, case: Case, how: How) -> np.ndarray:
    """The largest error of every element."""
    assert expected.magnitude is not None
    magnitude, size = _finite(expected.magnitude), np.abs(_finite(expected.value))
    rounding = ROUNDOFFS[case.dtype] * size + SMALLEST.get(case.dtype, 0.0)
    algorithm, problem = algorithm_of(expected, how), expected.problem
    if problem is None or algorithm is None or expected.smooth or problem.is_empty:
        allowed = max(loose(case), _forced(algorithm)) * (magnitude + 0.1 * magnitude.max(initial=0) + expected.typical)
    else:
        bound = _accuracy.bound_of(algorithm, problem)
        if bound.elementwise is not None:
            summed = min(ROUNDOFFS[case.dtype], ROUNDOFFS["float32"])
            allowed = (bound.elementwise + EPILOGUE_ROUNDOFFS * summed) * magnitude
        else:
            allowed = np.full(size.shape, 2 * bound.relative * max(size.max(initial=0), 2 * expected.typical))
    return np.where(size > LARGEST.get(case.dtype, np.inf), np.inf, allowed + rounding + _finite(expected.inherited))


def _forced(algorithm: Algorithm | None) -> float:
    """LOOSE_PRECISION of an algorithm that only the lowest level admits, which may be asked for by name at any."""
    if algorithm is None or "float32" not in algorithm.dtypes or not algorithm.supports(SMALL):
        return 0.0
    is_loose = algorithm.error_bound(SMALL).relative > select.PRECISION_LIMITS["high"]
    return LOOSE_PRECISION["medium"] if is_loose else 0.0


def loose(case: Case) -> float:
    """LOOSE at the case's dtype and precision."""
    return max(LOOSE[case.dtype], LOOSE_PRECISION.get(case.precision or "", 0.0))


def _finite(array: np.ndarray | float) -> np.ndarray:
    return np.where(np.isfinite(array), array, 0)


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
