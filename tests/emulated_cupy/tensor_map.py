"""Tensor maps in the machine's own format: what takes the place of the driver's ``cuTensorMapEncodeTiled``."""

from __future__ import annotations

import numpy as np

from .cuda.driver import CUDADriverError

SWIZZLES = {0: 0, 128: 1, 64: 2, 32: 3}
"""Span in bytes -> mode, as machine.h numbers them."""


def encode_tiled(address: int, item_bytes: int, dims: tuple[int, ...], strides: tuple[int, ...], box: tuple[int, ...],
                 swizzle: int) -> np.ndarray:  # fmt: skip
    """A map of 128 bytes, to be passed by value; axes from the innermost on, whose stride is not given.

    Strides and ``swizzle`` are in bytes. The driver's limits are checked.
    """
    inner = box[0] * item_bytes
    if (
        address % 16
        or any(stride % 16 or not 0 < stride < 1 << 40 for stride in strides)
        or not 1 <= len(dims) <= 5
        or not 0 < max(dims) <= 1 << 32
        or max(box) > 256
        or inner % 16
        or (swizzle and inner > swizzle)
    ):
        raise CUDADriverError(1, f"tensor map of {dims}, strides {strides}, box {box}")
    words = np.zeros(16, np.uint64)
    words[0], words[1] = address, len(dims) | item_bytes << 8 | SWIZZLES[swizzle] << 16
    words[2 : 2 + len(dims)], words[7 : 7 + len(strides)] = dims, strides
    words[11:13].view(np.uint16)[: len(box)] = box
    return words.view("V128")
