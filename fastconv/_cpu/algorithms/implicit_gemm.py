"""implicit_gemm: a matrix product whose pixel operand is packed straight from the array, block by block.

Blocking after Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34 (2008), with the
gathering of pixels in place of the copy of the right-hand matrix (Chetlur et al., cuDNN, arXiv:1410.0759).
"""

from __future__ import annotations

import math

import numpy as np

from ..._algorithm import Algorithm, Machine, Operands, Params, Resources
from ..._problem import ConvProblem
from .. import _implicit_gemm, _runtime

PANEL_DEPTH = 320
"""Reduction indices of one packed column panel. At the lower levels it stays in a first-level cache of 32 KiB beside
the row panel that streams past; at AVX-512 it takes more, which the second level feeds as fast."""
DEEPER = 1.25
"""A panel takes the whole reduction up to so many times its depth, rather than adding up two blocks."""
BLOCK_BYTES = 2**19
"""Entries times pixels of one block, as many bytes as the block would take if it were built."""
GRADIENT_ENTRIES = 256
"""Rows at least that a packed block of the output gradient is multiplied by: packing it is spread over them."""
PARTIAL_BYTES = 2**24
"""All partial sums of a weight gradient together."""
START_PRODUCTS = 8
"""Products of a sum that take as long as starting and storing it."""
LEAST_ITEMS = 16
"""Work items wanted, so that threads find work; never decided by their number, which must not change the result."""


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _gradient_rows(problem: ConvProblem) -> int:
    """Rows of the weight gradient's product: entries, or the filters of a product of matrices that has more of them."""
    is_matrix = problem.kernel_size == problem.stride == (1, 1, 1) and problem.input_size == problem.output_size
    filters = problem.out_channels // problem.groups if is_matrix else 0
    return max(math.prod(problem.weight_shape[1:]), filters)


class ImplicitGemm(Algorithm):
    """Any problem in float32 and float64."""

    name = "implicit_gemm"
    dtypes = frozenset({"float32", "float64"})
    multiplies_outside = True

    def supports(self, problem: ConvProblem) -> bool:
        return True

    def parameters(self, problem: ConvProblem) -> list[Params]:
        first = self._blocking(problem, PANEL_DEPTH, BLOCK_BYTES)
        found: list[Params] = [first]
        for deeper, larger in ((2, 1), (1, 2), (2, 2), (1, 4), (0.5, 1)):
            other = self._blocking(problem, int(PANEL_DEPTH * deeper), BLOCK_BYTES * larger)
            if other not in found:
                found.append(other)
        return found

    def _blocking(self, problem: ConvProblem, depth: int, block_bytes: int) -> dict[str, int]:
        """Block sizes: at most ``depth`` reduction indices by ``span`` pixels (columns of the weight gradient)."""
        _, _, columns = _runtime.tile_sizes(problem.dtype)
        itemsize = np.dtype(problem.dtype).itemsize
        pixels = problem.batch * math.prod(problem.output_size)
        if problem.direction == "backward_weight":
            depth = min(depth + depth // 2, max(pixels, 1))  # nothing but elements of a band streams past
            total = _gradient_rows(problem)
            # A split costs no more than adding its blocks to one sum; a block of entries packs the gradient again.
            weight_bytes = math.prod(problem.weight_shape) * itemsize
            most = min(-(-LEAST_ITEMS // problem.groups), pixels // depth, PARTIAL_BYTES // max(weight_bytes, 1))
            splits = max(most, 1)
            span = max(GRADIENT_ENTRIES, -(-total * splits * problem.groups // LEAST_ITEMS))
            span = min(span, max(total, 1), max(block_bytes // itemsize // depth * 4, GRADIENT_ENTRIES))
            return {"depth": depth, "span": span, "splits": splits}
        if problem.direction == "backward_input":
            pixels = problem.batch * math.prod(
                -(-size // stride) for size, stride in zip(problem.input_size, problem.stride, strict=True)
            )
        if problem.reduction <= DEEPER * depth:
            depth = max(problem.reduction, 1)
        span = self._span(pixels, block_bytes // itemsize // depth, columns, LEAST_ITEMS // problem.groups)
        return {"depth": depth, "span": span, "splits": 1}

    @staticmethod
    def _span(total: int, most: int, columns: int, items: int) -> int:
        """Columns of one item: at most ``most``, fewer where there would be less than ``items``, at least 4 panels."""
        wanted = min(most, -(-total // max(items, 1)))
        return _round_up(max(wanted, min(4 * columns, most), 1), columns)

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        kernel = self.bind(problem, params)
        return kernel.shared_bytes + threads * kernel.thread_bytes

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Padded tiles at the peak rate, band and panels packed from it as copies, the weights once per call."""
        _, rows, columns = _runtime.tile_sizes(problem.dtype)
        itemsize = np.dtype(problem.dtype).itemsize
        filters = max(problem.out_channels // problem.groups, 1)
        channels = max(problem.in_channels // problem.groups, 1)
        taps = math.prod(problem.kernel_size)
        if problem.direction == "backward_input":
            filters, channels = channels, filters
        elif problem.direction == "backward_weight":
            filters = filters * channels * taps // _gradient_rows(problem)
        # Panels of pixels are packed for rows of filters, otherwise filters are the columns.
        by_filters = problem.layout == "channels_first" and problem.direction != "backward_weight"
        lane_use = 1.0 if by_filters else filters / _round_up(filters, columns)
        row_use = min(1.0, (filters + 1) / (min(filters, rows) + 2)) if by_filters else 1.0
        rate = machine.multiply_adds_per_second[problem.dtype] * 0.9 * lane_use * row_use
        if problem.direction != "backward_weight":
            rate *= problem.reduction / (problem.reduction + START_PRODUCTS)
        is_in_place = taps == 1 and all(pair == (0, 0) for pair in problem.padding)
        # Strided pixels are copied one by one, where there is no code for the stride.
        band = 0.0 if is_in_place else (2 if problem.stride[2] in (1, 2, 4) else 8) / max(taps, 1)
        packed_bytes = problem.multiply_adds / filters * itemsize * ((1 if by_filters else 0) + band)
        if problem.direction == "backward_weight":
            packed_bytes += 2 * problem.multiply_adds / max(min(params["span"], _gradient_rows(problem)), 1) * itemsize
        if problem.direction == "backward_input" and problem.stride[2] > 1:
            packed_bytes *= 4  # phases are short, and their results are spread
        data_bytes = sum(math.prod(s) for s in (problem.input_shape, problem.output_shape)) * itemsize
        weight_bytes = 4 * math.prod(problem.weight_shape) * itemsize
        work = problem.multiply_adds / rate + packed_bytes / (4 * machine.bytes_per_second)
        work += (data_bytes + weight_bytes) / machine.bytes_per_second
        phases = math.prod(problem.stride) if problem.direction == "backward_input" else 1
        return machine.call_seconds * (1 + phases) + work / min(threads, LEAST_ITEMS)

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        # Packing reads the weights alone; the data arrays only have to have their shapes.
        blank = np.zeros(1, problem.dtype)
        shapes = (problem.input_shape, problem.output_shape)
        data, output = (np.lib.stride_tricks.as_strided(blank, shape, (0,) * 5) for shape in shapes)
        return self.bind(problem, params).pack(Operands(data, weight, output), threads)

    def bind(self, problem: ConvProblem, params: Params) -> _implicit_gemm.GemmKernel:
        return _implicit_gemm.GemmKernel(problem, params)

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        self.bind(problem, params).execute(operands, resources)
