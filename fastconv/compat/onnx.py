"""ONNX's convolutions and pooling by fastconv, in the form in which ONNX's reference evaluator takes them.

``ReferenceEvaluator(model, new_ops=OPERATORS)`` computes these operators by fastconv and all others as before.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from .. import pooling
from ..functional import causal, convolution, integer, unfolding
from . import lax
from ._deformed import deform_conv
from ._wanted import wanted

with wanted("onnx"):
    from onnx.reference.op_run import OpRun

__all__ = ["OPERATORS"]

Array = np.ndarray
Attributes = dict[str, Any]

WORDS = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
ACTIVATIONS = {None: None, "none": None, "silu": "silu", "swish": "silu"}


def _padding(auto_pad: str | None, pads: Any, rank: int) -> Any:
    """ONNX lists all numbers before, then all numbers after."""
    if auto_pad in WORDS:
        return WORDS[auto_pad]
    pads = [0] * (2 * rank) if pads is None else [int(pad) for pad in pads]
    return list(zip(pads[:rank], pads[rank:], strict=True))


def _sliding(x: Array, a: Attributes) -> Attributes:
    """The settings that convolutions and pooling share."""
    rank = x.ndim - 2
    return {
        "stride": a["strides"] or 1,
        "padding": _padding(a["auto_pad"], a["pads"], rank),
        "dilation": a.get("dilations") or 1,
    }


def _of_rank(module: Any, name: str, x: Array) -> Callable[..., Any]:
    """fastconv's function of that name for the axes of ``x``."""
    rank = x.ndim - 2
    if rank not in (1, 2, 3):
        raise ValueError(f"got an array of shape {x.shape}; allowed: one to three axes beside batch and channels")
    function: Callable[..., Any] = getattr(module, name.format(rank))
    return function


def _conv(x: Array, w: Array, bias: Array | None = None, **a: Any) -> tuple[Array]:
    if a["kernel_shape"] is not None and tuple(a["kernel_shape"]) != w.shape[2:]:
        raise ValueError(f"kernel_shape: got {tuple(a['kernel_shape'])}; allowed: {w.shape[2:]}, as W has it")
    if x.ndim > 5:
        return (_conv_of_many_axes(x, w, bias, **a),)
    return (_of_rank(convolution, "conv{}d", x)(x, w, bias, groups=a["group"], **_sliding(x, a)),)


def _conv_of_many_axes(x: Array, w: Array, bias: Array | None, **a: Any) -> Array:
    rank = x.ndim - 2
    padding = a["auto_pad"] if a["auto_pad"] in ("VALID", "SAME_LOWER") else _padding(a["auto_pad"], a["pads"], rank)
    padding = "SAME" if padding == "same" else padding
    strides = a["strides"] or [1] * rank
    how = {"rhs_dilation": a["dilations"], "feature_group_count": a["group"]}
    y: Array = lax.conv_general_dilated(x, w, strides, padding, **how)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def _conv_transpose(x: Array, w: Array, bias: Array | None = None, **a: Any) -> tuple[Array]:
    rank = x.ndim - 2
    stride, dilation = a["strides"] or [1] * rank, a["dilations"] or [1] * rank
    more, shape = a["output_padding"] or [0] * rank, a["output_shape"]
    if not shape and a["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
        shape = [size * step for size, step in zip(x.shape[2:], stride, strict=True)]
    if shape:
        pads = []
        for axis, wanted_size in enumerate(shape[-rank:]):
            reach = dilation[axis] * (w.shape[2 + axis] - 1)
            total = stride[axis] * (x.shape[2 + axis] - 1) + reach + 1 + more[axis] - wanted_size
            before = total // 2 if a["auto_pad"] == "SAME_UPPER" else total - total // 2
            pads.append((before, total - before))
    else:
        pads = _padding(None, None if a["auto_pad"] == "VALID" else a["pads"], rank)
    # output_padding may be as large as a stride here: the result is cut by so much less.
    cut = [(before, after - extra) for (before, after), extra in zip(pads, more, strict=True)]
    return (_of_rank(convolution, "conv_transpose{}d", x)(x, w, bias, stride, cut, 0, a["group"], dilation),)


def _conv_integer(
    x: Array, w: Array, x_zero_point: Array | None = None, w_zero_point: Array | None = None, **a: Any
) -> tuple[Array]:
    zeros = [0 if point is None else np.squeeze(point) for point in (x_zero_point, w_zero_point)]
    return (_of_rank(integer, "conv{}d_integer", x)(x, w, *zeros, groups=a["group"], **_sliding(x, a)),)


def _q_linear_conv(
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array | None,
    bias: Array | None = None,
    **a: Any,
) -> tuple[Array]:
    (sums,) = _conv_integer(x, w, x_zero_point, w_zero_point, **a)
    column = (-1, *[1] * (x.ndim - 2))
    if bias is not None:
        sums += bias.reshape(column)
    scale = x_scale * (w_scale.reshape(column) if w_scale.size > 1 else np.squeeze(w_scale)) / y_scale
    dtype = x.dtype if y_zero_point is None else y_zero_point.dtype
    limits = np.iinfo(dtype)
    scaled = sums * scale + (0 if y_zero_point is None else np.float64(np.squeeze(y_zero_point)))
    return (np.rint(np.clip(scaled, limits.min, limits.max)).astype(dtype),)


def _causal_conv(
    x: Array, w: Array, bias: Array | None = None, past_state: Array | None = None, activation: str | None = None
) -> tuple[Array, Array]:
    y, state = causal.causal_conv1d(x, w, bias, state=past_state, activation=ACTIVATIONS[activation])
    return y, state


def _max_pool(x: Array, wants_indices: bool = False, **a: Any) -> tuple[Array, ...]:
    call = _of_rank(pooling, "max_pool{}d", x)
    settings = {"ceil_mode": bool(a["ceil_mode"]), **_sliding(x, a)}
    if not wants_indices:
        return (call(x, a["kernel_shape"], **settings),)
    y, places = call(x, a["kernel_shape"], return_indices=True, **settings)
    # ONNX's indices count through the whole tensor, with storage_order 1 down the columns of each plane.
    sizes = x.shape[2:]
    if a["storage_order"]:
        places = np.ravel_multi_index(np.unravel_index(places, sizes), sizes, order="F")
    planes = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * len(sizes))
    return y, places + planes * prod(sizes)


