"""Variants of the kernels of ``_gpu/algorithms/implicit_gemm_mma``, and their launches with limits of a test's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.implicit_gemm_mma.algorithm import builder
from fastconv._gpu.launch import Launch
from fastconv._gpu.parts import UNLIMITED, Limits
from nvrtc_gate import Variant, from_architecture

TABLE = Path(__file__).parent / "implicit_gemm_mma.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""
GATED = (
    # kernel, problem, arithmetic, tile, splits, 64-bit offsets
    ("correlate", "forward 8x128x28x28 128x128x3x3 p1 bfloat16 +bias+relu", "bf16", "128x112x32", 1, False),
    ("correlate", "forward 8x128x13x13 128x128x3x3 p1 float16", "bf16", "64x224x32", 1, False),
    ("correlate", "forward 8x130x32x32 128x130x3x3 p1 bfloat16", "bf16", "128x128x32", 1, False),
    (
        "correlate",
        "backward_input 2x60x9x9 60x60x3x3 s2 p1 float16 channels_last +add+gelu",
        "bf16",
        "64x224x32",
        1,
        True,
    ),
    ("correlate", "forward 8x128x28x28 128x128x3x3 p1", "3xtf32", "64x112x16", 1, False),
    ("correlate", "forward 8x128x28x28 128x128x3x3 p1 int8", "int8", "128x112x64", 1, False),
    ("correlate", "forward 2x60x9x9 60x60x3x3 s2 p1 int8", "int8 zeros", "64x112x64", 1, True),
    ("weight_gradient", "backward_weight 8x128x28x28 128x128x3x3 p1 bfloat16", "bf16", "128x128x32", 4, False),
    (
        "weight_gradient",
        "backward_weight 2x60x9x9x9 60x60x3x3x3 p1 channels_last DHWIO",
        "3xtf32",
        "64x128x16",
        1,
        True,
    ),
    ("weight_gradient", "backward_weight 8x128x28x28 128x128x3x3 p1 bfloat16", "bf16", "ring128x144", 4, False),
    ("weight_gradient", "backward_weight 2x60x9x9x9 60x60x3x4x2 s2 p1 float16", "bf16", "ring64x256", 4, True),
    ("weight_gradient", "backward_weight 8x64x56x56 64x64x3x3 s2 p1 bfloat16", "bf16", "ring64x288", 4, False),
    ("correlate", "forward 8x128x28x28 128x128x1x1 bfloat16 +bias+relu", "bf16", "128x128x32", 1, False),
    ("correlate", "backward_input 2x60x9x6 60x60x1x1 float16 +add+gelu", "bf16", "128x64x32", 1, True),
    ("weight_gradient", "backward_weight 8x128x28x28 128x128x1x1 bfloat16", "bf16", "64x256x32", 4, False),
    ("lay_pixels", "backward_weight 8x128x7x7 128x128x3x3 p1 bfloat16", "bf16", "ring128x144", 4, False),
    ("add_partials", "backward_weight 8x128x7x7 128x128x3x3 p1 bfloat16", "bf16", "ring128x144", 4, False),
)
"""What is compiled for every architecture: of each kernel what differs most."""


def launches(operation: Operation, params: Mapping[str, Any], arithmetic: str,
             limits: Limits = UNLIMITED) -> tuple[Launch, ...]:  # fmt: skip
    """What the algorithm of the arithmetic launches."""
    return builder(operation, params, arithmetic, limits).launches()


def _variants() -> tuple[Variant, ...]:
    made = []
    for kernel, text, arithmetic, tile, splits, wide in GATED:
        operation = Operation.contiguous(ConvProblem.parse(text))
        name, *zeros = arithmetic.split()
        if zeros:
            operation = replace(operation, input_zero=1, filter_zeros="zeros")
        of = launches(operation, {"tile": tile, "splits": splits}, name, Limits(wide=wide))
        source = next(launch.source for launch in of if launch.kernel == kernel)
        name = f"{kernel},{'_'.join((name, *zeros))},{tile}{',1x1' if 'x1x1 ' in text else ''}"
        made.append(Variant(name, kernel, source, from_architecture(80)))
    return tuple(made)


VARIANTS = _variants()
"""``GATED`` as texts."""
