"""Bytes on the GPU's tensor cores: exact modulo 2^32, with and without zero points; mutations; choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import fastconv
import oracle
from array_modules import array_module, forget_gpu
from fastconv import ConvProblem
from fastconv._backend import find_backend
from fastconv._choose.select import candidates
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.implicit_gemm_mma import ALGORITHMS
from fastconv._gpu.parts import UNLIMITED, Limits
from fastconv._problem import DATA_AXES, WEIGHT_AXES
from gpu_kernels.implicit_gemm_mma import launches
from gpu_launches import layout_of, start

(BYTES,) = (algorithm for algorithm in ALGORITHMS if algorithm.arithmetic == "int8")
INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
TILE = {"tile": "64x64x64", "splits": 1}


def computed(cp: Any, problem: ConvProblem, dtypes: tuple[np.dtype, np.dtype], zeros: tuple[int, bool],
             params: dict[str, Any], limits: Limits,
             edit: Callable[[str], str]) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The result and the definition's, of all bytes that there are; ``zeros``: the input's, and whether filters have
    some."""
    draw, arrays, exact = np.random.default_rng(7), {}, {}
    orders = {"input": DATA_AXES[problem.layout], "weight": WEIGHT_AXES[problem.weight_layout]}
    filters = np.zeros(problem.out_channels, np.int16)
    if zeros[1]:
        filters = draw.integers(*_range(dtypes[1]), filters.size).astype(np.int16)
    for role, dtype, shape in (("input", dtypes[0], problem.input_shape), ("weight", dtypes[1], problem.weight_shape)):
        values = draw.integers(*_range(dtype), shape).astype(dtype)
        zero = zeros[0] if role == "input" else filters.reshape(-1, 1, 1, 1, 1)
        exact[role] = values.astype(np.int64) - zero
        flat = cp.asarray(np.ascontiguousarray(values.transpose(orders[role])))
        arrays[role] = flat.transpose(np.argsort(orders[role]).tolist())
    order = DATA_AXES[problem.layout]
    made = cp.full([problem.output_shape[axis] for axis in order], 113, np.int32)
    arrays["output"] = made.transpose(np.argsort(order).tolist())
    layouts = {role: layout_of(array, array.dtype) for role, array in arrays.items()}
    operation = Operation(problem, layouts, None, zeros[0], cp.asarray(filters) if zeros[1] else None)
    assert BYTES.computes(operation)
    start(cp, launches(operation, params, "int8", limits), arrays, edit)
    return cp.ascontiguousarray(arrays["output"]).get(), oracle.convolve(problem, exact).astype(np.int32)


def _range(dtype: np.dtype) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max) + 1


def check(cp: Any, text: str, dtypes: tuple[np.dtype, np.dtype] = (INT8, INT8), zeros: tuple[int, bool] = (0, False),
          params: dict[str, Any] = TILE, limits: Limits = UNLIMITED,
          edit: Callable[[str], str] = lambda text: text) -> None:  # fmt: skip
    problem = ConvProblem.parse(f"forward {text} int8")
    np.testing.assert_array_equal(*computed(cp, problem, dtypes, zeros, params, limits, edit))


