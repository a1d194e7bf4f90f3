"""THE list of the GPU's algorithms, in the order in which ties are broken; the last one accepts every problem."""

from __future__ import annotations

from importlib import import_module

from .algorithm import GpuAlgorithm

ROOMS = (
    "implicit_gemm",
    "implicit_gemm_mma",
    "wgmma",
    "winograd",
    "gemm",
    "depthwise_nchw",
    "depthwise_nhwc",
    "few_channels",
    "small_groups",
    "fft",
    "reference",
)
"""Folders of ``algorithms``."""

ALGORITHMS: tuple[GpuAlgorithm, ...] = tuple(
    algorithm for room in ROOMS for algorithm in import_module(f"{__package__}.algorithms.{room}").ALGORITHMS
)
