"""Convolution and its gradients as differentiable functions, and as the operators ``torch.ops.fastconv`` for tracers.

An autograd.Function costs a few microseconds, an operator in Python ten times as much: tracers alone use the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .convolution import Gradients, convolve, gradients

Function = Callable[..., Any]


def _convolution(x: Tensor, w: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    y = convolve(x, w, bias, *settings)
    return torch.ops.aten.convolution(x, w, bias, *settings) if y is None else y


def _gradients(dy: Tensor, x: Tensor, w: Tensor, *settings: Any) -> Gradients:
    found = gradients(dy, x, w, *settings)
    return _gradients_of_aten(dy, x, w, *settings) if found is None else found


def _gradients_of_aten(dy: Tensor, x: Tensor, w: Tensor, *settings: Any) -> Gradients:
    *how, needs = settings
    _, _, _, is_transposed, _, groups = how
    channels = w.shape[1] * groups if is_transposed else w.shape[0]
    found: Gradients = torch.ops.aten.convolution_backward(dy, x, w, [channels], *how, needs)
    return found


# dx, dw and db are bilinear in (dy, w), (x, dy) and (1, dy): their gradients are three convolutions again. ------------


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    x, w, bias, *ctx.settings = inputs
    ctx.save_for_backward(x, w)
    ctx.has_bias = bias is not None


def _keep_gradients(ctx: Any, inputs: Any, output: Any) -> None:
    dy, x, w, *ctx.settings, ctx.needs = inputs
    ctx.save_for_backward(dy, x, w)


def _differentiate(ctx: Any, dy: Tensor, backward: Function) -> Any:
    x, w = ctx.saved_tensors
    need_x, need_w, need_bias, *_ = ctx.needs_input_grad
    needs = [need_x, need_w, ctx.has_bias and need_bias]
    found = backward(dy, x, w, *ctx.settings, needs)
    return (*(each if need else None for each, need in zip(found, needs, strict=True)), *[None] * 6)


def _differentiate_gradients(ctx: Any, grads: Sequence[Tensor | None], forward: Function, backward: Function) -> Any:
    dy, x, w = ctx.saved_tensors
    gx, gw, gb = (each if need else None for each, need in zip(grads, ctx.needs, strict=True))
    of_dy, of_x, of_w = [], None, None
    if gx is not None:
        of_dy.append(forward(gx, w, None, *ctx.settings))
        of_w = backward(dy, gx, w, *ctx.settings, [False, True, False])[1]
    if gw is not None:
        of_dy.append(forward(x, gw, None, *ctx.settings))
        of_x = backward(dy, x, gw, *ctx.settings, [True, False, False])[0]
    if gb is not None:
        of_dy.append(gb.reshape(1, -1, *[1] * (dy.dim() - 2)).expand_as(dy))
    return (sum(of_dy[1:], of_dy[0]) if of_dy else None, of_x, of_w, *[None] * 7)


# vmap: what is mapped over becomes groups, or, of the images alone, more of them. -------------------------------------


def _as_groups(tensor: Tensor, axis: int | None, size: int, channels: int) -> Tensor:
    """The mapped axis, or copies, before the channels and one with them."""
    tensor = tensor.unsqueeze(0).expand(size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
    return tensor.movedim(0, channels).flatten(channels, channels + 1)


class Convolution(torch.autograd.Function):
    """``apply(x, w, bias, stride, padding, dilation, transposed, output_padding, groups)``; for ``torch.func`` too."""

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        return _convolution(*arguments)

    setup_context = staticmethod(_keep)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _differentiate(ctx, grads[0], ConvolutionGradients.apply if torch.is_grad_enabled() else _gradients)

    @staticmethod
    def vmap(info: Any, axes: Any, x: Tensor, w: Tensor, bias: Tensor | None, *settings: Any) -> Any:
        size = info.batch_size
        if axes[1] is None and axes[2] is None:
            y = Convolution.apply(x.movedim(axes[0], 0).flatten(0, 1), w, bias, *settings)
            return y.unflatten(0, (size, -1)), 0
        *how, groups = settings
        x, w = _as_groups(x, axes[0], size, 1), _as_groups(w, axes[1], size, 0)
        bias = None if bias is None else _as_groups(bias, axes[2], size, 0)
        return Convolution.apply(x, w, bias, *how, groups * size).unflatten(1, (size, -1)), 1


class EagerConvolution(Convolution):
    """The same without ``torch.func``, which would cost as much again as all else."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        y = _convolution(*arguments)
        _keep(ctx, arguments, y)
        return y

    setup_context = staticmethod(torch.autograd.Function.setup_context)


class ConvolutionGradients(torch.autograd.Function):
    """``apply(dy, x, w, <the settings of Convolution>, needs)``: dx, dw, db; None for what is not needed."""

    @staticmethod
    def forward(*arguments: Any) -> Gradients:
        return _gradients(*arguments)

    setup_context = staticmethod(_keep_gradients)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _differentiate_gradients(ctx, grads, Convolution.apply, ConvolutionGradients.apply)

    @staticmethod
    def vmap(info: Any, axes: Any, dy: Tensor, x: Tensor, w: Tensor, *settings: Any) -> Any:
        *how, groups, needs = settings
        size = info.batch_size
        dy, x, w = _as_groups(dy, axes[0], size, 1), _as_groups(x, axes[1], size, 1), _as_groups(w, axes[2], size, 0)
        found = ConvolutionGradients.apply(dy, x, w, *how, groups * size, needs)
        places = [at if need else None for at, need in zip((1, 0, 0), needs, strict=True)]
        split = [each if at is None else each.unflatten(at, (size, -1)) for each, at in zip(found, places, strict=True)]
        return tuple(split), tuple(places)


# The operators. They return tensors only: an empty one for a gradient that is not needed. -----------------------------

_SETTINGS = (
    "SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups"
)
_library = torch.library.Library("fastconv", "DEF")
_library.define(f"convolution(Tensor x, Tensor w, Tensor? bias, {_SETTINGS}) -> Tensor")
_library.define(
    f"convolution_backward(Tensor dy, Tensor x, Tensor w, {_SETTINGS}, bool[3] needs) -> (Tensor, Tensor, Tensor)"
)
operator, gradients_operator = torch.ops.fastconv.convolution, torch.ops.fastconv.convolution_backward


def _tensors(compute: Function) -> Function:
    def all_tensors(dy: Tensor, *others: Any) -> Any:
        return tuple(dy.new_empty(0) if each is None else each for each in compute(dy, *others))

    return all_tensors


_library.impl("convolution", _convolution, "CPU")
_library.impl("convolution_backward", _tensors(_gradients), "CPU")
torch.library.register_fake("fastconv::convolution", torch.ops.aten.convolution.default, lib=_library)
torch.library.register_fake("fastconv::convolution_backward", _tensors(_gradients_of_aten), lib=_library)
torch.library.register_autograd(
    "fastconv::convolution",
    lambda ctx, dy: _differentiate(ctx, dy, gradients_operator),
    setup_context=_keep,
    lib=_library,
)
torch.library.register_autograd(
    "fastconv::convolution_backward",
    lambda ctx, *grads: _differentiate_gradients(ctx, grads, operator, gradients_operator),
    setup_context=_keep_gradients,
    lib=_library,
)
