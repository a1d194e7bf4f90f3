"""Runs a normalised call: plan, prepared call, result, as the user sees it.

Public functions enter through ``run`` and its like with a normalising function and its arguments. The first call of a
kind is normalised, planned and prepared; what was prepared computes it, and is kept for all calls like it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .._algorithm import ROLES
from .._backend import Backend, CompiledCall, GradientsCall, PreparedCall, PythonCall, backend_of, find_backend
from .._choose.instead import next_plan, smaller_plan
from .._choose.select import plan_for
from .._config import thread_count
from .._errors import UnusableAlgorithmError
from .._normalize.call import ConvCall
from .._normalize.frame import Frame
from .._normalize.gradients import BackwardCall
from .._normalize.signature import PackedWeight
from .._plan import Plan
from .entry import entry

Arguments = tuple[Any, ...]
Arrays = tuple[Any, ...]
How = tuple[Any, ...]
Make = Callable[[], CompiledCall | None]
Gradient = np.ndarray | None
Gradients = tuple[Gradient, Gradient, Gradient]
Outs = tuple[Gradient, Gradient, Gradient] | None


class Prepared:
    """One normalised call with its plan and what computes it.

    An algorithm that turns out not to work on this machine gives way to the next one, for this call and later ones; one
    that does not fit in memory, to a smaller one for this call alone.
    """

    def __init__(self, call: ConvCall, algorithm: object, threads: int | None, plan: Plan | None = None) -> None:
        self.call = call
        self.plan = plan_for(call.problem, algorithm, threads, backend=call.backend) if plan is None else plan
        self._compiled: PreparedCall | None = None

    def __call__(self) -> np.ndarray:
        """The result; of the arrays that the call has now."""
        smaller = None
        try:
            self._compiled = self.call.backend.prepare(self.plan, self.call)
            return self.call.backend.compute(self.plan, self.call, self._compiled)
        except UnusableAlgorithmError as failure:
            self.call.packed = None
            self.plan = next_plan(self.plan, failure)
        except MemoryError:
            smaller = smaller_plan(self.plan)
            if smaller is None:
                raise
        # The exception is gone, and with it what the attempt had allocated.
        return self() if smaller is None else self._once(smaller)

    def _once(self, plan: Plan) -> np.ndarray:
        """The result by another plan."""
        call, backend = replace(self.call, packed=None), self.call.backend
        return backend.compute(plan, call, backend.prepare(plan, call))

    def placed(self, arrays: Arrays) -> CompiledCall | None:
        """What computes other arrays like these, the arguments of a call; asked for after the last computation."""
        return placed(self._compiled, self.call, arrays)


def _first(
    normalise: Callable[..., ConvCall], arguments: Arguments, how: How, arrays: Arrays, out: np.ndarray | None
) -> tuple[np.ndarray, Make]:
    prepared = Prepared(normalise(*arguments, *arrays, out), *how)
    return prepared(), partial(prepared.placed, arrays)


run = entry(_first)
"""``run(normalise, arguments, (algorithm, threads), arrays, out)``: the ConvCall that ``normalise`` makes, computed."""


def _first_backward(
    normalise: Callable[..., BackwardCall], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[Gradients, Make]:
    gradients = PreparedGradients(normalise(*arguments, *arrays), *how)
    return gradients(), partial(gradients.placed, arrays)


run_backward = entry(_first_backward)
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
        call, backend = self.call, self.call.backend
        if self._before is not None:
            call.replace_dy(backend.activation_gradient(call.activation, call.dy, self._before(), self.threads))
        dx, dw = (None if part is None else part() for part in (self._input, self._weight))
        return dx, dw, backend.channel_sums(call.frame.data(call.dy), self.threads) if call.bias else None

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
        slope_times = call.backend.activation_gradient

        def compute(arrays: Arrays, out: None) -> Any:
            dy, *rest = arrays
            z = before((None, *rest))
            return z if z is None else linear((slope_times(call.activation, dy, z, threads), *rest))

        return PythonCall(compute)


def _first_sums(
    normalise: Callable[..., tuple[Frame, np.ndarray]], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[np.ndarray, Make]:
    frame, dy = normalise(*arguments, *arrays)
    threads = thread_count(None)
    return backend_of(dy).channel_sums(frame.data(dy), threads), partial(_placed_sums, frame, dy, arrays, threads)


run_sums = entry(_first_sums)
"""``run_sums(normalise, arguments, (), (dy,))``: dy summed over all but the channels."""


def _placed_sums(frame: Frame, dy: np.ndarray, arrays: Arrays, threads: int) -> CompiledCall | None:
    places = [place for place, array in enumerate(arrays) if array is dy]
    if len(places) != 1:
        return None
    (place,) = places
    backend: Backend = backend_of(dy)
    prepared = backend.prepare_sums(place, frame.axes["output"], dy, threads)
    if prepared is not None:
        return prepared if isinstance(prepared, CompiledCall) else PythonCall(prepared)
    return PythonCall(lambda arrays, out: backend.channel_sums(frame.data(arrays[place]), threads))


def placed(compiled: PreparedCall | None, call: ConvCall, arrays: Arrays) -> CompiledCall | None:
    """What computes other arrays like ``arrays``; None unless ``call`` is of these very arrays alone."""
    places = [id(array.weight if isinstance(array, PackedWeight) else array) for array in arrays]
    given = [place for array, place in zip(arrays, places, strict=True) if array is not None]
    operands = {role: array for role in ROLES if (array := getattr(call, role)) is not None}
    if compiled is None or len(set(given)) < len(given) or not all(id(array) in given for array in operands.values()):
        return None
    made = compiled.at({role: places.index(id(array)) for role, array in operands.items()})
    return made if isinstance(made, CompiledCall) else PythonCall(made)


def pack(plan: Plan, frame: Frame, w: np.ndarray) -> object | None:
    """A weight in the layout of the plan's algorithm; None where it takes the plain one, or does not work here."""
    backend = find_backend(plan.backend)
    try:
        return backend.pack(plan.algorithm, plan.problem, plan.params, frame.weights(w), plan.threads)
    except UnusableAlgorithmError:
        if plan.reason == "forced":
            raise
        return None
