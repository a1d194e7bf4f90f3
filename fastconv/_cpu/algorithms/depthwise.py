"""depthwise: one channel and one filter in every group, channels last, read and written where they lie."""

from __future__ import annotations

import math

import numpy as np

from ..._algorithm import Algorithm, Machine, Operands, Params, Resources
from ..._problem import ConvProblem
from .. import _depthwise, _runtime, epilogue
from ..recompute import recompute

LEAST_ITEMS = 32
"""Work items wanted, so that threads find work; never decided by their number."""
PHASE_ROWS = 2
"""Rows of an item in each phase of a strided gradient, so that the lines all phases write stay in cache."""
EFFICIENCY = 0.85
"""Share of the peak rate with all vectors in use."""
SINGLE_USE = 0.01
"""The same where elements are computed one by one: fewer channels than a vector has lanes."""


class Depthwise(Algorithm):
    """forward and backward_input of depthwise convolutions of channels-last arrays, in float32 and float64."""

    name = "depthwise"
    dtypes = frozenset({"float32", "float64"})

    def supports(self, problem: ConvProblem) -> bool:
        is_depthwise = problem.groups == problem.in_channels == problem.out_channels
        return is_depthwise and problem.layout == "channels_last" and problem.direction != "backward_weight"

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        return math.prod(problem.weight_shape) * np.dtype(problem.dtype).itemsize

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Multiply-adds of whole vectors, and the arrays once."""
        lanes, _, _ = _runtime.tile_sizes(problem.dtype)
        lane_use = problem.groups / (-(-problem.groups // lanes) * lanes) if problem.groups >= lanes else SINGLE_USE
        rate = machine.multiply_adds_per_second[problem.dtype] * EFFICIENCY * lane_use
        elements = sum(math.prod(shape) for shape in (problem.input_shape, problem.output_shape))
        data_seconds = elements * np.dtype(problem.dtype).itemsize / machine.bytes_per_second
        phases = math.prod(problem.stride) if problem.direction == "backward_input" else 1
        work = problem.multiply_adds / rate + data_seconds
        return machine.call_seconds * 2 * phases + work / min(threads, LEAST_ITEMS)

    def bind(self, problem: ConvProblem, params: Params) -> _depthwise.DepthwiseKernel:
        sizes = problem.output_size if problem.direction == "forward" else problem.input_size
        strides = problem.stride if problem.direction == "backward_input" else (1, 1, 1)
        planes, rows = (-(-size // stride) for size, stride in zip(sizes[:2], strides[:2], strict=True))
        band = -(-rows // -(-LEAST_ITEMS // max(problem.batch * planes, 1)))
        if strides != (1, 1, 1):
            band = min(band, PHASE_ROWS)
        return _depthwise.DepthwiseKernel(problem, max(band + band % 2, 1))

    def execute(self, problem: ConvProblem, params: Params, operands: Operands, resources: Resources) -> None:
        if self.bind(problem, params).execute(operands, resources):
            recompute(problem, operands, resources.threads)
            epilogue.apply(problem, operands)
