"""Runs the launches of ``_gpu/algorithms/implicit_gemm`` as a backend does, on CuPy or its stand-in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.implicit_gemm.launches import launches, pack_launch, packed_bytes
from fastconv._gpu.launch import Launch
from fastconv._gpu.parts import UNLIMITED, Limits
from gpu_launches import layout_of, start
from nvrtc_gate import Variant, from_architecture

PARAMS: Mapping[str, Any] = {"tile": "128x128x16", "splits": 1}


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
    ("weight_gradient", "1x1", "backward_weight 8x128x28x28 128x128x1x1", "128x128x16-8x16", 4, False),
    ("weight_gradient", "1x1", "backward_weight 8x64x28x28 64x64x1x1", "64x128x16-8x16", 4, False),
    ("weight_gradient", "1x1,s2", "backward_weight 8x60x28x28 60x60x1x1 s2", "128x64x16-16x8", 1, False),
    ("weight_gradient", "1x1,p1", "backward_weight 8x60x28x28 60x60x1x1 p1", "128x128x16-8x16", 1, False),
    ("weight_gradient", "nhwc", "backward_weight 8x60x28x28 60x60x3x3 p1 channels_last DHWIO", "128x128x16", 1, False),
    ("weight_gradient", "3-D,wide", "backward_weight 2x60x9x9x9 60x60x3x3x3 p1", "128x128x16", 1, True),
    ("weight_gradient", "float64", "backward_weight 8x64x28x28 64x64x3x3 p1 float64", "64x64x8", 4, False),
    ("pack_weights", "", "forward 8x64x28x28 64x64x3x3 p1", "64x64x16", 1, False),
    ("add_partials", "pixels", "forward 2x60x9x9 60x60x3x3 p1 +bias+add+silu", "128x128x16", 4, False),
    ("add_partials", "weights", "backward_weight 8x64x28x28 64x64x3x3 p1", "64x64x16", 4, False),
    ("add_partials", "many", "backward_weight 8x64x28x28 64x64x1x1", "64x64x16", 64, False),
)
"""What is compiled for every architecture: of each kernel what differs most."""


def variants() -> list[Variant]:
    """``GATED`` as texts."""
    made = []
    for kernel, name, text, tile, splits, wide in GATED:
        problem = ConvProblem.parse(text)
        of = launches(Operation.contiguous(problem), {"tile": tile, "splits": splits}, Limits(wide=wide))
        source = next(launch.source for launch in of if launch.kernel == kernel)
        row = ",".join(filter(None, (kernel, tile if kernel in ("correlate", "weight_gradient") else "", name)))
        made.append(Variant(row, kernel, source, from_architecture(75)))
    return made


def run(cp: Any, problem: ConvProblem, arrays: Mapping[str, Any], params: Mapping[str, Any] = PARAMS,
        limits: Limits = UNLIMITED, edit: Callable[[str], str] = lambda text: text,
        is_packed: bool = False) -> list[Launch]:  # fmt: skip
    """Computes into the result's array; ``edit`` changes the kernels' text before. The launches are returned."""
    layouts = {role: layout_of(array, array.dtype) for role, array in arrays.items() if role != "bias"}
    sequence = list(launches(Operation(problem, layouts, is_packed=is_packed), params, limits))
    if is_packed:
        arrays = {**arrays, "packed": cp.empty(packed_bytes(problem, params), np.uint8)}
        sequence.insert(0, pack_launch(problem, params, layouts["weight"]))
    start(cp, sequence, arrays, edit)
    return sequence
