"""Boxes: a correlation's pixels as the copy unit takes them, and which arrays it can address.

A correlation is here an array of one fc_correlation.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...layout import Layout
from ...parts import checked_axes, folded
from ...tensor_map import ALIGNED_BYTES, MAX_BOX, MAX_STEP, MAX_STRIDE_BYTES

ITEM_BYTES = 2
CHANNELS = 64
"""Of a box, and of a step of the reduction."""
ROW_BYTES = 2 * CHANNELS
WIDTHS = (64, 32, 16)
"""Columns of a box whose columns are contiguous: as many bytes as there is a swizzle for."""


@dataclass(frozen=True)
class Source:
    """How the copy unit addresses the array that pixels read."""

    along: str
    """What is contiguous: "CHANNELS", or columns: "PIXELS"."""
    offset_bytes: int
    sizes: tuple[int, ...]
    """Of the axes (channel, w, h, d, n), or (w, channel, h, d, n)."""
    strides: tuple[int, ...]
    """In bytes, but for the first axis."""
    steps: tuple[int, int, int]
    """From pixel to pixel along (w, h, d)."""


@dataclass(frozen=True)
class Box:
    """Pixels that a block computes."""

    w: int
    h: int
    d: int
    n: int

    @property
    def pixels(self) -> int:
        """Of a whole one."""
        return self.w * self.h * self.d * self.n

    def across(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Boxes along (w, h, d, n) of so many pixels."""
        return tuple(-(-size // own) for size, own in zip(sizes, (self.w, self.h, self.d, self.n), strict=True))


def pixels_of(c: np.ndarray) -> tuple[int, int, int, int]:
    """Along (w, h, d, n)."""
    d, h, w = c["pixels"].tolist()
    return w, h, d, int(c["batch"])


def flattened(c: np.ndarray) -> np.ndarray:
    """The same with axes that lie like one in all arrays made one, images too, and without steps where there is one
    tap: boxes then waste less, and more arrays can be addressed."""
    checked = checked_axes(c)
    c = folded(c, checked)
    for axis in range(3):
        if c["taps"][axis] == 1 and not checked >> axis & 1:
            c["source_size"][axis] = c["first"][axis] + (c["pixels"][axis] - 1) * c["step"][axis] + 1
            if c["step"][axis] > 1:
                c["source_at"] += c["first"][axis] * c["source_stride"][2 + axis]
                c["source_stride"][2 + axis] *= c["step"][axis]
                c["source_size"][axis], c["first"][axis], c["step"][axis] = c["pixels"][axis], 0, 1
    width, strides = int(c["pixels"][2]), ("source_stride", "result_stride", "add_stride")
    is_row = c["pixels"][0] == c["pixels"][1] == c["source_size"][0] == c["source_size"][1] == 1
    is_row &= math.prod(c["taps"].tolist()) == 1 and not checked and c["first"][2] == 0
    if is_row and c["batch"] > 1 and all(c[name][0] == width * c[name][4] for name in strides):
        c["pixels"][2] = c["source_size"][2] = width * int(c["batch"])
        c["batch"] = 1
    return c


def source_of(c: np.ndarray, layout: Layout) -> Source | None:
    """How the copy unit addresses the source of a flattened correlation; None where it cannot."""
    (d, h, w), (step_d, step_h, step_w) = c["source_size"].tolist(), c["step"].tolist()
    channels, batch = int(c["channels"]) * int(c["groups"]), int(c["batch"])
    by_n, by_c, by_d, by_h, by_w = (int(stride) * ITEM_BYTES for stride in c["source_stride"])
    at = int(c["source_at"]) * ITEM_BYTES
    if layout.alignment % ALIGNED_BYTES or at % ALIGNED_BYTES or min(d, h, w, channels, batch) < 1:
        return None
    steps = step_w, step_h, step_d
    for along, inner, second in (
        ("CHANNELS", (channels, by_c), (w, by_w)),
        ("PIXELS", (w, by_w), (channels, by_c)),
    ):
        if inner[0] > 1 and inner[1] != ITEM_BYTES:
            continue
        outer = second, (h, by_h), (d, by_d), (batch, by_n)
        strides = tuple(stride if size > 1 else ALIGNED_BYTES for size, stride in outer)
        is_aligned = all(stride % ALIGNED_BYTES == 0 and 0 < stride < MAX_STRIDE_BYTES for stride in strides)
        if is_aligned and max(steps) <= MAX_STEP and (along == "CHANNELS" or step_w == 1):
            return Source(along, at, (inner[0], *(size for size, _ in outer)), strides, steps)
    return None


def box_of(c: np.ndarray, source: Source, most: int) -> Box:
    """The box of at most so many pixels of which fewest cover a flattened correlation's."""
    return _box(pixels_of(c), source.steps, source.along, most)


@functools.lru_cache(4096)
def _box(pixels: tuple[int, int, int, int], steps: tuple[int, int, int], along: str, most: int) -> Box:
    def sizes(axis: int, room: int) -> Iterator[int]:
        """Those of an axis that no smaller one is as good as."""
        limit = min(room, MAX_BOX // (steps[axis] if axis < 3 else 1), pixels[axis])
        return iter({-(-pixels[axis] // -(-pixels[axis] // size)) for size in range(1, limit + 1)})

    def boxes() -> Iterator[Box]:
        for w in WIDTHS if along == "PIXELS" else sizes(0, most):
            for h in sizes(1, most // w):
                for d in sizes(2, most // (w * h)):
                    yield Box(w, h, d, max(sizes(3, most // (w * h * d))))

    return min(boxes(), key=lambda box: (math.prod(box.across(pixels)), -box.w, -box.h, -box.d))


def is_run(c: np.ndarray, name: str, axis: int, run: int, alignment: int) -> bool:
    """Whether ``run`` elements along an axis (of n, channel, d, h, w) of an array of results can be stored at once."""
    strides = c[f"{name}_stride"].tolist()
    others = itertools.compress(strides, (i != axis for i in range(5)))
    return (
        strides[axis] == 1
        and all(stride % run == 0 for stride in (*others, int(c[f"{name}_at"])))
        and alignment % (run * ITEM_BYTES) == 0
    )
