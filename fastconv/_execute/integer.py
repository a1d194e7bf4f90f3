"""Convolutions of 8-bit integers, and what is made of their sums: a bias, and 8-bit numbers of another scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._backend import backend_of
from .._normalize import integer as normalize
from .._normalize.arrays import check_out
from .convolution import run


def convolve(
    rank: int, settings: Any, zero_points: tuple[Any, Any], how: tuple[Any, ...], arrays: tuple[Any, Any], out: Any,
    requantisation: normalize.Requantisation,
) -> Any:  # fmt: skip
    """The sums in int32, or what ``requantisation`` makes of them."""
    if all(value is None for value in requantisation):
        return run(normalize.forward, (rank, settings, *zero_points), how, arrays, out)
    checked = normalize.requantised(rank, settings, *arrays, requantisation)
    x = checked.x
    if out is not None:
        check_out(out, checked.shape, checked.dtype, x)
    with backend_of(x).active((x,)):
        sums = run(normalize.forward, (rank, settings, *zero_points), how, (x, checked.w))
        if checked.bias is not None:
            sums += checked.bias
        if checked.scale is None:
            result = sums
        else:
            # As ONNX has it: float32 products, rounded half to even; the zero point is added to whole numbers.
            result = (sums.astype(np.float32) * checked.scale).round()
            result += checked.zero_point
            result = result.clip(checked.least, checked.most).astype(checked.dtype)
    if out is None:
        return result
    out[...] = result
    return out
