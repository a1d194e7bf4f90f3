"""Variants of the kernels of ``_gpu/algorithms/few_channels``."""

from __future__ import annotations

from pathlib import Path

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.few_channels import ALGORITHMS
from nvrtc_gate import Variant, from_architecture

TABLE = Path(__file__).parent / "few_channels.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""
GATED = (
    # kernel, problem, algorithm, tile
    ("few_channels", "forward 8x3x224x224 64x3x7x7 s2 p3 bfloat16 +bias+relu", "few_channels", "64x128"),
    ("few_channels", "forward 8x3x224x224 32x3x3x3 s2 p1 float16 channels_last +add", "few_channels", "32x256"),
    ("few_channels", "forward 8x3x224x224 64x3x7x7 s2 p3", "few_channels_3xtf32", "64x128"),
    ("few_channels", "backward_input 8x3x224x224 64x3x7x7 s2 p3", "few_channels_3xtf32", "16x256"),
    ("pack_few_channels", "backward_input 8x3x224x224 64x3x7x7 s2 p3", "few_channels_3xtf32", "16x256"),
)


def _variants() -> tuple[Variant, ...]:
    made = []
    for kernel, text, name, tile in GATED:
        (algorithm,) = (one for one in ALGORITHMS if one.name == name)
        of = algorithm.launches(Operation.contiguous(ConvProblem.parse(text)), {"tile": tile})
        source = next(launch.source for launch in of if launch.kernel == kernel)
        made.append(Variant(f"{kernel},{text.split()[0]},{name},{tile}", kernel, source, from_architecture(80)))
    return tuple(made)


VARIANTS = _variants()
"""``GATED`` as texts."""
