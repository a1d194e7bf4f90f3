"""The library's memory-bound kernels on layers of networks: what they are launched with, and what they must move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.depthwise_nchw import ALGORITHMS
from fastconv._gpu.launch import Launch as Described

from .chips import Chip
from .launches import Code, Launch
from .sass import Instruction, Loop

LAYERS = (
    ("depthwise 3x3", "32x256x56x56 256x1x3x3 p1 g256"),
    ("MobileNetV2", "32x32x112x112 32x1x3x3 p1 g32"),
    ("MobileNetV2", "32x96x112x112 96x1x3x3 s2 p1 g96"),
    ("MobileNetV2", "32x144x56x56 144x1x3x3 p1 g144"),
    ("MobileNetV2", "32x192x28x28 192x1x3x3 p1 g192"),
    ("MobileNetV2", "32x384x14x14 384x1x3x3 p1 g384"),
    ("MobileNetV2", "32x960x7x7 960x1x3x3 p1 g960"),
    ("ConvNeXt-T", "32x96x56x56 96x1x7x7 p3 g96"),
    ("ConvNeXt-T", "32x192x28x28 192x1x7x7 p3 g192"),
    ("ConvNeXt-T", "32x384x14x14 384x1x7x7 p3 g384"),
    ("ConvNeXt-T", "32x768x7x7 768x1x7x7 p3 g768"),
    ("short conv1d", "1x12288x16384 12288x1x4 p3:0 g12288"),
)
"""Batches of 32, but for the sequence of one."""
ITEMSIZE = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class LayerExample:
    """One launch of a layer; as ``examples.Example``."""

    name: str
    layer: str
    described: Described
    launch: Launch
    ceiling: str = "copy"

    def runs_on(self, chip: Chip) -> bool:
        """Everywhere."""
        return True

    def code(self, chip: Chip) -> Code:
        """Its machine code for the chip."""
        from .examples import compiled

        return compiled(self.described.source, self.described.kernel, chip.architecture)


def _trips(described: Described, problem: ConvProblem) -> int:
    """Of the longest loop: the units of a weight gradient's thread; a forward kernel's copies of staged results."""
    if problem.direction != "backward_weight":
        return 1
    threads = described.grid[0] * described.grid[1] * described.block[0]
    results = math.prod(problem.output_shape) // 16
    return max(1, -(-results // threads))


def layer_examples(dtypes: tuple[str, ...] = ("float32", "bfloat16")) -> Iterator[LayerExample]:
    """Forward and weight gradient of every layer, by the default parameters."""
    (algorithm,) = ALGORITHMS
    for dtype in dtypes:
        for name, layer in LAYERS:
            for direction in ("forward", "backward_weight"):
                problem = ConvProblem.parse(f"{direction} {layer} {dtype}")
                described = algorithm.launches(Operation.contiguous(problem), algorithm.parameters(problem)[0])[0]
                steps = _trips(described, problem)
                yield LayerExample(
                    f"{name} {dtype} {direction}", layer.split(" g")[0], described, _launch(described, problem, steps)
                )


def _launch(described: Described, problem: ConvProblem, steps: int) -> Launch:
    from .launches import steps_of_main_loop

    elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
    moved = elements * ITEMSIZE[problem.dtype]
    trips = steps_of_main_loop(steps)

    def only_main(code: list[Instruction], found: list[Loop]) -> dict[Loop, int]:
        return trips(code, found)

    return Launch(described.block[0], math.prod(described.grid), 0, 2 * problem.multiply_adds, moved, moved,
                  only_main, {})  # fmt: skip
