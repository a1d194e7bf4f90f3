"""Runs a normalised call: plan, result array, backend, and the result as the user sees it.

Public functions enter through ``run`` and its like with a normalising function and its arguments, so that a call that
was made before, on other arrays, is launched without being normalised and planned again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._algorithm import Operands
from .._arrays import dtype_name
from .._choose.select import plan_for, repeats
from .._config import thread_count
from .._cpu import backend
from .._cpu.elementwise.loops import SumsLaunch
from .._cpu.engine import pages
from .._cpu.engine.call_cache import Dispatcher
from .._cpu.engine.compiled_call import ConvLaunch, GradientsLaunch, Launch
from .._normalize.call import ConvCall
from .._normalize.causal import CausalBackward, CausalCall
from .._normalize.frame import Frame
from .._normalize.gradients import BackwardCall
from .._normalize.planned import PackedWeight
from .._normalize.separable import SeparableBackward
from .._plan import Plan
from .._problem import RESULT

Arguments = tuple[Any, ...]
Arrays = tuple[Any, ...]
How = tuple[Any, ...]
MakeLaunch = Callable[[], Launch | None]
Gradient = np.ndarray | None
Gradients = tuple[Gradient, Gradient, Gradient]
FourGradients = tuple[Gradient, Gradient, Gradient, Gradient]

ROLES = ("input", "weight", "output", "bias", "add")


def _first(
    normalise: Callable[..., ConvCall], arguments: Arguments, how: How, arrays: Arrays, out: np.ndarray | None
) -> tuple[np.ndarray, MakeLaunch]:
    """Normalise, plan, execute; and what makes that which does the same for other arrays like these."""
    call = normalise(*arguments, *arrays, out)
    plan = plan_for(call.problem, *how)
    return execute(plan, call), partial(launch, plan, call, arrays)


run = Dispatcher(repeats, _first).call
"""``run(normalise, arguments, (algorithm, threads), arrays, out)``: the ConvCall that ``normalise`` makes, computed."""


def planned(call: ConvCall | None, algorithm: object, threads: int | None) -> Callable[[], Any]:
    """What executes ``call`` by a plan chosen now; a refusal of ``algorithm`` comes before anything is computed."""
    if call is None:
        return lambda: None
    plan = plan_for(call.problem, algorithm, threads)
    return lambda: execute(plan, call)


def _first_backward(
    normalise: Callable[..., BackwardCall], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[Gradients, MakeLaunch]:
    call = normalise(*arguments, *arrays)
    return _planned_backward(call, *how)(), partial(_backward_launch, call, how, arrays)


run_backward = Dispatcher(repeats, _first_backward).call
"""``run_backward(normalise, arguments, (algorithm, threads), arrays)``: (dx, dw, db), None for those not wanted."""


def _planned_backward(call: BackwardCall, algorithm: object, threads: int | None) -> Callable[[], Gradients]:
    count = thread_count(threads)
    z = planned(call.before_activation, algorithm, threads)
    dx = planned(call.input, algorithm, threads)
    dw = planned(call.weight, algorithm, threads)

    def compute() -> Gradients:
        if call.before_activation is not None:
            call.replace_dy(backend.activation_gradient(call.activation, call.dy, z(), count))
        return dx(), dw(), backend.channel_sums(call.frame.data(call.dy), count) if call.bias else None

    return compute


def run_separable(calls: tuple[ConvCall, ConvCall], algorithm: object, threads: int | None) -> np.ndarray:
    """The result of the second of two calls, the first of which writes what the second reads."""
    depthwise, pointwise = [planned(call, algorithm, threads) for call in calls]
    depthwise()
    return pointwise()


def run_separable_backward(call: SeparableBackward, algorithm: object, threads: int | None) -> FourGradients:
    """(dx, dw_depthwise, dw_pointwise, db), None for those that are not wanted."""
    middle = planned(call.middle, algorithm, threads)
    pointwise = _planned_backward(call.pointwise, algorithm, threads)
    depthwise = None if call.depthwise is None else _planned_backward(call.depthwise, algorithm, threads)
    middle()
    dmiddle, dw_pointwise, db = pointwise()
    if call.depthwise is None or depthwise is None or dmiddle is None:
        return None, None, dw_pointwise, db
    call.depthwise.replace_dy(dmiddle)
    dx, dw_depthwise, _ = depthwise()
    return dx, dw_depthwise, dw_pointwise, db


def run_causal(call: CausalCall, algorithm: object, threads: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(y, state after it)."""
    for part in [planned(part, algorithm, threads) for part in call.parts]:
        part()
    if call.out is None:
        return call.result, call.state
    call.out[...] = call.result
    return call.out, call.state


