"""How a computed result compares with the exact one: the check that the tuner and ``verify`` make.

The exact values come from the CPU's last algorithm, the definition as loops, in float64 and one channel of
the result at a time, so that a large problem can be checked on as many channels as there is time for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ._algorithm import Algorithm, ErrorBound, Operands
from ._backend import CPU, Backend
from ._plan import Plan
from ._problem import RESULT, ConvProblem, Epilogue

EXACT_DTYPES = {"complex64": "complex128", "complex128": "complex128", "int8": "int8"}
"""The dtype that exact values of a dtype's problems are computed in; float64 for the others."""
RESULT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Roundoff of the last rounding, which an algorithm's bound leaves out; the accumulator is wider."""
RESULT_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}


def error_ratio(
    algorithm: Algorithm,
    problem: ConvProblem,
    operands: Operands,
    multiply_adds: float | None = None,
    backend: Backend = CPU,
) -> float:
    """Largest error of the result in ``operands`` as a fraction of what the algorithm promises; above 1 it is wrong.

    ``operands`` are NumPy arrays, whatever the backend of the algorithm.

    Without its epilogue: the result must have been computed without one. Checks every channel of the result, or as
    many, evenly spaced, as ``multiply_adds`` of the definition are enough for; one at least.
    """
    result = getattr(operands, RESULT[problem.direction])
    if result.size == 0:
        return 0.0
    bound = bound_of(algorithm, problem, backend)
    largest_error = largest_exact = worst = 0.0
    for channel, part, views in _channels(problem, operands, _checked_channels(problem, multiply_adds)):
        computed = _channel_of(result, problem, channel).astype(np.complex128 if np.iscomplexobj(result) else float)
        exact = _exact(part, views)
        error = np.abs(computed - exact)
        if not np.isfinite(error).all():
            return np.inf
        rounding = _rounding(problem.dtype, exact)
        largest_error = max(largest_error, float((error - rounding).max()))
        largest_exact = max(largest_exact, float(np.abs(exact).max()))
        if problem.dtype == "int8":
            worst = max(worst, np.inf if error.any() else 0.0)
        elif bound.elementwise is not None:
            allowed = rounding + bound.elementwise * _exact(
                part.replace(dtype="float64"), {k: np.abs(v) for k, v in views.items()}
            )
            worst = max(worst, float((error / np.maximum(allowed, np.finfo(float).tiny)).max()))
    if problem.dtype == "int8" or bound.elementwise is not None:
        return worst
    largest_exact = max(largest_exact, float(np.abs(result).max()), _usual_result(problem, operands))
    return largest_error / max(bound.relative * largest_exact, np.finfo(float).tiny)


def _usual_result(problem: ConvProblem, operands: Operands) -> float:
    """The root mean square of sums of such data, were their signs random.

    The largest result is smaller than this only where there are few results, or where the taps meet little but padding;
    the error that a transform leaves there is still in proportion to its data.
    """
    scale = math.sqrt(problem.reduction)
    for role in ("input", "weight", "output"):
        if role != RESULT[problem.direction]:
            scale *= float(np.sqrt(np.mean(np.square(np.abs(getattr(operands, role)).astype(np.float64)))))
    return scale


def integer_mismatches(problem: ConvProblem, operands: Operands, rounded: bool) -> int:
    """Elements of the result in ``operands`` (of integers) that differ from the exact one; ``rounded``: to integers."""
    result = getattr(operands, RESULT[problem.direction])
    count = 0
    for channel, part, views in _channels(problem, operands, range(_result_channels(problem))):
        computed = _channel_of(result, problem, channel)
        if rounded:
            computed = np.rint(computed.real) + (1j * np.rint(computed.imag) if np.iscomplexobj(computed) else 0)
        count += int(np.count_nonzero(computed != _exact(part, views).astype(computed.dtype)))
    return count


def exact_channels(
    problem: ConvProblem, operands: Operands, multiply_adds: float | None = None
) -> dict[int, np.ndarray]:
    """Exact values of every channel of the result, or of as many as ``error_ratio`` would check, by their numbers."""
    numbers = _checked_channels(problem, multiply_adds)
    return {channel: _exact(part, views) for channel, part, views in _channels(problem, operands, numbers)}


