"""split_bf16: float32 as sums of bfloat16 pieces, multiplied by dot-product or matrix instructions.

One product of pieces keeps 8 bits, three keep 16, six keep 24: Henry, Tang and Heinecke, Leveraging the bfloat16
Artificial Intelligence Datatype For Higher-Precision Computations, ARITH 2019 (arXiv:1904.06376). Infinities have no
pieces and the instructions flush subnormal numbers: a problem whose magnitudes are out of range is computed again by
im2col, so that NaN and Inf come out where the definition puts them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ...._algorithm import MAX_PHASES, ErrorBound, Operands, Params, Resources
from ...._problem import ConvProblem
from ...compiled import beside_weight
from ...cost.counts import ITEM_BYTES, count, whole
from ...cost.fitted import Fitted
from ...nonfinite import compute_again
from . import loops

PRODUCTS = {"medium": 1, "high": 3, "highest": 6}
"""Products of pieces by precision level; other levels ask for float32 products."""
ROUNDOFF = {1: 2.01 * 2.0**-8, 3: 3.01 * 2.0**-16, 6: 4.01 * 2.0**-24}
"""Largest error of the product of two elements, by products of pieces: of those left out, and of the last pieces, each
of which is rounded to 8 bits."""
TYPICAL_ROUNDOFF = {1: 3e-3, 3: 6e-6, 6: 3e-7}
"""Largest error of sums of exact products over their largest, on typical data; measured."""
NARROW_PRODUCTS = {"bfloat16": 1, "float16": 3}
"""Products of pieces for dtypes whose elements are exactly one piece, and two."""
PASS_PIXELS = 4096
"""The most pixels that one pass of a weight gradient adds up."""
MIN_CHANNELS = 3
"""Channels of a group; fewer would fill too few of the 32 that are multiplied at once."""
SOURCE_SIZES = (1.0, 2.0, 0.5)
"""Sizes of the converted source of one item, over what stays in cache."""
PASS_BYTES = (2**21, 2**23, 2**20)
"""Sizes of the converted operands of one pass of a weight gradient."""


class SplitBf16(Fitted):
    """On ISA levels that multiply bfloat16; exact for integers of up to 8 bits."""

    name = "split_bf16"
    dtypes = frozenset({"float32", "bfloat16", "float16"})

    def is_available(self) -> bool:
        return loops.is_available()

    def supports(self, problem: ConvProblem) -> bool:
        if not self.is_available() or not _products(problem) or problem.phases > MAX_PHASES:
            return False
        return min(problem.in_channels, problem.out_channels) // problem.groups >= MIN_CHANNELS

    def choices(self, problem: ConvProblem) -> Sequence[Params]:
        sizes = [int(size * loops.source_bytes()) for size in SOURCE_SIZES]
        if problem.direction == "backward_weight":
            sizes = list(PASS_BYTES)
        return [{"products": _products(problem), "bytes": size} for size in sizes]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        kernel = _kernel(problem, params["products"], params["bytes"])
        return kernel.shared_bytes + threads * kernel.thread_bytes

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """Products of pieces in whole tiles, and what is converted and stored with channels filled up."""
        item = ITEM_BYTES[problem.dtype]
        channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
        source, result = math.prod(problem.input_shape) * item, math.prod(problem.output_shape) * item
        if problem.direction == "backward_input":
            channels, filters, source, result = filters, channels, result, source
        products = params["products"] * count(problem, "products")
        by_channel, by_half, by_tile = whole(channels, 32), whole(filters, 16), whole(filters, 32)
        weights = math.prod(problem.weight_shape) * item
        return {
            "tile_products": products * by_channel * by_tile,
            "half_tile_products": products * by_channel * by_half,
            "converted_bytes": source * by_channel,
            "converted_result_bytes": result * by_half,
            "converted_weight_bytes": weights * by_channel * by_half,
        }

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """The error of the pieces and of float32 sums of all products; what underflows is negligible."""
        products = _products(problem) or 6
        terms = chain = products * problem.reduction + 4
        if problem.direction == "backward_weight":
            chain = min(terms, products * PASS_PIXELS)
        gamma = 2.0**-24 * terms / (1 - 2.0**-24 * terms)
        is_exact = problem.dtype == "bfloat16"
        pieces, typical = (0.0, 0.0) if is_exact else (ROUNDOFF[products], TYPICAL_ROUNDOFF[products])
        typical *= 1 + 2 / math.sqrt(max(problem.reduction, 4))  # few errors cancel less
        sums = 2.0**-24 * max(loops.sum_roundoffs() * math.sqrt(chain), 4)
        return ErrorBound(elementwise=None, normwise=1.05 * pieces + gamma, relative=1.2 * math.hypot(typical, sums))

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        kernel = _kernel(problem, params["products"], params["bytes"])
        return kernel.pack(_in_memory(problem, beside_weight(problem, weight, _memory_dtype(problem))), threads)

    def bind(self, problem: ConvProblem, params: Params) -> loops.SplitKernel | None:
        # Arrays of bfloat16 do not export their memory; ``execute`` looks at them as integers.
        return None if problem.dtype == "bfloat16" else _kernel(problem, params["products"], params["bytes"])

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        kernel = _kernel(problem, params["products"], params["bytes"])
        if kernel.execute(_in_memory(problem, operands), resources) is None:
            compute_again(problem, operands, resources, None)


@functools.lru_cache(maxsize=1024)
def _kernel(problem: ConvProblem, products: int, size: int) -> loops.SplitKernel:
    return loops.SplitKernel(problem, {"products": products, "bytes": size})


def _products(problem: ConvProblem) -> int:
    """Products of pieces that the dtype or the precision level asks for; 0: none will do."""
    return NARROW_PRODUCTS.get(problem.dtype) or PRODUCTS.get(problem.precision, 0)


def _memory_dtype(problem: ConvProblem) -> type:
    return np.float32 if problem.dtype == "float32" else np.uint16


def _in_memory(problem: ConvProblem, operands: Operands) -> Operands:
    """The operands as arrays that export their memory."""
    if problem.dtype == "float32":
        return operands
    arrays = {
        name: None if (array := getattr(operands, name)) is None else array.view(np.uint16)
        for name in ("input", "weight", "output", "bias", "add")
    }
    return Operands(**arrays, packed=operands.packed)  # type: ignore[arg-type]
