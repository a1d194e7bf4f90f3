"""THE list of the CPU's algorithms, in the order in which ties are broken; the last one accepts every problem."""

from __future__ import annotations

from importlib import import_module

from .._algorithm import Algorithm

ROOMS = (
    "implicit_gemm",
    "direct",
    "depthwise_nhwc",
    "small_groups",
    "depthwise_nchw",
    "im2col",
    "winograd",
    "fft_fused",
    "split_bf16",
    "fft_scipy",
    "reference",
)
"""Folders of ``algorithms``."""

ALGORITHMS: tuple[Algorithm, ...] = tuple(
    algorithm for room in ROOMS for algorithm in import_module(f"{__package__}.algorithms.{room}").ALGORITHMS
)
