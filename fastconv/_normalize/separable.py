"""Separable convolutions: a depthwise convolution and a 1x1 one of its result, as two calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._arrays import as_array
from .._errors import unfit
from . import convolution, gradients
from .call import ConvCall
from .gradients import BackwardCall, check_needs
from .settings import Settings


@dataclass
class SeparableBackward:
    """The gradients of both steps; ``middle``, the depthwise result, is computed first where it is needed."""

    middle: ConvCall | None
    pointwise: BackwardCall
    depthwise: BackwardCall | None
    """Its dy is the input gradient of ``pointwise``."""


def forward(
    rank: int,
    settings: Settings,
    activation: Any,
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any,
    add: Any,
    out: Any,
) -> tuple[ConvCall, ConvCall]:
    """The depthwise call and the 1x1 call, which reads the array that the first one writes."""
    first = _depthwise(rank, x, w_depthwise, settings)
    _check_pointwise(first, w_pointwise)
    arguments = (rank, _pointwise_settings(settings), activation, first.out, w_pointwise, bias, add, out)
    return first, convolution.forward(*arguments, w_name="w_pointwise")


def backward(
    rank: int,
    settings: Settings,
    activation: Any,
    needs: Any,
    dy: Any,
    x: Any,
    w_depthwise: Any,
    w_pointwise: Any,
    bias: Any,
    add: Any,
) -> SeparableBackward:
    """The gradients for x, the two weights and bias."""
    needs_x, needs_depthwise, needs_pointwise, needs_bias = check_needs(
        needs, ("dx", "dw_depthwise", "dw_pointwise", "db")
    )
    first = _depthwise(rank, x, w_depthwise, settings)
    _check_pointwise(first, w_pointwise)
    needs_middle = needs_x or needs_depthwise
    pointwise = gradients.backward(
        rank,
        _pointwise_settings(settings),
        activation,
        (needs_middle, needs_pointwise, needs_bias),
        dy,
        first.out,
        w_pointwise,
        bias,
        add,
        "w_pointwise",
    )
    depthwise = None
    if needs_middle:
        wanted = (needs_x, needs_depthwise, False)
        depthwise = gradients.backward(rank, settings, None, wanted, first.out, x, w_depthwise)
    reads_middle = needs_pointwise or pointwise.before_activation is not None
    return SeparableBackward(first if reads_middle else None, pointwise, depthwise)


def _depthwise(rank: int, x: Any, w: Any, settings: Settings) -> ConvCall:
    """The first step, writing a new array."""
    call = convolution.forward(rank, settings, None, x, w, w_name="w_depthwise")
    assert call.input is not None
    call.out = call.backend.empty(call.result_shape, call.input.dtype.newbyteorder("="))
    return call


def _pointwise_settings(settings: Settings) -> Settings:
    return Settings(layout=settings.layout, w_layout=settings.w_layout, precision=settings.precision)


def _check_pointwise(first: ConvCall, w: Any) -> None:
    shape = as_array("w_pointwise", w).shape
    rank, channels = first.frame.rank, first.problem.out_channels
    if len(shape) == rank + 2:
        _, per_group, kernel = first.frame.weight_sizes(shape)
        if per_group == channels and set(kernel) == {1}:
            return
    raise unfit("w_pointwise", f"shape {shape}", f"kernel size 1 and {channels} input channels, one group")
