"""Convolutions of 8-bit integers with zero points, to the int8 problem, whose operands have had them subtracted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._arrays import as_array, is_cupys
from .._backend import backend_of
from .._errors import bad_type, bad_value, unfit
from .arrays import check_out, check_same_place
from .call import ConvCall, forward_call
from .settings import GivenSettings, describe

BYTES = ("int8", "uint8")


class Requantisation(NamedTuple):
    """What is made of the sums, as the user gave it."""

    bias: Any = None
    scale: Any = None
    y_zero_point: Any = None
    y_dtype: Any = None


class Requantised(NamedTuple):
    """The same, checked, and shaped as the sums are."""

    x: np.ndarray
    w: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype
    bias: Any
    scale: Any
    zero_point: np.float32
    least: int
    most: int


def forward(
    rank: int, settings: GivenSettings, x_zero_point: Any, w_zero_point: Any, x: Any, w: Any, out: Any = None
) -> ConvCall:
    """``x - x_zero_point`` convolved with ``w - w_zero_point``, in int32; padding adds zero points to x."""
    x, w = as_array("x", x), as_array("w", w)
    check_same_place(x=x, w=w)
    for argument, array in (("x", x), ("w", w)):
        if array.dtype.name not in BYTES:
            raise bad_type(argument, f"dtype {array.dtype.name}", " or ".join(BYTES))
    described = describe(rank, x.shape, w.shape, "int8", settings)
    filters = described.problem.out_channels
    x_zero = _zero_point("x_zero_point", x_zero_point, x.dtype)
    if x_zero.size != 1:
        raise unfit("x_zero_point", f"shape {x_zero.shape}", "one int")
    w_zero = _zero_point("w_zero_point", w_zero_point, w.dtype)
    if w_zero.shape not in ((1,), (filters,)):
        raise unfit("w_zero_point", f"shape {w_zero.shape}", f"one int or one per output channel, ({filters},)")
    checked = None if out is None else check_out(out, described.y_shape, np.dtype(np.int32), x)
    call = forward_call(described, described.problem, x, w)
    call.out = checked
    zeros = {"input": x_zero.reshape(1, 1, 1, 1, 1), "weight": w_zero.reshape(-1, 1, 1, 1, 1)}
    problem = described.problem
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape}
    call.subtracted = {role: np.broadcast_to(zeros[role], shape) for role, shape in shapes.items()}
    return call


def requantised(rank: int, settings: GivenSettings, x: Any, w: Any, given: Requantisation) -> Requantised:
    """A bias of int32 by output channel, and a scale that makes 8-bit numbers of ``y_dtype`` of the sums."""
    x, w = as_array("x", x), as_array("w", w)
    check_same_place(x=x, w=w)
    described = describe(rank, x.shape, w.shape, "int8", settings)
    filters, shape = described.problem.out_channels, described.y_shape
    by_channel = [1] * len(shape)
    by_channel[len(shape) - 1 if described.frame.channels_last else len(shape) - 1 - rank] = filters
    bias = None
    if given.bias is not None:
        bias = as_array("bias", given.bias)
        check_same_place(x=x, bias=bias)
        if bias.dtype.name != "int32":
            raise bad_type("bias", f"dtype {bias.dtype.name}", "int32")
        if bias.shape != (filters,):
            raise unfit("bias", f"shape {bias.shape}", f"shape ({filters},)")
        bias = bias.reshape(by_channel)
    if given.scale is None:
        for argument in ("y_zero_point", "y_dtype"):
            if getattr(given, argument) is not None:
                raise bad_value(argument, getattr(given, argument), "None where there is no scale")
        return Requantised(x, w, shape, np.dtype(np.int32), bias, None, np.float32(0), 0, 0)
    try:
        name = x.dtype.name if given.y_dtype is None else np.dtype(given.y_dtype).name
    except Exception:  # of several types, as NumPy cannot make sense of it
        name = ""
    if name not in BYTES:
        raise bad_value("y_dtype", given.y_dtype, "None (that of x), int8, uint8")
    dtype = np.dtype(name)
    zero = _zero_point("y_zero_point", 0 if given.y_zero_point is None else given.y_zero_point, dtype)
    if zero.size != 1:
        raise unfit("y_zero_point", f"shape {zero.shape}", "one int")
    scale = as_array("scale", given.scale)
    if is_cupys(scale) or scale.dtype.kind not in "fiu":
        raise bad_type("scale", given.scale, "a float or one per output channel, where the host can read them")
    if scale.shape not in ((), (1,), (filters,)):
        raise unfit("scale", f"shape {scale.shape}", f"one float or one per output channel, ({filters},)")
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise bad_value("scale", given.scale, "positive finite numbers")
    scale = np.ascontiguousarray(scale, np.float32).reshape(by_channel if scale.shape == (filters,) else 1)
    limits, backend = np.iinfo(dtype), backend_of(x)
    return Requantised(
        x, w, shape, dtype, bias, backend.from_host(scale), np.float32(zero[0]), int(limits.min), int(limits.max)
    )


def _zero_point(argument: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """``value`` as a 1-D int16 array of numbers that ``dtype`` has."""
    limits = np.iinfo(dtype)
    allowed = f"ints from {limits.min} to {limits.max}"
    array = as_array(argument, value)
    if is_cupys(array):
        raise bad_type(argument, "a CuPy array", f"{allowed}, where the host can read them")
    if array.dtype.kind not in "iu":
        raise bad_type(argument, value, allowed)
    if array.ndim > 1:
        raise unfit(argument, f"shape {array.shape}", "one int or a 1-D array")
    if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
        raise bad_value(argument, value, allowed)
    return array.reshape(-1).astype(np.int16)
