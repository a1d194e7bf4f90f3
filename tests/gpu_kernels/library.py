"""Variants of the kernels that stand beside libraries' steps (gemm): what gates and tables are made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.gemm.products import Builder
from fastconv._gpu.launch import Launch
from nvrtc_gate import Variant, from_architecture

TABLE = Path(__file__).parent / "library_resources.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""
MAX_REGISTERS = 80
"""So that the threads of a multiprocessor, of which there are at least 768, keep enough bytes in flight."""
GEMM = (
    "forward 2x8x9x9 8x8x3x3 p1 +bias+add+gelu",
    "forward 2x8x9x9 8x8x3x3 p1 channels_last bfloat16 +bias",
    "backward_input 2x8x9x9 8x8x3x3 s2 p1",
    "backward_input 2x8x9x9 8x8x3x3 p1 channels_last float64",
    "backward_weight 2x8x40x40 8x8x3x3 float16",
)


def _gemm() -> Iterator[Variant]:
    for text in GEMM:
        problem = ConvProblem.parse(text)
        seen: set[str] = set()
        for step in Builder(Operation.contiguous(problem), 2, False).build():
            if isinstance(step, Launch) and step.source not in seen:
                seen.add(step.source)
                along = "pixels" if "ALONG PIXELS" in step.source else "channels"
                name = f"{step.kernel},{along},{problem.direction},{problem.dtype},{len(seen)}"
                yield Variant(name, step.kernel, step.source, from_architecture(75))


VARIANTS = tuple(_gemm())
