"""Real-valued operands of several kinds, their exact results, and how far a result is from the declared bounds."""

from __future__ import annotations

import zlib
from functools import cached_property

import numpy as np

import oracle
from fastconv import ConvProblem
from fastconv._algorithm import ErrorBound
from fastconv._backend import CPU, find_algorithm
from fastconv._problem import Epilogue
from operands import RESULT, place, repro, shapes

TYPICAL = ("normal", "uniform", "relu")
"""The kinds that ``ErrorBound.relative`` speaks of."""
KINDS = (*TYPICAL, "lognormal", "cancelling", "tiny", "huge")

PRECISE = {"float64": np.dtype(np.longdouble), "complex128": np.dtype(np.clongdouble)}
ROUNDING = {"float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134)}
"""Relative and absolute error of rounding a float32 to a narrower dtype."""
SMALLEST = {"float32": 2.0**-149, "float64": 2.0**-1074}


def real_operands(problem: ConvProblem, kind: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Operands in the problem's dtype and layouts, for all roles but the result."""
    rng = np.random.default_rng(zlib.crc32(f"{problem} {kind} {seed}".encode()))
    made: dict[str, np.ndarray] = {}
    for role, shape in shapes(problem).items():
        if role == RESULT[problem.direction]:
            continue
        array = _draw(rng, kind, shape, second=len(made) == 1)
        if problem.dtype.startswith("complex"):
            array = array + 1j * _draw(rng, kind, shape, second=len(made) == 1)
        made[role] = place(problem, role, array)
    return made


def _draw(rng: np.random.Generator, kind: str, shape: tuple[int, ...], second: bool) -> np.ndarray:
    normal = rng.standard_normal(shape)
    match kind:
        case "uniform":
            return rng.random(shape)
        case "relu":
            return np.maximum(normal, 0) if not second else normal
        case "lognormal":
            return np.exp(3 * normal) * rng.choice((-1, 1), shape)
        case "cancelling":  # large, nearly constant values under weights that sum to nothing
            return normal - normal.mean() if second and normal.size else 1000 + normal
        case "tiny":
            return normal * 2.0**-60
        case "huge":
            return normal * 2.0**58
    return normal


class RealCase:
    """One problem on one kind of data: operands, exact result and what the bounds are measured in."""

    def __init__(self, problem: ConvProblem, kind: str) -> None:
        self.problem = problem
        self.kind = kind
        self.operands = real_operands(problem, kind)

    @cached_property
    def _wide(self) -> dict[str, np.ndarray]:
        """The operands in a precision whose own error does not count."""
        complex_ = self.problem.dtype.startswith("complex")
        wide = PRECISE.get(self.problem.dtype, np.dtype(np.complex128 if complex_ else np.float64))
        return {role: array.astype(wide) for role, array in self.operands.items()}

    @cached_property
    def exact(self) -> np.ndarray:
        """The result before the activation."""
        problem = self.problem.replace(epilogue=Epilogue())
        return oracle.finish(
            problem, oracle.convolve(problem, self._wide), self._wide.get("bias"), self._wide.get("add")
        )

    @cached_property
    def magnitude(self) -> np.ndarray:
        """|x| conv |w| + |bias| + |add|; for complex numbers with |re| + |im|, which bounds every real product."""
        sizes = {role: _size(array) for role, array in self._wide.items()}
        return oracle.convolve(self.problem, sizes) + self._added

    @cached_property
    def norm(self) -> np.ndarray:
        """norm2 * norm2 of the elements in the images and channels that meet in a result, + |bias| + |add|."""
        pixel = self.problem.replace(
            input_size=(1, 1, 1),
            kernel_size=(1, 1, 1),
            stride=(1, 1, 1),
            dilation=(1, 1, 1),
            padding=((0, 0),) * 3,
        )
        data = {role: array for role, array in self._wide.items() if role not in ("bias", "add")}
        # Sums of squares over pixels and taps; ones for the other operand add them up over the channels that meet.
        sums = {role: (_size(array) ** 2).sum(axis=(2, 3, 4), keepdims=True) for role, array in data.items()}
        first, second = sums
        total = oracle.convolve(pixel, {first: sums[first], second: np.ones_like(sums[second])})
        other = oracle.convolve(pixel, {first: np.ones_like(sums[first]), second: sums[second]})
        return np.sqrt(total) * np.sqrt(other) + self._added

    @cached_property
    def _added(self) -> np.ndarray:
        added = np.zeros((1, 1, 1, 1, 1))
        if "bias" in self._wide:
            added = added + _size(self._wide["bias"]).reshape(-1, 1, 1, 1)
        return added + _size(self._wide["add"]) if "add" in self._wide else added

    def bound(self, algorithm: str) -> ErrorBound:
        """What the algorithm declares, for the problem that it computes in place of this one."""
        found = find_algorithm(algorithm)
        target = CPU.target(found, self.problem)
        assert target is not None
        return found.error_bound(target)

    def ratios(self, algorithm: str, result: np.ndarray) -> dict[str, float]:
        """Largest error over each bound that the algorithm declares and that applies to the kind of data."""
        bound = self.bound(algorithm)
        error = self._error(result)
        assert np.isfinite(error).all(), f"not finite: {self.repeat_line(algorithm)}"
        compared = {"normwise": _over(error, bound.normwise * self.norm)}
        if bound.elementwise is not None:
            compared["elementwise"] = _over(error, bound.elementwise * self.magnitude)
        if self.kind in TYPICAL and not self.problem.epilogue:
            compared["relative"] = _over(error.max(initial=0), bound.relative * np.abs(self.exact).max(initial=0))
        return compared

    def _error(self, result: np.ndarray) -> np.ndarray:
        """|error|, of the larger part of complex numbers, less what storing the result and underflow account for."""
        error = result.astype(self.exact.dtype) - self.exact
        error = np.maximum(np.abs(error.real), np.abs(error.imag)) if error.dtype.kind == "c" else np.abs(error)
        relative, absolute = ROUNDING.get(self.problem.dtype, (0.0, 0.0))
        error -= relative * (1 + relative) * np.abs(self.exact) + absolute
        smallest = SMALLEST["float64" if self.problem.dtype in PRECISE else "float32"]
        return np.maximum(error - self.problem.reduction * smallest, 0)

    def repeat_line(self, algorithm: str) -> str:
        """What a failing accuracy test says."""
        return f"{repro(self.problem, algorithm, 2)} --data {self.kind}"


def _size(array: np.ndarray) -> np.ndarray:
    return np.abs(array.real) + np.abs(array.imag) if array.dtype.kind == "c" else np.abs(array)


def _over(error: np.ndarray, bound: np.ndarray) -> float:
    """max of error / bound, where 0 / 0 is 0."""
    error, bound = np.broadcast_arrays(np.asarray(error), np.asarray(bound))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(error == 0, 0, error / bound).max(initial=0))
