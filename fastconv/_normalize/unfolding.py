"""The arguments of unfold and fold to Blocks: the sliding blocks of an array and the columns that they become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._arrays import as_array
from .._backend import Backend, backend_of
from .._blocks import Blocks
from .._errors import bad_value, unfit
from .arguments import check_addressable, integer, is_sequence, per_axis, shape_and_array
from .arrays import check_out
from .call import check_shape
from .convolution import check_dtypes
from .padding import padding_pairs

SUMMED_DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
COPIED_DTYPES = (*SUMMED_DTYPES, "bool")


class BlockSettings(NamedTuple):
    """The arguments that unfold and fold share, as the user gave them."""

    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1


@dataclass
class BlockCall:
    """One normalised call: the blocks and the arrays."""

    blocks: Blocks
    input: np.ndarray
    out: np.ndarray | None = None

    @property
    def backend(self) -> Backend:
        return backend_of(self.input)


def unfold(settings: BlockSettings, x: Any, out: Any = None) -> BlockCall:
    """The call that copies the blocks of ``x`` into columns."""
    x = as_array("x", x)
    check_dtypes(COPIED_DTYPES, x=x)
    blocks = blocks_of("x", x.shape, settings)
    return BlockCall(blocks, x, None if out is None else check_out(out, blocks.columns_shape, x.dtype, x))


def fold(output_size: Any, settings: BlockSettings, columns: Any, out: Any = None) -> BlockCall:
    """The call that sums ``columns`` into an image of ``output_size``."""
    columns = as_array("x", columns)
    check_dtypes(SUMMED_DTYPES, x=columns)
    if columns.ndim not in (2, 3):
        raise unfit("x", f"shape {columns.shape}", "(N, C * kernel elements, blocks), or without N")
    sizes = output_sizes(output_size, settings.kernel_size)
    elements = math.prod(per_axis("kernel_size", settings.kernel_size, len(sizes), 1))
    channels, rest = divmod(columns.shape[-2], elements)
    if rest:
        raise unfit("x", f"{columns.shape[-2]} rows", f"a multiple of the {elements} elements of the kernel")
    blocks = blocks_of("output_size", (*columns.shape[:-2], channels, *sizes), settings, len(sizes))
    check_shape("x", columns, blocks.columns_shape)
    return BlockCall(
        blocks, columns, None if out is None else check_out(out, blocks.image_shape, columns.dtype, columns)
    )


def unfold_gradient(settings: BlockSettings, dy: Any, x: Any, out: Any = None) -> BlockCall:
    """The call that sums the columns ``dy`` into an array of the shape of ``x``, an array or a shape."""
    dy = as_array("dy", dy)
    shape, given = shape_and_array("x", x)
    check_dtypes(SUMMED_DTYPES, dy=dy, x=given)
    blocks = blocks_of("x", shape, settings)
    check_shape("dy", dy, blocks.columns_shape)
    return BlockCall(blocks, dy, None if out is None else check_out(out, blocks.image_shape, dy.dtype, dy))


def fold_gradient(output_size: Any, settings: BlockSettings, dy: Any, out: Any = None) -> BlockCall:
    """The call that copies the blocks of ``dy``, an image of ``output_size``, into columns."""
    dy = as_array("dy", dy)
    check_dtypes(SUMMED_DTYPES, dy=dy)
    sizes = output_sizes(output_size, settings.kernel_size)
    if dy.shape[-len(sizes) :] != sizes:
        raise unfit("dy", f"shape {dy.shape}", f"spatial sizes {sizes}, those of output_size")
    blocks = blocks_of("dy", dy.shape, settings, len(sizes))
    return BlockCall(blocks, dy, None if out is None else check_out(out, blocks.columns_shape, dy.dtype, dy))


def output_sizes(output_size: Any, kernel_size: Any) -> tuple[int, ...]:
    """``output_size`` as one size per axis: as many as it or ``kernel_size`` lists, two where both are ints."""
    for argument, value in (("output_size", output_size), ("kernel_size", kernel_size)):
        if is_sequence(value):
            if len(value) not in (1, 2, 3):
                raise bad_value(argument, value, "an int, or 1, 2 or 3 ints")
            return per_axis("output_size", output_size, len(value), 1)
    return per_axis("output_size", output_size, 2, 1)


def blocks_of(argument: str, shape: Sequence[int], settings: BlockSettings, rank: int | None = None) -> Blocks:
    """The blocks of an image of ``shape``, which the user gave as ``argument``."""
    if rank is None:
        rank = _rank(shape, settings.kernel_size)
    if rank not in (1, 2, 3):
        raise bad_value("kernel_size", settings.kernel_size, "an int, or 1, 2 or 3 ints")
    if len(shape) not in (rank + 1, rank + 2):
        raise unfit(argument, f"shape {tuple(shape)}", f"{rank + 2} axes (N, C, ...) or {rank + 1} (C, ...)")
    sizes = tuple(shape[-rank:])
    if min(sizes) < 1:
        raise unfit(argument, f"shape {tuple(shape)}", "spatial sizes of 1 or more")
    kernel = per_axis("kernel_size", settings.kernel_size, rank, 1)
    dilation = per_axis("dilation", settings.dilation, rank, 1)
    stride = per_axis("stride", settings.stride, rank, 1)
    pads = padding_pairs(settings.padding, sizes, kernel, stride, dilation)
    room = tuple(size + sum(pair) for size, pair in zip(sizes, pads, strict=True))
    reach = tuple(step * (taps - 1) + 1 for step, taps in zip(dilation, kernel, strict=True))
    if any(extent > most for extent, most in zip(reach, room, strict=True)):
        raise unfit("kernel_size", f"blocks that reach over {reach} elements", f"at most the padded image, {room}")
    counts = tuple((most - extent) // step + 1 for most, extent, step in zip(room, reach, stride, strict=True))
    batched = len(shape) == rank + 2
    batch = shape[0] if batched else 1
    blocks = Blocks(batched, batch, shape[-rank - 1], sizes, kernel, dilation, stride, tuple(pads), counts)
    check_addressable(argument, blocks.image_shape)
    check_addressable("padding", blocks.columns_shape)
    return blocks


def _rank(shape: Sequence[int], kernel_size: Any) -> int:
    """As many axes as ``kernel_size`` lists; for an int two, unless the image cannot have two."""
    if is_sequence(kernel_size):
        return len(kernel_size)
    integer("kernel_size", kernel_size, allowed="an int, or 1, 2 or 3 ints")
    return {2: 1, 5: 3}.get(len(shape), 2)