def relative_error(problem: ConvProblem, result: np.ndarray, exact: Mapping[int, np.ndarray]) -> float:
    """Largest error of a canonical result over the largest exact value, in the channels that ``exact`` has."""
    largest_error = largest_exact = 0.0
    for channel, values in exact.items():
        computed = _channel_of(result, problem, channel)
        largest_error = max(largest_error, float(np.abs(computed.astype(values.dtype) - values).max()))
        largest_exact = max(largest_exact, float(np.abs(values).max()))
    return largest_error / max(largest_exact, np.finfo(float).tiny)


def bound_of(algorithm: Algorithm, problem: ConvProblem, backend: Backend = CPU) -> ErrorBound:
    """The algorithm's promise for ``problem``, and on top the error of the exact values where they are not wider."""
    target = backend.target(algorithm, problem)
    assert target is not None
    bound = algorithm.error_bound(target)
    if problem.dtype not in ("float64", "complex128"):
        return bound
    own = CPU.algorithms[-1].error_bound(problem)
    assert own.elementwise is not None
    elementwise = None if bound.elementwise is None else bound.elementwise + own.elementwise
    return ErrorBound(elementwise, bound.normwise + own.normwise, bound.relative + own.relative)


def _rounding(dtype: str, exact: np.ndarray) -> np.ndarray:
    return RESULT_ROUNDOFF.get(dtype, 0.0) * np.abs(exact) + RESULT_SMALLEST.get(dtype, 0.0)


def _result_channels(problem: ConvProblem) -> int:
    return problem.in_channels if problem.direction == "backward_input" else problem.out_channels


def _checked_channels(problem: ConvProblem, multiply_adds: float | None) -> list[int]:
    count = _result_channels(problem)
    if multiply_adds is not None:
        affordable = int(multiply_adds * count / max(problem.multiply_adds, 1))
        count = max(1, min(count, affordable))
    return sorted({int(channel) for channel in np.linspace(0, _result_channels(problem) - 1, count)})


def _channel_of(result: np.ndarray, problem: ConvProblem, channel: int) -> np.ndarray:
    """The part of a canonical result that belongs to one of its channels."""
    axis = 0 if problem.direction == "backward_weight" else 1
    return result[(slice(None),) * axis + (slice(channel, channel + 1),)]


def _channels(
    problem: ConvProblem, operands: Operands, channels: range | list[int]
) -> Iterator[tuple[int, ConvProblem, dict[str, np.ndarray]]]:
    """For each channel of the result the ungrouped problem that computes it alone, and that problem's operands."""
    dtype = EXACT_DTYPES.get(problem.dtype, "float64")
    per_group = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    plain = problem.replace(
        groups=1, dtype=dtype, epilogue=Epilogue(), precision="high", layout="channels_first", weight_layout="OIDHW"
    )
    exact_dtype = np.int16 if dtype == "int8" else np.dtype(dtype)
    roles = ("input", "weight", "output")
    wide = {
        role: getattr(operands, role).astype(exact_dtype, copy=False)
        for role in roles
        if role != RESULT[problem.direction]
    }
    for channel in channels:
        if problem.direction == "backward_input":
            group, filters = channel // per_group[0], per_group[1]
            rows = slice(group * filters, (group + 1) * filters)
            within = channel % per_group[0]
            views = {"output": wide["output"][:, rows], "weight": wide["weight"][rows, within : within + 1]}
            yield channel, plain.replace(in_channels=1, out_channels=filters), views
            continue
        group, inputs = channel // per_group[1], per_group[0]
        views = {"input": wide["input"][:, group * inputs : (group + 1) * inputs]}
        one = slice(channel, channel + 1)
        views |= {"weight": wide["weight"][one]} if "weight" in wide else {"output": wide["output"][:, one]}
        yield channel, plain.replace(in_channels=inputs, out_channels=1), views


def _exact(problem: ConvProblem, views: dict[str, np.ndarray]) -> np.ndarray:
    result = np.empty(problem.result_shape, np.int32 if problem.dtype == "int8" else problem.dtype)
    plan = Plan(problem, CPU.algorithms[-1], {}, 1, 0, "forced")
    CPU.execute(plan, Operands(**views, **{RESULT[problem.direction]: result}))  # type: ignore[arg-type]
    return result
