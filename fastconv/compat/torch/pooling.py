"""aten's pooling and its gradients on CPU tensors, by fastconv; None where a call is left to torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ... import pooling
from .convolution import REFUSED
from .tensors import LAYOUTS, REAL, array_of, first_to_last, is_channels_last, last_to_first, tensor_of

Ints = Sequence[int]


def _apply(name: str, axes: int, tensors: Sequence[Tensor], arguments: tuple[Any, ...], **how: Any) -> Any:
    """``fastconv.<name>`` of tensors with ``axes`` spatial axes, in the memory format of the last of them."""
    first = tensors[-1]
    if first.dtype not in REAL or first.dim() - axes not in (1, 2) or not first.numel() or not tensors[0].numel():
        return None
    # As torch, which leaves channels_last in 3-D but for the largest in windows.
    is_last = is_channels_last(first) and first.dim() - axes == 2 and (axes == 2 or name.startswith("max"))
    how["threads"] = torch.get_num_threads()
    try:
        arrays = [array_of(tensor) for tensor in tensors]
        if is_last:
            arrays = [first_to_last(array) for array in arrays]
            how["layout"] = LAYOUTS[axes + 2]
        if "indices" in how:
            indices = array_of(how["indices"])
            how["indices"] = first_to_last(indices) if is_last else indices
        found = getattr(pooling, f"{name.format(axes)}")(*arrays, *arguments, **how)
    except REFUSED:
        return None
    if isinstance(found, tuple):
        return tuple(tensor_of(last_to_first(each) if is_last else each) for each in found)
    return tensor_of(last_to_first(found) if is_last else found)


def _each(axes: int, values: Ints) -> tuple[int, ...]:
    """One number an axis, as torch reads one for all of them."""
    return tuple(values) * axes if len(values) == 1 else tuple(values)


def _windows(axes: int, kernel_size: Ints, stride: Ints, padding: Ints) -> tuple[tuple[int, ...], ...] | None:
    """(kernel_size, stride, padding), one number an axis; None for what torch refuses."""
    kernel, pad = _each(axes, kernel_size), _each(axes, padding)
    step = _each(axes, stride) if len(stride) else kernel
    if not len(kernel) == len(step) == len(pad) == axes:
        return None
    if any(not 0 <= 2 * p <= k or s < 1 for k, s, p in zip(kernel, step, pad, strict=True)):
        return None
    return kernel, step, pad


def max_pool(
    axes: int,
    x: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0,),
    dilation: Ints = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor] | None:
    """``aten::max_pool2d_with_indices`` and its like: the maxima and where they were."""
    windows = _windows(axes, kernel_size, stride, padding)
    if windows is None:
        return None
    arguments = (*windows, _each(axes, dilation), ceil_mode, True)
    found: tuple[Tensor, Tensor] | None = _apply("max_pool{}d", axes, (x,), arguments)
    return found


def max_pool_backward(
    axes: int,
    dy: Tensor,
    x: Tensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor | None:
    """``aten::max_pool2d_with_indices_backward`` and its like."""
    windows = _windows(axes, kernel_size, stride, padding)
    if windows is None or dy.dtype is not x.dtype or dy.shape != indices.shape:
        return None
    arguments = (*windows, _each(axes, dilation), ceil_mode)
    found: Tensor | None = _apply("max_pool{}d_backward", axes, (dy, x), arguments, indices=indices)
    return found


def avg_pool(
    axes: int,
    x: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor | None:
    """``aten::avg_pool2d`` and its like."""
    windows = _windows(axes, kernel_size, stride, padding)
    if windows is None or (divisor_override is not None and divisor_override < 1):
        return None
    found: Tensor | None = _apply("avg_pool{}d", axes, (x,), (*windows, ceil_mode, count_include_pad, divisor_override))
    return found


def avg_pool_backward(
    axes: int,
    dy: Tensor,
    x: Tensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor | None:
    """``aten::avg_pool2d_backward`` and its like."""
    windows = _windows(axes, kernel_size, stride, padding)
    if windows is None or dy.dtype is not x.dtype or (divisor_override is not None and divisor_override < 1):
        return None
    arguments = (*windows, ceil_mode, count_include_pad, divisor_override)
    found: Tensor | None = _apply("avg_pool{}d_backward", axes, (dy, x), arguments)
    return found


def adaptive_avg_pool(axes: int, x: Tensor, output_size: Ints) -> Tensor | None:
    """``aten::_adaptive_avg_pool2d`` and its like."""
    if len(output_size) != axes or min(output_size) < 1:
        return None
    found: Tensor | None = _apply("adaptive_avg_pool{}d", axes, (x,), (tuple(output_size),))
    return found


def adaptive_avg_pool_backward(axes: int, dy: Tensor, x: Tensor) -> Tensor | None:
    """``aten::_adaptive_avg_pool2d_backward`` and its like."""
    if dy.dim() != x.dim() or dy.dtype is not x.dtype:
        return None
    found: Tensor | None = _apply("adaptive_avg_pool{}d_backward", axes, (dy, x), (tuple(dy.shape[-axes:]),))
    return found


def adaptive_max_pool(axes: int, x: Tensor, output_size: Ints) -> tuple[Tensor, Tensor] | None:
    """``aten::adaptive_max_pool2d`` and its like."""
    if len(output_size) != axes or min(output_size) < 1:
        return None
    found: tuple[Tensor, Tensor] | None = _apply("adaptive_max_pool{}d", axes, (x,), (tuple(output_size), True))
    return found


def adaptive_max_pool_backward(axes: int, dy: Tensor, x: Tensor, indices: Tensor) -> Tensor | None:
    """``aten::adaptive_max_pool2d_backward`` and its like."""
    if dy.dim() != x.dim() or dy.dtype is not x.dtype or dy.shape != indices.shape:
        return None
    size = tuple(dy.shape[-axes:])
    found: Tensor | None = _apply("adaptive_max_pool{}d_backward", axes, (dy, x), (size,), indices=indices)
    return found


@dataclass(frozen=True)
class Kind:
    """One kind of pooling: ``forward(axes, x, *arguments)``, ``backward(axes, dy, x, *arguments, indices)``."""

    name: str
    """Of the operator of aten with its number of axes left open."""
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    name_of_gradient: str
    gradient_takes_arguments: bool
    of_one: tuple[int | None, ...]
    """What each argument is along another axis of size 1; None for one that is not given an axis."""


MAX = Kind(
    "max_pool{}d_with_indices",
    max_pool,
    max_pool_backward,
    "max_pool{}d_with_indices_backward",
    True,
    (1, 1, 0, 1, None),
)
AVG = Kind("avg_pool{}d", avg_pool, avg_pool_backward, "avg_pool{}d_backward", True, (1, 1, 0, None, None, None))
ADAPTIVE_AVG = Kind(
    "_adaptive_avg_pool{}d",
    adaptive_avg_pool,
    adaptive_avg_pool_backward,
    "_adaptive_avg_pool{}d_backward",
    False,
    (1,),
)
ADAPTIVE_MAX = Kind(
    "adaptive_max_pool{}d",
    adaptive_max_pool,
    adaptive_max_pool_backward,
    "adaptive_max_pool{}d_backward",
    False,
    (1,),
)


class EagerPooling(torch.autograd.Function):
    """``apply(kind, axes, x, *arguments)``; a gradient to be differentiated again is torch's own."""

    @staticmethod
    def forward(ctx: Any, kind: Kind, axes: int, x: Tensor, *arguments: Any) -> Any:
        found = kind.forward(axes, x, *arguments)
        if found is None:
            found = getattr(torch.ops.aten, kind.name.format(axes))(x, *arguments)
        ctx.kind, ctx.axes = kind, axes
        ctx.arguments = arguments if kind.gradient_takes_arguments else ()
        if isinstance(found, tuple):
            ctx.save_for_backward(x, found[1])
            ctx.mark_non_differentiable(found[1])
        else:
            ctx.save_for_backward(x)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, *indices = ctx.saved_tensors
        arguments = (grads[0], x, *ctx.arguments, *indices)
        dx = None if torch.is_grad_enabled() else ctx.kind.backward(ctx.axes, *arguments)
        if dx is None:
            dx = getattr(torch.ops.aten, ctx.kind.name_of_gradient.format(ctx.axes))(*arguments)
        return None, None, dx, *[None] * (len(ctx.needs_input_grad) - 3)
