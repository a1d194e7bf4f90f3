"""Weight gradients as launches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...gemm import ALIGNED_BYTES, MAX_GRID_HEIGHT, add_partials, by_value, gemm_struct, padded
from ...launch import Launch, Workspace
from ...nonfinite import computed_again
from ...parts import checked_axes, cut, extent, folded
from ...phases import phases_of
from .builder import Builder
from .tiles import UNIT_BYTES

MAX_TURNED_TAPS, MAX_TURNED_SPLITS = 64, 8
"""Of sums that are turned in shared memory: with more splits, threads of more blocks hide more of their latency."""
TURNED_BLOCKS = 1024
"""As many are enough, each of 128 channels."""


class Gradient(Builder):
    """One launch, or one for each part of the pixels; and the sum of their splits."""

    def launches(self) -> tuple[Launch, ...]:
        """All of them."""
        problem, tile = self.problem, self.tile
        (phase,) = phases_of(problem, self.layouts)
        c = phase.packed().reshape(())
        checked = checked_axes(c)
        parts = list(cut(self._kept(c, checked), self.limits, True))
        rows, of_tap = int(c["filters"]), padded(int(c["channels"]), self.chunk)
        columns = math.prod(c["taps"].tolist()) * of_tap
        pixels = [int(part["batch"]) * math.prod(part["pixels"].tolist()) for part in parts]
        wanted = [max(min(self.params["splits"] // len(parts), -(-depth // tile.bk)), 1) for depth in pixels]
        of_split = [padded(-(-depth // n), tile.bk) for depth, n in zip(pixels, wanted, strict=True)]
        splits = [max(-(-depth // max(n, 1)), 1) for depth, n in zip(pixels, of_split, strict=True)]
        is_split, size = sum(splits) > 1, problem.groups * rows * columns * 4
        tiles = -(-rows // tile.bm) * self._column_tiles(c, columns)
        partials = padded(sum(splits) * size, ALIGNED_BYTES) if is_split else 0
        marks = tiles * problem.groups * sum(splits) if self.products == 3 else 0
        sequence, done = [], 0
        for part, depth, step, of_part in zip(parts, pixels, of_split, splits, strict=True):
            gemm = self._gemm(part, columns, of_tap, depth, step, sum(splits))
            to: str | Workspace = Workspace(done * size) if is_split else "weight"
            mark = Workspace(partials + tiles * problem.groups * done) if marks else None
            part, result, prepared = self._prepared(part, gemm, partials)
            sequence += prepared
            size_here = max(partials + marks, *(launch.workspace_bytes for launch in prepared), 0)
            sequence.append(Launch(
                "weight_gradient", self._source(part, checked, is_split, bool(marks)), (tiles, problem.groups, of_part),
                (tile.threads, 1, 1),
                (self.roles[0], result, to, mark, by_value(part), by_value(gemm), *self._more(part)),
                self._shared_bytes(part), size_here,
            ))  # fmt: skip
            done += of_part
        if is_split:
            arguments = (Workspace(0), "weight", None, None, by_value(c), by_value(gemm))
            turned = self._turned(c, gemm, arguments, partials)
            sequence.append(turned or add_partials(problem, gemm, arguments, partials))
        if marks:
            sequence += computed_again(self.operation, Workspace(partials), marks)
        return tuple(sequence)

    def _turned(self, c: np.ndarray, gemm: np.ndarray, arguments: tuple[Any, ...], end: int) -> Launch | None:
        """What adds the sums of splits, where a filter's weights are one piece in memory and few rows are not one."""
        taps, rows = c["taps"].tolist(), self.problem.groups * int(c["filters"])
        pieces = zip(c["weight_stride"].tolist()[1:], (math.prod(taps), taps[1] * taps[2], taps[2], 1),
                     (int(c["channels"]), *taps), strict=True)  # fmt: skip
        is_one = all(stride == wanted or size == 1 for stride, wanted, size in pieces)
        is_large = rows * -(-int(c["channels"]) // 128) >= TURNED_BLOCKS
        if (not is_one or not 1 < math.prod(taps) <= MAX_TURNED_TAPS or rows > MAX_GRID_HEIGHT
                or gemm["splits"] > MAX_TURNED_SPLITS):  # fmt: skip
            return None
        channels = 128 if is_large else 32
        threads = min(padded(math.prod(taps) * channels // 4, 32), 128)
        source = self.text("sums.cu", TAPS=math.prod(taps), CHANNELS=channels, THREADS=threads)
        grid = (-(-int(c["channels"]) // channels), rows, 1)
        return Launch("add_partials", source, grid, (threads, 1, 1), arguments, workspace_bytes=end)

    def _kept(self, c: np.ndarray, checked: int) -> np.ndarray:
        """The correlation with axes of pixels that may be made one."""
        return folded(c, checked)

    def _prepared(self, c: np.ndarray, gemm: np.ndarray, at: int) -> tuple[np.ndarray, Any, list[Launch]]:
        """The correlation, where its result is, and what is launched to put it there, behind so many bytes."""
        return c, self.roles[1], []

    def _column_tiles(self, c: np.ndarray, columns: int) -> int:
        return -(-columns // self.tile.bn)

    def _more(self, c: np.ndarray) -> tuple[np.ndarray, ...]:
        """Further arguments."""
        return ()

    def _gemm(self, c: np.ndarray, columns: int, of_tap: int, depth: int, of_split: int, splits: int) -> np.ndarray:
        rows, taps = int(c["filters"]), c["taps"].tolist()
        return gemm_struct(
            c, (taps[1] * taps[2], taps[2]), {"filter_tiles": -(-rows // self.tile.bm), "inner": of_tap},
            rows=rows, columns=columns, depth=depth, depth_of_split=of_split, splits=splits,
        )  # fmt: skip

    def _source(self, c: np.ndarray, checked: int, is_split: bool, is_marked: bool) -> str:
        return self.text(
            "gradient.cu", WIDE=int(self._is_wide(c)), CHECKED=checked, SPLIT=int(is_split),
            MARKED=int(is_marked), OF_SUMS=int(is_split),
            A_ALONG=self.by_channels(c, "result", "output", int(c["filters"])),
            B_ALONG=self.by_channels(c, "source", "input", int(c["channels"])),
            WHOLE_A=int(c["filters"] % self.chunk == 0), WHOLE_B=int(c["channels"] % self.chunk == 0),
        )  # fmt: skip

    def _is_wide(self, c: np.ndarray) -> bool:
        return self.limits.wide or extent(c, is_gradient=True) > self.limits.elements

    def _shared_bytes(self, c: np.ndarray) -> int:
        tile = self.tile
        pitch = tile.bk + (4 if self.itemsize == 4 else 1)
        units = tile.stages * (tile.bm + tile.bn) // self.chunk * pitch
        return units * UNIT_BYTES + tile.bn // self.chunk * (UNIT_BYTES + (8 if self._is_wide(c) else 4))
