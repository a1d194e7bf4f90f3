"""Sizes of a transposed convolution's result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._errors import bad_value, unfit
from .arguments import integer, is_sequence, per_axis
from .padding import Pair, padding_pairs


def transposed_sizes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Any,
    output_padding: Any,
    output_size: Any,
    allow_empty: bool,
    x_name: str,
) -> tuple[tuple[int, ...], list[Pair]]:
    """Spatial sizes of a transposed convolution's result and the padding of the convolution it is the adjoint of.

    The result's size is free: at least so much as its adjoint needs for the size of x, and then ``output_padding`` or
    ``output_size`` says. The padding after each axis is set so that the convolution of the result has exactly the size
    of x.
    """
    rank = len(sizes)
    if min(sizes) < 1 and not allow_empty:
        raise unfit(x_name, f"spatial sizes {tuple(sizes)}", "1 or more on every axis")
    extra = per_axis("output_padding", output_padding, rank, 0)
    word_sizes = tuple(size * step for size, step in zip(sizes, stride, strict=True))
    pads = padding_pairs(padding, word_sizes, kernel, stride, dilation)
    full = tuple(
        (size - 1) * step + reach * (k - 1) + 1
        for size, step, reach, k in zip(sizes, stride, dilation, kernel, strict=True)
    )
    smallest = tuple(size - before - after for size, (before, after) in zip(full, pads, strict=True))
    if isinstance(padding, str) and padding.lower().startswith("same"):
        smallest = word_sizes
    most = tuple(max(step, reach) - 1 for step, reach in zip(stride, dilation, strict=True))
    if output_size is None:
        result = tuple(low + more for low, more in zip(smallest, extra, strict=True))
    else:
        result = _spatial_sizes(output_size, rank)
        if max(extra):
            raise bad_value("output_padding", output_padding, "0 where output_size is given")
        if any(not low <= size <= low + more for size, low, more in zip(result, smallest, most, strict=True)):
            allowed = " x ".join(f"{low}..{low + more}" for low, more in zip(smallest, most, strict=True))
            raise bad_value("output_size", output_size, allowed)
    if allow_empty:
        result = tuple(max(size, 0) for size in result)
    elif min(result) < 1:
        raise bad_value("padding", padding, f"less, so that the result's sizes are 1 or more and not {result}")
    exact = [(before, size - before - out) for size, (before, _), out in zip(full, pads, result, strict=True)]
    return result, exact


def _spatial_sizes(output_size: Any, rank: int) -> tuple[int, ...]:
    allowed = f"{rank} ints" if rank > 1 else "an int"
    items = list(output_size) if is_sequence(output_size) else [output_size]
    sizes = tuple(integer("output_size", item, output_size, allowed) for item in items)
    # As in torch, the whole shape may be given; the spatial sizes are its last axes.
    if len(sizes) not in (rank, rank + 1, rank + 2):
        raise bad_value("output_size", output_size, allowed)
    return sizes[-rank:]