def _max_unpool(x: Array, indices: Array, output_shape: Array | None = None, **a: Any) -> tuple[Array]:
    rank = x.ndim - 2
    kernel, strides = a["kernel_shape"], a["strides"] or [1] * rank
    pads = _padding(None, a["pads"], rank)
    sizes = [
        (size - 1) * step - before - after + taps
        for size, step, (before, after), taps in zip(x.shape[2:], strides, pads, kernel, strict=True)
    ]
    y = np.zeros((*x.shape[:2], *sizes), x.dtype)
    y.reshape(-1)[indices.reshape(-1)] = x.reshape(-1)
    if output_shape is None:
        return (y,)
    larger = np.zeros([int(size) for size in output_shape], x.dtype)
    larger[tuple(slice(size) for size in y.shape)] = y
    return (larger,)


def _average_pool(x: Array, **a: Any) -> tuple[Array]:
    settings = {"ceil_mode": bool(a["ceil_mode"]), "count_include_pad": bool(a["count_include_pad"])}
    return (_of_rank(pooling, "avg_pool{}d", x)(x, a["kernel_shape"], **settings, **_sliding(x, a)),)


def _lp_pool(x: Array, **a: Any) -> tuple[Array]:
    p = a["p"]
    settings = {"ceil_mode": bool(a.get("ceil_mode")), "divisor_override": 1, **_sliding(x, a)}
    sums = _of_rank(pooling, "avg_pool{}d", x)(_power(x, p), a["kernel_shape"], **settings)
    return (_root(sums, p),)


def _power(x: Array, p: int) -> Array:
    return x * x if p == 2 else np.abs(x) ** x.dtype.type(p)


def _root(sums: Array, p: int) -> Array:
    return np.sqrt(sums) if p == 2 else sums ** sums.dtype.type(1 / p)


def _global_average_pool(x: Array) -> tuple[Array]:
    return (pooling.global_avg_pool(x),)


def _global_max_pool(x: Array) -> tuple[Array]:
    return (pooling.global_max_pool(x),)


def _global_lp_pool(x: Array, p: int = 2) -> tuple[Array]:
    return (_root(pooling.global_avg_pool(_power(x, p)) * x.dtype.type(prod(x.shape[2:])), p),)


def _col2im(columns: Array, image_shape: Array, block_shape: Array, **a: Any) -> tuple[Array]:
    sizes, kernel = ([int(size) for size in shape] for shape in (image_shape, block_shape))
    pads = _padding(None, a["pads"], len(sizes))
    return (unfolding.fold(columns, sizes, kernel, a["dilations"] or 1, pads, a["strides"] or 1),)


def _deform_conv(
    x: Array, w: Array, offset: Array, bias: Array | None = None, mask: Array | None = None, **a: Any
) -> tuple[Array]:
    rank = x.ndim - 2
    how = (a["strides"] or [1] * rank, _padding(None, a["pads"], rank), a["dilations"] or [1] * rank)
    return (deform_conv(x, w, offset, bias, mask, *how, a["group"] or 1, a["offset_group"] or 1),)


FUNCTIONS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "AveragePool": _average_pool,
    "CausalConvWithState": _causal_conv,
    "Col2Im": _col2im,
    "Conv": _conv,
    "ConvInteger": _conv_integer,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform_conv,
    "GlobalAveragePool": _global_average_pool,
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _global_max_pool,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
    "QLinearConv": _q_linear_conv,
}


def _operator(name: str) -> type[OpRun]:
    """A class called like the operator: the evaluator takes it in place of its own."""

    def run(self: OpRun, *inputs: Array | None, **attributes: Any) -> tuple[Array, ...]:
        outputs = len(self.onnx_node.output)
        if name == "MaxPool":
            attributes["wants_indices"] = outputs > 1
        return FUNCTIONS[name](*inputs, **attributes)[:outputs]

    return type(name, (OpRun,), {"op_domain": "", "_run": run, "__module__": __name__})


OPERATORS = [_operator(name) for name in FUNCTIONS]
"""For ``onnx.reference.ReferenceEvaluator(model, new_ops=OPERATORS)``; one class for each operator, called like it."""
