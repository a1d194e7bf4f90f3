"""Gradients of convolutions and transposed convolutions: what users pass, to one call per gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import as_array
from .._backend import Backend, backend_of
from .._errors import bad_type, bad_value, unfit
from .._problem import Epilogue
from .arguments import shape_of
from .arrays import check_out
from .call import ConvCall, check_shape, forward_call, input_gradient_call, weight_gradient_call
from .convolution import FLOAT_DTYPES, check_arguments, check_dtypes
from .frame import Frame
from .settings import GivenSettings, describe


@dataclass
class BackwardCall:
    """The gradients of one convolution that are wanted, all of the same ``dy``."""

    dy: np.ndarray
    frame: Frame
    dy_role: str
    """Which operand dy is in the calls ``input`` and ``weight``."""
    input: ConvCall | None
    weight: ConvCall | None
    bias: bool
    before_activation: ConvCall | None
    """The forward without its activation, where dy must be multiplied by the activation's slope first."""
    activation: Epilogue

    @property
    def backend(self) -> Backend:
        return backend_of(self.dy)

    def replace_dy(self, dy: np.ndarray) -> None:
        """Take ``dy`` as the gradient of the result."""
        self.dy = dy
        for call in (self.input, self.weight):
            if call is not None:
                setattr(call, self.dy_role, dy)


def backward(
    rank: int,
    settings: GivenSettings,
    activation: Any,
    needs: Any,
    dy: Any,
    x: Any,
    w: Any,
    bias: Any = None,
    add: Any = None,
    w_name: str = "w",
) -> BackwardCall:
    """The gradients for x, w and bias."""
    needs_x, needs_w, needs_bias = check_needs(needs, ("dx", f"d{w_name}", "db"))
    dy = as_array("dy", dy)
    a = check_arguments(rank, x, w, bias, settings, activation, add, w_name, dy)
    check_shape("dy", dy, a.described.y_shape)
    d, before, dx, dw = a.described, None, None, None
    if a.epilogue.activation is not None and any((needs_x, needs_w, needs_bias)):
        linear = d.problem_of("forward", Epilogue(a.epilogue.bias, a.epilogue.add))
        before = forward_call(d, linear, a.x, a.w, a.bias, a.add)
    if needs_x:
        dx = input_gradient_call(d, d.problem_of("backward_input"), dy, a.w)
    if needs_w:
        dw = weight_gradient_call(d, d.problem_of("backward_weight"), a.x, dy)
    return BackwardCall(
        dy=dy,
        frame=d.frame,
        dy_role="input" if d.transposed else "output",
        input=dx,
        weight=dw,
        bias=needs_bias,
        before_activation=before,
        activation=a.epilogue,
    )


def input_gradient(rank: int, settings: GivenSettings, shape: Any, w: Any, dy: Any, out: Any = None) -> ConvCall:
    """The gradient for x (of ``shape``)."""
    w, dy = as_array("w", w), as_array("dy", dy)
    dtype = check_dtypes(FLOAT_DTYPES, w=w, dy=dy)
    described = describe(rank, shape_of("input_shape", shape), w.shape, dtype, settings, x_name="input_shape")
    return input_gradient_call(described, described.problem_of("backward_input"), dy, w, out)


def weight_gradient(rank: int, settings: GivenSettings, w_shape: Any, x: Any, dy: Any, out: Any = None) -> ConvCall:
    """The gradient for w (of ``w_shape``)."""
    x, dy = as_array("x", x), as_array("dy", dy)
    dtype = check_dtypes(FLOAT_DTYPES, x=x, dy=dy)
    described = describe(rank, x.shape, shape_of("weight_shape", w_shape), dtype, settings, w_name="weight_shape")
    return weight_gradient_call(described, described.problem_of("backward_weight"), x, dy, out)


def bias_gradient(rank: int, layout: Any, dy: Any) -> tuple[Frame, np.ndarray]:
    """The frame of ``dy`` and dy, whose sums over all but channels are the gradient for a bias."""
    dy = as_array("dy", dy)
    check_dtypes(FLOAT_DTYPES, dy=dy)
    return Frame.of(rank, "dy", dy.shape, layout, None), dy


def check_outs(
    outs: Any,
    results: Sequence[str],
    needs: Sequence[bool],
    shapes: Sequence[tuple[int, ...]],
    dtype: np.dtype,
    like: Any,
) -> tuple[Any, ...]:
    """``out`` of several gradients: None, or for each that is needed None or an array that it can be written to."""
    if outs is None:
        return (None,) * len(results)
    allowed = f"None or a tuple for {', '.join(results)}, each None or an array"
    if not isinstance(outs, (tuple, list)):
        raise bad_type("out", type(outs).__name__, allowed)
    if len(outs) != len(results):
        raise unfit("out", f"{len(outs)} of them", allowed)
    for array, result, is_needed, shape in zip(outs, results, needs, shapes, strict=True):
        if array is not None and not is_needed:
            raise unfit("out", f"an array for {result}, which is not needed", allowed)
        if array is not None:
            check_out(array, shape, dtype, like)
    return tuple(outs)


def check_needs(needs: Any, results: Sequence[str]) -> tuple[bool, ...]:
    """``needs`` as one bool per result."""
    allowed = f"{len(results)} bools, for {', '.join(results)}"
    if not isinstance(needs, (tuple, list)) or not all(isinstance(need, (bool, np.bool_)) for need in needs):
        raise bad_type("needs", needs, allowed)
    if len(needs) != len(results):
        raise bad_value("needs", needs, allowed)
    return tuple(bool(need) for need in needs)
