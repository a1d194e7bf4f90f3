"""CPU tensors as NumPy arrays and back, over the same memory."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor

HAS_BFLOAT16 = importlib.util.find_spec("ml_dtypes") is not None
REAL = frozenset([torch.float32, torch.float64, torch.float16, *[torch.bfloat16] * HAS_BFLOAT16])
"""NumPy knows bfloat16 by ml_dtypes alone."""
FLOATING = REAL | {torch.complex64, torch.complex128}

LAYOUTS = {4: "NHWC", 5: "NDHWC"}
W_LAYOUTS = {4: "OHWI", 5: "ODHWI"}
FIRST_TO_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
LAST_TO_FIRST = {4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}


def array_of(tensor: Tensor) -> np.ndarray:
    """The array over a tensor's memory. A TypeError or RuntimeError where there is none."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    array: np.ndarray = tensor.numpy()
    return array


def tensor_of(array: np.ndarray) -> Tensor:
    """The tensor over an array's memory."""
    if array.dtype.char == "E":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def is_channels_last(tensor: Tensor) -> bool:
    """Whether torch takes a tensor with a batch for one in channels_last, by the order of its steps."""
    axes = tensor.dim()
    if axes not in LAYOUTS:
        return False
    steps, sizes = tensor.stride(), tensor.shape
    least = steps[1] * sizes[1]
    if steps[-1] < least or least == 0:
        return False
    for axis in range(axes - 1, 1, -1):
        least = steps[axis] * sizes[axis]
        if steps[axis - 1 if axis > 2 else 0] < least:
            return False
    # One element a channel: any order would do, and torch says no.
    return not (steps[0] == steps[1] and sizes[0] == 1)


def first_to_last(array: np.ndarray) -> np.ndarray:
    """A view with the channels as the last axis."""
    return array.transpose(FIRST_TO_LAST[array.ndim])


def last_to_first(array: Any) -> np.ndarray:
    """A view with the channels as the second axis."""
    view: np.ndarray = array.transpose(LAST_TO_FIRST[array.ndim])
    return view
