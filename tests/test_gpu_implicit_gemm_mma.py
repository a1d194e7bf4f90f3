"""The GPU's implicit_gemm on tensor cores: exact on small integers, errors on others, NaN and Inf, mutations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
import oracle
from array_modules import array_module, forget_gpu
from fastconv import ConvProblem
from fastconv._accuracy import RESULT_ROUNDOFF
from fastconv._backend import find_backend
from fastconv._choose.select import admitted
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.implicit_gemm_mma import ALGORITHMS
from fastconv._gpu.algorithms.implicit_gemm_mma.patches import MAX_POSITIONS, box_of
from fastconv._gpu.algorithms.implicit_gemm_mma.ring import Ring
from fastconv._gpu.algorithms.implicit_gemm_mma.tiles import tile_of
from fastconv._gpu.launch import Launch
from fastconv._gpu.parts import UNLIMITED, Limits
from fastconv._gpu.phases import phases_of
from fastconv._problem import RESULT
from gpu_kernels.implicit_gemm_mma import launches
from gpu_launches import layout_of, on_host, placed, start, summed_up
from operands import integer_operands, numpy_dtype

NARROW, STRICT, TF32, _ = ALGORITHMS
SMALL = {"bf16": "64x64x32", "tf32": "64x64x16", "3xtf32": "64x64x16"}
"""Tiles that most is tested with."""


@pytest.fixture(autouse=True)
def tensor_cores(request: pytest.FixtureRequest) -> None:
    if "cp" in request.fixturenames and int(request.getfixturevalue("cp").cuda.Device().compute_capability) < 80:
        pytest.skip("a device without bfloat16 and tf32")


def expected(problem: ConvProblem, operands: dict[str, np.ndarray]) -> np.ndarray:
    with np.errstate(all="ignore"):
        plain = oracle.convolve(problem, operands)
        finished = oracle.finish(problem, plain, operands.get("bias"), operands.get("add"))
        return finished.astype(numpy_dtype(problem.dtype))


def computed(cp: Any, problem: ConvProblem, operands: dict[str, np.ndarray], arithmetic: str, tile: str,
             splits: int = 1, limits: Limits = UNLIMITED, gaps: bool = False,
             edit: Callable[[str], str] = lambda text: text) -> tuple[np.ndarray, tuple[Launch, ...]]:  # fmt: skip
    """The result and what was launched; ``gaps``: arrays with every second column alone, from the last to the first."""
    arrays, dtype = placed(cp, problem, operands), numpy_dtype(problem.dtype)
    if gaps:
        for role, array in arrays.items():
            if array.ndim == 5:
                wide = cp.zeros((*array.shape[:4], 2 * array.shape[4] + 1), array.dtype)[..., ::-2][..., :-1]
                wide[...] = array
                arrays[role] = wide
    layouts = {role: layout_of(array, dtype) for role, array in arrays.items() if array.ndim == 5}
    made = launches(Operation(problem, layouts), {"tile": tile, "splits": splits}, arithmetic, limits)
    start(cp, made, arrays, edit)
    return on_host(cp.ascontiguousarray(arrays[RESULT[problem.direction]]), dtype), made


def check(cp: Any, text: str, arithmetic: str = "bf16", tile: str = "", **options: Any) -> tuple[Launch, ...]:
    problem = ConvProblem.parse(text)
    operands = integer_operands(problem)
    found, made = computed(cp, problem, operands, arithmetic, tile or SMALL[arithmetic], **options)
    np.testing.assert_array_equal(found.astype(float), expected(problem, operands).astype(float))
    return made


@pytest.mark.parametrize("splits", [1, 2])
@pytest.mark.parametrize("text", ["2x6x8x12 40x6x3x3 s2x1 p1 float16", "2x8x5x6 40x8x3x3 p1 channels_last bfloat16"])
def test_input_gradients_that_are_summed_up_further(cp: Any, text: str, splits: int) -> None:
    """In float32: some are no 16-bit floats."""
    problem = ConvProblem.parse(f"backward_input {text}")
    operands = {role: 7 * array for role, array in integer_operands(problem).items()}

    def launches_of(operation: Operation) -> tuple[Launch, ...]:
        assert NARROW.computes(operation)
        return launches(operation, {"tile": "64x64x32", "splits": splits}, "bf16", UNLIMITED)

    plain = oracle.convolve(problem, operands)
    np.testing.assert_array_equal(summed_up(cp, problem, operands, launches_of), plain)
    assert (plain.astype(numpy_dtype(problem.dtype)).astype(float) != plain).any()


CORRELATIONS = [
    ("forward 2x5x9x11 70x5x3x3 p1 bfloat16", {}),
    ("forward 2x40x9x11 70x40x3x3 p1 float16 channels_last +bias", {}),
    ("forward 2x36x6x16 68x36x1x1 s1x2 bfloat16 +bias+add+relu", {}),
    ("forward 1x7x13x10 20x7x3x2 s2x3 p1:2x0 d1x2 float16", {"limits": Limits(wide=True)}),
    ("forward 3x12x6x5 24x4x3x3 p1 g3 +add bfloat16", {"limits": Limits(pixels=37)}),
    ("forward 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1 bfloat16", {"gaps": True}),
    ("forward 4x9x3x3 33x9x3x3 p1 float16", {}),
    ("forward 2x70x4x4 68x70x1x1 channels_last float16 +bias+add", {"splits": 2}),
    ("forward 2x130x5x6 20x130x3x3 p1 bfloat16 +bias+leaky_relu=0.5", {"splits": 3}),
    ("backward_input 1x20x7x10 7x20x3x2 s2x3 p1:2x0 d1x2 +bias bfloat16", {"tile": "128x128x32"}),
    ("backward_input 2x24x7x8 16x24x3x3 s2 p1 channels_last DHWIO float16 +add", {"tile": "64x224x32"}),
    ("backward_input 1x6x5x5 8x6x1x1 s3 +bias bfloat16", {}),
    ("forward 2x20x9x11 70x20x3x3 p1 +bias", {"arithmetic": "3xtf32"}),
    ("backward_input 2x24x7x8 16x24x3x3 s2 p1 channels_last", {"arithmetic": "3xtf32", "tile": "64x112x16"}),
    ("forward 1x80x5x5 20x40x3x3 p1 g2 +add", {"arithmetic": "tf32", "splits": 2}),
    # Boxes that run over planes, of strips: two and three taps below each other; units copied and put together
    ("forward 3x34x13x10 70x34x3x3 p1 bfloat16 +bias", {"tile": "128x112x32"}),
    ("forward 3x24x6x11 40x24x3x2 p1x0 float16 channels_last", {"tile": "64x224x32"}),
    ("backward_input 2x20x2x7x6 24x20x2x2x3 p0x1x1 bfloat16", {"splits": 2}),
]


@pytest.mark.parametrize(("text", "options"), CORRELATIONS, ids=lambda value: value if type(value) is str else "")
def test_forward_and_input_gradients(cp: Any, text: str, options: dict[str, Any]) -> None:
    check(cp, text, **options)


GRADIENTS = [
    ("backward_weight 2x5x9x11 70x5x3x3 p1 bfloat16", {}),
    ("backward_weight 2x7x13x10 20x7x3x2 s2x3 p1:2x0 d1x2 float16", {"splits": 3}),
    ("backward_weight 2x12x6x5 24x4x3x3 p1 g3 bfloat16", {"limits": Limits(wide=True)}),
    ("backward_weight 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1 float16", {"tile": "128x128x32", "gaps": True}),
    ("backward_weight 3x24x7x9 72x24x3x3 p1 channels_last DHWIO bfloat16", {"limits": Limits(pixels=37)}),
    ("backward_weight 2x20x7x9 36x20x3x3 p1", {"arithmetic": "3xtf32", "splits": 2}),
    ("backward_weight 2x8x7x9 36x8x3x3 p1 channels_last", {"arithmetic": "3xtf32", "tile": "64x128x16"}),
    ("backward_weight 3x33x5x5 9x33x1x1", {"arithmetic": "tf32"}),
]


POINTWISE = [
    ("forward 3x24x4x6 70x24x1x1 bfloat16 +bias+add+relu", {}),
    ("forward 2x72x5x4 140x36x1x1 g2 float16", {"tile": "128x128x32"}),
    ("forward 5x10x3x6 9x10x1x1 float16 +bias", {"limits": Limits(wide=True)}),
    ("forward 2x136x2x8 66x136x1x1 bfloat16 +add", {"splits": 3}),
    ("backward_input 3x20x4x6 70x20x1x1 bfloat16 +bias", {"tile": "128x128x32"}),
    ("backward_input 2x144x5x4 36x72x1x1 g2 float16 +add", {}),
    ("backward_input 1x6x150 138x6x1 bfloat16", {"splits": 2}),
    ("backward_weight 3x70x4x6 140x70x1x1 bfloat16", {"tile": "128x128x32", "splits": 2}),
    ("backward_weight 2x9x5x4 20x9x1x1 float16", {}),
    ("backward_weight 2x20x6x3 24x10x1x1 g2 bfloat16", {"tile": "64x256x32", "limits": Limits(pixels=20)}),
]


RINGS = [
    ("backward_weight 2x16x14x14 70x16x3x3 p1 bfloat16", {"tile": "ring128x144", "splits": 3}),
    ("backward_weight 3x20x7x7 40x20x3x3 p1 float16", {"tile": "ring128x144", "splits": 2}),
    ("backward_weight 1x7x9x40 20x7x3x2 s2x3 p1:2x0 d1x2 float16", {"tile": "ring128x32"}),
    ("backward_weight 2x12x6x5 24x4x3x3 p1 g3 bfloat16", {"tile": "ring64x288"}),
    ("backward_weight 3x9x1x90 16x9x1x3 s2 p0x2 bfloat16", {"tile": "ring128x48", "limits": Limits(wide=True)}),
    ("backward_weight 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1 float16", {"tile": "ring64x192", "gaps": True}),
    ("backward_weight 3x24x7x9 72x24x3x3 p1 channels_last DHWIO bfloat16",
     {"tile": "ring128x144", "limits": Limits(pixels=90)}),
    ("backward_weight 1x9x28x56 9x9x3x3 s2 p1 float16", {"tile": "ring64x288"}),
    ("backward_weight 1x50x6x34 9x50x3x3 p12 d12 float16", {"tile": "ring128x96"}),
    ("backward_weight 2x9x9x60 9x9x1x1 s2 bfloat16", {"tile": "ring64x32"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options"), GRADIENTS + RINGS, ids=lambda value: value if type(value) is str else "")
def test_weight_gradients(cp: Any, text: str, options: dict[str, Any]) -> None:
    check(cp, text, **options)


@pytest.mark.parametrize(("text", "options"), POINTWISE, ids=lambda value: value if type(value) is str else "")
def test_planes_in_one_piece(cp: Any, text: str, options: dict[str, Any]) -> None:
    made = check(cp, text, **options)
    assert made[0].kernel != "pack_weights"
    assert "A_VECTOR" in made[0].source


def test_a_patch_is_read_once_for_all_taps() -> None:
    """Of dense layers; not where the taps are so far apart that most of it would be read for nothing."""

    def box(text: str) -> Any:
        problem = ConvProblem.parse(text)
        (phase,) = phases_of(problem, Operation.contiguous(problem).layouts)
        return box_of(phase.packed().reshape(()), tile, MAX_POSITIONS)

    tile = tile_of("bf16", "forward", {"tile": "128x112x32"})
    found = box("forward 8x128x28x28 128x128x3x3 p1 bfloat16")
    assert (found.taps, found.height, found.width, found.rows, found.pitch) == (3, 7, 16, 9, 20)
    found = box("forward 8x128x56x56 128x128x3x3 s2 p1 bfloat16")
    assert (found.taps, found.height, found.width, found.rows, found.pitch) == (1, 7, 16, 15, 36)
    assert box("forward 8x128x56x56 128x128x3x3 p40 d40 bfloat16") is None
    assert box("forward 8x128x56x56 128x128x1x1 bfloat16") is None


def test_shared_memory_has_no_bank_conflicts() -> None:
    import emulated_cupy as cp
    from emulated_cupy import nvrtc

    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    with cp.pretend(devices=("H200",)):
        for text, tile in (("forward 1x32x8x16 64x32x3x3 p1 bfloat16", "64x64x32"),
                           ("forward 1x16x8x16 64x16x3x3 p1", "64x64x16"),
                           ("forward 1x32x8x16 64x32x1x1 bfloat16", "128x128x32"),
                           ("backward_input 1x64x8x16 64x64x1x1 bfloat16", "128x64x32"),
                           ("backward_weight 1x64x8x16 64x64x1x1 bfloat16", "64x256x32"),
                           ("backward_weight 1x16x8x16 64x16x3x3 p1 bfloat16", "64x64x32"),
                           ("backward_weight 1x16x8x16 64x16x3x3 p1", "64x64x16")):  # fmt: skip
            made = check(cp, text, "bf16" if text.endswith("16") else "3xtf32", tile)
            (kernel,) = (x.kernel for x in made if x.kernel in ("correlate", "weight_gradient"))
            found = cp.system.last_launch[kernel].accesses()
            accesses = [x for x in found if "shared" in x.text and "cp.async" not in x.text]
            assert any("ldmatrix" in x.text or "v4" in x.text for x in accesses)
            assert [x.text for x in accesses if x.moved > x.least and x.executed > 16] == [], text


# -- errors
def test_levels_admit_what_they_promise() -> None:
    for level, strict, tf32 in (("highest", True, False), ("high", True, False), ("medium", True, True),
                                ("ieee", False, False)):  # fmt: skip
        problem = ConvProblem.parse(f"forward 8x128x28x28 128x128x3x3 p1 {level}")
        assert (admitted(STRICT, problem), admitted(TF32, problem)) == (strict, tf32), level


@pytest.mark.parametrize("text", ["forward 1x40x5x6 20x40x3x3 p1", "backward_weight 2x20x9x9 20x20x3x3 p1"])
def test_errors(cp: Any, text: str) -> None:
    """Within the bounds; those of tf32 are larger than what two of them keep by three digits."""
    problem, rng = ConvProblem.parse(text), np.random.default_rng(3)
    operands = {role: rng.standard_normal(a.shape).astype("f4") for role, a in integer_operands(problem).items()}
    exact = oracle.convolve(problem, {role: a.astype(float) for role, a in operands.items()})
    errors = {}
    for algorithm in (STRICT, TF32):
        found, _ = computed(cp, problem, operands, algorithm.arithmetic, SMALL[algorithm.arithmetic])
        errors[algorithm] = np.abs(found - exact).max() / np.abs(exact).max()
        assert errors[algorithm] <= algorithm.error_bound(problem).relative
    assert 300 * errors[STRICT] < errors[TF32]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_are_rounded_once(cp: Any, dtype: str) -> None:
    problem, rng = ConvProblem.parse(f"forward 1x40x5x6 20x40x3x3 p1 {dtype} +bias"), np.random.default_rng(3)
    operands = {role: rng.standard_normal(a.shape).astype(numpy_dtype(dtype)) for role, a in
                integer_operands(problem).items()}  # fmt: skip
    exact = expected(problem.replace(dtype="float64"), {role: a.astype(float) for role, a in operands.items()})
    found, _ = computed(cp, problem, operands, "bf16", SMALL["bf16"])
    assert (np.abs(found.astype(float) - exact) <= 1.01 * RESULT_ROUNDOFF[dtype] * np.abs(exact) + 1e-5).all()


NOT_FINITE = [
    ("forward 1x5x6x7 4x5x3x3 p1", "3xtf32", {"input": {(0, 1, 0, 2, 3): np.inf, (0, 2, 0, 5, 0): np.nan}}),
    ("forward 1x5x6x7 4x5x3x3 p1 +bias", "3xtf32", {"weight": {(1, 2, 0, 1, 1): -np.inf}}),
    ("backward_input 1x5x6x7 4x5x3x3 p1", "3xtf32", {"weight": {(1, 2, 0, 0, 0): np.inf}}),
    ("backward_weight 1x5x6x7 4x5x3x3 p1", "3xtf32", {"output": {(0, 1, 0, 2, 3): np.inf}}),
    ("forward 1x5x6x7 4x5x3x3 p1", "tf32", {"input": {(0, 1, 0, 2, 3): np.inf, (0, 2, 0, 5, 0): np.nan}}),
    ("backward_input 1x5x6x7 4x5x3x3 p1 bfloat16", "bf16", {"weight": {(1, 2, 0, 0, 0): np.inf}}),
    ("backward_weight 1x5x6x7 4x5x3x3 p1 float16", "bf16", {"input": {(0, 1, 0, 2, 3): np.nan}}),
]


@pytest.mark.parametrize(("text", "arithmetic", "where"), NOT_FINITE)
def test_data_that_are_not_finite(cp: Any, text: str, arithmetic: str, where: dict[str, Any]) -> None:
    problem = ConvProblem.parse(text)
    operands = {role: a.astype(float) for role, a in integer_operands(problem).items()}
    for role, values in where.items():
        for place, value in values.items():
            operands[role][place] = value
    found, _ = computed(cp, problem, operands, arithmetic, SMALL[arithmetic])
    np.testing.assert_array_equal(found.astype(float), expected(problem, operands).astype(float))


def test_pixels_behind_the_last_one_read_nothing(cp: Any) -> None:
    """Neither the last one once more: infinity times the zero that stands for its gradient is none."""
    problem = ConvProblem.parse("backward_weight 1x8x6x13 8x8x3x3 p1 bfloat16")
    operands = {role: a.astype(float) for role, a in integer_operands(problem).items()}
    operands["input"][0, :, 0, -1, -1], operands["output"][0, :, 0, -2:, -2:] = np.inf, 1
    found, _ = computed(cp, problem, operands, "bf16", "ring128x144")
    assert np.isinf(found.astype(float)).sum() == 8 * 8 * 4
    np.testing.assert_array_equal(found.astype(float), expected(problem, operands).astype(float))


def test_rows_are_held_until_they_are_read() -> None:
    """Whatever the shape: from a step's first pixel to the last one of the steps that are read ahead."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        high, wide, sh, dh, rows = (int(n) for n in rng.integers(1, (20, 70, 4, 6, 4)))
        c = next(phases_of(p := ConvProblem.parse("backward_weight 1x1x1x1 1x1x1x1 float16"),
                           Operation.contiguous(p).layouts)).packed().reshape(())  # fmt: skip
        c["pixels"], c["step"][1], c["delta"][1] = (1, high, wide), sh, dh
        ring = Ring.of(c, rows, 1, 1)
        lines = np.arange(4096) // wide
        first = lines * sh + lines // high * ring.gap
        ahead = 3 * 64 - 1
        assert (first[ahead:] + (rows - 1) * dh + 1 - first[:-ahead]).max() <= ring.rows


