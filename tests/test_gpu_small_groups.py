"""The GPU's kernels for few channels in a group: exact on small integers, non-finite data, what they read, changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import emulated_cupy
from fastconv import ConvProblem
from fastconv._algorithm import Machine
from fastconv._gpu import layout
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms import implicit_gemm
from fastconv._gpu.algorithms.small_groups import ALGORITHMS, algorithm
from gpu_launches import computed, layout_of, on_device, on_host, start, traffic
from operands import integer_operands
from test_gpu_depthwise import DIRECTIONS, expected

(SMALL,) = ALGORITHMS
SHAPES = (
    "2x8x9x11 8x4x3x3 p1 g2",
    "1x6x15x13 12x3x3x3 s2 p1 g2",
    "2x3x16x12 10x3x3x3 s2 p1",
    "1x6x12x15 9x2x2x4 s3x2 p0:1x3:2 g3",
    "1x4x11x9 6x2x3x3 s2x3 p2 d3x2 g2",
    "1x4x9x8 4x2x2x2 s4 p-1:2x1:0 g2",
    "1x8x40 8x4x5 p2 g2",
    "1x4x5x6x7 6x2x3x2x3 s1x2x1 p1x0x1 g2",
    "1x32x6x7 32x16x3x3 p1 g2",
    "1x4x7x8 4x2x1x1 s5 g2",
    "1x4x9x9 12x1x3x3 s2 p1 g4",
)
"""Tails, strides, runs of filters that are not whole, phases without taps, one and three axes, a stem."""


@pytest.fixture(autouse=True)
def _large_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of large arrays."""
    monkeypatch.setattr(algorithm, "WANTED_UNITS", 1)


def parsed(text: str) -> ConvProblem:
    problem = ConvProblem.parse(text)
    assert SMALL.supports(problem)
    return problem


def check(cp: Any, text: str, params: dict[str, int] | None = None) -> None:
    problem = parsed(text)
    operands = integer_operands(problem)
    np.testing.assert_array_equal(computed(cp, SMALL, problem, operands, params), expected(problem, operands))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_exact(cp: Any, shape: str, direction: str) -> None:
    check(cp, f"{direction} {shape}")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_every_dtype(cp: Any, dtype: str) -> None:
    for direction in DIRECTIONS:
        check(cp, f"{direction} 1x6x7x9 9x2x3x3 s2x1 p1 g3 {dtype}")


