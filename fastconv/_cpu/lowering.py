"""Problems of other dtypes as real ones: half floats widened, complex split into channels, int8 in exact floats.

A lowered problem is computed by any algorithm for float32 or float64; ``prepare`` carries its operands and its result.
"""

from __future__ import annotations

import math

from .._algorithm import Algorithm, Machine
from .._problem import ConvProblem, Epilogue

WIDENED = {"float16": "float32", "bfloat16": "float32"}
REAL_OF = {"complex64": "float32", "complex128": "float64"}
CAST_BYTES = {"float16": 6, "bfloat16": 6, "complex64": 16, "complex128": 32, "int8": 9}
"""Read and written for an element that is lowered."""


def target(algorithm: Algorithm, problem: ConvProblem) -> ConvProblem | None:
    """The problem, of one of the algorithm's dtypes, that is computed in place of ``problem``; None: there is none."""
    dtypes = algorithm.dtypes
    if problem.dtype in dtypes:
        return problem
    if problem.dtype in WIDENED:
        wide = WIDENED[problem.dtype]
        return problem.replace(dtype=wide) if wide in dtypes else None
    if problem.dtype in REAL_OF:
        real = REAL_OF[problem.dtype]
        if real not in dtypes:
            return None
        return problem.replace(
            dtype=real,
            in_channels=2 * problem.in_channels,
            out_channels=2 * problem.out_channels,
            epilogue=Epilogue(),
        )
    if problem.dtype == "int8" and "float64" in dtypes:
        return problem.replace(dtype="float64")
    return None


def seconds(problem: ConvProblem, target: ConvProblem, threads: int, machine: Machine) -> float:
    """Estimated time of the casts to ``target`` and back, as copies."""
    if target is problem:
        return 0.0
    elements = sum(math.prod(shape) for shape in (problem.input_shape, problem.weight_shape, problem.output_shape))
    return elements * CAST_BYTES[problem.dtype] / (threads * machine.bytes_per_second)
