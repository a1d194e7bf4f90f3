"""Named problems, and a hypothesis strategy over all of them.

A shape is a problem's text without its direction: "<input> <weight> <settings>". Sizes are small; the point is in
their remainders: register tiles have 6 or 14 rows and 8 to 32 columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from hypothesis import strategies as st

from fastconv import ConvProblem
from fastconv._problem import DIRECTIONS, LAYOUTS, WEIGHT_LAYOUTS, Epilogue

SHAPES: dict[str, tuple[str, ...]] = {
    "basic": (
        "1x1x1x1 1x1x1x1",
        "1x1x5x5 1x1x3x3",
        "2x3x8x8 4x3x3x3 p1",
        "3x2x6x5 5x2x2x4 p1x2",
        "1x8x10x12 16x8x3x3 p1",
        "2x4x9x9 6x4x3x3 s2 p1",
        "1x16x14x14 16x16x3x3 p1",
        "1x3x20x20 8x3x7x7 s2 p3",
    ),
    "tails": (
        "1x5x7x33 7x5x3x3 p1",
        "2x7x11x13 13x7x3x3",
        "1x17x5x31 19x17x3x3 p1",
        "3x3x1x17 2x3x1x5 p0x2",
        "1x2x3x65 15x2x3x3 p1",
        "1x31x3x7 29x31x1x3 p0x1",
        "5x1x4x9 1x1x2x2",
        "1x13x2x47 14x13x2x3",
        "1x6x6x16 12x6x3x3 p1",
        "1x9x5x95 5x9x1x1",
        "2x1x3x129 6x1x2x2",
    ),
    "dilated": (
        "1x3x13x11 4x3x3x3 p2 d2",
        "2x2x15x14 3x2x3x2 d3x5",
        "1x4x17x17 5x4x2x3 s2x3 p3x4 d4x2",
        "1x2x40 3x2x3 p8 d16",
        "1x3x12x12 4x3x3x3 s2 p2 d2",
        "1x2x21x19 3x2x3x3 s6x4 p5 d4x6",
    ),
    "strided": (
        "1x3x13x14 5x3x3x3 s2x3 p1",
        "2x2x16x16 4x2x2x2 s2",
        "1x3x17x19 4x3x2x2 s5x4",
        "1x4x12x12 6x4x4x4 s4 p1",
        "1x2x11x9 3x2x1x1 s3x2",
        "1x3x23x23 7x3x5x5 s3 p2",
        "1x2x9x30 2x2x3x3 s1x7 p1",
        "2x5x7x33 8x5x3x3 s1x2 p1",
    ),
    "grouped": (
        "2x6x7x7 4x3x3x3 p1 g2",
        "1x12x9x8 9x4x3x3 p1 g3",
        "1x8x6x17 24x2x3x3 s2 p1 g4",
        "1x10x5x5 5x2x1x1 g5",
        "1x32x6x6 32x4x3x3 p1 g8",
    ),
    "depthwise": (
        "2x5x9x9 5x1x3x3 p1 g5",
        "1x8x10x11 8x1x3x3 s2 p1 g8",
        "1x3x7x21 6x1x5x5 p2 g3",
        "1x4x9x9 12x1x3x3 s2 p1 g4",
        "1x7x13x13 7x1x3x3 p2 d2 g7",
        "2x16x5x33 16x1x7x7 p3 g16",
        "1x6x50 6x1x4 p3:0 g6",
        "1x3x5x6x7 3x1x3x3x3 p1 g3",
    ),
    "padded": (
        "1x2x6x6 3x2x3x3 p0:2x1:0",
        "1x3x7x5 2x3x3x3 p5",
        "2x2x9x8 3x2x3x3 p-1:2x3:-2",
        "1x2x10x10 3x2x3x3 s2 p-2:-1x-3:1",
        "1x1x2x2 2x1x3x3 p4 d3",
        "1x3x6x7 4x3x2x3 s2x1 p-1:3x2:-1 d2x1",
        "1x2x3x3 3x2x3x3 p7:0x0:7",
    ),
    "1-D": (
        "2x3x17 4x3x3 p1",
        "1x5x100 7x5x9 p4",
        "1x1x257 1x1x31",
        "3x4x37 6x4x5 s3 p2:0",
        "2x6x41 6x2x3 p4:0 d2 g3",
    ),
    "3-D": (
        "1x2x5x6x7 3x2x3x3x3 p1",
        "2x3x4x5x9 4x3x2x3x1 s1x2x1 p0x1x0",
        "1x4x7x5x6 6x2x3x2x3 s2 p1 d2x1x1 g2",
        "1x1x9x3x11 2x1x3x1x5 p1x0x-1:2",
    ),
    "1x1": (
        "2x16x7x9 24x16x1x1",
        "1x33x5x5 7x33x1x1",
        "3x4x8x8 5x4x1x1 s2",
        "1x5x6x6 3x5x1x1 p1",
        "2x6x5x7 8x3x1x1 g2",
    ),
    "kernel == input": (
        "2x3x4x5 6x3x4x5",
        "3x7x1x1 4x7x1x1",
        "1x4x3x3 5x4x3x3 s2",
        "2x2x31 3x2x31",
        "1x2x5x5 3x2x3x3 d2",
    ),
    "channels last": (
        "2x3x8x9 5x3x3x3 p1 channels_last",
        "1x8x7x11 16x8x3x3 s2 p1 channels_last DHWIO",
        "1x17x5x6 13x17x3x3 p1 channels_last ODHWI",
        "2x6x9x7 4x3x3x3 p1 g2 channels_last DHWIO",
        "1x9x8x8 9x1x3x3 p1 g9 channels_last",
        "1x12x5x5 20x12x1x1 channels_last DHWIO",
        "1x4x30 5x4x3 p2 d2 channels_last",
        "1x3x4x5x6 4x3x2x3x2 s1x2x1 p1 channels_last ODHWI",
        "1x2x10x9 3x2x3x3 s2 p-2:1x1:-2 channels_last",
        "1x3x9x9 8x3x3x3 p1 DHWIO",
        "1x4x9x9 8x2x3x3 p1 g2 ODHWI",
    ),
    "dilated, several channels": (
        "2x4x7x5 6x4x3x3 p12 d12",
        "1x8x33x35 7x8x3x3 p5x3 d5x3",
        "1x20x13x29 35x20x1x5 p0x8 d1x4",
        "1x4x3x9x11 5x4x3x3x3 p1x2x3 d1x2x3",
        "2x17x11x10 33x17x3x3 p2 d2 channels_last",
    ),
    "strided, several channels": (
        "2x8x13x14 20x8x3x3 p1 s2",
        "1x17x10x9 33x17x4x4 p1:2x2:1 s2 channels_last",
        "1x5x31 6x5x6 p2 s2",
        "1x6x4x9x12 7x6x3x3x3 p1 s1x2x2",
        "1x3x29x27 18x3x7x7 p3 s2",
        "1x3x25x23 10x3x11x11 p2 s4 channels_last",
        "1x2x23x9 5x2x8x3 p1:4x1 s3x1",
    ),
    "few pixels": (
        "2x330x5x7 70x330x1x1",
        "5x20x2x2 64x20x1x1",
        "2x48x6x6 64x48x1x1 s2",
        "1x340x5x5 40x340x1x1 DHWIO",
        "2x40x5x5 64x40x3x3 p1",
        "2x130x4x4 32x65x1x1 g2",
        "1x330x5x7 70x330x1x1 channels_last",
    ),
    "gradients stored as they are summed": (
        "1x515x23x22 5x515x1x1",
        "2x136x5x5 16x17x1x1 g8",
        "1x6x5x5 530x6x1x1 DHWIO",
        "1x515x4x5 5x515x1x1 channels_last",
    ),
    "wide": (
        "1x35x9x10 37x35x3x3 p1",
        "1x35x9x10 37x35x3x3 p1 channels_last DHWIO",
        "1x35x9x10 37x35x3x3 p1 channels_last ODHWI",
        "1x33x7x6 40x33x3x3 p1 DHWIO",
        "1x5x16x32 9x5x1x1",
        "1x4x5x6x7 3x4x1x1x1 s2",
    ),
    "planes": (
        "2x3x9x11 3x1x3x3 p1 g3",
        "3x5x14x14 5x1x3x3 p1 g5",
        "1x4x7x7 4x1x7x7 p3 g4",
        "2x3x8x28 3x1x5x5 p2 g3",
        "1x2x3x70 2x1x5x3 p2x1 g2",
        "1x3x17x19 3x1x7x2 p3x1 g3",
        "2x3x12x8 3x1x3x4 p0 g3 DHWIO",
        "1x2x6x5 2x1x3x3 p9x20 g2",
        "2x3x13x14 3x1x3x3 s2 p1 g3",
        "1x4x28x33 4x1x5x5 s2 p2 g4",
        "1x2x19x70 2x1x7x7 s2 p3 g2",
        "2x2x5x4 2x1x5x5 s2 p2 g2",
        "1x3x11x9 3x1x3x3 s2 p0x7 g3",
        "2x3x10x40 3x1x3x3 p-1:2x3:-2 g3",
        "2x3x10x40 3x1x3x3 s2 p-1:2x3:-2 g3",
        "1x1x200x240 1x1x7x7 p3",
        "1x1x17x1024 1x1x3x3 p1",
        "8x160x7x7 160x1x3x3 p1 g160",
        "3x4x3x19 4x1x3x3 p0x1 g4",
    ),
    "depthwise, channels last": (
        "2x16x9x11 16x1x3x3 p1 g16 channels_last",
        "1x37x7x17 37x1x3x3 p1 g37 channels_last DHWIO",
        "2x83x12x9 83x1x3x3 s2 p1 g83 channels_last",
        "1x48x15x20 48x1x5x5 p2 g48 channels_last",
        "1x33x11x23 33x1x7x7 p3 g33 channels_last ODHWI",
        "1x20x13x14 20x1x3x3 p2 d2 g20 channels_last",
        "2x64x5x3 64x1x2x4 s1x2 p1x2 g64 channels_last",
        "1x24x17x19 24x1x3x3 s3x2 p2 d2x3 g24 channels_last",
        "1x40x3x7x8 40x1x3x3x3 s1x2x1 p1 g40 channels_last",
        "3x70x29 70x1x5 p4:0 g70 channels_last",
        "2x5x6x8 5x1x3x3 p-1:2x3:-2 g5 channels_last",
        "2x5x7x8 5x1x3x3 s2x1 p1 g5 channels_last",
        "1x35x11x29 35x1x11x9 p5x4 g35 channels_last",
        "1x17x20x20 17x1x6x7 p3 s2 g17 channels_last",
        "1x16x30x9 16x1x8x1 p3x0 g16 channels_last",
        "3x18x9x33 18x1x2x17 p0x8 g18 channels_last DHWIO",
        "1x16x3x4 16x1x3x3 p4 g16 channels_last",
    ),
    "grouped, channels last": (
        "2x64x5x15 64x4x3x3 p1 g16 channels_last",
        "1x40x7x17 40x8x3x3 p1 g5 channels_last DHWIO",
        "1x32x12x20 64x16x5x5 p2 s2 g2 channels_last",
        "1x32x6x50 64x1x1x3 g32 channels_last ODHWI",
        "1x36x9x9 36x2x3x3 d2 p2 g18 channels_last",
        "1x64x3x4x9 64x32x3x3x3 p1 s1x2x2 g2 channels_last",
        "2x32x9x9 32x2x3x3 p1 s2x3 g16 channels_last",
        "1x24x6x7 24x8x2x7 p3 g3 channels_last",
        "1x16x4x3 32x8x3x3 p1 g2 channels_last",
        "1x48x30 48x2x5 p4 d2 g24 channels_last",
        "1x32x2x1100 32x4x3x3 p1 g8 channels_last",
    ),
    "grouped, channels first": (
        "2x64x7x7 64x1x3x3 p1 g64",
        "1x41x5x9 41x1x5x5 p2 g41 DHWIO",
        "1x48x14x15 48x1x3x3 s2 p1 g48",
        "2x36x6x11 36x2x3x3 p1 g18",
        "1x64x12x20 64x16x3x3 p1 g4",
        "1x32x9x9 64x8x3x3 p2 d2 g4 ODHWI",
        "1x40x10x13 40x8x3x3 p-1:2x3:-2 g5",
        "1x16x3x4x9 16x1x3x3x3 p1 s1x2x2 g16",
        "1x64x70 64x4x9 p4 g16",
        "1x16x1100 16x1x4 p3:0 g16",
        "1x16x2x1100 16x4x3x3 p1 s1x2 g4",
        "2x32x2x3 32x1x3x3 p3 g32",
    ),
    "sums of about 1,000 products": (
        "1x4x18 256x4x9 s2 p4",
        "1x2x11x9 29x2x11x11 s2 p3",
        "1x2x7x12 40x2x3x17 s1x2 p1x8",
        "1x4x5x18 66x4x4x4 s3x1 p1:2x2 d1x2",
        "1x2x3x6x7 43x2x3x3x5 s2x1x2 p1",
        "1x4x9x20 257x4x2x3 s1x2 p1 channels_last",
        "1x16x6x9 128x2x3x3 s2 p1 g8",
        "1x114x2x21 3x114x3x3 p1",
        "1x113x3x20 3x113x3x3 p1 s1x2",
        "1x130x1x9 5x130x2x8 p1x7 d1x3 channels_last DHWIO",
        "1x3x40x41 2x3x21x19 p4",
    ),
    "one axis unlike the other": (
        "1x3x16x17 9x3x3x5 s1x2 p1 d3x1",
        "2x3x17x12 20x3x4x2 s2x1 p2x0 d1x2",
        "1x2x19x14 17x2x7x2 s3x1 p1:2x3 d1x4",
        "1x4x15x14 8x2x2x6 s1x3 p1 d5x1 g2 channels_last",
        "1x5x14x19 6x5x3x9 s1x4 p2:0x1:3 d2x1",
        "2x3x4x9x10 5x3x2x3x4 s1x1x2 p1x0x1 d2x3x1",
        "1x2x5x9x6 3x2x3x2x3 s2x1x1 p1x-1x2 d1x2x3",
        "1x7x13x12 7x1x3x3 s2x1 p1x2 d1x2 g7",
        "1x24x11x12 24x1x3x3 s1x2 p2x1 d2x1 g24 channels_last",
        "1x20x10x13 33x20x3x4 s1x2 p1 d2x1",
        "1x20x13x10 33x20x4x3 s2x1 p1 d1x3 channels_last DHWIO",
        "1x3x40x9 4x3x13x1 s1x2 p6x0 d2x1",
    ),
    "unusual axes": (
        "2x3x2x9 4x3x3x3 s3x2 p1",
        "2x3x9x2 4x3x3x3 s2x3 p1",
        "2x16x1x7 16x1x2x3 s4x2 p1 g16 channels_last",
        "1x3x1x9x11 3x1x1x3x3 p-1:1x1x1 g3",
        "2x2x1x7x19 3x2x1x3x3 p1:-1x1x1",
        "1x4x5x9x10 6x4x3x3x3 s2x1x1 p1",
        "1x16x5x6 16x1x3x3 p0:4 g16 channels_last",
    ),
    "many pixels": (
        "2x64x33x35 64x1x5x5 p2 g64 channels_last",
        "2x64x33x35 64x4x3x3 p1 g16 channels_last",
        "2x6x70x71 6x1x5x5 p2 g6",
    ),
}
"""The named lists: what every algorithm is tested on."""

EPILOGUES: tuple[str, ...] = (
    "2x3x8x8 4x3x3x3 p1 +bias",
    "2x3x8x8 4x3x3x3 p1 +add",
    "1x5x7x33 7x5x3x3 p1 +bias+add+relu",
    "1x17x6x7 13x17x3x3 p1 channels_last DHWIO +bias+add+relu",
    "1x8x10x11 8x1x3x3 s2 p1 g8 +bias+relu6",
    "2x6x7x7 4x3x3x3 s2 p1 g2 +bias+add+leaky_relu=0.5",
    "1x2x40 3x2x3 p8 d16 +relu",
    "1x9x5x95 5x9x1x1 +bias+add+relu",
    "1x3x17x19 4x3x2x2 s5x4 +bias+add",
    "1x4x7x5x6 6x2x3x2x3 s2 p1 d2x1x1 g2 +bias+relu",
    "1x24x7x9 24x1x3x3 p1 g24 +bias+add+relu",
    "2x40x5x6 40x4x3x3 p1 g10 channels_last +bias+add+relu",
    "1x2x3x700 3x2x3x5 p1x2 channels_last +bias+add",
    "1x2x5000 2x2x9 p4 channels_last +add",
)
"""Epilogues that integers stay exact in; for forward and backward_input."""

NARROW: tuple[str, ...] = (
    "2x3x8x8 4x3x3x3 p1",
    "1x5x7x13 6x5x3x2 s2x1 p1",
    "1x4x9x9 6x2x3x3 p1:0x2:-1 g2",
    "1x5x9x9 5x1x3x3 p2 d2 g5",
    "2x3x17 4x3x5 p2",
    "1x2x4x5x6 3x2x2x2x2 p1",
    "1x9x6x5 7x9x1x1 channels_last DHWIO",
    "1x6x6x6 8x3x2x2 s2 g2 channels_last ODHWI",
)
"""Shapes for the dtypes that are lowered to real floats; reductions are short enough for bfloat16."""


def problems(shapes: Iterable[str], *settings: str, directions: Iterable[str] = DIRECTIONS) -> list[ConvProblem]:
    """Every shape in every direction, with further words of a problem's text."""
    return [ConvProblem.parse(" ".join((direction, shape, *settings))) for shape in shapes for direction in directions]


