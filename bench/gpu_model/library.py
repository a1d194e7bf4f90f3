"""What libraries compute: products, a share of the peak or the bytes; transforms, the bytes of their passes."""

from __future__ import annotations

import math
from typing import Any

from .chips import Chip
from .launches import Prediction

SHARES = {"float32": 0.78, "float64": 0.78, "tf32": 0.83, "float16": 0.78, "bfloat16": 0.78}
"""Of a unit's peak, reached by cuBLAS on an H100 on 8192 x 8192 x 8192, as published."""
TILE = 128
SMALL_TILE = 64
POINTS_OF_A_PASS = 2**12
"""Of a transform; of more, all goes to memory once more."""


def predict_step(chip: Chip, step: Any) -> Prediction:
    """A library's step."""
    return predict_transform(chip, step) if hasattr(step, "lengths") else predict_product(chip, step)


def predict_transform(chip: Chip, step: Any) -> Prediction:
    """A step with ``lengths``, ``batch`` and ``dtype``: one pass for every axis, or two for a long one."""
    *outer, last = step.lengths
    passes = max(len(step.lengths), 1 + (math.prod(step.lengths) > POINTS_OF_A_PASS))
    moved = 2.0 * passes * step.batch * math.prod(outer) * 2 * (last // 2 + 1) * step.dtype.itemsize
    memory = moved / chip.copy_bytes_per_second
    return Prediction("cuFFT", memory + chip.launch_seconds, 0.0, memory, 0.0, chip.launch_seconds, 0, 0, 1, 1.0, 1.0,
                      "library", 1.0, moved, moved, moved)  # fmt: skip


def predict_product(chip: Chip, step: Any) -> Prediction:
    """A step with ``rows``, ``columns``, ``depth``, ``batch``, and matrices ``a``, ``b``, ``c``."""
    dtype = "tf32" if getattr(step, "tf32", False) else step.a.dtype.name
    unit = "HGMMA" if chip.architecture == "sm_90" else "HMMA"
    peaks = {"float32": chip.float32_peak(), "tf32": chip.tensor_peak(unit) / 2,
             "float64": chip.float32_peak() * chip.fma_cycles / chip.double_cycles}  # fmt: skip
    rate = peaks.get(dtype, chip.tensor_peak(unit)) * SHARES[dtype]

    def rounds(tile: int) -> float:
        """Products of full tiles in full waves, of the depth split where there are too few."""
        tiles = step.batch * -(-step.rows // tile) * -(-step.columns // tile)
        splits = max(min(chip.multiprocessors // tiles, step.depth // 256), 1)
        waves = -(-tiles * splits // chip.multiprocessors)
        return waves * chip.multiprocessors * tile * tile * step.depth / splits

    compute = 2 * min(rounds(TILE), rounds(SMALL_TILE) * 1.15) / rate
    moved = float(
        step.rows * step.depth * step.a.dtype.itemsize * (step.batch if step.a.batch else 1)
        + step.depth * step.columns * step.b.dtype.itemsize * (step.batch if step.b.batch else 1)
        + step.batch * step.rows * step.columns * step.c.dtype.itemsize
    )
    memory = moved / chip.copy_bytes_per_second
    return Prediction("cuBLAS", max(compute, memory) + chip.launch_seconds, compute, memory, 0.0, chip.launch_seconds,
                      0, 0, 1, 1.0, 1.0, "library", 1.0, moved, moved, moved)  # fmt: skip
