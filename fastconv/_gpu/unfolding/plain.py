"""unfold and fold by plain kernels, one thread per element of what is computed: any number of elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..._blocks import Blocks
from ..launch import Launch, each, struct
from ..layout import Layout
from ..source import C_TYPES, SHARED, source_of

PROBLEM = np.dtype(
    [
        ("image_stride", np.int64, 5),
        ("columns_stride", np.int64, 3),
        *((name, np.int64) for name in ("batch", "channels")),
        *((name, np.int64, 3) for name in ("sizes", "kernel", "dilation", "stride", "before", "counts")),
    ]
)
"""unfold_problem of plain.cu."""
Strides = tuple[int, int, int, int, int]


def launches(name: str, blocks: Blocks, dtype: np.dtype, source: Strides, elements: int) -> tuple[Launch, ...]:
    """``name``: "unfold" or "fold", of an array with these strides, into a new one of so many elements."""
    columns = (blocks.columns_shape[-2] * blocks.columns_shape[-1], blocks.columns_shape[-1], 1)
    image = Layout.packed(dtype, (blocks.batch, blocks.channels, *three(blocks.sizes, 1))).strides
    c = struct(
        PROBLEM,
        image_stride=source if name == "unfold" else image,
        columns_stride=columns if name == "unfold" else (*source[:2], source[4]),
        batch=blocks.batch,
        channels=blocks.channels,
        sizes=three(blocks.sizes, 1),
        kernel=three(blocks.kernel, 1),
        dilation=three(blocks.dilation, 1),
        stride=three(blocks.stride, 1),
        before=three([before for before, _ in blocks.pads], 0),
        counts=three(blocks.counts, 1),
    )
    defines: dict[str, int | str] = {"ELEMENT": C_TYPES[dtype.name]}
    if name == "fold":
        defines["IS_SUMMED"] = 1
    text = source_of("unfolding/plain.cu", defines, *SHARED, "elements.cuh")
    return each(text, name, elements, "source", "result", c)


def three(values: Sequence[int], fill: int) -> tuple[int, ...]:
    """Of the axes d, h, w."""
    return (*(fill,) * (3 - len(values)), *values)