def test_large_numbers_are_not_lost(cp: Any) -> None:
    """Near the largest float32, where a rounded part would be infinite."""
    problem = ConvProblem.parse("forward 1x1x1x4 1x1x1x1")
    operands = {"input": np.float32([3.4028235e38, -3.4028235e38, 2e-30, 1e30]).reshape(1, 1, 1, 1, 4),
                "weight": np.ones((1,) * 5, np.float32)}  # fmt: skip
    found, _ = computed(cp, problem, operands, "3xtf32", SMALL["3xtf32"])
    np.testing.assert_allclose(found, operands["input"], rtol=2e-7)


# -- plans
@pytest.mark.parametrize("text", [text for text, _ in CORRELATIONS + GRADIENTS + POINTWISE + RINGS])
def test_what_a_plan_asks_for(text: str) -> None:
    problem = ConvProblem.parse(text)
    for algorithm in ALGORITHMS:
        if problem.dtype in algorithm.dtypes:
            assert algorithm.supports(problem)
            for params in algorithm.parameters(problem)[:2]:
                made = algorithm.launches(Operation.contiguous(problem), params)
                assert algorithm.workspace(problem, params, 1) == max(step.workspace_bytes for step in made)
                assert all(0 < launch.shared_bytes <= 99 << 10 for launch in made if launch.block != (256, 1, 1)
                           if launch.kernel in ("correlate", "weight_gradient"))  # fmt: skip