@pytest.mark.parametrize("epilogue", ["+bias", "+bias+add+relu", "+add+leaky_relu=0.5"])
def test_epilogues(cp: Any, epilogue: str) -> None:
    for direction, shape in (("forward", SHAPES[2]), ("backward_input", SHAPES[1])):
        check(cp, f"{direction} {shape} {epilogue}", {"filters": 4, "rows": 2})


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_arrays_of_any_strides_and_wide_offsets(cp: Any, direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels last, every second column of rows from the last to the first, weights transposed."""
    monkeypatch.setattr(layout, "OFFSET_LIMIT", 1)
    problem = parsed(f"{direction} 2x4x10x12 6x2x3x3 s2x1 p1 g2")
    operands = {role: array.astype(np.float32) for role, array in integer_operands(problem).items()}
    result = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}[direction]
    operands[result] = np.full(problem.result_shape, 113, np.float32)
    arrays = {}
    for role, array in operands.items():
        n, k, d, h, w = array.shape
        padded = np.full((n, d, h, 2 * w, k), 97, np.float32)
        padded[:, :, ::-1, ::2] = array.transpose(0, 2, 3, 4, 1)
        arrays[role] = on_device(cp, padded)[:, :, ::-1, ::2].transpose(0, 4, 1, 2, 3)
    layouts = {role: layout_of(array, np.dtype(np.float32)) for role, array in arrays.items()}
    start(cp, SMALL.launches(Operation(problem, layouts), SMALL.parameters(problem)[0]), arrays)
    found = on_host(cp.ascontiguousarray(arrays[result]), np.dtype(np.float32))
    np.testing.assert_array_equal(found, expected(problem, integer_operands(problem)))


@pytest.mark.parametrize("role", ["input", "weight", "output"])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3], SHAPES[4]])
def test_nan_and_infinities_are_where_the_definition_has_them(cp: Any, shape: str, role: str) -> None:
    rng = np.random.default_rng(5)
    for direction in DIRECTIONS:
        problem = parsed(f"{direction} {shape}")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        if role not in operands:
            continue
        operands[role].flat[rng.integers(0, operands[role].size, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)
        found = computed(cp, SMALL, problem, operands)
        np.testing.assert_array_equal(found, expected(problem, operands), f"{problem} {role}")


def test_a_tail_is_no_pixel(cp: Any) -> None:
    """Rows of the input that no pixel reads, but a unit's last rows would."""
    problem = parsed("backward_weight 1x4x11x9 4x2x3x3 p1:-1x1 g2")
    operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
    operands["input"][:, :, :, -1] = np.inf
    np.testing.assert_array_equal(computed(cp, SMALL, problem, operands), expected(problem, operands))


def test_subnormal_numbers_are_kept(cp: Any) -> None:
    """Although CuPy compiles with -ftz=true."""
    unit = 2.0**-140
    for direction, scaled in zip(DIRECTIONS, ("input", "output", "output"), strict=True):
        problem = parsed(f"{direction} 1x4x5x6 4x2x3x3 p1 g2")
        operands = {name: array * 1.0 for name, array in integer_operands(problem).items()}
        exact = expected(problem, operands).astype(np.float64) * unit
        operands[scaled] = operands[scaled] * unit
        np.testing.assert_array_equal(computed(cp, SMALL, problem, operands), exact.astype(np.float32))


PARTS_OF_FEWEST = 1.1


@pytest.mark.parametrize("shape", ["2x8x32x32 8x4x3x3 p1 g2", "1x3x32x32 8x3x3x3 s2 p1"])
def test_few_more_sectors_than_there_must_be(shape: str) -> None:
    """Both arrays once, rows that two blocks read twice; weights once for each block."""
    problem = parsed(f"forward {shape}")
    with emulated_cupy.pretend():
        computed(emulated_cupy, SMALL, problem, integer_operands(problem))
        made = SMALL.launches(Operation.contiguous(problem), SMALL.parameters(problem)[0])
        moved = traffic(emulated_cupy, made)
    blocks = math.prod(made[0].grid)
    halo = blocks * (problem.kernel_size[1] - problem.stride[1] + 1) * problem.input_size[2] / 8
    halo *= problem.in_channels // problem.groups
    weights = blocks * math.prod(problem.weight_shape) / problem.groups / 8 * 1.2
    assert moved.stored <= PARTS_OF_FEWEST * math.prod(problem.output_shape) / 8
    assert moved.loaded <= PARTS_OF_FEWEST * math.prod(problem.input_shape) / 8 + halo + weights


def test_costs_are_below_those_of_a_product_of_matrices() -> None:
    """Where groups are small; not for the weight gradient of a stem, which reads everything for each run of filters."""
    machine = Machine({"float32": 3e13, "float64": 1.5e13}, 4e12, 1e-5, 1e-5)
    (gemm,) = (one for one in implicit_gemm.ALGORITHMS if one.name == "implicit_gemm")

    def is_cheaper(text: str) -> bool:
        problem = parsed(text)
        costs = [one.cost(problem, one.parameters(problem)[0], 1, machine) for one in (SMALL, gemm)]
        return costs[0] < costs[1]

    for direction in DIRECTIONS:
        assert is_cheaper(f"{direction} 32x128x56x56 128x4x3x3 p1 g32")
    assert not is_cheaper("backward_weight 32x3x224x224 64x3x5x5 s2 p2")


MUTATIONS = (
    # direction, shape, what is changed, into what: each must change the result or be reported
    ("forward", SHAPES[0], "(fc_u32)(top + r) < (fc_u32)c.source_size[1]", "true"),
    ("forward", "1x4x11x9 4x2x3x3 p1 g2", "if (u.top + i >= c.pixels[1]) break;\n            fc_sum z", "fc_sum z"),
    ("forward", SHAPES[0], "__syncthreads_or(is_bad)", "is_bad"),
    ("forward", SHAPES[0], "if (index >= units.count) return;", ""),
    ("forward", SHAPES[2], "if (f >= filters) break;", ""),
    ("forward", SHAPES[3], "group * c.weight_group_stride + (run", "(run"),
    ("forward", SHAPES[7], "c.first[0] + kd * DD", "c.first[0]"),
    ("forward", SHAPES[0], "(fc_u32)(column + b) >= (fc_u32)c.source_size[2]", "false"),
    ("backward_weight", SHAPES[0], "__syncthreads(); // of all warps", ""),
    ("backward_weight", SHAPES[0], "w < THREADS / 32; w++) total", "w < 1; w++) total"),
    ("backward_weight", SHAPES[8], "part % runs * RUN_CHANNELS", "0"),
    ("backward_weight", SHAPES[2], "f < filters ?", "f >= 0 ?"),
    ("backward_weight", "8x4x31x14 4x2x3x3 p1 g2", "split < splits; split++", "split < 1; split++"),
)


@pytest.mark.parametrize(("direction", "shape", "old", "new"), MUTATIONS)
def test_what_is_changed_in_a_kernel_is_found(direction: str, shape: str, old: str, new: str) -> None:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    with emulated_cupy.pretend(seed=3):
        problem = parsed(f"{direction} {shape}")
        operands = integer_operands(problem)
        try:
            found = computed(emulated_cupy, SMALL, problem, operands, None, edit)
        except emulated_cupy.KernelError:
            return
        assert not np.array_equal(found, expected(problem, operands), equal_nan=True)
