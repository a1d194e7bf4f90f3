"""Shapes, parts and constants, as ONNX has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Value
from .call import Call, Given


def _reshape(call: Call) -> Given:
    shape = call.numbers("shape", 1)
    assert shape is not None
    x = call.given[0]
    if not call.get("allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    if -1 in shape:
        known = int(np.prod([size for size in shape if size != -1]))
        shape[shape.index(-1)] = int(np.prod(x.shape)) // max(known, 1)
    return x.reshape(shape) if not isinstance(x, Value) else call.graph.reshape(x, shape)


def _flatten(call: Call) -> Value:
    x = call.x()
    axis = call.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return call.graph.reshape(x, (int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:]))))


def _transpose(call: Call) -> Given:
    x = call.given[0]
    order = call.get("perm", list(reversed(range(x.ndim))))
    return call.graph.transpose(x, order) if isinstance(x, Value) else np.transpose(x, order)


def _concat(call: Call) -> Given:
    axis = call.get("axis", 1)
    if call.all_known():
        return np.concatenate([np.atleast_1d(each) for each in call.given], axis)
    return call.graph.concatenate([call.x(place) for place in range(len(call.given))], axis)


def _pad(call: Call) -> Value:
    x, mode = call.x(), call.get("mode", "constant")
    pads, values = call.numbers("pads", 1), call.numbers("value", 2)
    assert pads is not None
    axes = [axis % x.ndim for axis in (call.numbers("axes", 3) or range(x.ndim))]
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(axes):
        widths[axis] = (pads[place], pads[place + len(axes)])
    if any(each < 0 for pair in widths for each in pair):
        raise NotImplementedError("negative pads")
    return call.graph.pad(x, widths, mode, float(values[0]) if values else 0.0)


def _slice(call: Call) -> Given:
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    assert starts is not None
    assert ends is not None
    axes = call.numbers("axes", 3) or list(range(len(starts)))
    steps = call.numbers("steps", 4) or [1] * len(starts)
    x = call.given[0]
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 0 and end < -x.shape[axis]:
            end = None
        index[axis % x.ndim] = slice(start, end, step)
    return call.graph.part(x, tuple(index)) if isinstance(x, Value) else np.asarray(x)[tuple(index)]


def _split(call: Call) -> list[Given]:
    x, axis = call.x(), call.get("axis", 0) % call.x().ndim
    sizes = call.numbers("split", 1)
    if sizes is None:
        each = -(-x.shape[axis] // call.outputs)
        sizes = [min(each, x.shape[axis] - start) for start in range(0, x.shape[axis], each)]
    parts, start = [], 0
    for size in sizes:
        index = [slice(None)] * x.ndim
        index[axis] = slice(start, start + size)
        parts.append(call.graph.part(x, tuple(index)))
        start += size
    return parts


def _squeeze(call: Call) -> Given:
    x, axes = call.given[0], call.numbers("axes", 1)
    chosen = {axis % x.ndim for axis in axes} if axes else {axis for axis, size in enumerate(x.shape) if size == 1}
    shape = [size for axis, size in enumerate(x.shape) if axis not in chosen]
    return call.graph.reshape(x, shape) if isinstance(x, Value) else np.asarray(x).reshape(shape)


def _unsqueeze(call: Call) -> Given:
    x, axes = call.given[0], call.numbers("axes", 1)
    assert axes is not None
    rank = x.ndim + len(axes)
    chosen, sizes = {axis % rank for axis in axes}, iter(x.shape)
    shape = [1 if axis in chosen else next(sizes) for axis in range(rank)]
    return call.graph.reshape(x, shape) if isinstance(x, Value) else np.asarray(x).reshape(shape)


def _shape(call: Call) -> np.ndarray:
    shape = call.given[0].shape
    return np.array(shape[call.get("start", 0) : call.get("end", len(shape))], np.int64)


def _gather(call: Call) -> Given:
    numbers, axis = call.given[1], call.get("axis", 0)
    if isinstance(numbers, Value):
        if axis != 0:
            raise NotImplementedError("numbers that are computed, on another axis than the first")
        return call.graph.rows(numbers, call.known(0))
    if call.all_known():
        return np.take(call.known(0), numbers, axis)
    if np.ndim(numbers) > 1 or np.size(numbers) != 1:
        raise NotImplementedError("several constant numbers of computed values")
    x, index = call.x(), [slice(None)] * call.x().ndim
    at = int(np.reshape(numbers, -1)[0]) % x.shape[axis]
    index[axis] = slice(at, at + 1)
    y = call.graph.part(x, tuple(index))
    shape = [size for each, size in enumerate(y.shape) if each != axis % x.ndim or np.ndim(numbers) == 1]
    return call.graph.reshape(y, shape)


def _constant(call: Call) -> np.ndarray:
    for name, value in call.settings.items():
        if name == "value":
            return np.asarray(value)
        if name.startswith("value_"):
            return np.array(value, np.int64 if "int" in name else np.float32)
    raise ValueError("it has no value of numbers")


def _filled(call: Call) -> np.ndarray:
    value = np.asarray(call.get("value", np.zeros(1, np.float32))).reshape(-1)[0]
    return np.full([int(size) for size in call.known(0)], value)


def _cast(call: Call) -> Given:
    import onnx

    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(call.get("to")))
    if call.all_known():
        return call.known(0).astype(dtype)
    if call.x().dtype != dtype:
        raise NotImplementedError(f"{call.x().dtype} to {dtype}")
    return call.x()


def _same_value(call: Call) -> list[Given]:
    return [call.given[0]]


SHAPES: dict[str, Callable[[Call], Any]] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Shape": _shape,
    "Gather": _gather,
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Cast": _cast,
    "Identity": _same_value,
    "Dropout": _same_value,
}
