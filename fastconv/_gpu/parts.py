"""Correlations of a launch: which axes are checked, axes made one, and parts that are no more than a launch may have.

A correlation is here an array of one fc_correlation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Limits:
    """What a launch may have; tests take less."""

    pixels: int = 2**31 - 2**16
    elements: int = 2**27
    """From the first to the last one of an array, with offsets of 32 bits in bytes; more where one image has more."""
    wide: bool = False
    """Offsets of 64 bits whatever the sizes."""


UNLIMITED = Limits()


def checked_axes(c: np.ndarray) -> int:
    """A bit for every axis on which some pixel reads outside of the source through some tap."""
    bits = 0
    for axis in range(3):
        pixels, taps, size, step, first, delta = (
            int(c[name][axis]) for name in ("pixels", "taps", "source_size", "step", "first", "delta")
        )
        span = max(taps - 1, 0) * delta
        lowest, highest = first + min(span, 0), first + (pixels - 1) * step + max(span, 0)
        bits |= int(lowest < 0 or highest >= size) << axis
    return bits


def folded(c: np.ndarray, checked: int) -> np.ndarray:
    """The same with axes that lie like one in all arrays made one, the last: longer rows, more vectors."""
    c = c.copy()
    for axis in (1, 0):
        if _is_foldable(c, axis, checked):
            c["source_at"] += c["first"][axis] * c["source_stride"][2 + axis]
            c["first"][axis] = 0
            c["pixels"][2] *= c["pixels"][axis]
            c["pixels"][axis] = 1
    return c


def _is_foldable(c: np.ndarray, axis: int, checked: int) -> bool:
    """Whether the next one of ``axis`` lies behind the last one of the last axis."""
    if checked & (1 << axis | 4) or c["taps"][axis] != 1 or c["taps"][2] != 1 or (axis == 0 and c["pixels"][1] != 1):
        return False
    width, step, source = c["pixels"][2], c["step"], c["source_stride"]
    return bool(
        source[2 + axis] * step[axis] == width * step[2] * source[4]
        and c["result_stride"][2 + axis] == width * c["result_stride"][4]
        and c["add_stride"][2 + axis] == width * c["add_stride"][4]
    )


def extent(c: np.ndarray, is_gradient: bool) -> int:
    """Elements from the first to the last one of an array of a launch, the most of any array."""
    images = int(c["batch"])
    sizes = {
        "source": (images, int(c["channels"]), *c["source_size"].tolist()),
        "result": (images, int(c["filters"]), *c["pixels"].tolist()),
    }
    sizes["add"] = sizes["result"]
    sizes["weight"] = (int(c["filters"]), int(c["channels"]), *c["taps"].tolist())
    found = [
        sum((size - 1) * abs(stride) for size, stride in zip(of, c[f"{name}_stride"].tolist(), strict=True) if size)
        for name, of in sizes.items()
    ]
    partial = math.prod(sizes["weight" if is_gradient else "result"])
    return max(*found, partial)


def cut(c: np.ndarray, limits: Limits, is_gradient: bool) -> Iterator[np.ndarray]:
    """Parts of the batch, or of an image's outermost axis, that are no more than a launch may have."""
    pixels = c["pixels"].tolist()
    too_far = c["batch"] > 1 and extent(c, is_gradient) > limits.elements and not limits.wide
    if int(c["batch"]) * math.prod(pixels) <= limits.pixels and not too_far:
        yield c
        return
    first, second = c.copy(), c.copy()
    if c["batch"] > 1:
        half = int(c["batch"]) // 2
        first["batch"], second["batch"] = half, int(c["batch"]) - half
        moved, index = half, 0
        second["source_at"] += half * c["source_stride"][0]
    else:
        axis = next(axis for axis in range(3) if pixels[axis] > 1)
        half = pixels[axis] // 2
        first["pixels"][axis], second["pixels"][axis] = half, pixels[axis] - half
        moved, index = half, 2 + axis
        second["first"][axis] += half * int(c["step"][axis])
    for name in ("result", "add"):
        second[f"{name}_at"] += moved * c[f"{name}_stride"][index]
    yield from cut(first, limits, is_gradient)
    yield from cut(second, limits, is_gradient)