def named(*settings: str) -> list[ConvProblem]:
    """The named lists in all directions."""
    return problems((shape for shapes in SHAPES.values() for shape in shapes), *settings)


@st.composite
def conv_problems(
    draw: st.DrawFn, dtypes: tuple[str, ...] = ("float32", "float64"), max_multiply_adds: int = 60_000
) -> ConvProblem:
    """Problems of every kind; they shrink towards one 1x1 pixel with the default settings."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from((1, 1, 1, 2, 3, 5)))
    depthwise = draw(st.booleans()) and groups > 1
    channels = groups * (1 if depthwise else draw(st.integers(1, 9)))
    filters = groups * draw(st.integers(1, 3 if depthwise else 17))
    kernel = [draw(st.integers(1, 5 if rank < 3 else 3)) for _ in range(rank)]
    stride = [draw(st.integers(1, 4)) for _ in range(rank)]
    dilation = [draw(st.integers(1, 4)) for _ in range(rank)]
    padding = [(draw(st.integers(-2, 5)), draw(st.integers(-2, 5))) for _ in range(rank)]
    sizes = []
    for axis in range(rank):
        least = max(dilation[axis] * (kernel[axis] - 1) + 1 - sum(padding[axis]), 1)
        sizes.append(least + draw(st.integers(0, 36 if axis == rank - 1 else 7)))
    lead = 3 - rank
    problem = ConvProblem(
        direction=draw(st.sampled_from(DIRECTIONS)),
        batch=draw(st.integers(1, 3)),
        in_channels=channels,
        out_channels=filters,
        input_size=(1,) * lead + tuple(sizes),  # type: ignore[arg-type]
        kernel_size=(1,) * lead + tuple(kernel),  # type: ignore[arg-type]
        stride=(1,) * lead + tuple(stride),  # type: ignore[arg-type]
        padding=((0, 0),) * lead + tuple(padding),  # type: ignore[arg-type]
        dilation=(1,) * lead + tuple(dilation),  # type: ignore[arg-type]
        groups=groups,
        dtype=draw(st.sampled_from(dtypes)),
        layout=draw(st.sampled_from(LAYOUTS)),
        weight_layout=draw(st.sampled_from(WEIGHT_LAYOUTS)),
    )
    problem = problem.replace(epilogue=draw(_epilogues(problem)))
    return _at_most(problem, max_multiply_adds)


def _epilogues(problem: ConvProblem) -> st.SearchStrategy[Epilogue]:
    if problem.direction == "backward_weight":
        return st.just(Epilogue())
    activations = [None] if problem.dtype.startswith("complex") else [None, None, "relu", "relu6"]
    return st.builds(Epilogue, bias=st.booleans(), add=st.booleans(), activation=st.sampled_from(activations))


def _at_most(problem: ConvProblem, multiply_adds: int) -> ConvProblem:
    """The problem, cut in batch and channels until it is small enough for the slow oracle."""
    while problem.multiply_adds > multiply_adds:
        if problem.batch > 1:
            problem = problem.replace(batch=1)
        elif problem.out_channels > problem.groups:
            problem = problem.replace(out_channels=max(problem.out_channels // 2 // problem.groups, 1) * problem.groups)
        elif problem.in_channels > problem.groups:
            problem = problem.replace(in_channels=max(problem.in_channels // 2 // problem.groups, 1) * problem.groups)
        else:
            break
    return problem


def describe(problem: ConvProblem) -> str:
    """A test id."""
    return str(problem).replace(" ", "_")


def reach(problem: ConvProblem) -> int:
    """Elements of all arrays together."""
    return sum(math.prod(shape) for shape in (problem.input_shape, problem.weight_shape, problem.output_shape))
