"""The GPU's depthwise kernels against the definition, exactly, on small integers; non-finite data; what they read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import oracle
from fastconv import ConvProblem
from fastconv._gpu import depthwise, layout
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.depthwise_nchw import ALGORITHMS
from gpu_launches import computed, layout_of, on_device, on_host, start, traffic
from operands import integer_operands, numpy_dtype

(NCHW,) = ALGORITHMS

SHAPES = (
    "2x3x9x11 3x1x3x3 p1 g3",
    "2x3x30x8 3x1x3x3 p1 g3",
    "1x4x15x13 4x1x3x3 s2 p1 g4",
    "2x3x16x12 3x1x3x3 s2 p1 g3",
    "1x3x17x9 6x1x5x3 s2x1 p2x0 g3",
    "2x2x7x7 2x1x7x7 p3 g2",
    "1x3x14x10 6x1x5x5 p2 g3",
    "1x2x12x15 4x1x2x4 s3x2 p0:1x3:2 g2",
    "1x2x19x14 2x1x3x4 p2x3 d2x3 g2",
    "1x2x11x9 2x1x3x3 s2x3 p2 d3x2 g2",
    "1x2x9x9 2x1x1x1 s2 g2",
    "1x2x9x8 2x1x2x2 s4 p-1:2x1:0 g2",
    "2x3x40 3x1x4 p3:0 g3",
    "1x2x68 2x1x31 p15 g2",
    "1x2x37 4x1x9 s2 p4 d2 g2",
    "1x2x10x12 2x1x9x11 p4x5 g2",
    "1x2x5x6x7 4x1x3x2x3 s1x2x1 p1x0x1 g2",
    "1x2x4x5x6 2x1x3x3x3 s2x1x2 p1 d1x2x1 g2",
    "1x2x6x16 2x1x3x2 s1x4 p1x2:1 g2",
    "1x2x7x16 2x1x3x5 s2 p1x2 g2",
)
"""The cases that code differs for: tails, vectors, several filters, stride phases, taps in registers and in rows."""
DIRECTIONS = ("forward", "backward_input", "backward_weight")
LARGE = {"results": 14, "columns": 1}
WIDE_TILE = {"results": 20, "columns": 4}


def expected(problem: ConvProblem, operands: dict[str, np.ndarray]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        plain = oracle.convolve(problem, operands)
    result = oracle.finish(problem, plain, operands.get("bias"), operands.get("add"))
    return result.astype(numpy_dtype(problem.dtype))


def check(cp: Any, text: str, params: dict[str, int] | None = None) -> None:
    problem = ConvProblem.parse(text)
    assert NCHW.supports(problem)
    found = computed(cp, NCHW, problem, integer_operands(problem), params)
    np.testing.assert_array_equal(found, expected(problem, integer_operands(problem)), f"{problem}, {params}")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nchw_is_exact(cp: Any, shape: str, direction: str) -> None:
    for params in (LARGE, WIDE_TILE):
        check(cp, f"{direction} {shape}", params)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[3], SHAPES[5], SHAPES[12]])
def test_every_dtype(cp: Any, shape: str, dtype: str) -> None:
    for direction in DIRECTIONS:
        for params in (None, WIDE_TILE):
            check(cp, f"{direction} {shape} {dtype}", params)


@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[2], SHAPES[10]])
@pytest.mark.parametrize("epilogue", ["+bias", "+bias+add+relu", "+add+leaky_relu=0.5", "+bias+relu6"])
def test_epilogues(cp: Any, shape: str, epilogue: str) -> None:
    for direction in DIRECTIONS[:2]:
        check(cp, f"{direction} {shape} {epilogue}", WIDE_TILE)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_wide_offsets_and_batches_in_parts(cp: Any, direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "OFFSET_LIMIT", 1)
    many = ConvProblem.parse(f"{direction} 12x3x9x11 3x1x3x3 p1 g3")
    if direction != "backward_weight":
        monkeypatch.setattr(depthwise, "MAX_THREADS", 500)
        assert len(NCHW.launches(Operation.contiguous(many), LARGE)) == 2
    for text in (str(many), *(f"{direction} {shape}" for shape in SHAPES[1:3])):
        check(cp, text, LARGE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_weight_gradient_in_splits(cp: Any, dtype: str) -> None:
    problem = ConvProblem.parse(f"backward_weight 3x2x33x31 4x1x3x2 p1 g2 {dtype}")
    assert len(NCHW.launches(Operation.contiguous(problem), {"results": 1, "columns": 1})) == 2
    check(cp, str(problem), {"results": 1, "columns": 1})
    check(cp, f"backward_weight 2x1x40x41 1x1x9x7 p1 {dtype}", {"results": 1, "columns": 1})


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_arrays_of_any_strides(cp: Any, direction: str) -> None:
    """Every second column of rows from the last to the first, channels last, weights transposed."""
    problem = ConvProblem.parse(f"{direction} 2x3x10x12 6x1x3x3 s2x1 p1 g3")
    operands = {role: array.astype(np.float32) for role, array in integer_operands(problem).items()}
    result = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}[direction]
    operands[result] = np.full(problem.result_shape, 113, np.float32)
    arrays = {}
    for role, array in operands.items():
        n, k, d, h, w = array.shape
        if role == "weight":
            arrays[role] = on_device(cp, np.ascontiguousarray(array.transpose(4, 3, 2, 1, 0))).transpose(4, 3, 2, 1, 0)
        else:
            padded = np.full((n, d, h, 2 * w, k), 97, np.float32)
            padded[:, :, ::-1, ::2] = array.transpose(0, 2, 3, 4, 1)
            arrays[role] = on_device(cp, padded)[:, :, ::-1, ::2].transpose(0, 4, 1, 2, 3)
    layouts = {role: layout_of(array, np.dtype(np.float32)) for role, array in arrays.items()}
    start(cp, NCHW.launches(Operation(problem, layouts), WIDE_TILE), arrays)
    found = on_host(cp.ascontiguousarray(arrays[result]), np.dtype(np.float32))
    np.testing.assert_array_equal(found, expected(problem, integer_operands(problem)))


@pytest.mark.parametrize("role", ["input", "weight", "output"])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3], SHAPES[9], SHAPES[15], "1x3x8x7 3x1x3x3 s2 g3"])
def test_nan_and_infinities_are_where_the_definition_has_them(cp: Any, shape: str, role: str) -> None:
    rng = np.random.default_rng(5)
    for direction in DIRECTIONS:
        problem = ConvProblem.parse(f"{direction} {shape}")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        if role not in operands:
            continue
        operands[role].flat[rng.integers(0, operands[role].size, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)
        for params in (LARGE, WIDE_TILE):
            found = computed(cp, NCHW, problem, operands, params)
            np.testing.assert_array_equal(found, expected(problem, operands), f"{problem} {role} {params}")


FEWEST_FOR = (
    "2x8x56x56 8x1x3x3 p1 g8",
    "2x8x28x28 8x1x3x3 p1 g8",
    "2x8x14x14 8x1x3x3 p1 g8",
    "4x16x7x7 16x1x3x3 p1 g16",
    "2x8x56x56 8x1x3x3 s2 p1 g8",
    "2x8x28x28 8x1x3x3 s2 p1 g8",
    "2x8x28x28 8x1x5x5 p2 g8",
    "2x8x56x56 8x1x7x7 p3 g8",
    "4x16x7x7 16x1x7x7 p3 g16",
    "1x8x2048 8x1x4 p3:0 g8",
    "1x8x2048 8x1x31 p15 g8",
)
PARTS_OF_FEWEST = 1.15


def planes_sectors(shape: tuple[int, ...]) -> int:
    """32-byte sectors of all planes of float32, each by itself."""
    size = math.prod(shape[2:]) * 4
    ends = np.arange(1, shape[0] * shape[1] + 1) * size
    return int((-(-ends // 32) - (ends - size) // 32).sum())


@pytest.mark.parametrize("shape", FEWEST_FOR)
def test_few_more_sectors_than_there_must_be(shape: str) -> None:
    """Both arrays once; weights once for each image, which other blocks compute."""
    with emulated_cupy.pretend():
        for direction in DIRECTIONS:
            problem = ConvProblem.parse(f"{direction} {shape}")
            computed(emulated_cupy, NCHW, problem, integer_operands(problem), {"results": 16, "columns": 4})
            made = NCHW.launches(Operation.contiguous(problem), {"results": 16, "columns": 4})
            moved = traffic(emulated_cupy, made)
            planes = [planes_sectors(problem.input_shape), planes_sectors(problem.output_shape)]
            if direction != "backward_weight":  # their blocks take several planes
                planes = [math.prod(problem.input_shape) / 8, math.prod(problem.output_shape) / 8]
            weights = math.prod(problem.weight_shape) / 8 * (1 if direction == "backward_weight" else problem.batch)
            least = sum(planes) + weights
            assert moved.loaded + moved.stored <= PARTS_OF_FEWEST * least, (direction, moved, least)


MUTATIONS = (
    # direction, shape, what is changed, into what: each must change the result or be reported
    ("forward", SHAPES[0], "(fc_u32)(top + r) < (fc_u32)c.source_size[1]", "true"),
    ("forward", SHAPES[0], "(fc_u32)(left + i * APART) < (fc_u32)c.source_size[2]", "true"),
    ("forward", SHAPES[1], "fc_u32 slab;", "fc_u32 slab;\n#undef LEAD\n#define LEAD 0\n"),
    ("forward", SHAPES[2], "__syncthreads();\n    const int size", "const int size"),
    ("forward", SHAPES[0], "if (WHOLE || u.top + i < c.pixels[1]) target", "target"),
    ("forward", SHAPES[16], "front + kd * c.delta[0]", "front"),
    ("backward_input", SHAPES[2], "place % SW", "(place + 1) % SW"),
    ("backward_input", SHAPES[3], "(PW + (j) - (kw)) % SW == 0", "(PW + (j) + 1 - (kw)) % SW == 0"),
    ("backward_input", SHAPES[19], "u.column / SW + FIRST - LEAD", "u.column / SW + FIRST"),
    ("backward_input", SHAPES[3], "r = 1 - TAPS_H", "r = 2 - TAPS_H"),
    ("backward_weight", SHAPES[0], "distance = 16", "distance = 8"),
    ("backward_weight", SHAPES[0], "w < THREADS / 32; w++) total", "w < 1; w++) total"),
    ("backward_weight", SHAPES[0], "__syncthreads(); // of all warps", ""),
    ("backward_weight", "2x3x11x11 3x1x3x3 p1:-1x1 g3", "if (!WHOLE && u.top + i >= c.pixels[1]) return;", ""),
)  # fmt: skip


@pytest.mark.parametrize(("direction", "shape", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(direction: str, shape: str, old: str, new: str) -> None:
    def edit(text: str) -> str:
        assert text.count(old) == 1, text.count(old)
        return text.replace(old, new)

    with emulated_cupy.pretend(seed=3):
        problem = ConvProblem.parse(f"{direction} {shape}")
        operands = {role: array.astype(np.float64) for role, array in integer_operands(problem).items()}
        if "WHOLE" in old and direction == "backward_weight":
            operands["input"][:, :, :, -1] = np.inf  # rows that no pixel reads, but strips of two rows do
        try:
            found = computed(emulated_cupy, NCHW, problem, operands, {"results": 8, "columns": 4}, edit)
        except emulated_cupy.KernelError:
            return
        assert not np.array_equal(found, expected(problem, operands), equal_nan=True)
