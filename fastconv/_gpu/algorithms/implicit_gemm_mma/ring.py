"""Weight gradients whose taps share a ring of rows of the source, as launches."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...._problem import ConvProblem
from ...algorithm import Operation
from ...gemm import ALIGNED_BYTES, SUMMING_BLOCKS, by_value, gemm_struct, padded
from ...launch import Launch, Workspace
from ...phases import phases_of
from ...source import DIVIDER, divider
from .gradient import Gradient
from .tiles import UNIT_BYTES, Tile

CHUNK = 8
"""Channels of a unit."""
STEP_PIXELS, STAGES, TABLES = 64, 3, 4
MAX_TILES = 9
"""Of 8 columns, of a warp."""
MAX_SHARED_BYTES = 99 << 10
TILE_CYCLES, GROUP_CYCLES, STEP_CYCLES = 102, 140, 130
"""Of a step: for each tile of 8 columns of a warp, for each load of a thread of the source, and for the rest."""
MIN_VECTOR = 4
"""Pixels of a copy that are worth it."""
MAX_LOADS = 2**31 - 2**16
_DIVIDERS = ("lines", "source_lines", "planes", "loads", "rows", "step", "tap_groups")
RING = np.dtype(
    [
        *((name, DIVIDER) for name in _DIVIDERS),
        *((name, np.int32) for name in ("gap", "pitch", "part", "plane", "before")),
    ]
)
"""fc_ring of ring.cu."""


@dataclass(frozen=True)
class Ring:
    """Rows of the source that blocks hold, and the columns that a block computes."""

    tap_rows: int
    """Of a block."""
    tap_columns: int
    chunks: int
    """Of a warp."""
    vector: int
    """Columns of a load."""
    before: int
    loads: int
    """Of a row."""
    part: int
    pitch: int
    source_lines: int
    gap: int
    rows: int
    plane: int

    @classmethod
    def of(cls, c: np.ndarray, tap_rows: int, chunks: int, vector: int) -> Ring:
        """Of a correlation."""
        (_, high, wide), (_, sh, sw) = c["pixels"].tolist(), c["step"].tolist()
        (_, dh, dw), (_, _, tw) = c["delta"].tolist(), c["taps"].tolist()
        before = int(c["first"][2]) % vector
        loads = -(-((wide - 1) * sw + (tw - 1) * dw + 1 + before) // vector)
        part = -(-loads * vector // sw)
        pitches = range(part * sw, part * sw + CHUNK)  # pixels of two rows lie in different banks
        pitch = next((pitch for pitch in pitches if (pitch * sh - wide) % CHUNK == 0), part * sw)
        source_lines = (high - 1) * sh + (tap_rows - 1) * dh + 1
        gap, ahead = source_lines - high * sh, STAGES * STEP_PIXELS - 1
        rows = -(-ahead // wide) * sh + -(-ahead // (high * wide)) * max(gap, 0) + (tap_rows - 1) * dh + 1
        shifts = [(s * dw + before) % sw * part + (s * dw + before) // sw for s in range(tw)]
        plane = rows * pitch + max(shifts) + 1
        return cls(tap_rows, tw, chunks, vector, before, loads, part, pitch, source_lines, gap, rows, plane)

    @property
    def taps(self) -> int:
        """Of a block."""
        return self.tap_rows * self.tap_columns

    def shared_bytes(self, tile: Tile) -> int:
        """Of a block."""
        result = tile.stages * tile.bm * (tile.bk * 2 + UNIT_BYTES)
        return result + tile.warps_n * self.chunks * self.plane * UNIT_BYTES + TABLES * (tile.bk * 4 + 8)

    def groups(self, tile: Tile, c: np.ndarray) -> int:
        """Loads of a thread in a step, so many that rows are there when they are needed."""
        _, high, wide = c["pixels"].tolist()
        of_step = tile.bk * self.source_lines * self.loads / (high * wide)
        at_once = tile.threads // (tile.warps_n * self.chunks)
        return min(max(math.ceil(1.2 * of_step / at_once), 1), tile.nt)

    def struct(self, c: np.ndarray) -> np.ndarray:
        """For the kernel."""
        made, (depth, high, _) = np.zeros((), RING), c["pixels"].tolist()
        values = (high, self.source_lines, depth, self.loads, self.rows, int(c["step"][2]),
                  int(c["taps"][1]) // self.tap_rows)  # fmt: skip
        for name, value in zip(_DIVIDERS, values, strict=True):
            made[name] = divider(value)
        for name in ("gap", "pitch", "part", "plane", "before"):
            made[name] = getattr(self, name)
        return made


@dataclass(frozen=True)
class RingTile(Tile):
    """A tile of so many pixels' steps, whose columns are taps of some chunks of channels."""

    tap_rows: int = 1
    """Rows of taps of a block: all of a plane, or one."""
    chunks: int = 1
    """Of a warp."""

    @property
    def name(self) -> str:
        return f"ring{self.bm}x{self.bn}"

    def column_tiles(self, c: np.ndarray) -> int:
        """Blocks along the columns."""
        taps = c["taps"].tolist()
        return taps[0] * taps[1] // self.tap_rows * self.channel_blocks(c)

    def channel_blocks(self, c: np.ndarray) -> int:
        """Of a tap."""
        return -(-int(c["channels"]) // (CHUNK * self.warps_n * self.chunks))

    def ring(self, c: np.ndarray, vector: int) -> Ring:
        """With loads of so many columns."""
        return Ring.of(c, self.tap_rows, self.chunks, vector)


@functools.lru_cache(1024)
def ring_tiles(problem: ConvProblem) -> tuple[RingTile, ...]:
    """Those that a weight gradient of 16-bit floats may have, whatever the strides of its arrays."""
    if problem.is_empty or problem.dtype not in ("float16", "bfloat16") or problem.direction != "backward_weight":
        return ()
    c = correlation_of(problem)
    made = []
    for warps_m, warps_n in ((2, 2), (1, 4)):
        found = (_tile(c, warps_m, warps_n, rows) for rows in dict.fromkeys((int(c["taps"][1]), 1)))
        made += [tile for tile in found if tile][:1]
    return tuple(made)


@functools.lru_cache(64)
def correlation_of(problem: ConvProblem) -> np.ndarray:
    """Of arrays without gaps."""
    return next(phases_of(problem, Operation.contiguous(problem).layouts)).packed().reshape(())


def may_pair(c: np.ndarray) -> bool:
    """Whether two neighbouring columns may be loaded at a time, where memory permits it."""
    return bool(c["source_size"][2] % 2 == 0 and c["step"][2] <= 2)


def _tile(c: np.ndarray, warps_m: int, warps_n: int, tap_rows: int) -> RingTile | None:
    taps, chunks = tap_rows * int(c["taps"][2]), -(-int(c["channels"]) // CHUNK)
    if not 0 < taps <= MAX_TILES:
        return None
    _, of_warp = min((-(-chunks // (n * warps_n)) * (n * taps + 4), n) for n in range(1, MAX_TILES // taps + 1))
    vectors = (1, 2) if may_pair(c) else (1,)
    tile = RingTile(
        warps_m, warps_n, 4, of_warp * taps, STEP_PIXELS, STAGES, 2, 0, 1.7, tap_rows=tap_rows, chunks=of_warp
    )
    rings = [tile.ring(c, vector) for vector in vectors]
    rows = int(c["batch"]) * int(c["pixels"][0]) * rings[0].source_lines
    fits = all(ring.shared_bytes(tile) <= MAX_SHARED_BYTES for ring in rings)
    if not fits or rows * max(ring.loads for ring in rings) > MAX_LOADS:
        return None
    groups = rings[-1].groups(tile, c)
    return replace(tile, cycles=TILE_CYCLES * tile.nt + GROUP_CYCLES * groups + STEP_CYCLES)


class RingGradient(Gradient):
    """One launch, or one for each part of the pixels; and the sum of their splits."""

    is_laid = False

    def tile_of(self, arithmetic: str) -> Tile:
        self.ring_tile = next(tile for tile in ring_tiles(self.problem) if tile.name == self.params["tile"])
        return self.ring_tile

    def _kept(self, c: np.ndarray, checked: int) -> np.ndarray:
        return c

    def _prepared(self, c: np.ndarray, gemm: np.ndarray, at: int) -> tuple[np.ndarray, Any, list[Launch]]:
        """Pixels of which no vectors can be copied are first put one behind the other."""
        self.is_laid = False
        if self._result_vector(c)[0] >= MIN_VECTOR:
            return c, self.roles[1], []
        depth, rows = int(gemm["depth"]), self.problem.groups * int(c["filters"])
        laid, to, length = c.copy(), gemm.copy(), padded(depth, STEP_PIXELS)
        image, plane, wide = (int(gemm[name]["d"]) for name in ("image", "plane", "row"))
        laid["result_stride"], laid["result_at"] = (image, length, plane, wide, 1), 0
        to["depth_of_split"] = length
        blocks = -(-length // 512)
        grid = (blocks, min(-(-rows // 4), max(SUMMING_BLOCKS // blocks, 1)), 1)
        self.is_laid = True
        return laid, Workspace(at), [
            Launch("lay_pixels", self.text("pixels.cu"), grid, (256, 1, 1),
                   (self.roles[1], Workspace(at), by_value(c), by_value(to)),
                   workspace_bytes=at + padded(rows * length * self.itemsize, ALIGNED_BYTES))
        ]  # fmt: skip

    def _ring(self, c: np.ndarray) -> Ring:
        is_paired = may_pair(c) and self.is_aligned(c, "source", self.roles[0], 4, 2)
        return self.ring_tile.ring(c, 2 if is_paired else 1)

    def _column_tiles(self, c: np.ndarray, columns: int) -> int:
        return self.ring_tile.column_tiles(c)

    def _more(self, c: np.ndarray) -> tuple[np.ndarray, ...]:
        return (by_value(self._ring(c).struct(c)),)

    def _gemm(self, c: np.ndarray, columns: int, of_tap: int, depth: int, of_split: int, splits: int) -> np.ndarray:
        rows, taps = int(c["filters"]), c["taps"].tolist()
        dividers = {"filter_tiles": -(-rows // self.tile.bm), "inner": of_tap,
                    "channel_blocks": self.ring_tile.channel_blocks(c)}  # fmt: skip
        return gemm_struct(c, (taps[1] * taps[2], taps[2]), dividers, rows=rows, columns=columns, depth=depth,
                           depth_of_split=of_split, splits=splits)  # fmt: skip

    def _source(self, c: np.ndarray, checked: int, is_split: bool, is_marked: bool) -> str:
        ring, tile, (vector, run) = self._ring(c), self.ring_tile, self._result_vector(c)
        (depth, high, wide), taps = c["pixels"].tolist(), c["taps"].tolist()
        divided = high, wide, ring.source_lines, ring.loads, ring.rows
        groups = 0 if self._is_wide(c) else ring.groups(tile, c)  # 64-bit offsets take the registers of what is held
        return self.text(
            "ring.cu", WIDE=int(self._is_wide(c)), SPLIT=int(is_split), OF_SUMS=int(is_split),
            TAP_ROWS=ring.tap_rows, TAP_COLUMNS=taps[2], TAP_DISTANCE=int(c["delta"][2]),
            SOURCE_VECTOR=ring.vector, RESULT_VECTOR=vector, FLAT=int(run == depth * high * wide),
            GROUPS=groups, SIDE_BY_SIDE=int(c["step"][2] == 1), ALL_DIVIDE=int(min(divided) > 1),
            DEEP=int(depth > 1 or taps[0] > 1 or checked & 1),
            WHOLE_FILTERS=int(c["filters"] % tile.bm == 0), WHOLE_CHUNKS=int(c["channels"] % CHUNK == 0),
        )  # fmt: skip

    def _result_vector(self, c: np.ndarray) -> tuple[int, int]:
        """Neighbouring pixels of the result that are copied at a time, and all that lie in one piece."""
        flat, run = c.copy(), int(c["pixels"][2])
        if self.is_laid:
            return CHUNK, math.prod(c["pixels"].tolist())
        for axis in (1, 0):  # rows behind each other are one
            stride = int(c["result_stride"][2 + axis])
            if stride not in (0, run):
                break
            run *= int(c["pixels"][axis])
            flat["result_stride"][2 + axis] = 0
        fits = (n for n in (8, 4, 2) if run % n == 0 and self.is_aligned(flat, "result", self.roles[1], 4, n))
        return next(fits, 1), run if c["result_stride"][4] == 1 else 0

    def _shared_bytes(self, c: np.ndarray) -> int:
        return self._ring(c).shared_bytes(self.tile)
