"""Frame: how a user's arrays lie, and the canonical 5-D views of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._errors import unfit
from .._once import once
from .arguments import LAYOUT_LETTERS, is_channels_last, weight_layout_name


@dataclass(frozen=True)
class Frame:
    """Number of spatial axes, batch axis or none, and the two layouts of one call."""

    rank: int
    batched: bool
    channels_last: bool
    weight_layout: str

    @classmethod
    def of(cls, rank: int, argument: str, shape: Sequence[int], layout: object, w_layout: object) -> Frame:
        """The frame of a call whose data array (``argument``) has ``shape``."""
        channels_last = is_channels_last(layout, rank)
        letters = LAYOUT_LETTERS[rank][channels_last]
        if len(shape) not in (rank + 1, rank + 2):
            raise unfit(argument, f"shape {tuple(shape)}", f"{rank + 2} axes ({letters}) or {rank + 1} ({letters[1:]})")
        return _kept(rank, len(shape) == rank + 2, channels_last, weight_layout_name(w_layout, rank))

    def data(self, array: np.ndarray) -> np.ndarray:
        """(N, C, D, H, W) view of an input, output or gradient."""
        array = array if self.batched else array[None]
        if self.channels_last:
            array = array.transpose(self._channels_second)
        return array[self._with_all_axes]

    def weights(self, array: np.ndarray) -> np.ndarray:
        """(K, C/groups, kD, kH, kW) view of a weight."""
        if self.weight_layout == "DHWIO":
            array = array.transpose(self.rank + 1, self.rank, *range(self.rank))
        elif self.weight_layout == "ODHWI":
            array = array.transpose(0, self.rank + 1, *range(1, self.rank + 1))
        elif self.weight_layout == "IODHW":
            array = array.swapaxes(0, 1)
        return array[self._with_all_axes]

    @once
    def _channels_second(self) -> tuple[int, ...]:
        """The axes of a batch of channels-last images in the order of channels-first ones."""
        return (0, self.rank + 1, *range(1, self.rank + 1))

    @once
    def _with_all_axes(self) -> tuple[slice | None, ...]:
        """The index that adds the missing spatial axes."""
        return (slice(None), slice(None), *(None,) * (3 - self.rank))

    @once
    def axes(self) -> dict[str, tuple[int, ...]]:
        """For the operands of each role, the axis of the user's array that each canonical axis is; -1: none."""
        sizes = (-1,) * (3 - self.rank)
        first = int(self.batched)
        batch, last = (0 if self.batched else -1), first + self.rank
        inside = tuple(range(first, last)) if self.channels_last else tuple(range(first + 1, last + 1))
        data = (batch, last if self.channels_last else first, *sizes, *inside)
        rank = self.rank
        (*ends, start) = {
            "OIDHW": (0, 1, 2),
            "IODHW": (1, 0, 2),
            "DHWIO": (rank + 1, rank, 0),
            "ODHWI": (0, rank + 1, 1),
        }[self.weight_layout]
        weight = (*ends, *sizes, *range(start, start + rank))
        return {"input": data, "weight": weight, "output": data, "add": data}

    def data_sizes(self, shape: Sequence[int]) -> tuple[int, int, tuple[int, ...]]:
        """(batch, channels, spatial sizes) of a data array of ``shape``."""
        batch, rest = (shape[0], tuple(shape[1:])) if self.batched else (1, tuple(shape))
        return (batch, rest[-1], rest[:-1]) if self.channels_last else (batch, rest[0], rest[1:])

    def weight_sizes(self, shape: Sequence[int]) -> tuple[int, int, tuple[int, ...]]:
        """(output channels, input channels per group, kernel sizes) of a weight of ``shape``."""
        shape = tuple(shape)
        if self.weight_layout == "DHWIO":
            return shape[-1], shape[-2], shape[:-2]
        if self.weight_layout == "ODHWI":
            return shape[0], shape[-1], shape[1:-1]
        if self.weight_layout == "IODHW":
            return shape[1], shape[0], shape[2:]
        return shape[0], shape[1], shape[2:]

    def data_shape(self, canonical: Sequence[int]) -> tuple[int, ...]:
        """The user's shape of a data array whose canonical shape is given."""
        batch, channels, *sizes = canonical
        spatial = tuple(sizes[3 - self.rank :])
        rest = (*spatial, channels) if self.channels_last else (channels, *spatial)
        return (batch, *rest) if self.batched else rest

    def weights_shape(self, canonical: Sequence[int]) -> tuple[int, ...]:
        """The user's shape of a weight whose canonical shape is given."""
        filters, channels, *sizes = canonical
        kernel = tuple(sizes[3 - self.rank :])
        if self.weight_layout == "DHWIO":
            return (*kernel, channels, filters)
        if self.weight_layout == "ODHWI":
            return (filters, *kernel, channels)
        if self.weight_layout == "IODHW":
            return (channels, filters, *kernel)
        return (filters, channels, *kernel)

    @property
    def first_spatial_axis(self) -> int:
        """Index of the first spatial axis of a data array."""
        return int(self.batched) + (not self.channels_last)


_kept = functools.cache(Frame)
"""There are few, and they keep what was worked out of them."""
