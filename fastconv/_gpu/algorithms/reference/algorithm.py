"""reference: the definition, one thread per element of the result. Slow, always right, accepts every problem."""

from __future__ import annotations

import math

import numpy as np

from ...._algorithm import Machine, Params
from ...._problem import ACTIVATIONS, DTYPES, ConvProblem
from ...algorithm import GpuAlgorithm, Operation
from ...launch import Launch, each, struct
from ...source import C_TYPES, kernel_source

LOOP_MULTIPLY_ADDS_PER_SECOND = 1e11
ROLE_NUMBERS = {None: 0, "input": 1, "weight": 2, "output": 3}
"""Of the operand that is conjugated."""

PROBLEM = np.dtype(
    [
        *((f"{name}_stride", np.int64, 5) for name in ("source", "weight", "result", "add")),
        *((name, np.int64) for name in ("batch", "groups", "channels", "filters")),
        *((name, np.int64, 3) for name in ("source_size", "pixels", "taps", "step", "first", "delta")),
        ("source_zero", np.int64),
        ("slope", np.float64),
        ("conjugated", np.int32),
        ("reserved", np.int32),
    ]
)
"""reference_problem of kernels.cu: 64-bit fields throughout, where fc_correlation has 32-bit sizes."""


class Reference(GpuAlgorithm):
    """The oracle inside the library, and what remains when nothing else fits."""

    name = "reference"
    dtypes = frozenset(DTYPES)

    def supports(self, problem: ConvProblem) -> bool:
        return True

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """Every element of the result looks at all taps, also where the stride lets few of them reach it."""
        looked_at = problem.multiply_adds
        if problem.direction == "backward_input":
            looked_at = problem.batch * math.prod(problem.input_size) * math.prod(problem.weight_shape)
        return machine.call_seconds + looked_at / LOOP_MULTIPLY_ADDS_PER_SECOND

    def computes(self, operation: Operation) -> bool:
        return True

    def launches(self, operation: Operation, params: Params) -> tuple[Launch, ...]:
        problem, layouts = operation.problem, operation.layouts
        groups = problem.groups
        c = struct(
            PROBLEM,
            source_stride=layouts["input"].strides,
            weight_stride=layouts["weight"].strides,
            result_stride=layouts["output"].strides,
            add_stride=layouts["add"].strides if "add" in layouts else 0,
            batch=problem.batch,
            groups=groups,
            channels=problem.in_channels // groups,
            filters=problem.out_channels // groups,
            source_size=problem.input_size,
            pixels=problem.output_size,
            taps=problem.kernel_size,
            step=problem.stride,
            first=[-before for before, _ in problem.padding],
            delta=problem.dilation,
            source_zero=operation.input_zero,
            slope=_rounded(problem.epilogue.slope, problem.dtype),
            conjugated=ROLE_NUMBERS[operation.conjugated],
        )
        roles = "input", "weight", "output", "bias", "add"
        kernel, elements = f"reference_{problem.direction}", math.prod(problem.result_shape)
        none = None, np.int64(0)
        return each(_source(operation), kernel, elements, *roles, c, operation.filter_zeros, *none)


def _source(operation: Operation) -> str:
    problem, layouts = operation.problem, operation.layouts
    types = {"SOURCE": "input", "WEIGHT": "weight", "RESULT": "output"}
    defines: dict[str, int | str] = {name: C_TYPES[layouts[role].dtype.name] for name, role in types.items()}
    if problem.epilogue.activation is not None:
        defines["ACTIVATION"] = 1 + ACTIVATIONS.index(problem.epilogue.activation)
    if operation.input_zero or operation.filter_zeros is not None:
        defines["HAS_ZERO_POINTS"] = 1
    return kernel_source("reference", defines, "elements.cuh")


def _rounded(slope: float, dtype: str) -> float:
    """A slope as the arrays' type has it."""
    return slope if dtype == "float64" else float(np.float32(slope))
