"""The GPU's depthwise kernels for channels last: exact on small integers, non-finite data, what they read, changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import emulated_cupy
from fastconv import ConvProblem
from fastconv._gpu import depthwise, layout
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.depthwise_nhwc import ALGORITHMS, algorithm, tiling
from gpu_launches import computed, layout_of, on_device, on_host, start, traffic
from operands import integer_operands
from test_gpu_depthwise import DIRECTIONS, expected

(NHWC,) = ALGORITHMS
SHAPES = (
    "2x4x9x11 4x1x3x3 p1 g4",
    "1x8x15x13 8x1x3x3 s2 p1 g8",
    "2x3x16x12 3x1x3x3 s2 p1 g3",
    "1x3x17x9 6x1x5x3 s2x1 p2x0 g3",
    "2x4x7x7 4x1x7x7 p3 g4",
    "1x2x12x15 4x1x2x4 s3x2 p0:1x3:2 g2",
    "1x2x19x14 2x1x3x4 p2x3 d2x3 g2",
    "1x4x11x9 4x1x3x3 s2x3 p2 d3x2 g4",
    "1x4x9x8 4x1x2x2 s4 p-1:2x1:0 g4",
    "1x65x5x4 65x1x3x3 p1 g65",
    "2x4x40 4x1x4 p3:0 g4",
    "1x4x68 4x1x31 p15 g4",
    "1x2x30x12 2x1x31x5 p15x2 g2",
    "1x4x5x6x7 4x1x3x2x3 s1x2x1 p1x0x1 g4",
    "1x2x4x5x6 2x1x3x3x3 s2x1x2 p1 d1x2x1 g2",
    "1x4x9x9 4x1x1x1 s5 g4",
    "1x8x70x7 8x1x3x3 p1 g8",
)
"""Tails, bands whose last strips have no rows, vectors, several filters, stride phases in one launch and in several,
taps in registers, staged and packed."""


@pytest.fixture(autouse=True)
def _large_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of large arrays."""
    monkeypatch.setattr(tiling, "WANTED_UNITS", 1)


def parsed(text: str) -> ConvProblem:
    problem = ConvProblem.parse(f"{text} channels_last")
    assert NHWC.supports(problem)
    return problem


def check(cp: Any, text: str, params: dict[str, int] | None = None) -> None:
    problem = parsed(text)
    operands = integer_operands(problem)
    np.testing.assert_array_equal(computed(cp, NHWC, problem, operands, params), expected(problem, operands))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nhwc_is_exact(cp: Any, shape: str, direction: str) -> None:
    check(cp, f"{direction} {shape}")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_every_dtype(cp: Any, dtype: str) -> None:
    for direction in DIRECTIONS:
        check(cp, f"{direction} 1x8x7x9 8x1x3x3 s2x1 p1 g8 {dtype}")
        check(cp, f"{direction} 1x2x1 2x1x3 p2:0 g2 {dtype}")
    if dtype == "bfloat16":
        check(cp, f"forward 1x8x7x9 8x1x1x3 p0x1 g8 {dtype}", {"channels": 8, "results": 4})


def test_weights_of_every_order(cp: Any) -> None:
    """Read where they lie, staged or packed."""
    for order in ("DHWIO", "ODHWI"):
        for direction in DIRECTIONS:
            check(cp, f"{direction} {SHAPES[1]} {order}")


@pytest.mark.parametrize("epilogue", ["+bias", "+bias+add+relu", "+add+leaky_relu=0.5"])
def test_epilogues(cp: Any, epilogue: str) -> None:
    for direction, shape in (("forward", SHAPES[0]), ("backward_input", SHAPES[1]), ("backward_input", SHAPES[7])):
        check(cp, f"{direction} {shape} {epilogue}")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_wide_offsets_and_batches_in_parts(cp: Any, direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "OFFSET_LIMIT", 1)
    many = parsed(f"{direction} 9x4x9x11 4x1x3x3 p1 g4")
    if direction != "backward_weight":
        monkeypatch.setattr(depthwise, "MAX_THREADS", 128 * 70)
        assert len(NHWC.launches(Operation.contiguous(many), NHWC.parameters(many)[0])) > 1
    operands = integer_operands(many)
    np.testing.assert_array_equal(computed(cp, NHWC, many, operands), expected(many, operands))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_arrays_of_any_strides(cp: Any, direction: str) -> None:
    """Channels first, every second row from the last to the first."""
    problem = parsed(f"{direction} 2x4x10x12 4x1x3x3 s2x1 p1 g4")
    operands = {role: array.astype(np.float32) for role, array in integer_operands(problem).items()}
    result = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}[direction]
    operands[result] = np.full(problem.result_shape, 113, np.float32)
    arrays = {}
    for role, array in operands.items():
        padded = np.full((*array.shape[:3], 2 * array.shape[3], array.shape[4]), 97, np.float32)
        padded[:, :, :, ::-2] = array
        arrays[role] = on_device(cp, padded)[:, :, :, ::-2]
    layouts = {role: layout_of(array, np.dtype(np.float32)) for role, array in arrays.items()}
    start(cp, NHWC.launches(Operation(problem, layouts), NHWC.parameters(problem)[0]), arrays)
    found = on_host(cp.ascontiguousarray(arrays[result]), np.dtype(np.float32))
    np.testing.assert_array_equal(found, expected(problem, integer_operands(problem)))


