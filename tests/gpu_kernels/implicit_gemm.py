"""Runs the launches of ``_gpu/algorithms/implicit_gemm`` as a backend does, on CuPy or its stand-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from fastconv import ConvProblem
from fastconv._gpu.algorithms.implicit_gemm.launches import (
    KernelLaunch,
    Memory,
    Workspace,
    launches,
    pack_launches,
    packed_bytes,
)
from fastconv._gpu.algorithms.implicit_gemm.parts import UNLIMITED, Limits
from nvrtc_gate import Variant, from_architecture

PARAMS: Mapping[str, Any] = {"tile": "128x128x16", "splits": 1}


def contiguous(problem: ConvProblem) -> dict[str, Memory]:
    """New arrays of the problem's layout."""
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    shapes["add"] = problem.result_shape
    made = {}
    for role, shape in shapes.items():
        order = (0, 1, 2, 3, 4)
        if role == "weight":
            order = {"OIDHW": order, "DHWIO": (2, 3, 4, 1, 0), "ODHWI": (0, 2, 3, 4, 1)}[problem.weight_layout]
        elif problem.layout == "channels_last":
            order = (0, 2, 3, 4, 1)
        strides, step = [0] * 5, 1
        for axis in reversed(order):
            strides[axis], step = step, step * shape[axis]
        made[role] = Memory(tuple(strides), 256)
    return made


GATED = (
    # kernel, name, problem, tile, splits, 64-bit offsets
    ("correlate", "3x3", "forward 8x128x28x28 128x128x3x3 p1", "128x128x16", 1, False),
    ("correlate", "3x3", "forward 8x64x28x28 64x64x3x3 p1", "64x128x16", 1, False),
    ("correlate", "3x3", "forward 8x64x28x28 64x64x3x3 p1", "64x64x16", 1, False),
    ("correlate", "3x3", "forward 8x64x28x28 64x64x3x3 p1", "128x128x8", 1, False),
    ("correlate", "3x3", "forward 8x64x28x28 64x64x3x3 p1", "64x64x8", 1, False),
    ("correlate", "1x1", "forward 8x128x28x28 128x128x1x1", "128x128x16", 1, False),
    ("correlate", "nhwc", "forward 8x128x28x28 128x128x3x3 p1 channels_last", "128x128x16", 1, False),
    ("correlate", "nhwc,odd", "forward 8x60x28x28 63x60x3x3 p1 channels_last +bias", "64x64x16", 1, False),
    (
        "correlate",
        "phases,add,gelu",
        "backward_input 8x60x9x9 60x60x3x3 s2 p1 +bias+add+gelu",
        "128x128x16",
        1,
        False,
    ),
    ("correlate", "3-D,wide,split", "forward 2x60x9x9x9 60x60x3x3x3 p1", "128x128x16", 4, True),
    ("correlate", "float64", "forward 8x64x28x28 64x64x3x3 p1 float64", "64x64x8", 1, False),
    ("weight_gradient", "3x3", "backward_weight 8x128x28x28 128x128x3x3 p1", "128x128x16", 4, False),
    ("weight_gradient", "3x3", "backward_weight 8x64x28x28 64x64x3x3 p1", "64x128x16", 4, False),
    ("weight_gradient", "3x3", "backward_weight 8x64x28x28 64x64x3x3 p1", "64x64x16", 4, False),
    ("weight_gradient", "nhwc", "backward_weight 8x60x28x28 60x60x3x3 p1 channels_last DHWIO", "128x128x16", 1, False),
    ("weight_gradient", "3-D,wide", "backward_weight 2x60x9x9x9 60x60x3x3x3 p1", "128x128x16", 1, True),
    ("weight_gradient", "float64", "backward_weight 8x64x28x28 64x64x3x3 p1 float64", "64x64x8", 4, False),
    ("pack_weights", "", "forward 8x64x28x28 64x64x3x3 p1", "64x64x16", 1, False),
    ("add_partials", "pixels", "forward 2x60x9x9 60x60x3x3 p1 +bias+add+silu", "128x128x16", 4, False),
    ("add_partials", "weights", "backward_weight 8x64x28x28 64x64x3x3 p1", "64x64x16", 4, False),
)
"""What is compiled for every architecture: of each kernel what differs most."""


def variants() -> list[Variant]:
    """``GATED`` as texts."""
    made = []
    for kernel, name, text, tile, splits, wide in GATED:
        problem = ConvProblem.parse(text)
        of = launches(problem, {"tile": tile, "splits": splits}, contiguous(problem), limits=Limits(wide=wide))
        source = next(launch.source for launch in of.sequence if launch.kernel == kernel)
        row = ",".join(filter(None, (kernel, tile if kernel in ("correlate", "weight_gradient") else "", name)))
        made.append(Variant(row, kernel, source, from_architecture(75)))
    return made


def memory_of(array: Any) -> Memory:
    """How an array of the device lies."""
    address = int(array.data.ptr)
    return Memory(tuple(stride // array.itemsize for stride in array.strides), min(address & -address, 256))


@cache
def _function(cp: Any, name: str, text: str) -> Any:
    return cp.RawModule(code=text).get_function(name)


def run(cp: Any, problem: ConvProblem, arrays: Mapping[str, Any], params: Mapping[str, Any] = PARAMS,
        limits: Limits = UNLIMITED, edit: Callable[[str], str] = lambda text: text,
        is_packed: bool = False) -> list[KernelLaunch]:  # fmt: skip
    """Computes into the result's array; ``edit`` changes the kernels' text before. The launches are returned."""
    memory = {role: memory_of(array) for role, array in arrays.items() if role != "bias"}
    made = launches(problem, params, memory, is_packed, limits)
    workspace = cp.empty(max(made.workspace_bytes, 1), np.uint8)
    sequence = list(made.sequence)
    if is_packed:
        arrays = {**arrays, "packed": cp.empty(packed_bytes(problem, params), np.uint8)}
        sequence.insert(0, pack_launches(problem, params, memory["weight"]))
    for launch in sequence:
        arguments = [
            arrays[argument] if isinstance(argument, str)
            else workspace[argument.offset_bytes :] if isinstance(argument, Workspace)
            else argument
            for argument in launch.arguments
        ]  # fmt: skip
        kernel = _function(cp, launch.kernel, edit(launch.source))
        kernel(launch.grid, launch.block, tuple(arguments), shared_mem=launch.shared_bytes)
    return sequence
