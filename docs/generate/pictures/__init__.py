"""A picture of each algorithm, drawn from what it does: with its own arithmetic, its own tiles, its own tables."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from ..files import Folder
from . import copies, definition, lanes, pieces, rows, spectra, tiles

PICTURES: dict[str, Callable[[], Figure]] = {
    "reference": definition.reference,
    "few_filters": definition.few_filters,
    "im2col": copies.im2col,
    "implicit_gemm": copies.implicit_gemm,
    "direct": rows.direct,
    "depthwise_nchw": rows.depthwise_nchw,
    "depthwise_nhwc": lanes.depthwise_nhwc,
    "small_groups": lanes.small_groups,
    "winograd": tiles.winograd,
    "winograd_errors": tiles.errors,
    "fft_fused": spectra.fft_fused,
    "fft_scipy": spectra.fft_scipy,
    "split_bf16": pieces.split_bf16,
}


def write(folder: Folder) -> None:
    """All of them, to `pictures`."""
    for name, draw in PICTURES.items():
        folder.draw(f"pictures/{name}", draw())
