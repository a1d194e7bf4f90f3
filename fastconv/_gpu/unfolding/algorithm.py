"""unfold and fold by plain kernels, one thread per element of what is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._blocks import Blocks
from .. import memory
from ..launch import each, run, struct
from ..source import C_TYPES, kernel_source

PROBLEM = np.dtype(
    [
        ("image_stride", np.int64, 5),
        ("columns_stride", np.int64, 3),
        *((name, np.int64) for name in ("batch", "channels")),
        *((name, np.int64, 3) for name in ("sizes", "kernel", "dilation", "stride", "before", "counts")),
    ]
)
"""unfold_problem of kernels.cu."""


class Unfolding:
    """The blocks of images of one shape."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def unfold(self, image: Any) -> Any:
        """The columns of an image."""
        columns = memory.empty(self.blocks.columns_shape, image.dtype)
        self._run("unfold", image, columns, image, columns)
        return columns

    def fold(self, columns: Any) -> Any:
        """The sums of columns."""
        image = memory.empty(self.blocks.image_shape, columns.dtype)
        self._run("fold", columns, image, image, columns)
        return image

    def _run(self, name: str, source: Any, result: Any, image: Any, columns: Any) -> None:
        blocks = self.blocks
        c = struct(
            PROBLEM,
            image_stride=_image_strides(image, blocks),
            columns_stride=[*[0] * (3 - columns.ndim), *_strides(columns)],
            batch=blocks.batch,
            channels=blocks.channels,
            sizes=_three(blocks.sizes, 1),
            kernel=_three(blocks.kernel, 1),
            dilation=_three(blocks.dilation, 1),
            stride=_three(blocks.stride, 1),
            before=_three([before for before, _ in blocks.pads], 0),
            counts=_three(blocks.counts, 1),
        )
        defines: dict[str, int | str] = {"ELEMENT": C_TYPES[image.dtype.name]}
        if name == "fold":
            defines["IS_SUMMED"] = 1
        text = kernel_source("unfolding", defines, "elements.cuh")
        run(each(text, name, result.size, source, result, c))


def _strides(array: Any) -> list[int]:
    return [stride // array.itemsize for stride in array.strides]


def _image_strides(image: Any, blocks: Blocks) -> list[int]:
    strides = _strides(image) if blocks.batched else [0, *_strides(image)]
    return [*strides[:2], *[0] * (5 - len(strides)), *strides[2:]]


def _three(values: Sequence[int], fill: int) -> tuple[int, ...]:
    return (*(fill,) * (3 - len(values)), *values)
