"""Convolutions of 8-bit integers with zero points, to the int8 problem, whose operands have had them subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import as_array, is_cupys
from .._errors import bad_type, bad_value, unfit
from .arrays import check_out, check_same_place
from .call import ConvCall, forward_call
from .settings import GivenSettings, describe

BYTES = ("int8", "uint8")


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
