"""Runs a normalised call: plan, prepared call, result, as the user sees it.

Public functions enter through ``run`` and its like with a normalising function and its arguments. The first call of a
kind is normalised, planned and prepared; what was prepared computes it, and is kept for all calls like it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._algorithm import Operands
from .._arrays import dtype_name, is_native, native, writable_in_place
from .._backend import CPU, CompiledCall, ConvolutionCall, Dispatcher, GradientsCall, PythonCall
from .._choose.select import call_cache, plan_for
from .._config import thread_count
from .._normalize.call import ConvCall
from .._normalize.frame import Frame
from .._normalize.gradients import BackwardCall
from .._normalize.signature import PackedWeight
from .._plan import Plan
from .._problem import RESULT

Arguments = tuple[Any, ...]
Arrays = tuple[Any, ...]
How = tuple[Any, ...]
Make = Callable[[], CompiledCall | None]
Gradient = np.ndarray | None
Gradients = tuple[Gradient, Gradient, Gradient]

ROLES = ("input", "weight", "output", "bias", "add")


class Prepared:
    """One normalised call with its plan and what computes it."""

    def __init__(self, call: ConvCall, algorithm: object, threads: int | None) -> None:
        self.call = call
        self.plan = plan_for(call.problem, algorithm, threads)
        self._compiled = CPU.prepare(self.plan, call)

    def __call__(self) -> np.ndarray:
        """The result."""
        return compute(self.plan, self.call, self._compiled)

    def placed(self, arrays: Arrays) -> CompiledCall | None:
        """What computes other arrays like these, the arguments of a call; asked for after the last computation."""
        return placed(self._compiled, self.call, arrays)


def _first(
    normalise: Callable[..., ConvCall], arguments: Arguments, how: How, arrays: Arrays, out: np.ndarray | None
) -> tuple[np.ndarray, Make]:
    prepared = Prepared(normalise(*arguments, *arrays, out), *how)
    return prepared(), partial(prepared.placed, arrays)


run = Dispatcher(call_cache, _first).call
"""``run(normalise, arguments, (algorithm, threads), arrays, out)``: the ConvCall that ``normalise`` makes, computed."""


def _first_backward(
    normalise: Callable[..., BackwardCall], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[Gradients, Make]:
    gradients = PreparedGradients(normalise(*arguments, *arrays), *how)
    return gradients(), partial(gradients.placed, arrays)


run_backward = Dispatcher(call_cache, _first_backward).call
"""``run_backward(normalise, arguments, (algorithm, threads), arrays)``: (dx, dw, db), None for those not wanted."""


class PreparedGradients:
    """The gradients of one convolution; a refusal of ``algorithm`` comes before anything is computed."""

    def __init__(self, call: BackwardCall, algorithm: object, threads: int | None) -> None:
        self.call, self.threads = call, thread_count(threads)
        parts = call.before_activation, call.input, call.weight
        self._before, self._input, self._weight = (
            None if part is None else Prepared(part, algorithm, threads) for part in parts
        )

    def __call__(self) -> Gradients:
        call = self.call
        if self._before is not None:
            call.replace_dy(CPU.activation_gradient(call.activation, call.dy, self._before(), self.threads))
        dx, dw = (None if part is None else part() for part in (self._input, self._weight))
        return dx, dw, CPU.channel_sums(call.frame.data(call.dy), self.threads) if call.bias else None

    def placed(self, arrays: Arrays) -> CompiledCall | None:
        """What computes the gradients of other arrays like these; None where one of them takes more than its arrays."""
        if self._before is not None:
            return self._placed_with_activation(arrays)
        wanted = [part is not None for part in (self._input, self._weight)] + [self.call.bias]
        parts = [None if part is None else part.placed(arrays) for part in (self._input, self._weight)]
        parts.append(_placed_sums(self.call.frame, self.call.dy, arrays, self.threads) if self.call.bias else None)
        made = [part is not None for part in parts]
        return GradientsCall(*parts) if made == wanted else None

    def _placed_with_activation(self, arrays: Arrays) -> CompiledCall | None:
        """The same after dy has been multiplied by the activation's slope, which ``before`` is computed for."""
        assert self._before is not None
        dy, *rest = arrays
        before, call, threads = self._before.placed((None, *rest)), self.call, self.threads
        changed = PreparedGradients.__new__(PreparedGradients)
        changed.__dict__.update(self.__dict__, _before=None)
        linear = changed.placed((call.dy, *rest))
        if before is None or linear is None or any(array is dy for array in rest):
            return None

        def compute(arrays: Arrays, out: None) -> Any:
            dy, *rest = arrays
            z = before((None, *rest))
            return z if z is None else linear((CPU.activation_gradient(call.activation, dy, z, threads), *rest))

        return PythonCall(compute)


