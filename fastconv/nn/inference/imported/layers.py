"""Layers of ONNX: convolutions, poolings, normalizations, products of matrices, other sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .... import pooling
from ..graph import Value
from .call import Call


def _padding(call: Call, dimensions: int) -> Any:
    """Pairs, or a word."""
    word = call.get("auto_pad", "NOTSET")
    if word == "VALID":
        return 0
    pads = call.get("pads", [0] * (2 * dimensions))
    if word == "NOTSET":
        return [(pads[axis], pads[axis + dimensions]) for axis in range(dimensions)]
    return None


def _same(
    call: Call, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Any:
    """The padding for as many results as there are strides in the input; what is odd goes where the word says."""
    pairs = []
    for size, width, step, apart in zip(sizes, kernel, stride, dilation, strict=True):
        total = max((-(-size // step) - 1) * step + (width - 1) * apart + 1 - size, 0)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if call.get("auto_pad") == "SAME_UPPER" else (more, less))
    return pairs


def _conv(call: Call) -> Value:
    x, weight, bias = call.x(), call.known(1), call.known(2)
    dimensions = weight.ndim - 2
    if x.ndim != weight.ndim or not 1 <= dimensions <= 3:
        raise ValueError(f"got shapes {x.shape} and {weight.shape}; allowed: 1 to 3 spatial axes")
    ones = [1] * dimensions
    stride, dilation = call.get("strides", ones), call.get("dilations", ones)
    padding = _padding(call, dimensions)
    if padding is None:
        padding = _same(call, x.shape[2:], weight.shape[2:], stride, dilation)
    settings = {"stride": stride, "dilation": dilation, "padding": padding, "groups": call.get("group", 1)}
    return call.graph.convolution(f"conv{dimensions}d", x, weight, bias, **settings)


def _conv_transpose(call: Call) -> Value:
    x, weight, bias = call.x(), call.known(1), call.known(2)
    dimensions = weight.ndim - 2
    ones, zeros = [1] * dimensions, [0] * dimensions
    stride, dilation = call.get("strides", ones), call.get("dilations", ones)
    extra, shape = call.get("output_padding", zeros), call.get("output_shape")
    reach = [(width - 1) * apart + 1 for width, apart in zip(weight.shape[2:], dilation, strict=True)]
    whole = [(size - 1) * step + each for size, step, each in zip(x.shape[2:], stride, reach, strict=True)]
    padding = _padding(call, dimensions)
    if shape is not None or padding is None:
        wanted = shape[-dimensions:] if shape is not None else [
            size * step for size, step in zip(x.shape[2:], stride, strict=True)
        ]  # fmt: skip
        totals = [size + more - want for size, more, want in zip(whole, extra, wanted, strict=True)]
        is_upper = call.get("auto_pad") == "SAME_UPPER"
        padding = [(total - total // 2, total // 2)[:: -1 if is_upper else 1] for total in totals]
    elif padding == 0:
        padding = [(0, 0)] * dimensions
    # All of the result without padding, of which the window between the pads is taken.
    settings = {"stride": stride, "dilation": dilation, "groups": call.get("group", 1)}
    plain = all(before == after for before, after in padding)
    function = f"conv_transpose{dimensions}d"
    if plain:
        settings |= {"padding": [before for before, _ in padding], "output_padding": extra}
        return call.graph.convolution(function, x, weight, bias, **settings)
    y = call.graph.convolution(function, x, weight, bias, **settings)
    ends = [size + more - after for size, more, (_, after) in zip(whole, extra, padding, strict=True)]
    if any(end > size for end, size in zip(ends, y.shape[2:], strict=True)):
        raise NotImplementedError("output_padding with pads that differ from side to side")
    every = slice(None)
    window = tuple(slice(before, end) for (before, _), end in zip(padding, ends, strict=True))
    return call.graph.part(y, (every, every, *window))


def _batch_norm(call: Call) -> Value:
    if call.get("training_mode", 0) or call.outputs > 1:
        raise NotImplementedError("training mode")
    weight, bias, mean, variance = (call.known(place).astype(np.float64) for place in range(1, 5))
    scale = weight / np.sqrt(variance + call.get("epsilon", 1e-5))
    return call.graph.scale(call.x(), scale, bias - mean * scale)


def _pool(kind: str, call: Call) -> Value:
    x = call.x()
    dimensions = x.ndim - 2
    kernel, ones = call.get("kernel_shape"), [1] * dimensions
    stride, dilation = call.get("strides", ones), call.get("dilations", ones)
    if call.outputs > 1 or call.get("storage_order", 0):
        raise NotImplementedError("the places of maxima")
    padding = _padding(call, dimensions)
    if padding is None:
        padding = _same(call, x.shape[2:], kernel, stride, dilation)
    elif padding == 0:
        padding = [(0, 0)] * dimensions
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "ceil_mode": bool(call.get("ceil_mode", 0))}
    if any(step != 1 for step in dilation):
        settings["dilation"] = dilation
    counts_padding = bool(call.get("count_include_pad", 0))
    if kind == "avg":
        settings["count_include_pad"] = counts_padding
    if any(before != after for before, after in padding):
        if kind == "avg" and not counts_padding:
            return _average_of_inside(call, x, padding, settings)
        lowest = -np.inf if kind == "max" else 0.0
        x = call.graph.pad(x, [(0, 0), (0, 0), *padding], "constant", lowest)
        settings["count_include_pad"] = True
        if kind == "max":
            del settings["count_include_pad"]
    else:
        settings["padding"] = [before for before, _ in padding]
    return call.graph.pool(f"{kind}_pool{dimensions}d", x, **settings)


def _average_of_inside(call: Call, x: Value, padding: Any, settings: dict[str, Any]) -> Value:
    """Averages without padding that differs from side to side: with it, over the share of what is inside."""
    function, widths = f"avg_pool{x.ndim - 2}d", [(0, 0), (0, 0), *padding]
    inside = np.pad(np.ones((1, 1, *x.shape[2:]), x.dtype), widths)
    settings = {**settings, "count_include_pad": True}
    share = getattr(pooling, function)(inside, **settings)
    y = call.graph.pool(function, call.graph.pad(x, widths), **settings)
    return call.graph.elementwise("divide", y, call.graph.constant(share))


def _global_pool(kind: str, call: Call) -> Value:
    return call.graph.pool(f"global_{kind}_pool", call.x(), keepdims=True)


def _local_response(call: Call) -> Value:
    how = {name: call.get(name, default) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))}
    return call.graph.elementwise("local_response", call.x(), size=call.get("size"), **how)


def _gemm(call: Call) -> Value:
    x, weight, bias = call.x(), call.known(1), call.known(2)
    if call.get("transA", 0):
        x = call.graph.transpose(x, (1, 0))
    weight = weight if call.get("transB", 0) else weight.T
    weight = np.ascontiguousarray(weight * weight.dtype.type(call.get("alpha", 1.0)))
    if bias is not None:
        if bias.size not in (1, weight.shape[0]) or (bias.ndim == 2 and bias.shape[0] != 1):
            y = call.graph.linear(x, weight)
            return call.graph.elementwise("add", y, call.graph.constant(bias * bias.dtype.type(call.get("beta", 1.0))))
        bias = np.broadcast_to(bias.reshape(-1) * bias.dtype.type(call.get("beta", 1.0)), weight.shape[:1])
    return call.graph.linear(x, weight, bias)


def _matmul(call: Call) -> Value:
    if call.has(1) and not isinstance(call.given[1], Value) and call.known(1).ndim == 2:
        return call.graph.linear(call.x(), np.ascontiguousarray(call.known(1).T))
    return call.graph.matmul(call.x(0), call.x(1))


def _layer_norm(call: Call) -> Value:
    x, axis = call.x(), call.get("axis", -1) % call.x().ndim
    weight, bias = call.known(1), call.known(2)
    if call.outputs > 1:
        raise NotImplementedError("statistics as outputs")
    axes = range(axis, x.ndim)
    wanted = [x.shape[each] for each in axes]
    weight, bias = (
        None if each is None else np.ascontiguousarray(np.broadcast_to(each, wanted)) for each in (weight, bias)
    )
    return call.graph.layer_norm(x, axes, weight, bias, call.get("epsilon", 1e-5))


def _group_norm(call: Call) -> Value:
    x, weight, bias, groups = call.x(), call.known(1), call.known(2), call.get("num_groups")
    if weight.size == groups != x.shape[1]:
        weight, bias = (np.repeat(each, x.shape[1] // groups) for each in (weight, bias))
    return call.graph.group_norm(x, groups, weight, bias, call.get("epsilon", 1e-5))


def _instance_norm(call: Call) -> Value:
    return call.graph.group_norm(call.x(), call.x().shape[1], call.known(1), call.known(2), call.get("epsilon", 1e-5))


def _resized(call: Call) -> Value:
    x = call.x()
    mode, corners = call.get("mode", "nearest"), call.get("coordinate_transformation_mode", "half_pixel")
    is_old = call.opset < 11
    places = (1, None) if is_old else (2, 3)
    scales = call.numbers("scales", places[0])
    sizes = None if places[1] is None else call.numbers("sizes", places[1])
    if is_old:
        corners = "asymmetric"
    if call.get("axes") is not None or mode not in ("nearest", "linear", "bilinear"):
        raise NotImplementedError(f"mode {mode!r}, or axes")
    if sizes:
        scales = [want / have for want, have in zip(sizes, x.shape, strict=True)]
    elif scales:
        sizes = [int(np.floor(have * scale)) for have, scale in zip(x.shape, scales, strict=True)]
    assert scales is not None
    assert sizes is not None
    if tuple(sizes[:2]) != x.shape[:2]:
        raise NotImplementedError("other sizes of the batch or the channels")
    how = mode, corners, call.get("nearest_mode", "round_prefer_floor" if not is_old else "floor")
    return call.graph.resize(
        x,
        [
            _places(before, after, scale, *how)
            for before, after, scale in zip(x.shape[2:], sizes[2:], scales[2:], strict=True)
        ],
        mode == "nearest",
    )


def _places(before: int, after: int, scale: float, mode: str, corners: str, rounding: str) -> tuple[Any, Any]:
    """For every place of the result: the first of two neighbours, and the share of the second."""
    number = np.arange(after)
    if corners == "align_corners":
        place = number * ((before - 1) / (after - 1) if after > 1 else 0.0)
    elif corners == "asymmetric":
        place = number / scale
    elif corners == "half_pixel" or (corners == "pytorch_half_pixel" and after > 1):
        place = (number + 0.5) / scale - 0.5
    elif corners == "pytorch_half_pixel":
        place = np.zeros(1)
    else:
        raise NotImplementedError(f"coordinate_transformation_mode {corners!r}")
    if mode == "nearest":
        ways: dict[str, Callable[[Any], Any]] = {
            "floor": np.floor,
            "ceil": np.ceil,
            "round_prefer_floor": lambda each: np.ceil(each - 0.5),
            "round_prefer_ceil": lambda each: np.floor(each + 0.5),
        }
        return np.clip(ways[rounding](place), 0, before - 1).astype(np.intp), np.zeros(after)
    place = np.clip(place, 0, before - 1)
    first = np.minimum(np.floor(place).astype(np.intp), before - 1)
    return first, np.where(first < before - 1, place - first, 0.0)


LAYERS: dict[str, Callable[[Call], Any]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "MaxPool": partial(_pool, "max"),
    "AveragePool": partial(_pool, "avg"),
    "GlobalAveragePool": partial(_global_pool, "avg"),
    "GlobalMaxPool": partial(_global_pool, "max"),
    "LRN": _local_response,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Resize": _resized,
    "Upsample": _resized,
}
