"""spectral: overlap-save tiles that are transformed, multiplied and transformed back in cache; large kernels, long
signals, of few channels in a group."""

from __future__ import annotations

import functools
import math

import numpy as np

from ..._algorithm import Algorithm, ErrorBound, Machine, Operands, Params, Resources, unit_roundoff
from ..._problem import ConvProblem
from .. import _spectral, epilogue
from ..recompute import recompute, recompute_images
from ..spectral_layout import MOST_POINTS, SIZES, is_signal, layout_of, tiling

CANDIDATES = 5


class Spectral(Algorithm):
    """Stride 1, one or two transformed axes, in float32 and float64."""

    name = "spectral"
    dtypes = frozenset({"float32", "float64"})
    exact_on_integers = False
    multiplies_outside = True

    def supports(self, problem: ConvProblem) -> bool:
        return (
            problem.input_size[0] == problem.output_size[0] == problem.kernel_size[0] == 1
            and problem.padding[0] == (0, 0)
            and problem.stride == (1, 1, 1)
            and math.prod(problem.kernel_size) > 1
            and not problem.is_empty
            and bool(_tiles(problem))
        )

    def parameters(self, problem: ConvProblem) -> list[Params]:
        return [{"height": height, "width": width} for height, width in _tiles(problem)]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        layout = layout_of(problem, params["height"], params["width"])
        return layout.shared_bytes + threads * layout.thread_bytes

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        return machine.call_seconds * 2 + _operations(problem, params["height"], params["width"]) / (
            machine.multiply_adds_per_second[problem.dtype] * min(threads, 8)
        )

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        return _error_bound(problem)

    def pack(self, problem: ConvProblem, params: Params, weight: np.ndarray, threads: int) -> object | None:
        if problem.direction == "backward_weight":
            return None
        # Packing reads the weights alone; the data arrays only have to have their shapes.
        blank = np.zeros(1, problem.dtype)
        data, output = (
            np.lib.stride_tricks.as_strided(blank, shape, (0,) * 5, writeable=True)
            for shape in (problem.input_shape, problem.output_shape)
        )
        return self.bind(problem, params).pack(Operands(data, weight, output), threads)

    def bind(self, problem: ConvProblem, params: Params) -> _spectral.SpectralKernel:
        return _spectral.SpectralKernel(problem, layout_of(problem, params["height"], params["width"]))

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        spoiled = self.bind(problem, params).spoiled_by(operands, resources)
        if problem.direction == "backward_weight":
            if spoiled:
                recompute(problem, operands, resources.threads)
            return
        for image_problem, image in recompute_images(problem, operands, spoiled, resources.threads):
            epilogue.apply(image_problem, image)


@functools.lru_cache(maxsize=1024)
def _tiles(problem: ConvProblem) -> list[tuple[int, int]]:
    """Sizes of tiles, the one with the lowest estimate first."""
    found = []
    for height in SIZES:
        for width in SIZES:
            if height * width > MOST_POINTS or (is_signal(problem) and not height <= width <= 4 * height):
                continue
            if tiling(problem, height, width)[0][0] > 0:
                found.append((height, width))
    return sorted(found, key=lambda tile: _operations(problem, *tile))[:CANDIDATES]


def _operations(problem: ConvProblem, height: int, width: int) -> float:
    """Multiply-adds that take as long."""
    _, tiles = tiling(problem, height, width)
    points = height * width
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    pairs = problem.batch * -(-math.prod(tiles) // 2)
    transforms = (pairs * (channels + filters) + channels * filters) * problem.groups
    products = pairs * problem.groups * channels * filters
    return points * (transforms * (20 + 2.5 * math.log2(points)) + 8 * products)


def _error_bound(problem: ConvProblem) -> ErrorBound:
    height, width = _tiles(problem)[0]
    roundoff = unit_roundoff(problem)
    stages = math.log2(height * width)
    channels = problem.in_channels // problem.groups
    return ErrorBound(
        elementwise=None,
        normwise=roundoff * (15 * stages + channels + 8),
        relative=roundoff * (10 + stages + math.sqrt(channels) / 2),
    )
