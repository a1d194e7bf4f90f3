"""Kernels of tests/gpu_kernels on layers: what the library has no room for yet, and kernels of published times."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv._gpu.launch import Launch

from .chips import CHIPS, Chip
from .launches import Prediction, predict
from .stand_in import emulated_cupy, gpu_kernels

LAYER = "32x256x56x56 -> 256, 3x3"
FLOPS = 2 * 32 * 56 * 56 * 256 * 256 * 9


@dataclass(frozen=True)
class Example:
    """A kernel on a layer, on a chip."""

    name: str
    chip: Chip
    instruction: str
    """Of the tensor units, "HMMA" or "HGMMA"."""
    predicted: Prediction

    @property
    def share(self) -> float:
        """Of what the instruction reaches."""
        return FLOPS / self.predicted.seconds / self.chip.tensor_peak(self.instruction)


class _Recorded:
    """What a launcher calls a kernel with."""

    max_dynamic_shared_size_bytes = 0

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source
        self.launch: Launch | None = None

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: Any, shared_mem: int = 0) -> None:
        self.launch = Launch(self._name, self._source, grid, block, tuple(arguments), shared_mem)


class _Recorder(gpu_kernels.Launcher):
    def _function(self, name: str, **defines: int) -> Any:
        self.last = _Recorded(name, gpu_kernels.source(name, **defines))
        return self.last


@contextlib.contextmanager
def _recorder() -> Iterator[_Recorder]:
    with emulated_cupy.pretend(devices=("H200",)):
        yield _Recorder(emulated_cupy)


def examples(chip: Chip) -> Iterator[Example]:
    """Dense 3 x 3 in bfloat16 by mma.sync from a patch in shared memory."""
    shapes = ((32, 256, 56, 56), (256, 256, 3, 3))
    with _recorder() as recorder:
        x, w = (emulated_cupy.empty(shape, np.uint16) for shape in shapes)
        result = recorder.patch_mma(x, w, pad=1, tile=(2, 56))
        launch = recorder.last.launch
        assert launch is not None
        sizes = {name: array.nbytes for name, array in (("x", x), ("w", w), ("y", result))}
        yield Example("patch_mma", chip, "HMMA", predict(chip, launch, sizes))


LADDER = {1: 15.97, 2: 18.24, 3: 21.78}
"""TFLOP/s measured on an RTX A6000, float32, 4096 x 4096 x 4096, by variant of gemm_ladder.cu: three steps of one
ladder of public kernels."""
N = 4096


def ladder(variant: int) -> float:
    """The TFLOP/s that are predicted."""
    source = f"#define VARIANT {variant}\n" + (gpu_kernels.HERE / "gemm_ladder.cu").read_text()
    launch = Launch("ladder", source, (N // 128, N // 128), (128 if variant == 3 else 256,),
                    ("a", "b", "c", *[np.int32(N)] * 3))  # fmt: skip
    made = predict(CHIPS["A6000"], launch, dict.fromkeys("abc", 4 * N * N))
    return 2 * N**3 / made.seconds / 1e12
