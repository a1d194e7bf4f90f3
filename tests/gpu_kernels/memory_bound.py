"""Variants of the memory-bound kernels: one for each way that their text can differ by, of common layers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from fastconv import ConvProblem
from fastconv._blocks import Blocks
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms import depthwise_nchw, depthwise_nhwc, small_groups
from fastconv._gpu.launch import Launch
from fastconv._gpu.layout import Layout
from fastconv._gpu.pooling import gather
from fastconv._gpu.unfolding import algorithm as unfolding
from fastconv._problem import DATA_AXES, numpy_dtype
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


CHANNELS_LAST = ("3x3 56", "3x3 56 s2", "7x7 56", "1-D 4")
"""Layers that kernels for channels last are compiled for."""


def depthwise(room: str, layout: str, layers: Iterable[str] = tuple(LAYERS)) -> Iterator[Variant]:
    """The launches of layers, each text once."""
    (chosen,) = {"depthwise_nchw": depthwise_nchw, "depthwise_nhwc": depthwise_nhwc}[room].ALGORITHMS
    seen = set()
    for name in layers:
        layer = LAYERS[name]
        for dtype in DTYPES.get(name, ("float32",)):
            for direction in ("forward", "backward_input", "backward_weight"):
                problem = ConvProblem.parse(f"{direction} {layer} {dtype} {layout}".strip())
                for launch in chosen.launches(Operation.contiguous(problem), chosen.parameters(problem)[0]):
                    row = re.sub(r"\s+", "_", f"{launch.kernel} {name} {dtype}")
                    way = direction.removeprefix("backward_")
                    row = row.replace("depthwise_forward", f"depthwise_{way}")
                    row = re.sub("depthwise_nhwc_(?=weight|sum|pack)", "", row).replace("depthwise_nhwc", way)
                    if (launch.source, launch.kernel) not in seen:
                        seen.add((launch.source, launch.kernel))
                        yield Variant(f"{room.removeprefix('depthwise_')}:{row}", launch.kernel, launch.source,
                                      from_architecture(75))  # fmt: skip


GROUPED = {
    "32x4d": "32x128x56x56 128x4x3x3 p1 g32",
    "64x4d": "32x512x28x28 512x8x3x3 p1 g64",
    "stem": "32x3x224x224 32x3x3x3 s2 p1",
    "3-D": "4x64x8x28x28 64x4x3x3x3 p1 g16",
}


def groups() -> Iterator[Variant]:
    """All directions of layers with few channels in a group."""
    (chosen,) = small_groups.ALGORITHMS
    for name, layer in GROUPED.items():
        for dtype in ("float32", "bfloat16") if name == "32x4d" else ("float32",):
            for direction in ("forward", "backward_input", "backward_weight"):
                if name == "stem" and direction != "forward":
                    continue
                problem = ConvProblem.parse(f"{direction} {layer} {dtype}")
                launch = chosen.launches(Operation.contiguous(problem), chosen.parameters(problem)[0])[0]
                row = f"groups:{direction.removeprefix('backward_')}_{name}_{dtype}"
                yield Variant(row, launch.kernel, launch.source, from_architecture(75))


POOLS = {
    "2x2": WindowAxis(56, 28, 2, 2),
    "3x3 s2": WindowAxis(112, 56, 3, 2, 1, 1),
    "3x3": WindowAxis(56, 56, 3, 1, 1, 1),
    "global": WindowAxis.shared(7, 1),
    "adaptive": WindowAxis.shared(13, 6),
}
POOL_KINDS: tuple[gather.Kind, ...] = ("maximum", "average", "maximum_gradient", "average_gradient")

POOLED_HALVES: tuple[gather.Kind, ...] = ("maximum", "average_gradient")
"""Kinds that are compiled for bfloat16, channels last, too."""


def pool(axis: WindowAxis, kind: gather.Kind, dtype: str, channels_last: bool) -> tuple[Launch, ...]:
    """The launches of a pooling with the same windows on two axes; maxima without their places."""
    windows = Windows((WindowAxis(1, 1, 1), axis, axis))
    order = DATA_AXES["channels_last" if channels_last else "channels_first"]
    element = np.dtype(np.int8) if dtype == "int8" else numpy_dtype(dtype)
    lie = {"source": Layout.packed(element, (32, 64, 1, axis.size, axis.size), order)}
    lie["result"] = Layout.packed(element, (32, 64, 1, axis.outputs, axis.outputs), order)
    if kind == "maximum_gradient":
        lie["index"] = Layout.packed(np.dtype(np.int64), (32, 64, 1, axis.outputs, axis.outputs), order)
    return gather.launches(windows, kind, dtype, 32, 64, lie)


def pooling() -> Iterator[Variant]:
    """Every kind of every window; maxima of integers, too."""
    for name, axis in POOLS.items():
        for kind in POOL_KINDS:
            is_first = (name, kind) == ("2x2", "maximum")
            for dtype in ("float32", "float64", "bfloat16", "int8") if is_first else ("float32",):
                for launch in pool(axis, kind, dtype, False):
                    row = "strays" if launch.kernel == "pool_strays" else kind
                    yield _pool_variant(f"{row} {name} {dtype}", launch)
        yield _pool_variant(f"average {name} NHWC", pool(axis, "average", "float32", True)[0])
    for kind in POOLED_HALVES:
        yield _pool_variant(f"{kind} 3x3 bfloat16 NHWC", pool(POOLS["3x3"], kind, "bfloat16", True)[0])


def _pool_variant(row: str, launch: Launch) -> Variant:
    return Variant("pool:" + row.replace(" ", "_"), launch.kernel, launch.source, from_architecture(75))


UNFOLDED = {
    # sizes, kernel, stride, padding
    "3x3": (56, 3, 1, 1),
    "3x3 s2": (112, 3, 2, 1),
    "patches": (224, 16, 16, 0),
}


def blocks_of(name: str, batch: int, channels: int) -> Blocks:
    """Those of square images."""
    size, kernel, stride, pad = UNFOLDED[name]
    count = (size + 2 * pad - kernel) // stride + 1
    return Blocks(True, batch, channels, (size,) * 2, (kernel,) * 2, (1, 1), (stride,) * 2, ((pad, pad),) * 2,
                  (count,) * 2)  # fmt: skip


def unfolded(blocks: Blocks, dtype: np.dtype) -> tuple[Launch, ...]:
    """unfold and fold of contiguous arrays."""
    n, c, h, w = Layout.packed(dtype, blocks.image_shape).strides
    rows = Layout.packed(dtype, blocks.columns_shape).strides
    return (
        *unfolding.unfold_launches(blocks, dtype, (n, c, 0, h, w)),
        *unfolding.fold_launches(blocks, dtype, (*rows[:2], 0, 0, rows[2])),
    )


def unfoldings() -> Iterator[Variant]:
    """Both of every kind of blocks."""
    for name in UNFOLDED:
        for dtype in ("float32", "bfloat16") if name == "3x3" else ("float32",):
            for launch in unfolded(blocks_of(name, 32, 64), numpy_dtype(dtype)):
                row = f"{launch.kernel} {name} {dtype}".replace(" ", "_")
                yield Variant(row, launch.kernel, launch.source, from_architecture(75))


VARIANTS = (
    *depthwise("depthwise_nchw", ""),
    *depthwise("depthwise_nhwc", "channels_last", CHANNELS_LAST),
    *groups(),
    *pooling(),
    *unfoldings(),
)