def _first_sums(
    normalise: Callable[..., tuple[Frame, np.ndarray]], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[np.ndarray, Make]:
    frame, dy = normalise(*arguments, *arrays)
    threads = thread_count(None)
    return CPU.channel_sums(frame.data(dy), threads), partial(_placed_sums, frame, dy, arrays, threads)


run_sums = Dispatcher(call_cache, _first_sums).call
"""``run_sums(normalise, arguments, (), (dy,))``: dy summed over all but the channels."""


def _placed_sums(frame: Frame, dy: np.ndarray, arrays: Arrays, threads: int) -> CompiledCall | None:
    places = [place for place, array in enumerate(arrays) if array is dy]
    if len(places) != 1:
        return None
    (place,) = places
    if dtype_name(dy.dtype) not in ("float32", "float64"):
        return PythonCall(lambda arrays, out: CPU.channel_sums(frame.data(arrays[place]), threads))
    return CPU.prepare_sums(place, frame.axes["output"], dy, threads)


def compute(plan: Plan, call: ConvCall, compiled: ConvolutionCall | None) -> np.ndarray:
    """The result of a call: by what was prepared for calls like it, on its arrays or on copies that kernels can read,
    and where there is not as much memory to be had, in pieces."""
    operands = {role: array for role in ROLES if (array := getattr(call, role)) is not None}
    copied = {role for role, array in operands.items() if not _is_readable(role, array)}
    out = call.out
    if compiled is None:
        return execute(plan, call)
    fits = out is None or (type(out) is np.ndarray and writable_in_place(out, *operands.values()))
    size = sum(operands[role].nbytes for role in copied) + (0 if fits or out is None else out.nbytes)
    if size and size + compiled.bytes > plan.limit_bytes:
        return execute(plan, call)
    compiled.at({role: place for place, role in enumerate(operands)})
    # What is packed is the weight itself, not its conjugate.
    packed = None if call.conjugated == "weight" else call.packed
    arrays = [_copy(role, a) if role in copied else a for role, a in operands.items()]
    result: np.ndarray | None = compiled(tuple(arrays), out if fits else None, packed)
    if result is None:
        return execute(plan, call)
    if fits or out is None:
        return result
    out[...] = result
    return out


def _is_readable(role: str, array: np.ndarray) -> bool:
    """Whether kernels can read the array where it lies."""
    return is_native(array) and (role != "bias" or array.flags.c_contiguous)


def _copy(role: str, array: np.ndarray) -> np.ndarray:
    """One that kernels can read, in the same order in memory."""
    return np.ascontiguousarray(native(array)) if role == "bias" else native(array)


def placed(compiled: ConvolutionCall | None, call: ConvCall, arrays: Arrays) -> CompiledCall | None:
    """What computes other arrays like ``arrays``; None unless ``call`` is of these very arrays alone."""
    places = [id(array.weight if isinstance(array, PackedWeight) else array) for array in arrays]
    given = [place for array, place in zip(arrays, places, strict=True) if array is not None]
    operands = {role: array for role in ROLES if (array := getattr(call, role)) is not None}
    if compiled is None or len(set(given)) < len(given) or not all(id(array) in given for array in operands.values()):
        return None
    return compiled.at({role: places.index(id(array)) for role, array in operands.items()})


def execute(plan: Plan, call: ConvCall) -> np.ndarray:
    """Execute ``plan`` on the arrays of ``call``, whatever they are, in pieces if need be."""
    result = call.out if call.out is not None else CPU.empty(call.result_shape, result_dtype(call))
    frame, problem = call.frame, plan.problem
    views = {"input": call.input, "weight": call.weight, "output": call.output}
    role = RESULT[problem.direction]
    # A subclass may have operations of its own (a matrix stays 2-D); the user still gets it back.
    views[role] = np.asarray(result)
    operands = Operands(
        input=frame.data(views["input"]),  # type: ignore[arg-type]
        weight=None if views["weight"] is None else frame.weights(views["weight"]),  # type: ignore[arg-type]
        output=frame.data(views["output"]),  # type: ignore[arg-type]
        bias=call.bias,
        add=None if call.add is None else frame.data(call.add),
        packed=None if call.conjugated == "weight" else call.packed,
    )
    CPU.execute(plan, operands, call.border, call.conjugated, call.subtracted)
    return result


def pack(plan: Plan, frame: Frame, w: np.ndarray) -> object | None:
    """A weight in the layout of the plan's algorithm; None where it takes the plain one."""
    return CPU.pack(plan.algorithm, plan.problem, plan.params, frame.weights(w), plan.threads)


def result_dtype(call: ConvCall) -> np.dtype:
    """The dtype of the call's result: that of its inputs, int32 for int8 problems."""
    if call.problem.dtype == "int8":
        return np.dtype(np.int32)
    given = call.input if call.input is not None else call.output
    assert given is not None
    return given.dtype.newbyteorder("=")
