"""Correlations of one array with one kernel of as many axes, as signal and image processing have them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional
from ._exact import integers

Array = np.ndarray
Pads = Sequence[tuple[int, int]]

FLOATS = ("float32", "float64", "complex64", "complex128")


class UnservedError(Exception):
    """What fastconv does not compute and its peer does."""


def correlate(x: Array, w: Array, pads: Pads, mode: str = "zeros") -> Array:
    """x, padded, correlated with w: both of one dtype, floats, complex numbers or integers, which wrap around."""
    if x.dtype.kind in "iu":
        return integers(lambda a, b, how: correlate_floats(a, b, pads, mode, how), x, w, w.size, x.dtype)
    if x.dtype.name not in FLOATS:
        raise UnservedError(f"{x.dtype}")
    return correlate_floats(x, w, pads, mode, {"precision": "highest"})


def correlate_floats(x: Array, w: Array, pads: Pads, mode: str, how: dict[str, Any]) -> Array:
    """As ``correlate``, with further arguments of ``fastconv.conv2d``.

    Axes along which the kernel does nothing are batch if they come first, and joined if they are neighbours.
    """
    still = [k == 1 and tuple(pad) == (0, 0) for k, pad in zip(w.shape, pads, strict=True)]
    if all(still):
        still[-1] = False
    order = list(range(x.ndim))
    groups = [list(run) for _, run in itertools.groupby(order, key=lambda axis: -1 if still[axis] else axis)]
    if len(groups) - still[0] > 3:  # too many in between: all become batch
        order = sorted(order, key=lambda axis: not still[axis])
        moving = [axis for axis in order if not still[axis]]
        groups = [order[: x.ndim - len(moving)], *([axis] for axis in moving)]
        if len(moving) > 3:
            raise UnservedError(f"{len(moving)} axes")
        x, w = x.transpose(order), w.transpose(order)
    batch = groups.pop(0) if still[groups[0][0]] else []
    spatial = [group for group in groups if group]
    sizes = dict(zip(order, x.shape, strict=True))
    kernel = dict(zip(order, w.shape, strict=True))
    rank = len(spatial)
    images = x.reshape((-1, 1, *(_product(sizes[axis] for axis in group) for group in spatial)))
    weights = w.reshape((1, 1, *(_product(kernel[axis] for axis in group) for group in spatial)))
    padding = [tuple(pads[group[0]]) for group in spatial]
    convolve = getattr(functional.convolution, f"conv{rank}d")
    y = convolve(images, weights, None, 1, padding, padding_mode=mode, **how)
    shape = [sizes[axis] for axis in batch]
    for group, size in zip(spatial, y.shape[2:], strict=True):
        shape += [sizes[axis] for axis in group] if still[group[0]] else [size]
    return y.reshape(shape).transpose(np.argsort(order))


def _product(sizes: Any) -> int:
    return int(np.prod(list(sizes), dtype=np.int64))
