"""Padding by elements of the array itself (reflect, replicate, circular): which elements it repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Index = np.ndarray | None


@dataclass(frozen=True)
class Border:
    """For the axes D, H, W of an array: the index of the element at each place of the padded axis; None: no padding."""

    sizes: tuple[int, int, int]
    """Sizes of the axes without padding."""
    indices: tuple[Index, Index, Index]

    def cut(self, axis: int, begin: int, end: int) -> Border:
        """The border of the places ``begin`` to ``end`` of a padded axis."""
        d, h, w = (
            index[begin:end] if number == axis and index is not None else index
            for number, index in enumerate(self.indices)
        )
        return replace(self, indices=(d, h, w))
