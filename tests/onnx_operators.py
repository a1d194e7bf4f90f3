"""ONNX's operators as fastconv calls, in the form in which ONNX's reference evaluator takes other implementations."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

import fastconv

Array = np.ndarray
Attributes = dict[str, Any]

RUNS: Counter[str] = Counter()
"""How many times each operator has been computed by fastconv."""

WORDS = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}


def padding(auto_pad: str | None, pads: list[int] | None, rank: int) -> Any:
    """ONNX lists all numbers before, then all numbers after."""
    if auto_pad in WORDS:
        return WORDS[auto_pad]
    pads = pads or [0] * (2 * rank)
    return list(zip(pads[:rank], pads[rank:], strict=True))


def sliding(x: Array, a: Attributes) -> Attributes:
    """The settings that convolutions and pooling share."""
    rank = x.ndim - 2
    return {
        "stride": a["strides"] or 1,
        "padding": padding(a["auto_pad"], a["pads"], rank),
        "dilation": a["dilations"] or 1,
    }


def call(name: str, x: Array) -> Any:
    """fastconv's function of that name for the rank of ``x``."""
    return getattr(fastconv, name.format(rank=x.ndim - 2))


def conv(x: Array, w: Array, bias: Array | None = None, **a: Any) -> tuple[Array]:
    assert a["kernel_shape"] is None or tuple(a["kernel_shape"]) == w.shape[2:]
    return (call("conv{rank}d", x)(x, w, bias, groups=a["group"], **sliding(x, a)),)


def conv_integer(
    x: Array, w: Array, x_zero_point: Array | None = None, w_zero_point: Array | None = None, **a: Any
) -> tuple[Array]:
    zeros = [0 if point is None else point for point in (x_zero_point, w_zero_point)]
    return (call("conv{rank}d_integer", x)(x, w, *zeros, groups=a["group"], **sliding(x, a)),)


def conv_transpose(x: Array, w: Array, bias: Array | None = None, **a: Any) -> tuple[Array]:
    rank = x.ndim - 2
    settings = {**sliding(x, a), "output_padding": a["output_padding"] or 0}
    if a["output_shape"]:
        # Without a padding of its own the result is cut or grows at the end, where output_padding would add.
        assert not a["pads"]
        assert a["auto_pad"] == "NOTSET"
        settings.update(output_padding=0, output_size=a["output_shape"][-rank:])
    return (call("conv_transpose{rank}d", x)(x, w, bias, groups=a["group"], **settings),)


def causal_conv(
    x: Array,
    w: Array,
    bias: Array | None = None,
    past_state: Array | None = None,
    activation: str | None = None,
) -> tuple[Array, Array]:
    words = {None: None, "none": None, "silu": "silu", "swish": "silu"}
    return fastconv.causal_conv1d(x, w, bias, state=past_state, activation=words[activation])


def max_pool(x: Array, **a: Any) -> tuple[Array, Array]:
    settings = {"ceil_mode": bool(a["ceil_mode"]), "return_indices": True, **sliding(x, a)}
    y, places = call("max_pool{rank}d", x)(x, a["kernel_shape"], **settings)
    # ONNX's indices count through the whole tensor, with storage_order 1 down the columns of each plane.
    sizes = x.shape[2:]
    if a["storage_order"]:
        places = np.ravel_multi_index(np.unravel_index(places, sizes), sizes, order="F")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * len(sizes))
    return y, places + planes * np.prod(sizes)


def average_pool(x: Array, **a: Any) -> tuple[Array]:
    settings = {"ceil_mode": bool(a["ceil_mode"]), "count_include_pad": bool(a["count_include_pad"])}
    return (call("avg_pool{rank}d", x)(x, a["kernel_shape"], **settings, **sliding(x, a)),)


def global_average_pool(x: Array) -> tuple[Array]:
    return (fastconv.global_avg_pool(x),)


def global_max_pool(x: Array) -> tuple[Array]:
    return (fastconv.global_max_pool(x),)


def col2im(columns: Array, image_shape: Array, block_shape: Array, **a: Any) -> tuple[Array]:
    pads = padding(None, a["pads"], len(image_shape))
    return (
        fastconv.fold(columns, tuple(image_shape), tuple(block_shape), a["dilations"] or 1, pads, a["strides"] or 1),
    )


FUNCTIONS = {
    "Conv": conv,
    "ConvInteger": conv_integer,
    "ConvTranspose": conv_transpose,
    "CausalConvWithState": causal_conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "Col2Im": col2im,
}


def _operator(name: str) -> type[OpRun]:
    """A class called like the operator: the evaluator takes it in place of its own."""

    def run(self: OpRun, *inputs: Array | None, **attributes: Any) -> tuple[Array, ...]:
        results = FUNCTIONS[name](*inputs, **attributes)
        RUNS[name] += 1
        return results[: len(self.onnx_node.output)]

    return type(name, (OpRun,), {"op_domain": "", "_run": run})


OPERATORS = [_operator(name) for name in FUNCTIONS]
