"""Runs the launches of ``_gpu/algorithms/implicit_gemm`` as a backend does, on CuPy or its stand-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from fastconv import ConvProblem
from fastconv._gpu.algorithms.implicit_gemm.launches import KernelLaunch, Memory, Workspace, launches
from fastconv._gpu.algorithms.implicit_gemm.parts import UNLIMITED, Limits

PARAMS = {"tile": "128x128x8", "splits": 1}


def memory_of(array: Any) -> Memory:
    """How an array of the device lies."""
    address = int(array.data.ptr)
    return Memory(tuple(stride // array.itemsize for stride in array.strides), min(address & -address, 256))


@cache
def _function(cp: Any, name: str, text: str) -> Any:
    return cp.RawModule(code=text).get_function(name)


def run(cp: Any, problem: ConvProblem, arrays: Mapping[str, Any], params: Mapping[str, Any] = PARAMS,
        limits: Limits = UNLIMITED, edit: Callable[[str], str] = lambda text: text) -> list[KernelLaunch]:  # fmt: skip
    """Computes into the result's array; ``edit`` changes the kernels' text before. The launches are returned."""
    memory = {role: memory_of(array) for role, array in arrays.items() if role != "bias"}
    made = launches(problem, params, memory, limits=limits)
    workspace = cp.empty(made.workspace_bytes, np.uint8) if made.workspace_bytes else None
    for launch in made.sequence:
        arguments = [
            arrays[argument] if isinstance(argument, str)
            else workspace[argument.offset_bytes :] if isinstance(argument, Workspace)
            else argument
            for argument in launch.arguments
        ]  # fmt: skip
        kernel = _function(cp, launch.kernel, edit(launch.source))
        kernel(launch.grid, launch.block, tuple(arguments), shared_mem=launch.shared_bytes)
    return list(made.sequence)
