"""aten's convolution and its gradients on CPU tensors, by fastconv; None where a call is left to torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...functional.backward import (
    conv1d_backward,
    conv2d_backward,
    conv3d_backward,
    conv_transpose1d_backward,
    conv_transpose2d_backward,
    conv_transpose3d_backward,
)
from ...functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from .tensors import FLOATING, LAYOUTS, W_LAYOUTS, array_of, first_to_last, is_channels_last, last_to_first, tensor_of

Ints = Sequence[int]
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]

CONV: dict[int, Any] = {3: conv1d, 4: conv2d, 5: conv3d}
CONV_BACKWARD: dict[int, Any] = {3: conv1d_backward, 4: conv2d_backward, 5: conv3d_backward}
TRANSPOSE: dict[int, Any] = {3: conv_transpose1d, 4: conv_transpose2d, 5: conv_transpose3d}
TRANSPOSE_BACKWARD: dict[int, Any] = {
    3: conv_transpose1d_backward,
    4: conv_transpose2d_backward,
    5: conv_transpose3d_backward,
}
REFUSED = (TypeError, ValueError, RuntimeError)
"""What fastconv raises for bad arguments, and torch for tensors without an array: torch is asked then."""


def convolve(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Tensor | None:
    """``aten::convolution``."""
    axes = x.dim()
    if not _is_ours(x, w, axes, stride, dilation, transposed, output_padding):
        return None
    is_last = is_channels_last(x) or is_channels_last(w)
    how: dict[str, Any] = {"threads": torch.get_num_threads()}
    try:
        image, weight = array_of(x), array_of(w)
        if is_last:
            image, weight = first_to_last(image), first_to_last(weight)
            how["layout"], how["w_layout"] = LAYOUTS[axes], W_LAYOUTS[axes]
        b = None if bias is None else array_of(bias)
        settings = (tuple(stride), tuple(padding))
        if transposed:
            y = TRANSPOSE[axes](image, weight, b, *settings, tuple(output_padding), groups, tuple(dilation), **how)
        else:
            y = CONV[axes](image, weight, b, *settings, tuple(dilation), groups, **how)
    except REFUSED:
        return None
    return tensor_of(last_to_first(y) if is_last else y)


def gradients(
    dy: Tensor,
    x: Tensor,
    w: Tensor,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    needs: Sequence[bool],
) -> Gradients | None:
    """``aten::convolution_backward``: the gradients of x, w and bias, None for those that are not needed."""
    axes = x.dim()
    if not (_is_ours(x, w, axes, stride, dilation, transposed, output_padding) and dy.dim() == axes and dy.numel()):
        return None
    is_last = is_channels_last(x) or is_channels_last(w)
    how: dict[str, Any] = {"threads": torch.get_num_threads(), "needs": tuple(needs)}
    try:
        arrays = [array_of(dy), array_of(x), array_of(w)]
        if is_last:
            arrays = [first_to_last(array) for array in arrays]
            how["layout"], how["w_layout"] = LAYOUTS[axes], W_LAYOUTS[axes]
        settings = (tuple(stride), tuple(padding))
        if transposed:
            found = TRANSPOSE_BACKWARD[axes](
                *arrays, None, *settings, tuple(output_padding), groups, tuple(dilation), **how
            )
        else:
            found = CONV_BACKWARD[axes](*arrays, None, *settings, tuple(dilation), groups, **how)
    except REFUSED:
        return None
    dx, dw, db = found
    return (
        None if dx is None else tensor_of(last_to_first(dx) if is_last else dx),
        None if dw is None else tensor_of(last_to_first(dw) if is_last else dw),
        None if db is None else tensor_of(db),
    )


def _is_ours(
    x: Tensor, w: Tensor, axes: int, stride: Ints, dilation: Ints, transposed: bool, output_padding: Ints
) -> bool:
    """Whether fastconv takes what torch takes, and means the same by it."""
    if axes not in CONV or x.dtype not in FLOATING or not (x.numel() and w.numel()):
        return False
    if transposed:
        # torch takes no output padding of a stride, or of a dilation, and more.
        return all(o < s or o < d for o, s, d in zip(output_padding, stride, dilation, strict=False))
    # Else torch reads nothing of it but its sign.
    return all(o >= 0 for o in output_padding)