@pytest.mark.parametrize("role", ["input", "weight", "output"])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[2], SHAPES[7], SHAPES[12], "1x4x8x7 4x1x3x3 s2 g4"])
def test_nan_and_infinities_are_where_the_definition_has_them(cp: Any, shape: str, role: str) -> None:
    rng = np.random.default_rng(5)
    for direction in DIRECTIONS:
        problem = parsed(f"{direction} {shape}")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        if role not in operands:
            continue
        operands[role].flat[rng.integers(0, operands[role].size, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)
        found = computed(cp, NHWC, problem, operands)
        np.testing.assert_array_equal(found, expected(problem, operands), f"{problem} {role}")


def test_subnormal_numbers_are_kept(cp: Any) -> None:
    """Although CuPy compiles with -ftz=true."""
    unit = 2.0**-140
    for direction, scaled in zip(DIRECTIONS, ("input", "output", "output"), strict=True):
        problem = parsed(f"{direction} 1x4x5x6 4x1x3x3 p1 g4")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        exact = expected(problem, operands).astype(np.float64) * unit
        operands[scaled] = operands[scaled] * unit
        np.testing.assert_array_equal(computed(cp, NHWC, problem, operands), exact.astype(np.float32))


FEWEST_FOR = (
    "1x32x28x28 32x1x3x3 p1 g32",
    "1x32x28x28 32x1x3x3 s2 p1 g32",
    "1x32x14x14 32x1x5x5 p2 g32",
    "1x16x28x28 16x1x7x7 p3 g16",
)
PARTS_OF_FEWEST = 1.1


@pytest.mark.parametrize("shape", FEWEST_FOR)
def test_few_more_sectors_than_there_must_be(shape: str) -> None:
    """Both arrays once; weights, and what neighbouring blocks share, are the rest."""
    with emulated_cupy.pretend():
        for direction in DIRECTIONS:
            problem = parsed(f"{direction} {shape}")
            operands = integer_operands(problem)
            computed(emulated_cupy, NHWC, problem, operands)
            made = NHWC.launches(Operation.contiguous(problem), NHWC.parameters(problem)[0])
            moved = traffic(emulated_cupy, made[:1])
            least = (math.prod(problem.input_shape) + math.prod(problem.output_shape)) / 8
            assert moved.loaded + moved.stored <= PARTS_OF_FEWEST * least, (direction, moved, least)


MUTATIONS = (
    # direction, shape, what is changed, into what: each must change the result or be reported
    ("forward", SHAPES[0], "(fc_u32)(first_row + b) < (fc_u32)c.source_size[1]", "true"),
    ("forward", SHAPES[0], "(fc_u32)(left + b) < (fc_u32)c.source_size[2]", "true"),
    ("forward", SHAPES[0], "if (!WHOLE_COLUMNS && u.column + j >= c.pixels[2]) break;", ""),
    ("forward", SHAPES[6], "if (!WHOLE_ROWS && u.top + i >= c.pixels[1]) break;", ""),
    ("forward", SHAPES[0], "__syncthreads();\n}", "}"),
    ("forward", SHAPES[16], "if (STRIPS > 1 && u.top >= c.pixels[1]) return;", ""),
    ("backward_input", SHAPES[16], "* STRIPS + index - stack * STRIPS", "* STRIPS"),
    ("forward", SHAPES[9], "|| t.channel >= units.results", ""),
    ("forward", SHAPES[3], "(channel - group * FILTERS) * c", "0 * c"),
    ("forward", SHAPES[13], "c.first[0] + kd * DD", "c.first[0]"),
    ("forward", SHAPES[13], "tap / (KW * KH) % KD", "0 % KD"),
    ("backward_input", SHAPES[1], "BEFORE + a - b * STEP", "BEFORE + a + 1 - b * STEP"),
    ("backward_input", SHAPES[14], "there % SD != 0", "false"),
    ("backward_input", "1x2x20x12 2x1x9x7 s2 p4x3 g2", "if (GRADIENT && distance % SH != 0) continue;", ""),
    ("backward_weight", SHAPES[0], "__syncthreads(); // of all places", ""),
    ("backward_weight", "1x4x9x11 4x1x3x3 p1 g4", "__syncthreads(); // before the next row is written", ""),
    ("backward_weight", SHAPES[0], "place < PLACES; place++", "place < 1; place++"),
    ("backward_weight", SHAPES[0], "SIZE, i) + a", "SIZE, 0) + a"),
    ("backward_weight", SHAPES[1], "inside && (fc_u32)(row + b)", "inside && (fc_u32)(row)"),
    ("backward_weight", "1x8x34x32 8x1x3x3 p1 g8", "first = line; first", "first = 0; first"),
    ("backward_weight", "1x8x34x32 8x1x3x3 p1 g8", "i < LINES; i++) sum", "i < 1; i++) sum"),
    ("backward_weight", "1x8x34x32 8x1x3x3 p1 g8", "__syncthreads(); // of all lines", ""),
)  # fmt: skip


@pytest.mark.parametrize(("direction", "shape", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(
    direction: str, shape: str, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(text: str) -> str:
        changed.append(old in text)
        return text.replace(old, new)

    changed: list[bool] = []
    monkeypatch.setattr(algorithm, "WANTED_BLOCKS", 4)
    with emulated_cupy.pretend(seed=3):
        problem = parsed(f"{direction} {shape}")
        operands = integer_operands(problem)
        try:
            found = computed(emulated_cupy, NHWC, problem, operands, None, edit)
        except emulated_cupy.KernelError:
            assert any(changed)
            return
        assert any(changed)
        assert not np.array_equal(found, expected(problem, operands), equal_nan=True)
