"""Calls that are made of several convolutions: separable and causal ones, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._backend import PythonCall
from .._normalize.call import ConvCall
from .._normalize.causal import CausalBackward, CausalCall
from .._normalize.separable import SeparableBackward
from .convolution import Arguments, Arrays, Gradient, How, Make, Prepared, PreparedGradients
from .entry import entry

FourGradients = tuple[Gradient, Gradient, Gradient, Gradient]
FourOuts = FourGradients | None


def _first_separable(
    normalise: Callable[..., tuple[ConvCall, ConvCall]], arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[np.ndarray, Make]:
    calls = normalise(*arguments, *arrays, out)
    depthwise, pointwise = (Prepared(call, *how) for call in calls)
    middle = calls[0].out

    def make() -> PythonCall | None:
        x, w_depthwise, *rest = arrays
        first, second = depthwise.placed((x, w_depthwise)), pointwise.placed((middle, *rest))
        if first is None or second is None:
            return None

        def compute(arrays: Arrays, out: Any) -> Any:
            x, w_depthwise, *rest = arrays
            between = first((x, w_depthwise))
            return None if between is None else second((between, *rest), out)

        return PythonCall(compute)

    depthwise()
    return pointwise(), make


run_separable = entry(_first_separable)
"""``run_separable(normalise, arguments, how, arrays, out)``: the second of two calls, on what the first computes."""


def _first_separable_backward(
    normalise: Callable[..., SeparableBackward], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[FourGradients, Make]:
    call = normalise(*arguments, *arrays)
    middle = None if call.middle is None else Prepared(call.middle, *how)
    pointwise = PreparedGradients(call.pointwise, *how)
    depthwise = None if call.depthwise is None else PreparedGradients(call.depthwise, *how)
    if middle is not None:
        middle()
    dmiddle, dw_pointwise, db = pointwise()
    dx = dw_depthwise = None
    if call.depthwise is not None and depthwise is not None and dmiddle is not None:
        call.depthwise.replace_dy(dmiddle)
        dx, dw_depthwise, _ = depthwise()

    def make() -> PythonCall | None:
        if middle is None or depthwise is None or dmiddle is None:
            return None
        dy, x, w_depthwise, *rest = arrays
        forward = middle.placed((x, w_depthwise))
        second = pointwise.placed((dy, middle.call.out, *rest))
        first = depthwise.placed((dmiddle, x, w_depthwise))
        if forward is None or second is None or first is None:
            return None

        def compute(arrays: Arrays, out: None) -> Any:
            dy, x, w_depthwise, *rest = arrays
            between = forward((x, w_depthwise))
            found = None if between is None else second((dy, between, *rest))
            if found is None:
                return None
            dbetween, dw_pointwise, db = found
            found = first((dbetween, x, w_depthwise))
            return None if found is None else (found[0], found[1], dw_pointwise, db)

        return PythonCall(compute)

    return (dx, dw_depthwise, dw_pointwise, db), make


run_separable_backward = entry(_first_separable_backward)
"""``run_separable_backward(normalise, arguments, how, arrays)``: (dx, dw_depthwise, dw_pointwise, db)."""


def _first_causal(
    normalise: Callable[..., CausalCall], arguments: Arguments, how: How, arrays: Arrays, out: Any
) -> tuple[tuple[np.ndarray, np.ndarray], Make]:
    call = normalise(*arguments, *arrays, out)
    parts = [Prepared(part, *how) for part in call.parts]

    def make() -> PythonCall | None:
        checked = call.checked
        placed = [made for part in parts if (made := part.placed(_arrays_of(part.call))) is not None]
        if len(placed) < len(parts) or any(a is b for i, a in enumerate(arrays) if a is not None for b in arrays[:i]):
            return None
        steps = [(made, checked.places(*bounds)) for made, bounds in zip(placed, call.bounds, strict=True)]
        shape, dtype = call.result.shape, call.result.dtype
        backend = checked.backend
        zeros = backend.zeros(checked.state.shape, dtype)
        head, kept, tail = checked.places(0, checked.head), checked.kept, checked.tail

        def compute(arrays: Arrays, out: Any) -> Any:
            if out is not None:
                return None
            x, w, bias, state, add = arrays
            state = zeros if state is None else state
            w = w.reshape(checked.w.shape)
            result = backend.empty(shape, dtype)
            for compiled, place in steps:
                source = checked.join(state, x[head]) if place == head else x
                if compiled((source, w, bias, None if add is None else add[place]), result[place]) is None:
                    return None
            return result, checked.join(state[kept], x[tail]) if kept else x[tail].copy()

        return PythonCall(compute)

    for part in parts:
        part()
    if call.out is None:
        return (call.result, call.state), make
    call.out[...] = call.result
    return (call.out, call.state), make


run_causal = entry(_first_causal)
"""``run_causal(normalise, arguments, how, arrays, out)``: (y, state after it)."""


def _arrays_of(call: ConvCall) -> Arrays:
    """A convolution's arrays in the order of its function's arguments."""
    return call.input, call.weight, call.bias, call.add


def _first_causal_backward(
    normalise: Callable[..., CausalBackward], arguments: Arguments, how: How, arrays: Arrays, out: None
) -> tuple[FourGradients, Make]:
    call = normalise(*arguments, *arrays)
    gradients, checked = PreparedGradients(call.joined, *how), call.checked
    before, inside, after = call.places

    def cut(joined: Gradient, dw: Gradient, db: Gradient, dstate: Gradient) -> FourGradients:
        """The last elements of the joined array are also the next state."""
        dw = None if dw is None else dw.reshape(call.weight_shape)
        if joined is None:
            return None, dw, db, None
        if dstate is not None:
            joined[after] += dstate
        return joined[inside] if call.needs_x else None, dw, db, joined[before] if call.needs_state else None

    def make() -> PythonCall | None:
        dy, _, _, bias, _, _, add = arrays
        if any(a is b for i, a in enumerate(arrays) if a is not None for b in arrays[:i]):
            return None
        placed = gradients.placed((dy, call.source, checked.w, bias, add))
        if placed is None:
            return None
        zeros, shape = checked.backend.zeros(checked.state.shape, checked.x.dtype), checked.w.shape

        def compute(arrays: Arrays, out: None) -> Any:
            dy, x, w, bias, state, dstate, add = arrays
            source = checked.join(zeros if state is None else state, x)
            found = placed((dy, source, w.reshape(shape), bias, add))
            if found is None:
                return None
            joined, dw, db = found
            return cut(joined, dw, db, dstate)

        return PythonCall(compute)

    return cut(*gradients(), call.dstate), make


run_causal_backward = entry(_first_causal_backward)
"""``run_causal_backward(normalise, arguments, how, arrays)``: (dx, dw, db, dstate)."""
