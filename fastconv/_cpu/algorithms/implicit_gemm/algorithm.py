"""implicit_gemm: a matrix product whose pixel operand is packed straight from the array, block by block.

Blocking after Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34 (2008), with the
gathering of pixels in place of the copy of the right-hand matrix (Chetlur et al., cuDNN, arXiv:1410.0759).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...._algorithm import MAX_PHASES, Params
from ...._correlation import Correlation
from ...._problem import ConvProblem
from ...compiled import CompiledAlgorithm, beside_weight
from ...engine import runtime
from . import loops

PANEL_DEPTH = 320
"""Reduction indices of one packed column panel. At the lower levels it stays in a first-level cache of 32 KiB beside
the row panel that streams past; at AVX-512 it takes more, which the second level feeds as fast."""
DEEPER = 1.25
"""A panel takes the whole reduction up to this many times its depth, rather than adding up two blocks."""
BLOCK_BYTES = 2**19
"""Entries times pixels of one block, as many bytes as the block would take if it were built."""
IN_PLACE_DEEPER = 4
"""Where weights are looked up in place, panels of this many times the depth stay in L2 while all weights pass."""
IN_PLACE_FILTERS = 256
"""The fewest filters of an item that packs all of its pixels' panels."""
COPIED_PIXELS, COPIED_ITEMS = 64, 4
"""The fewest pixels of an item that copies them and looks weights up, all of which are read again for every item. With
so many such items filters are not shared out, too: their pixels would be copied again."""
NEAR_BYTES = 2**15
"""Pixels of one block, where all are one block, that vectors of filters are multiplied by again and again: they stay in
a first-level cache ..."""
NEAR_PANELS = 5
"""... and an item has so many panels of filters at least, for each of which they are looked up anew."""
COLUMN_FILTERS = 10
"""Filters whose products take as long as packing a panel of pixels."""
PACKING_PRODUCTS = 1.25
"""Vectors of multiply-adds that take as long as packing one vector of weights."""
WEIGHT_BYTES = 2**18
"""Packed weights of one item of a product of matrices, which stay in L2 while its pixels pass."""
TRANSPOSE_PRODUCTS = 0.75
"""Vectors of multiply-adds that take as long as transposing and storing one vector of sums along filters ..."""
CROSSING_PRODUCTS = 1.25
"""... and as adding one of a panel that goes on in the next image."""
STORED_ROWS = 512
"""Rows of one item of a weight gradient that is summed where it is stored; they share the packed columns."""
GRADIENT_ENTRIES = 256
"""The fewest rows that a packed block of the output gradient is multiplied by, over which packing it is spread."""
STORED_COPIES = 4
"""Copies of an element into a panel that take as long as adding up and storing one of the weight gradient."""
PARTIAL_BYTES = 2**24
"""All partial sums of a weight gradient together."""
COPIED_DEPTH = 512
"""Depth of a panel beside pixels that are copied: their sums are added up less often."""
MAX_TRANSPOSED_VECTORS = 4
"""With channels last and at most this many vectors of pixels, the pixels are transposed rather than the weights."""
COPIED_TILES, COPIED_PANELS = 7, 16
"""The fewest register tiles of pixels, and panels of filters, of an item that copies pixels."""
MIN_ITEMS = 16
"""Work items wanted at least, so that every thread finds work; the number of threads must not change the result."""


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class _Gradient:
    """The matrix product of one group of ``backward_weight``, with the columns packed."""

    columns: str
    """``filters``: the output gradient is packed; ``channels``, in products of matrices: the input is."""
    rows: int
    width: int
    is_stored: bool
    """Whether a product, were it not split, would be the weight gradient as it lies in memory."""

    @classmethod
    def of(cls, problem: ConvProblem) -> _Gradient:
        filters = max(problem.out_channels // problem.groups, 1)
        entries = max(math.prod(problem.weight_shape[1:]), 1)
        is_matrix = problem.kernel_size == problem.stride == (1, 1, 1) and problem.input_size == problem.output_size
        by_filters = cls("filters", entries, filters, is_matrix and problem.weight_layout == "DHWIO")
        if not is_matrix:
            return by_filters
        by_channels = cls("channels", filters, entries, problem.weight_layout != "DHWIO")
        return min(by_channels, by_filters, key=lambda product: product.copied(problem))

    def copied(self, problem: ConvProblem) -> float:
        """Elements copied, about: columns into panels, which are filled up (a vector of products takes as long as one
        copy), and sums that are not where they are stored."""
        lanes, _, columns = runtime.tile_sizes(problem.dtype)
        panels: float = self.width * -(-self.rows // GRADIENT_ENTRIES)
        filled_up = (_round_up(self.width, columns) - self.width) * self.rows / lanes
        if problem.layout == "channels_last":  # columns are copied by vectors, rows looked up many lines apart
            panels = panels / 4 + self.rows
        stored = 0 if self.is_stored else STORED_COPIES * self.rows * self.width
        return problem.batch * math.prod(problem.output_size) * (panels + filled_up) + stored


def _is_in_place(problem: ConvProblem) -> bool:
    """Whether the source is read where it lies (``gemm_is_in_place`` knows of more)."""
    return math.prod(problem.kernel_size) == 1 and all(pair == (0, 0) for pair in problem.padding)


@dataclass(frozen=True)
class _Product:
    """The matrix product of one group in one stride phase of ``forward`` or ``backward_input``."""

    filters: int
    pixels: int
    plane: int
    """Pixels of one image that are neighbours in the source and in the result; the next ones lie elsewhere."""
    reduction: int
    is_channels_last: bool
    has_lines: bool
    """Whether the weights of a filter are a line in the order of the reduction."""
    is_in_place: bool
    is_copied: bool
    """Whether vectors along filters have pixels copied for no other reason than how far apart they lie
    (``gemm_is_in_place``)."""
    has_filter_lines: bool
    """Whether the weights of an entry are a line of all filters: the first register tile packs them."""
    tile: tuple[int, int, int]

    @classmethod
    def of(cls, problem: ConvProblem) -> _Product:
        c = Correlation.of(problem)
        pixel_step = c.groups * c.channels * c.step[2]
        is_strided = problem.stride[2] > 1 and (problem.direction == "backward_input" or _is_in_place(problem))
        is_channels_last, is_in_place = problem.layout == "channels_last", _is_in_place(problem)
        return cls(
            max(c.filters, 1),
            max(c.batch * math.prod(c.pixels), 1),
            1 if is_strided else max(math.prod(c.pixels), 1),
            max(problem.reduction, 1),
            is_channels_last,
            problem.direction == "forward" and problem.weight_layout == "OIDHW",
            is_in_place,
            is_channels_last and is_in_place and pixel_step * np.dtype(problem.dtype).itemsize % 4096 == 0,
            math.prod(problem.kernel_size) == 1
            and (problem.direction == "backward_input") != (problem.weight_layout == "DHWIO"),
            runtime.tile_sizes(problem.dtype),
        )

    def operands(self, depth: int, is_packed: bool) -> tuple[str, str]:
        """What vectors run along, and whether weights are packed, by each call if not before, or looked up in place."""
        lanes, _, _ = self.tile
        if self.is_channels_last:
            if not is_packed and self.is_in_place and self.has_lines and self.pixels <= MAX_TRANSPOSED_VECTORS * lanes:
                return "pixels", "in_place"
            return "filters" if self.filters >= lanes else "pixels", "packed"
        packing = 0.0 if is_packed else PACKING_PRODUCTS * lanes * self.filters * self.reduction
        costs = {(along, "packed"): self.cost(along, "packed", depth) + packing for along in ("pixels", "filters")}
        if self.has_lines:
            costs["pixels", "in_place"] = self.cost("pixels", "in_place", IN_PLACE_DEEPER * depth)
        return min(costs, key=costs.__getitem__)

    def cost(self, columns: str, weights: str, depth: int) -> float:
        """Multiply-adds with vectors along ``columns``, padded to whole tiles, and as many as the stores cost."""
        lanes, rows, width = self.tile
        results, pixels = self.pixels * self.filters, self.pixels
        if columns == "filters" or self.is_channels_last:  # spread pixels of few channels are as slow as whole panels
            transposed = 0.0 if self.is_channels_last else TRANSPOSE_PRODUCTS * lanes * results
            return pixels * _round_up(self.filters, width) * self.reduction + transposed
        crossing = CROSSING_PRODUCTS * lanes * results * -(-self.reduction // depth) * min(1.0, width / self.plane)
        if weights == "in_place":
            if pixels % lanes > lanes // 4:  # fewer are single columns
                pixels = _round_up(pixels, lanes)
            return pixels * (self.filters + COLUMN_FILTERS) * self.reduction + crossing
        row_use = min(1.0, (self.filters + 1) / (min(self.filters, rows) + 2))
        return _round_up(pixels, width) * self.filters * self.reduction / row_use + crossing


class ImplicitGemm(CompiledAlgorithm):
    """Any problem in float32 and float64 without too many stride phases."""

    name = "implicit_gemm"
    dtypes = frozenset({"float32", "float64"})
    reads_padding = True
    packing = frozenset({"packed_weight_bytes"})

    def supports(self, problem: ConvProblem) -> bool:
        return problem.phases <= MAX_PHASES

    def parameters(self, problem: ConvProblem) -> list[Params]:
        first = self._blocking(problem, PANEL_DEPTH, BLOCK_BYTES)
        found: list[Params] = [first]
        for deeper, larger in ((2, 1), (1, 2), (2, 2), (1, 4), (0.5, 1)):
            other = self._blocking(problem, int(PANEL_DEPTH * deeper), BLOCK_BYTES * larger)
            if other not in found:
                found.append(other)
        return found

    def packed_params(self, problem: ConvProblem) -> Params | None:
        if problem.direction == "backward_weight":
            return None
        is_deeper = problem.layout == "channels_last"
        return self._blocking(problem, PANEL_DEPTH * (1 + is_deeper), BLOCK_BYTES, is_packed=True)

    def fitting(self, problem: ConvProblem, limit_bytes: int) -> Params | None:
        """A weight gradient is cut into fewer partial sums, and blocks become smaller, until they fit."""
        params, least = dict(self._blocking(problem, PANEL_DEPTH, BLOCK_BYTES)), runtime.tile_sizes(problem.dtype)[2]
        while self.workspace(problem, params, 1) > limit_bytes:
            if params["splits"] > 1:
                params["splits"] //= 2
            elif params["span"] > 2 * least:
                params["span"] = _round_up(params["span"] // 2, least)
            else:
                return None
        return params

    def _blocking(self, problem: ConvProblem, depth: int, block_bytes: int, is_packed: bool = False) -> Params:
        """Block sizes: at most ``depth`` reduction indices by ``span`` pixels (rows of the weight gradient)."""
        _, _, columns = runtime.tile_sizes(problem.dtype)
        itemsize = np.dtype(problem.dtype).itemsize
        pixels = problem.batch * math.prod(problem.output_size)
        if problem.direction == "backward_weight":
            depth = min(depth + depth // 2, max(pixels, 1))  # only elements of a band stream past
            product = _Gradient.of(problem)
            total, filters, splits = product.rows, product.width, 1
            row_items = problem.groups * -(-total // STORED_ROWS)
            if product.is_stored and row_items * -(-filters // (2 * columns)) >= MIN_ITEMS // 2:
                span = STORED_ROWS
                filters = _round_up(max(-(-filters // -(-MIN_ITEMS // row_items)), 2 * columns), columns)
            else:
                # A split costs no more than adding its blocks to one sum; a block of entries packs the gradient again.
                weight_bytes = math.prod(problem.weight_shape) * itemsize
                most = min(-(-MIN_ITEMS // problem.groups), pixels // depth, PARTIAL_BYTES // max(weight_bytes, 1))
                splits = max(most, 1)
                span = max(GRADIENT_ENTRIES, -(-total * splits * problem.groups // MIN_ITEMS))
                span = min(span, max(total, 1), max(block_bytes // itemsize // depth * 4, GRADIENT_ENTRIES))
            return {"columns": product.columns, "depth": depth, "span": span, "filters": filters, "splits": splits}
        size = _Product.of(problem)
        vectors, weights = size.operands(depth, is_packed)
        is_copied = size.is_copied and vectors == "filters"
        is_near = vectors == "filters" and size.is_in_place and not size.is_channels_last
        is_near = is_near and size.pixels * depth <= block_bytes // itemsize
        if weights == "in_place":
            depth *= IN_PLACE_DEEPER
        elif is_copied:
            depth = depth * COPIED_DEPTH // PANEL_DEPTH
        elif is_near:
            depth = max(min(depth, NEAR_BYTES // (size.pixels * itemsize)), depth // 2)
        if problem.reduction <= DEEPER * depth:
            depth = max(problem.reduction, 1)
        most = max(block_bytes // itemsize // depth, 1)
        if weights == "in_place":  # every item packs its pixels
            most = max(most // columns * columns, columns)
            span = self._span(size.pixels, most, columns, MIN_ITEMS // problem.groups)
            is_copied = not size.is_in_place or problem.stride[2] > 1
            if is_copied:
                span = max(span, min(COPIED_PIXELS, most))
            items = problem.groups * -(-size.pixels // span)
            fewest = 2 * IN_PLACE_FILTERS if is_copied else IN_PLACE_FILTERS
            filters = max(-(-size.filters // -(-MIN_ITEMS // items)), min(fewest, size.filters))
            parts = -(-size.filters // filters)
            if items == 1 and parts > 1:  # a number that two threads share evenly
                filters = -(-size.filters // (parts + parts % 2))
            if is_copied and items >= COPIED_ITEMS:
                filters = size.filters
        elif not size.is_in_place:  # every item copies its part of the source
            span = self._span(size.pixels, most, columns, MIN_ITEMS // problem.groups)
            filters = size.filters
        elif vectors == "pixels":
            filters = min(max(WEIGHT_BYTES // itemsize // depth, 1), size.filters)
            items = problem.groups * -(-size.filters // filters)
            span = self._span(size.pixels, most, columns, -(-MIN_ITEMS // items))
        else:
            span = min(size.pixels, most)
            if is_copied:  # the fewer items of the same pixels, the better
                span = min(span, max(-(-size.pixels * problem.groups // MIN_ITEMS), COPIED_TILES * size.tile[1]))
            items = problem.groups * -(-size.pixels // span)
            panels = COPIED_PANELS if is_copied else NEAR_PANELS if is_near else 2
            fewest = panels * columns
            filters = _round_up(max(-(-size.filters // -(-MIN_ITEMS // items)), fewest), columns)
        return {
            "columns": vectors,
            "weights": weights,
            "depth": depth,
            "span": span,
            "filters": filters,
            "splits": 1,
        }

    @staticmethod
    def _span(total: int, most: int, columns: int, items: int) -> int:
        """Columns of one item: at most ``most``, fewer where there would be less than ``items``, at least 4 panels."""
        wanted = min(most, -(-total // max(items, 1)))
        return _round_up(max(wanted, min(4 * columns, most), 1), columns)

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        kernel = self.bind(problem, params)
        return kernel.shared_bytes + threads * kernel.thread_bytes

    def loop(self, problem: ConvProblem, params: Params) -> str:
        return " ".join([self.name, params["columns"], *([params["weights"]] if "weights" in params else [])])

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """Products of whole tiles, what is packed and read how often, and sums that are added up block by block."""
        _, rows, columns = runtime.tile_sizes(problem.dtype)
        item, groups = np.dtype(problem.dtype).itemsize, problem.groups
        if problem.direction == "backward_weight":
            product = _Gradient.of(problem)
            pixels = max(problem.batch * math.prod(problem.output_size), 1)
            sums, blocks = product.rows * product.width * groups, -(-pixels // params["depth"])
            parts = -(-product.width // max(params["filters"], 1))
            by_column = pixels * _round_up(product.width, columns) * groups
            return {
                "tile_products": by_column * _round_up(product.rows, rows),
                "column_tile_products": by_column * product.rows,
                "packed_bytes": pixels * product.width * groups * item * -(-product.rows // max(params["span"], 1)),
                "streamed_bytes": pixels
                * product.rows
                * groups
                * item
                * -(-product.width // max(params["filters"], 1)),
                "split_bytes": params["splits"] * sums * item,
                "summed_bytes": blocks * sums * item,
                "tile_steps": blocks * groups * product.rows * -(-product.width // columns),
            }
        c, size = Correlation.of(problem), _Product.of(problem)
        depth, pixels, filters = max(c.channels * math.prod(c.taps), 1), size.pixels, size.filters
        matrices = problem.groups * math.prod(c.phases)
        blocks, spans = -(-depth // params["depth"]), -(-pixels // max(params["span"], 1))
        parts = -(-filters // max(params["filters"], 1))
        by_pixels, by_filters = (
            _round_up(pixels, columns) * depth * matrices,
            _round_up(filters, columns) * depth * matrices,
        )
        sums = blocks * pixels * filters * matrices
        is_packed_by_tile = params["columns"] == "filters" and size.has_filter_lines
        return {
            "column_tile_products": by_pixels * filters,
            "tile_products": by_pixels * _round_up(filters, rows),
            "short_tile_products": by_pixels * filters / min(1.0, (filters + 1) / (min(filters, rows) + 2)),
            "filter_tile_products": pixels * by_filters,
            "filter_row_tile_products": _round_up(pixels, rows) * by_filters,
            "summed_bytes": sums * item,
            "crossing_bytes": sums * item * min(1.0, columns / size.plane),
            "packed_bytes": pixels * depth * matrices * item * parts,
            "packed_weight_bytes": 0 if spans == 1 and is_packed_by_tile else filters * depth * matrices * item,
            "read_weight_bytes": filters * depth * matrices * item * spans,
            "tile_steps": blocks * matrices * -(-pixels // columns) * -(-filters // rows),
            "item_steps": matrices * spans * parts,
        }

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight" or params["weights"] == "in_place":
            return None
        return self.bind(problem, params).pack(beside_weight(problem, weight), threads)

    def bind(self, problem: ConvProblem, params: Params) -> loops.GemmKernel:
        return loops.GemmKernel(problem, params)
