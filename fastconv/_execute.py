"""Runs a normalised call: plan, result array, backend, and the result as the user sees it."""

from __future__ import annotations

import numpy as np

from ._algorithm import Operands
from ._cpu import backend
from ._normalize.call import ConvCall
from ._normalize.frame import Frame
from ._normalize.gradients import BackwardCall
from ._plan import Plan
from ._select import plan_for


def run(call: ConvCall, algorithm: object = "auto", threads: int | None = None) -> np.ndarray:
    """Choose a plan for ``call`` and execute it."""
    return execute(plan_for(call.problem, algorithm, threads), call)


def run_backward(
    call: BackwardCall, algorithm: object = "auto", threads: int | None = None
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """(dx, dw, db) of ``call``, None for those that are not wanted."""
    calls = (call.before_activation, call.input, call.weight)
    plans = [None if wanted is None else plan_for(wanted.problem, algorithm, threads) for wanted in calls]
    before_plan, input_plan, weight_plan = plans
    if before_plan is not None:
        z = execute(before_plan, call.before_activation)
        call.replace_dy(backend.activation_gradient(call.activation, call.dy, z))
    dx = None if input_plan is None else execute(input_plan, call.input)
    dw = None if weight_plan is None else execute(weight_plan, call.weight)
    return dx, dw, channel_sums(call.frame, call.dy) if call.bias else None


def channel_sums(frame: Frame, dy: np.ndarray) -> np.ndarray:
    """The gradient for a bias."""
    return backend.channel_sums(frame.data(dy))


def execute(plan: Plan, call: ConvCall) -> np.ndarray:
    """Execute ``plan`` on the arrays of ``call``."""
    result = call.out if call.out is not None else np.empty(call.result_shape, result_dtype(call))
    frame, problem = call.frame, plan.problem
    views = {"input": call.input, "weight": call.weight, "output": call.output}
    role = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}[problem.direction]
    views[role] = result
    operands = Operands(
        input=frame.data(views["input"]),  # type: ignore[arg-type]
        weight=None if views["weight"] is None else frame.weights(views["weight"]),  # type: ignore[arg-type]
        output=frame.data(views["output"]),  # type: ignore[arg-type]
        bias=call.bias,
        add=None if call.add is None else frame.data(call.add),
        packed=call.packed,
    )
    backend.execute(plan, operands)
    return call.finish(result)


def result_dtype(call: ConvCall) -> np.dtype:
    """The dtype of the call's result: that of its inputs, int32 for int8 problems."""
    if call.problem.dtype == "int8":
        return np.dtype(np.int32)
    given = call.input if call.input is not None else call.output
    assert given is not None
    return given.dtype.newbyteorder("=")