@pytest.mark.parametrize(("device", "usable"), [("T4", False), ("A100", True)])
def test_older_devices_have_other_algorithms(device: str, usable: bool) -> None:
    with array_module("emulated", devices=(device,)):
        forget_gpu()
        assert find_backend("gpu").is_usable(NARROW) == usable
    forget_gpu()


MUTATIONS = [
    # what is changed, into what, where it must be noticed
    ("__syncthreads(); // everyone's copies", "// everyone's copies", CORRELATIONS[0]),
    ("__syncthreads(); // the tables", "// the tables", CORRELATIONS[2]),
    ("fc_copy_wait<STAGES - 2>();", "fc_copy_wait<STAGES - 1>();", CORRELATIONS[0]),
    ("fc_slot(pixels_at[j] + shift) * 16", "(pixels_at[j] + shift) * 16", CORRELATIONS[2]),
    ("if (!there) at.n = 0,", "if (false) at.n = 0,", CORRELATIONS[2]),
    ("channel + e < c.channels", "true", CORRELATIONS[0]),
    ("plane >= box.planes", "false", CORRELATIONS[15]),
    ("at.h >= box.rows", "false", CORRELATIONS[16]),
    ("passed * (int)(box.reach.d - box.width.d)", "0", CORRELATIONS[15]),
    ("row / STEPS * (int)c.weight_stride[3]", "0", CORRELATIONS[16]),
    ("inside &= plane < box.planes;", "", CORRELATIONS[16]),
    ("if (f * ROWS_APART >= rows) break;", "", CORRELATIONS[0]),
    ("patch == 0 ? PATCHES - 1 : patch - 1", "patch", CORRELATIONS[8]),
    ("fc_add_step(sum, part);", "", CORRELATIONS[12]),
    ("__syncthreads(); // everyone's units", "// everyone's units", GRADIENTS[0]),
    ("next < end", "true", GRADIENTS[1]),
    ("lane / 16 * 8 + lane % 8", "lane % 8", GRADIENTS[0]),
    ("e < left", "true", GRADIENTS[0]),
    ("__syncthreads(); // everyone's copies", "// everyone's copies", POINTWISE[0]),
    ("fc_copy_wait<STAGES - 2>();", "fc_copy_wait<STAGES - 1>();", POINTWISE[7]),
    ("a.rows = A_DEEP ? gemm.rows - first_m - a_row", "a.rows = A_DEEP ? BM", POINTWISE[9]),
    ("b_k < end : b_pixel < gemm.columns", "true : true", POINTWISE[8]),
    (": end - b_k", ": BK", POINTWISE[2]),
    ("fc_quotient(pixel, gemm.image)", "0", POINTWISE[5]),
    ("there && i * STEP < rows", "there", POINTWISE[1]),
    ("__syncthreads(); // everyone's rows", "// everyone's rows", RINGS[0]),
    ("min(min(moved, moved - held_units), held_units)", "min(moved, held_units)", RINGS[0]),
    ("ring.before : 0", "0 : 0", RINGS[0]),
    ("if (GROUPS) keep_source", "keep_source", RINGS[4]),
    ("loaded < needed(step + STAGES - 1)", "false", RINGS[9]),
    ("(fc_u32)at.w < c.source_size[2]", "true", RINGS[1]),
    ("e < b_left", "true", RINGS[1]),
    ("__syncthreads(); // all taps", "// all taps", RINGS[1]),
]


