"""Variants of the memory-bound kernels: one for each way that their text can differ by, of common layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms import depthwise_nchw
from fastconv._gpu.layout import Layout
from fastconv._gpu.pooling import gather as algorithm
from fastconv._problem import numpy_dtype
from fastconv._windows import WindowAxis, Windows
from nvrtc_gate import Variant, from_architecture

TABLE = Path(__file__).parent / "memory_bound.txt"
"""What they take of a multiprocessor, as ``nvrtc_gate`` has written it."""
MAX_REGISTERS = 168
"""Of a thread; nothing is spilled."""

LAYERS = {
    "3x3 56": "32x144x56x56 144x1x3x3 p1 g144",
    "3x3 56 s2": "32x144x56x56 144x1x3x3 s2 p1 g144",
    "3x3 14": "32x384x14x14 384x1x3x3 p1 g384",
    "3x3 7": "32x960x7x7 960x1x3x3 p1 g960",
    "5x5 28": "32x240x28x28 240x1x5x5 p2 g240",
    "7x7 56": "32x96x56x56 96x1x7x7 p3 g96",
    "7x7 7": "32x768x7x7 768x1x7x7 p3 g768",
    "31x31 56": "8x128x56x56 128x1x31x31 p15 g128",
    "1-D 4": "8x1024x2048 1024x1x4 p3:0 g1024",
    "1-D 31": "8x1024x2048 1024x1x31 p15 g1024",
    "3-D 3x3x3": "4x64x8x28x28 64x1x3x3x3 p1 g64",
}
DTYPES = {"3x3 56": ("float32", "float64", "float16", "bfloat16"), "1-D 4": ("float32", "bfloat16")}
"""Those that a layer is compiled for; float32 where it has none."""


def depthwise(room: str, layout: str) -> Iterator[Variant]:
    """The launches of all layers, each text once."""
    (chosen,) = {"depthwise_nchw": depthwise_nchw}[room].ALGORITHMS
    seen = set()
    for name, layer in LAYERS.items():
        for dtype in DTYPES.get(name, ("float32",)):
            for direction in ("forward", "backward_input", "backward_weight"):
                problem = ConvProblem.parse(f"{direction} {layer} {dtype} {layout}".strip())
                for launch in chosen.launches(Operation.contiguous(problem), chosen.parameters(problem)[0]):
                    row = re.sub(r"\s+", "_", f"{launch.kernel} {name} {dtype}")
                    row = row.replace("depthwise_forward", f"depthwise_{direction.removeprefix('backward_')}")
                    if (launch.source, launch.kernel) not in seen:
                        seen.add((launch.source, launch.kernel))
                        yield Variant(f"{room.removeprefix('depthwise_')}:{row}", launch.kernel, launch.source,
                                      from_architecture(75))  # fmt: skip


POOLS = {
    "2x2": WindowAxis(56, 28, 2, 2),
    "3x3 s2": WindowAxis(112, 56, 3, 2, 1, 1),
    "global": WindowAxis.shared(7, 1),
    "adaptive": WindowAxis.shared(13, 6),
}


def pooling() -> Iterator[Variant]:
    """Every kind of every window; maxima of integers, too."""
    kinds: tuple[algorithm.Kind, ...] = ("maximum", "average", "maximum_gradient", "average_gradient")
    for name, axis in POOLS.items():
        windows = Windows((WindowAxis(1, 1, 1), axis, axis))
        shapes = {"source": (32, 64, 1, axis.size, axis.size), "result": (32, 64, 1, axis.outputs, axis.outputs)}
        for kind in kinds:
            dtypes = ("float32", "bfloat16", "int8") if (name, kind) == ("2x2", "maximum") else ("float32",)
            for of in dtypes:
                dtype = np.dtype(np.int8) if of == "int8" else numpy_dtype(of)
                lie = {role: Layout.packed(dtype, shape) for role, shape in shapes.items()}
                lie["index"] = Layout.packed(np.dtype(np.int64), shapes["result"])
                (launch,) = algorithm.launches(windows, kind, dtype.name, 32, 64, lie)
                row = re.sub(r"\s+", "_", f"{kind} {name} {dtype.name}")
                yield Variant(f"pool:{row}", launch.kernel, launch.source, from_architecture(75))


VARIANTS = (*depthwise("depthwise_nchw", ""), *pooling())
