"""cudnn: NVIDIA's library as one candidate among others, where it is installed.

UNPROVEN. No GPU has run it: it is computed with where it is asked for by its name, or where the tuner, which compares
results before it compares times, has found it fastest.
"""

from __future__ import annotations

import math
from typing import ClassVar

from ...._algorithm import ErrorBound, Machine, Params, definition_bound
from ...._errors import UnavailableError
from ...._problem import ConvProblem, numpy_dtype
from ... import cudnn, device
from ...algorithm import GpuAlgorithm, Operation, places_fit
from ...launch import Step
from .steps import graph_of, steps_of

PLANS = 3
"""Candidates, of the many that cuDNN has; it ranks them."""
MAX_ELEMENTS = 2**31
"""Of an array."""
SUM_ROUNDOFF = 2.0**-23
"""Of tensor cores, which round towards zero."""
TF32_ROUNDOFF = 2.0**-10
RATES = {"float32": 0.7, "float16": 8.0, "bfloat16": 8.0}
"""Of the machine's float32 multiply-adds; public figures of cuDNN on an H100."""
TF32_RATE = 4.0


class Cudnn(GpuAlgorithm):
    """What the library computes with the same bits on every run, of arrays without gaps."""

    name = "cudnn"
    dtypes = frozenset({"float32", "float16", "bfloat16"})
    is_proven = False
    tf32: ClassVar[bool] = False

    def is_available(self) -> bool:
        return cudnn.is_available()

    def supports(self, problem: ConvProblem) -> bool:
        """Whether the library has a plan for it, on contiguous arrays and the current device."""
        return (
            places_fit(problem)
            and max(map(math.prod, (problem.input_shape, problem.weight_shape, problem.output_shape))) < MAX_ELEMENTS
            and self.is_available()
            and device.missing() is None
            and self._plans(Operation.contiguous(problem)) > 0
        )

    def computes(self, operation: Operation) -> bool:
        return operation.is_uniform and self._plans(operation) > 0

    def _plans(self, operation: Operation) -> int:
        """How many there are, of those that are candidates."""
        graph = graph_of(operation, self.tf32)
        try:
            return 0 if graph is None else sum(graph.plan(rank) is not None for rank in range(PLANS))
        except UnavailableError:
            return 0

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """The first plans, in the library's order."""
        return [{"plan": rank} for rank in range(max(self._plans(Operation.contiguous(problem)), 1))]

    def workspace(self, problem: ConvProblem, params: Params, threads: int) -> int:
        steps = steps_of(Operation.contiguous(problem), params["plan"], self.tf32)
        return max(step.workspace_bytes for step in steps)

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """At the rate of large layers, or the arrays' bytes; the tuner knows better."""
        rate = machine.multiply_adds_per_second["float32"] * (TF32_RATE if self.tf32 else RATES[problem.dtype])
        shapes = problem.input_shape, problem.weight_shape, problem.output_shape
        moved = numpy_dtype(problem.dtype).itemsize * sum(map(math.prod, shapes))
        seconds = max(problem.multiply_adds / rate, moved / machine.bytes_per_second)
        return seconds * (1 + params["plan"] / 100) + machine.call_seconds

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """Sums are of float32; tensor cores round them towards zero."""
        if problem.dtype == "float32":
            return definition_bound(problem)
        depth = problem.reduction + 4
        gamma = SUM_ROUNDOFF * depth / max(1 - SUM_ROUNDOFF * depth, 0.5)
        return ErrorBound(elementwise=gamma, normwise=gamma, relative=min(gamma, SUM_ROUNDOFF * depth / 16))

    def launches(self, operation: Operation, params: Params) -> tuple[Step, ...]:
        return steps_of(operation, params["plan"], self.tf32)


class CudnnTf32(Cudnn):
    """The same with factors rounded to TF32, for what asks for no more."""

    name = "cudnn_tf32"
    dtypes = frozenset({"float32"})
    tf32 = True

    def error_bound(self, problem: ConvProblem) -> ErrorBound:
        """Both factors are rounded before they are multiplied."""
        plain, rounded = definition_bound(problem), 2 * TF32_ROUNDOFF + TF32_ROUNDOFF**2
        return ErrorBound(None, plain.normwise + rounded, plain.relative + rounded)
