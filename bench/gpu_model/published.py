"""The model's error: float32 matrix products whose times were published, in three steps of one ladder of kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .chips import CHIPS
from .examples import compiled, counted, gpu_kernels, np
from .launches import Launch, Prediction, predict
from .sass import Instruction, Loop

TERAFLOPS = {1: 15.97, 2: 18.24, 3: 21.78}
"""Measured on an RTX A6000, 4096 x 4096 x 4096, by variant of gemm_ladder.cu."""
N = 4096
TILE = 128


@dataclass(frozen=True)
class Compared:
    """A published rate and the predicted one, in TFLOP/s."""

    variant: int
    measured: float
    predicted: float
    prediction: Prediction


def _launch(variant: int, source: str) -> Launch:
    threads, depth = (128, 16) if variant == 3 else (256, 8)

    def trips(code: list[Instruction], found: list[Loop]) -> dict[Loop, int]:
        made = {}
        for first, last in found:
            inner = any(o[0] <= first and last <= o[1] for o in found if o != (first, last))
            products = sum(x.name == "FFMA" for x in code[first : last + 1])
            made[first, last] = TILE * TILE * depth // threads // products if inner else N // depth
        return made

    def run(_: Any, cp: Any) -> None:
        size, rng = 256, np.random.default_rng(variant)
        a, b = (rng.integers(-4, 5, (size, size)).astype(np.float32) for _ in range(2))
        kernel, c = cp.RawModule(code=source).get_function("ladder"), cp.empty((size, size), np.float32)
        kernel((2, 2), (threads,), (cp.asarray(a), cp.asarray(b), c, *[np.int32(size)] * 3))
        if (c.get() != a @ b).any():
            raise ArithmeticError(f"variant {variant} of the ladder is wrong")

    flops, blocks = 2 * N**3, (N // TILE) ** 2
    return Launch(threads, blocks, 0, flops, 12 * N**2, 8 * N**3 // TILE, trips, counted(run, "ladder"))


def compare() -> list[Compared]:
    """Every variant, run for its bank conflicts and predicted."""
    chip, made = CHIPS["A6000"], []
    for variant, measured in TERAFLOPS.items():
        source = f"#define VARIANT {variant}\n" + (gpu_kernels.HERE / "gemm_ladder.cu").read_text()
        launch = _launch(variant, source)
        prediction = predict(chip, compiled(source, "ladder", chip.architecture), launch)
        made.append(Compared(variant, measured, launch.flops / prediction.seconds / 1e12, prediction))
    return made