@pytest.mark.parametrize(("old", "new", "case"), MUTATIONS, ids=lambda value: str(value)[:24])
def test_what_is_changed_is_found(old: str, new: str, case: tuple[str, dict[str, Any]]) -> None:
    """A barrier, a wait, a swizzle, a bound: the machine reports it, or the result is wrong."""
    import emulated_cupy as cp
    from emulated_cupy import nvrtc

    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    changed = []

    def edit(source: str) -> str:
        changed.append(old in source)
        return source.replace(old, new)

    text, options = case
    with cp.pretend(seed=12345), pytest.raises((AssertionError, cp.KernelError)):
        check(cp, text, edit=edit, **options)
    assert any(changed)


def test_gradients_through_padding_modes_run_on_tensor_cores() -> None:
    """Of 16-bit floats, whose padded gradient is one of float32."""
    draw = np.random.default_rng(0)
    x, w, dy = (draw.integers(-3, 4, s).astype(np.float16) for s in ((2, 8, 5, 6), (40, 8, 3, 3), (2, 40, 5, 6)))
    options: dict[str, Any] = {"padding": 1, "padding_mode": "reflect", "needs": (True, False, False)}
    expected = fastconv.conv2d_backward(dy, x, w, **options)[0]
    with array_module("emulated") as gpu:
        gpu.module.system.last_launch.clear()
        found = fastconv.conv2d_backward(*gpu.to((dy, x, w)), algorithm="implicit_gemm_mma", **options)[0]
        np.testing.assert_array_equal(found.get(), expected)
        assert "correlate" in gpu.module.system.last_launch


@pytest.mark.parametrize("function", ["conv2d", "conv_transpose2d"])
def test_weights_of_gradients_are_packed_before_there_is_a_result(function: str) -> None:
    draw = np.random.default_rng(5)
    dy, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((1, 16, 5, 5), (16, 16, 1, 1)))
    how: dict[str, Any] = {"direction": "backward_input", "algorithm": STRICT.name, "backend": "gpu"}
    with array_module("emulated") as gpu:
        planned = fastconv.plan(function, dy.shape, w.shape, "float32", **how)
        dx = planned(gpu.to(dy), planned.pack(gpu.to(w)))
        terms = "nkhw,kc->nchw" if function == "conv2d" else "nkhw,ck->nchw"
        np.testing.assert_array_equal(dx.get(), np.einsum(terms, dy, w[:, :, 0, 0]))
