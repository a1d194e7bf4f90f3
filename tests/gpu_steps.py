"""Runs the steps of a GPU algorithm, kernels and libraries' calls, on the stand-in for CuPy, as a backend does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

import emulated_cupy
import oracle
from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.launch import Launch
from fastconv._problem import RESULT, numpy_dtype
from gpu_launches import POISON, layout_of, placed


def device_arrays(problem: ConvProblem, operands: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """As ``placed``, with bfloat16 as itself."""
    dtype = numpy_dtype(problem.dtype)
    found = placed(emulated_cupy, problem, operands)
    return {role: array.view(dtype) if array.dtype != dtype else array for role, array in found.items()}


def run(algorithm: Any, problem: ConvProblem, arrays: Mapping[str, Any], params: Mapping[str, Any],
        edit: Callable[[str], str] = lambda text: text) -> list[str]:  # fmt: skip
    """Computes into the result's array; the names of the steps. ``edit`` changes kernels' texts before."""
    layouts = {role: layout_of(array, array.dtype) for role, array in arrays.items() if array.ndim == 5}
    steps = algorithm.launches(Operation(problem, layouts), params)
    size = max(step.workspace_bytes for step in steps)
    given = {**arrays, "workspace": emulated_cupy.full((size,), POISON, np.uint8)}
    for step in steps:
        changed = replace(step, source=edit(step.source)) if isinstance(step, Launch) else step
        changed.bind()(given)
    return [getattr(step, "kernel", type(step).__name__.lower()) for step in steps]


def computed(algorithm: Any, problem: ConvProblem, operands: Mapping[str, np.ndarray], params: Mapping[str, Any],
             edit: Callable[[str], str] = lambda text: text) -> tuple[np.ndarray, list[str]]:  # fmt: skip
    """The result, and the names of the steps."""
    with emulated_cupy.installed():
        arrays = device_arrays(problem, operands)
        names = run(algorithm, problem, arrays, params, edit)
    return arrays[RESULT[problem.direction]].get(), names


def expected(problem: ConvProblem, operands: Mapping[str, np.ndarray]) -> np.ndarray:
    """By the definition, in the operands' own arithmetic, rounded to the problem's type."""
    with np.errstate(invalid="ignore", over="ignore"):
        plain = oracle.convolve(problem, dict(operands))
    result = oracle.finish(problem, plain, operands.get("bias"), operands.get("add"))
    return result.astype(numpy_dtype(problem.dtype))


def alone(source: str) -> str:
    """A kernel's text with which nothing is computed again by the definition."""
    return source.replace("if (!is_marked(marks, mark_count)) return;", "return;")
