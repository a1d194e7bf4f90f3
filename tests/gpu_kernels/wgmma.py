"""Variants of wgmma's kernels: every tile, both layouts, every way to store results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.wgmma import ALGORITHMS
from fastconv._gpu.algorithms.wgmma.tiles import TILES
from nvrtc_gate import Variant, from_architecture

TABLE = Path(__file__).parent / "wgmma_resources.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""
PROBLEMS = {
    "pixels,64": "forward 2x64x56x56 64x64x3x3 p1 bfloat16",
    "pixels,32,singly": "forward 2x64x32x32 64x64x3x3 float16 +bias",
    "channels": "forward 2x64x14x14 64x64x3x3 p1 bfloat16 channels_last +bias+relu",
    "channels,add": "forward 2x64x14x14 64x64x3x3 p1 float16 channels_last +bias+add+gelu",
    "channels,singly": "forward 2x64x14x14 63x64x3x3 p1 bfloat16 channels_last",
}
PACKED = "backward_input 2x64x14x14 64x64x3x3 p1 bfloat16 channels_last"


def _variants() -> Iterator[Variant]:
    (algorithm,) = ALGORITHMS
    for tile in TILES:
        for name, text in PROBLEMS.items():
            launch = algorithm.launches(Operation.contiguous(ConvProblem.parse(text)), {"tile": tile.name})[-1]
            yield Variant(f"{launch.kernel},{tile.name},{name}", launch.kernel, launch.source, ("sm_90a",))
    for text in (PROBLEMS["channels"], PACKED):
        problem = ConvProblem.parse(text)
        launch = algorithm.launches(Operation.contiguous(problem), {"tile": TILES[0].name})[0]
        yield Variant(f"{launch.kernel},{problem.direction}", launch.kernel, launch.source, from_architecture(90))


VARIANTS = tuple(_variants())
