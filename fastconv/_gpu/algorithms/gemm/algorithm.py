"""gemm: cuBLAS's products; of layers with several taps, of columns that are made of some images at a time."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from ...._algorithm import ErrorBound, Machine, Params, definition_bound
from ...._problem import ConvProblem
from ... import cublas
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...cublas import Product
from ...launch import Launch, Step
from ...machine import with_units
from .columns import elements_of, rows_of_fold
from .products import Builder

MAX_PIXELS = 2**31 - 2**16
"""Of all images, and of channels and taps."""
SLICE_BYTES = (2**26, 2**24, 2**22, 0)
"""Of scratch memory of a slice: as many images as fit, and at least one."""
MAX_PRODUCTS = 64
"""Launches of a slice: of every group, or of every image."""

# Predicted for an H200; by element type, of the machine's float32 or float64 multiply-adds.
RATES: Mapping[str, float] = {"float32": 0.78, "float64": 1.9, "float16": 11.0, "bfloat16": 11.0}
TF32_RATE = 6.2
TAP_CYCLES = 28
"""Of a scheduler, for an element of every lane and a tap that is looked at."""
TAP_LATENCY = 1000
"""From a tap to the next one."""
SCHEDULER_WARPS = 8
"""That run at a time."""
TF32_ROUNDOFF = 2.0**-10


class Gemm(GpuAlgorithm):
    """Any problem without too many groups of several images."""

    name = "gemm"
    dtypes = frozenset({"float32", "float64", "float16", "bfloat16"})
    tf32: ClassVar[bool] = False

    def is_available(self) -> bool:
        return cublas.is_available()

    def supports(self, problem: ConvProblem) -> bool:
        rows = max(problem.in_channels, problem.out_channels) * math.prod(problem.kernel_size)
        pixels = problem.batch * max(math.prod(problem.input_size), math.prod(problem.output_size))
        return (
            places_fit(problem)
            and max(rows, pixels) < MAX_PIXELS
            and min(problem.groups, problem.batch) <= MAX_PRODUCTS
            and self.is_available()
        )

    def computes(self, operation: Operation) -> bool:
        """Also results of float32 of 16-bit operands."""
        return operation.is_uniform or operation.is_of_sums

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """Images of a slice, most first."""
        found = dict.fromkeys(min(problem.batch, max(size // _image_bytes(problem), 1)) for size in SLICE_BYTES)
        return [{"images": images} for images in found]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        """Of arrays without gaps; the steps know what others need."""
        return max(step.workspace_bytes for step in _steps(problem, params["images"], self.tf32))

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Products, and for each kernel beside them the bytes that it moves."""
        here = with_units(machine)
        rate = here.multiply_adds_per_second["float64" if problem.dtype == "float64" else "float32"]
        rate *= TF32_RATE if self.tf32 else RATES[problem.dtype]
        if self.tf32 or problem.dtype.endswith("16"):
            rate *= here.tensor_ratio
        itemsize = 2 if problem.dtype.endswith("16") else np.dtype(problem.dtype).itemsize
        steps = _steps(problem, params["images"], self.tf32)
        seconds = machine.call_seconds * len(steps)
        for step in steps:
            if isinstance(step, Product):
                seconds += max(step.work(here.multiprocessors) / rate, step.moved_bytes() / machine.bytes_per_second)
            else:
                elements, read, computed = elements_of(step), float(itemsize), 0.0
                if step.kernel == "gemm_fold" and problem.direction == "backward_input":
                    read = 4 * max(math.prod(problem.kernel_size) / math.prod(problem.stride), 1)
                    computed = _fold_cycles(problem, elements, here.multiprocessors) / here.hertz
                seconds += max(elements * (read + itemsize) / machine.bytes_per_second, computed)
        return seconds

    def launches(self, operation: Operation, params: Params) -> tuple[Step, ...]:
        return Builder(operation, params["images"], self.tf32).build()


class GemmTf32(Gemm):
    """The same with factors rounded to TF32, for what asks for no more."""

    name = "gemm_tf32"
    dtypes = frozenset({"float32"})
    exact_on_integers = True
    tf32 = True

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """Both factors are rounded before they are multiplied."""
        plain = definition_bound(problem)
        rounded = 2 * TF32_ROUNDOFF + TF32_ROUNDOFF**2
        return ErrorBound(None, plain.normwise + rounded, plain.relative + rounded)


def _fold_cycles(problem: ConvProblem, elements: int, multiprocessors: int) -> float:
    """What summing columns up takes beside bytes. Lanes side by side are of all stride phases of a row, so that taps
    that do not reach their own element pass, too."""
    channels, along_pixels = problem.in_channels // problem.groups, problem.layout == "channels_first"
    at_once = rows_of_fold(channels) if along_pixels else 1
    warps = elements / at_once / (32 * 4 * multiprocessors)
    looked_at = math.prod(problem.kernel_size) / math.prod(problem.stride[:2])
    return looked_at * max(max(warps / SCHEDULER_WARPS, 1) * TAP_LATENCY, warps * at_once * TAP_CYCLES)


def _image_bytes(problem: ConvProblem) -> int:
    """Scratch memory of an image, about."""
    itemsize = 8 if problem.dtype == "float64" else 4
    columns = problem.in_channels * math.prod(problem.kernel_size)
    return max((columns + problem.out_channels) * math.prod(problem.output_size) * itemsize, 1)


@functools.lru_cache(maxsize=1024)
def _steps(problem: ConvProblem, images: int, tf32: bool) -> tuple[Launch | Product, ...]:
    """Of arrays without gaps."""
    return Builder(Operation.contiguous(problem), images, tf32).build()