def run_causal_backward(call: CausalBackward, algorithm: object, threads: int | None) -> FourGradients:
    """(dx, dw, db, dstate), None for those that are not wanted."""
    joined, dw, db = _planned_backward(call.joined, algorithm, threads)()
    dw = None if dw is None else dw.reshape(call.weight_shape)
    if joined is None:
        return None, dw, db, None
    dstate, dx = call.cut(joined)
    return dx if call.needs_x else None, dw, db, dstate if call.needs_state else None


def _first_sums(
    normalise: Callable[..., tuple[Frame, np.ndarray]], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[np.ndarray, MakeLaunch]:
    frame, dy = normalise(*arguments, *arrays)
    threads = thread_count(None)
    return backend.channel_sums(frame.data(dy), threads), partial(_sums_launch, frame, dy, arrays, threads)


run_sums = Dispatcher(repeats, _first_sums).call
"""``run_sums(normalise, arguments, (), (dy,))``: dy summed over all but the channels."""


def execute(plan: Plan, call: ConvCall) -> np.ndarray:
    """Execute ``plan`` on the arrays of ``call``."""
    result = call.out if call.out is not None else pages.empty(call.result_shape, result_dtype(call))
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
        # What is packed is the weight itself, not its conjugate.
        packed=None if call.conjugated == "weight" else call.packed,
    )
    backend.execute(plan, operands, call.border, call.conjugated, call.subtracted)
    return result


def launch(plan: Plan, call: ConvCall, arrays: Arrays) -> ConvLaunch | None:
    """What executes ``plan`` on other arrays like ``arrays``; None unless ``call`` is of these very arrays alone."""
    places = [id(array.weight if isinstance(array, PackedWeight) else array) for array in arrays]
    given = [place for array, place in zip(arrays, places, strict=True) if array is not None]
    operands = {role: array for role in ROLES if (array := getattr(call, role)) is not None}
    is_plain = call.border is None and call.conjugated is None and not call.subtracted and not plan.problem.is_empty
    if not is_plain or len(set(given)) < len(given) or not all(id(array) in given for array in operands.values()):
        return None
    roles = {role: places.index(id(array)) for role, array in operands.items()}
    frame = call.frame

    def compute(arrays: Arrays) -> np.ndarray:
        again = ConvCall(plan.problem, frame, **{role: arrays[at] for role, at in roles.items()})
        if isinstance(again.weight, PackedWeight):
            again.weight, again.packed = again.weight.weight, again.weight.packed
        return execute(plan, again)

    return ConvLaunch(
        plan,
        plan.kernel,
        compute,
        RESULT[plan.problem.direction],
        roles,
        frame.axes,
        call.result_shape,
        result_dtype(call),
        plan.algorithm.multiplies_outside and plan.problem.direction == "backward_input",
    )


def _backward_launch(call: BackwardCall, how: How, arrays: Arrays) -> GradientsLaunch | None:
    """What computes the gradients of other arrays like these; None where one of them takes more than its arrays."""
    if call.before_activation is not None:
        return None
    wanted = [part is not None for part in (call.input, call.weight)] + [call.bias]
    parts: list[Launch | None] = [
        None if part is None else launch(plan_for(part.problem, *how), part, arrays)
        for part in (call.input, call.weight)
    ]
    parts.append(_sums_launch(call.frame, call.dy, arrays, thread_count(how[1])) if call.bias else None)
    made = [part is not None for part in parts]
    return GradientsLaunch(*parts) if made == wanted else None


def _sums_launch(frame: Frame, dy: np.ndarray, arrays: Arrays, threads: int) -> SumsLaunch | None:
    places = [place for place, array in enumerate(arrays) if array is dy]
    if len(places) != 1 or dtype_name(dy.dtype) not in ("float32", "float64"):
        return None
    return SumsLaunch(places[0], frame.axes["output"], dy.dtype, backend.sum_threads(dy.size, threads))


def pack(plan: Plan, frame: Frame, w: np.ndarray) -> object | None:
    """A weight in the layout of the plan's algorithm; None where it takes the plain one."""
    return backend.pack(plan.algorithm, plan.problem, plan.params, frame.weights(w), plan.threads)


def result_dtype(call: ConvCall) -> np.dtype:
    """The dtype of the call's result: that of its inputs, int32 for int8 problems."""
    if call.problem.dtype == "int8":
        return np.dtype(np.int32)
    given = call.input if call.input is not None else call.output
    assert given is not None
    return given.dtype.newbyteorder("=")
