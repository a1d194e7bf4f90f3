"""Runs a normalised call: plan, result array, backend, and the result as the user sees it."""

from __future__ import annotations

import numpy as np

from ._algorithm import Operands
from ._cpu import backend
from ._normalize.convolution import ConvCall
from ._plan import Plan
from ._select import plan_for


def run(call: ConvCall, algorithm: object = "auto", threads: int | None = None) -> np.ndarray:
    """Choose a plan for ``call`` and execute it."""
    return execute(plan_for(call.problem, algorithm, threads), call)


def execute(plan: Plan, call: ConvCall, packed: object = None) -> np.ndarray:
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
        packed=packed,
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
