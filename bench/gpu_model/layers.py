"""implicit_gemm on layers of ResNet-50: every launch of what a plan would choose, predicted."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.implicit_gemm import ALGORITHMS
from fastconv._gpu.gemm import GEMM
from fastconv._gpu.algorithms.implicit_gemm.tiles import Tile, tile_of
from fastconv._gpu.launch import Launch as Described

from .chips import Chip, Wavefronts
from .examples import compiled, emulated_cupy, gpu_kernels, wavefronts
from .launches import Launch, Prediction, predict, steps_in_runs

CHUNK = 128
"""Pixels of which a weight gradient makes tables at a time."""
_BATCH = 32
_SHAPES = (
    "{n}x64x56x56 64x64x3x3 p1", "{n}x128x28x28 128x128x3x3 p1", "{n}x256x14x14 256x256x3x3 p1",
    "{n}x512x7x7 512x512x3x3 p1", "{n}x64x56x56 256x64x1x1", "{n}x256x56x56 64x256x1x1", "{n}x128x28x28 512x128x1x1",
    "{n}x512x28x28 128x512x1x1", "{n}x256x14x14 1024x256x1x1", "{n}x1024x14x14 256x1024x1x1",
    "{n}x512x7x7 2048x512x1x1", "{n}x2048x7x7 512x2048x1x1", "{n}x128x56x56 128x128x3x3 s2 p1",
)  # fmt: skip
LAYERS = tuple(f"forward {shape.format(n=_BATCH)}" for shape in _SHAPES) + tuple(
    f"{direction} {shape.format(n=_BATCH)}"
    for direction in ("backward_input", "backward_weight")
    for shape in (*_SHAPES[1:4], _SHAPES[6], _SHAPES[12])
)


@dataclass(frozen=True)
class Layer:
    """A layer on a chip: the launches that multiply, and the seconds of all."""

    problem: ConvProblem
    tile: str
    splits: int
    seconds: float
    products: tuple[Prediction, ...]

    def flops_per_second(self) -> float:
        """Of the definition."""
        return 2 * self.problem.multiply_adds / self.seconds


def layer(chip: Chip, text: str, params: dict[str, object] | None = None) -> Layer:
    """A layer as a plan would compute it, or with the parameters."""
    problem = ConvProblem.parse(text)
    chosen = params or dict(ALGORITHMS[0].parameters(problem)[0])
    seconds, products = 0.0, []
    for one in ALGORITHMS[0].launches(Operation.contiguous(problem), chosen):
        if one.kernel in ("correlate", "weight_gradient"):
            prediction = _product(chip, problem, tile_of(problem, chosen), one)
            products.append(prediction)
            seconds += prediction.seconds
        else:  # moves memory that is in L2, about
            seconds += chip.launch_seconds + _moved_bytes(problem, one) / chip.copy_bytes_per_second
    return Layer(problem, str(chosen["tile"]), int(str(chosen["splits"])), seconds, tuple(products))


def _moved_bytes(problem: ConvProblem, launch: Described) -> int:
    itemsize = np.dtype(problem.dtype).itemsize
    if launch.kernel == "pack_weights":
        return 2 * math.prod(problem.weight_shape) * itemsize
    return launch.workspace_bytes + math.prod(problem.result_shape) * itemsize


def _product(chip: Chip, problem: ConvProblem, tile: Tile, launch: Described) -> Prediction:
    itemsize, blocks = np.dtype(problem.dtype).itemsize, math.prod(launch.grid)
    argument = launch.arguments[-1]
    assert isinstance(argument, np.ndarray)
    gemm = argument.view(GEMM)[0]
    steps = max(int(gemm["depth_of_split"]), 1)
    if launch.kernel == "correlate":
        runs = max(steps // int(gemm["channel_blocks"]["d"]), 1)
    else:
        steps, runs = -(-steps // tile.bk), -(-steps // CHUNK)
    shapes = (problem.input_shape, problem.weight_shape, problem.output_shape)
    phases = problem.phases
    described = Launch(
        tile.threads, blocks, 0, 2 * problem.multiply_adds / phases, sum(map(math.prod, shapes)) * itemsize / phases,
        blocks * steps * (tile.bm + tile.bn) * tile.bk * itemsize, steps_in_runs(steps, runs),
        _conflicts(problem.direction, problem.layout, tile.name),
    )  # fmt: skip
    return _predicted(chip, launch.source, launch.kernel, described, steps, runs)


_PREDICTIONS: dict[object, Prediction] = {}


def _predicted(chip: Chip, source: str, kernel: str, described: Launch, steps: int, runs: int) -> Prediction:
    key = (chip.name, source, described.blocks, described.memory_bytes, steps, runs)
    if key not in _PREDICTIONS:
        _PREDICTIONS[key] = predict(chip, compiled(source, kernel, chip.architecture), described)
    return _PREDICTIONS[key]


@functools.cache
def _conflicts(direction: str, layout: str, tile: str) -> Wavefronts:
    """Of a small launch of the same kernel."""
    problem = ConvProblem.parse(f"{direction} 1x16x8x16 128x16x3x3 p1 float32 {layout}".replace("channels_first", ""))
    roles = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    with emulated_cupy.pretend(devices=("H200",)) as system:
        arrays = {role: emulated_cupy.ones(shape, np.float32) for role, shape in roles.items()}
        gpu_kernels.implicit_gemm.run(emulated_cupy, problem, arrays, {"tile": tile, "splits": 1})
        kernel = "weight_gradient" if direction == "backward_weight" else "correlate"
        return wavefronts(system.last_launch[kernel])