CASES: list[tuple[str, dict[str, Any]]] = [
    ("2x5x9x11 70x5x3x3 p1", {}),
    ("2x37x9x6 70x37x3x3 p1", {"dtypes": (UINT8, INT8), "zeros": (200, True)}),
    ("1x80x7x6 20x80x3x3 p1 channels_last", {"dtypes": (INT8, UINT8), "zeros": (-77, True)}),
    ("1x7x13x10 20x7x3x2 s2x3 p1:2x0 d1x2", {"dtypes": (UINT8, UINT8), "zeros": (255, False),
                                             "params": {"tile": "64x64x32", "splits": 1}, "limits": Limits(wide=True)}),
    ("3x12x6x5 24x4x3x3 p1 g3", {"dtypes": (INT8, INT8), "zeros": (0, True), "limits": Limits(pixels=37)}),
    ("1x200x4x5 36x200x1x1 p1", {"dtypes": (UINT8, INT8), "zeros": (3, True), "params": {**TILE, "splits": 3}}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options"), CASES, ids=lambda value: value if type(value) is str else "")
def test_exact(cp: Any, text: str, options: dict[str, Any]) -> None:
    if int(cp.cuda.Device().compute_capability) < 80:
        pytest.skip("a device without these products")
    check(cp, text, **options)


MUTATIONS = [
    # what is changed, into what, where it must be noticed
    ("if (there && !inside) held[j][e] = source_zero & 0xff;", "", CASES[1]),
    ("(at + channel) : PADDING", "(at + channel) : source", CASES[2]),
    ("inside || SOURCE_ZERO ? left", "inside ? left", CASES[2]),
    ("packed[i] = source_zero", "packed[i] = 0", CASES[2]),
    ("SPLIT && blockIdx.z ? 0 :", "false ? 0 :", CASES[5]),
    ("z = fc_plus(z, __shfl_xor_sync(~0u, z, 1));", "", CASES[2]),
    ("lane % 4 * 8 + e * 4", "lane % 4 * 8", CASES[4]),
    ("weight_sum[f / 2][f % 2]", "weight_sum[f / 2][0]", CASES[3]),
    ("y[j + t][e], pixel_sum", "y[j][e], pixel_sum", ("1x33x6x8 9x33x3x3 p1", {"zeros": (5, True)})),
    ("row + f < gemm.rows ? filter_zeros", "true ? filter_zeros", CASES[5]),
    ("fc_mma_bytes<WEIGHT_SIGNED, SOURCE_SIGNED>", "fc_mma_bytes<SOURCE_SIGNED, WEIGHT_SIGNED>", CASES[1]),
]


@pytest.mark.parametrize(("old", "new", "case"), MUTATIONS, ids=lambda value: str(value)[:24])
def test_what_is_changed_is_found(old: str, new: str, case: tuple[str, dict[str, Any]]) -> None:
    if emulated_cupy.nvrtc.library() is None:
        pytest.skip(emulated_cupy.nvrtc.MISSING)
    changed = []

    def edit(source: str) -> str:
        changed.append(old in source)
        return source.replace(old, new)

    text, options = case
    with emulated_cupy.pretend(), pytest.raises((AssertionError, emulated_cupy.KernelError)):
        check(emulated_cupy, text, edit=edit, **options)
    assert any(changed)


@pytest.mark.parametrize("text", ["forward 8x64x28x28 64x64x3x3 p1 int8", "forward 8x3x64x64 32x3x3x3 s2 int8"])
def test_tensor_cores_are_chosen(text: str) -> None:
    for device, expected in (("A100", BYTES.name), ("T4", "reference")):
        with array_module("emulated", devices=(device,)):
            forget_gpu()
            found = candidates(ConvProblem.parse(text), 1, backend=find_backend("gpu"))
            assert found[0][0].name == expected
    forget_gpu()


def test_what_is_no_sum_of_bytes_has_another_algorithm() -> None:
    """Gradients and epilogues, which no public function asks for; operands without their zero points."""
    for text in ("backward_input 1x4x5x5 4x4x3x3 int8", "forward 1x4x5x5 4x4x3x3 int8 +bias"):
        assert not BYTES.supports(ConvProblem.parse(text))
    problem = ConvProblem.parse("forward 1x4x5x5 4x4x3x3 int8")
    operation = Operation.contiguous(problem)
    assert BYTES.computes(operation)
    wide = {**operation.layouts, "input": operation.layouts["output"]}
    assert not BYTES.computes(Operation(problem, wide))


def test_public_calls() -> None:
    """Zero points that are all zero are none; sums wrap around."""
    x, w = np.full((1, 4000, 3, 3), 255, np.uint8), np.full((3, 4000, 3, 3), 255, np.uint8)
    for zeros in ((0, 0), (0, [0, 0, 7]), (9, [0, 0, 0])):
        expected = fastconv.conv2d_integer(x, w, *zeros)
        assert expected.min() < 0
        with array_module("emulated") as gpu:
            gpu.module.system.last_launch.clear()
            found = fastconv.conv2d_integer(*gpu.to((x, w)), *zeros, algorithm=BYTES.name)
            np.testing.assert_array_equal(found.get(), expected)
            assert "correlate" in gpu.module.system.last_launch
