"""unfold and fold: all sliding blocks of an image as columns, and their sums, tap by tap."""

from __future__ import annotations

import numpy as np

from .._blocks import Blocks


class Unfolding:
    """The blocks of images of one shape, worked out once."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self._taps = tuple(blocks.taps())

    def unfold(self, image: np.ndarray) -> np.ndarray:
        """The columns of an image."""
        blocks = self.blocks
        columns = np.zeros(blocks.grid_shape, image.dtype.newbyteorder("="))
        source = image if blocks.batched else image[None]
        for in_image, in_columns in self._taps:
            columns[in_columns] = source[in_image]
        return columns.reshape(blocks.columns_shape)

    def fold(self, columns: np.ndarray) -> np.ndarray:
        """The sums of columns; those of 16-bit floats are added up in float32."""
        blocks, dtype = self.blocks, columns.dtype.newbyteorder("=")
        is_half = dtype.itemsize == 2 and dtype.kind not in "iu"
        image = np.zeros((blocks.batch, blocks.channels, *blocks.sizes), np.float32 if is_half else dtype)
        grid = columns.reshape(blocks.grid_shape)
        for in_image, in_columns in self._taps:
            inside = image[in_image]
            np.add(inside, grid[in_columns], out=inside)
        with np.errstate(over="ignore"):
            return image.reshape(blocks.image_shape).astype(dtype, copy=False)
