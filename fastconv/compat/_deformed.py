"""Deformable convolutions: taps of the kernel that lie where the data says, between pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod

import numpy as np

from ..functional import convolution

Array = np.ndarray


def deform_conv(
    x: Array,
    w: Array,
    offset: Array,
    bias: Array | None,
    mask: Array | None,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilations: Sequence[int],
    groups: int,
    offset_groups: int,
) -> Array:
    """ONNX's DeformConv, along any number of axes.

    Parameters
    ----------
    x : array, (N, C, ...)
    w : array, (K, C / groups, ...)
    offset : array, (N, offset_groups * taps * axes, ...)
        How far each tap is moved, for every pixel of the result.
    bias : array, (K,), or None
    mask : array, (N, offset_groups * taps, ...), or None
        Factors of the taps.

    Returns
    -------
    array, (N, K, ...)
    """
    images, channels, *sizes = x.shape
    kernel, out = w.shape[2:], offset.shape[2:]
    taps, axes = prod(kernel), len(sizes)
    _check(x, w, offset, mask, strides, pads, dilations, groups, offset_groups)
    offset = offset.reshape(images, offset_groups, taps, axes, *out)
    places = []
    for axis, along in enumerate(np.indices(kernel).reshape(axes, taps)):
        shape = [1] * (3 + axes)
        shape[2] = taps
        pixels = np.arange(out[axis]) * strides[axis] - pads[axis][0]
        lies = pixels.reshape(*[1] * (3 + axis), -1, *[1] * (axes - axis - 1))
        places.append(offset[:, :, :, axis] + (along.reshape(shape) * dilations[axis] + lies).astype(offset.dtype))
    grouped = x.reshape(images, offset_groups, channels // offset_groups, *sizes)
    columns = _sampled(grouped, places)
    if mask is not None:
        columns *= mask.reshape(images, offset_groups, 1, taps, *out)
    columns = columns.reshape(images, channels * taps, prod(out))
    y = convolution.conv1d(columns, w.reshape(w.shape[0], -1, 1), bias, groups=groups)
    return y.reshape(images, w.shape[0], *out)


def _sampled(x: Array, places: Sequence[Array]) -> Array:
    """Pixels of x (N, G, C, ...) at fractional places (N, G, taps, ...), interpolated; zeros lie around the image."""
    images, groups, channels, *sizes = x.shape
    lower = [np.floor(place) for place in places]
    flat = x.reshape(images, groups, channels, prod(sizes))
    result = np.zeros((images, groups, channels, *places[0].shape[2:]), x.dtype)
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        weight, index = np.ones((), x.dtype), np.zeros((), np.int64)
        inside = np.ones((), bool)
        for step, place, low, size in zip(corner, places, lower, sizes, strict=True):
            near = low + step
            weight = weight * (1 - np.abs(place - near)).astype(x.dtype)
            inside = inside & (near >= 0) & (near < size)
            index = index * size + np.clip(near, 0, size - 1).astype(np.int64)
        weight = np.where(inside, weight, 0).astype(x.dtype)
        rows = index.reshape(images, groups, 1, -1)
        taken = np.take_along_axis(flat, np.broadcast_to(rows, (*flat.shape[:3], rows.shape[-1])), axis=-1)
        result += taken.reshape(result.shape) * weight[:, :, None]
    return result


def _check(
    x: Array,
    w: Array,
    offset: Array,
    mask: Array | None,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilations: Sequence[int],
    groups: int,
    offset_groups: int,
) -> None:
    kernel, taps = w.shape[2:], prod(w.shape[2:])
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups or x.shape[1] % offset_groups:
        raise ValueError(
            f"W: got {w.shape} for X {x.shape}, group {groups}, offset_group {offset_groups}; allowed: channels that "
            "the groups divide"
        )
    out = tuple(
        (size + before + after - step * (count - 1) - 1) // stride + 1
        for size, (before, after), step, count, stride in zip(
            x.shape[2:], pads, dilations, kernel, strides, strict=True
        )
    )
    expected = (x.shape[0], offset_groups * taps * len(kernel), *out)
    if offset.shape != expected:
        raise ValueError(f"offset: got shape {offset.shape}; allowed: {expected}")
    if mask is not None and mask.shape != (x.shape[0], offset_groups * taps, *out):
        raise ValueError(f"mask: got shape {mask.shape}; allowed: {(x.shape[0], offset_groups * taps, *out)}")
