"""The GPU's kernels for few channels or filters: exact on small integers, errors, NaN and Inf, sectors, mutations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import oracle
from emulated_cupy import nvrtc
from fastconv import ConvProblem
from fastconv._choose.select import admitted
from fastconv._gpu import layout
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.few_channels import ALGORITHMS, launches
from fastconv._gpu.algorithms.few_channels.phases import grid_of
from fastconv._gpu.launch import Launch
from fastconv._problem import RESULT
from gpu_launches import layout_of, on_host, placed, start, summed_up
from operands import integer_operands, numpy_dtype
from test_gpu_implicit_gemm_mma import expected

NARROW, STRICT, TF32 = ALGORITHMS


@pytest.fixture(autouse=True)
def tensor_cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of several boxes, as of large arrays; no device without tensor cores for bfloat16 and tf32."""
    monkeypatch.setattr(launches, "WANTED_BLOCKS", 1)
    monkeypatch.setattr(launches, "MAX_BOXES", 2)
    if "cp" in request.fixturenames and int(request.getfixturevalue("cp").cuda.Device().compute_capability) < 80:
        pytest.skip("a device without bfloat16 and tf32")


def computed(cp: Any, problem: ConvProblem, operands: dict[str, np.ndarray], algorithm: Any, tile: str = "",
             gaps: bool = False, edit: Callable[[str], str] = lambda text: text) -> np.ndarray:  # fmt: skip
    """The result; ``gaps``: arrays with every second column alone, from the last to the first."""
    arrays, dtype = placed(cp, problem, operands), numpy_dtype(problem.dtype)
    if gaps:
        for role, array in arrays.items():
            if array.ndim == 5:
                wide = cp.zeros((*array.shape[:4], 2 * array.shape[4] + 1), array.dtype)[..., ::-2][..., :-1]
                wide[...] = array
                arrays[role] = wide
    layouts = {role: layout_of(array, dtype) for role, array in arrays.items() if array.ndim == 5}
    params = {"tile": tile} if tile else algorithm.parameters(problem)[0]
    start(cp, algorithm.launches(Operation(problem, layouts), params), arrays, edit)
    return on_host(cp.ascontiguousarray(arrays[RESULT[problem.direction]]), dtype)


def check(cp: Any, text: str, tile: str = "", algorithm: Any = None, where: Any = None, **options: Any) -> None:
    """On small integers, with other values ``where`` they are to be."""
    problem = ConvProblem.parse(text)
    chosen = algorithm or (STRICT if problem.dtype == "float32" else NARROW)
    assert chosen.supports(problem)
    operands = {role: array.astype(float) for role, array in integer_operands(problem).items()}
    for role, values in (where or {}).items():
        for place, value in values.items():
            operands[role][place] = value
    found = computed(cp, problem, operands, chosen, tile, **options)
    np.testing.assert_array_equal(found.astype(float), expected(problem, operands).astype(float))


CASES = [
    # problem, tile, other options
    ("forward 2x3x13x16 20x3x3x3 s2 p1 bfloat16 +bias+relu", "64x128", {}),
    ("forward 1x3x9x40 18x3x3x3 p1 bfloat16", "32x256", {}),
    ("forward 2x3x9x11 5x3x5x3 s1x3 p2:1x0 d1x2 float16 +add", "16x128", {}),
    ("forward 1x1x4x5x8 9x1x3x2x3 p1 s1x2x1 +bias", "32x128", {}),
    ("forward 2x4x9x8 8x2x3x3 p1 g2 bfloat16 channels_last +bias+add", "32x256", {}),
    ("forward 1x21x4x16 3x21x3x3 p1 bfloat16", "16x256", {}),
    ("forward 1x3x16x16 70x3x4x4 s4", "64x128", {}),
    ("forward 2x1x80 5x1x10 s5", "16x256", {"algorithm": TF32}),
    ("forward 1x3x6x10 4x3x3x3 p1 float16", "16x128", {"gaps": True}),
    ("backward_input 2x3x16x32 20x3x7x7 s2 p3 bfloat16", "16x256", {}),
    ("backward_input 1x5x9x13 7x5x3x3 s2 p1 float16 +bias+add", "16x128", {}),
    ("backward_input 1x3x16x32 9x3x4x4 s4 +bias", "64x128", {}),
    ("backward_input 1x2x7x10 6x2x3x2 s2x3 p1:2x0 d1x2 bfloat16", "16x128", {}),
    ("backward_input 2x3x8x16 4x3x3x3 s2 p1", "16x128", {}),
    ("backward_input 1x2x5x6x8 4x2x2x3x3 s2x1x2 p1 bfloat16", "16x128", {"gaps": True}),
    ("backward_input 1x6x5x5 9x2x1x1 s3 g3 +bias bfloat16", "16x128", {}),
    ("backward_input 1x8x6x7 4x8x3x3 p1 bfloat16 channels_last", "32x256", {}),
    ("backward_input 1x1x8x8 2x1x3x3 s2 d3 p2 float16", "16x128", {}),
]


@pytest.mark.parametrize(("text", "tile", "options"), CASES, ids=[f"{text} {tile}" for text, tile, _ in CASES])
def test_exact(cp: Any, text: str, tile: str, options: dict[str, Any]) -> None:
    check(cp, text, tile, **options)


@pytest.mark.parametrize(
    "text", ["2x3x16x32 5x3x4x4 s4 bfloat16", "2x8x5x6 4x8x3x3 p1 float16 channels_last", "1x1x5 1x1x1 bfloat16"]
)
def test_input_gradients_that_are_summed_up_further(cp: Any, text: str) -> None:
    """In float32, four of which are a vector; of the source's 16-bit floats eight are one."""
    problem = ConvProblem.parse(f"backward_input {text}")
    operands = {role: 7 * array for role, array in integer_operands(problem).items()}

    def launches_of(operation: Operation) -> tuple[Launch, ...]:
        assert NARROW.computes(operation)
        return NARROW.launches(operation, NARROW.parameters(problem)[0])

    found = summed_up(cp, problem, operands, launches_of)
    np.testing.assert_array_equal(found, oracle.convolve(problem, operands))


@pytest.mark.parametrize("text", [CASES[1][0], CASES[9][0]])
def test_wide_offsets(cp: Any, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "OFFSET_LIMIT", 1)
    check(cp, text, "16x128")


def test_several_chunks_of_channels(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv._gpu.algorithms.few_channels.tiles.SHARED_BYTES", 8 << 10)
    for text in (CASES[5][0], "forward 1x9x3x16 3x9x3x3 p1"):
        check(cp, text, "16x128")


def test_all_phases_are_one_correlation() -> None:
    """Taps of all phases together, results that are not reached among them; dilations that skip phases."""
    grid = grid_of(ConvProblem.parse("backward_input 1x3x224x224 64x3x7x7 s2 p3"))
    assert (grid.rows, grid.pixels, grid.taps, grid.first) == (12, (1, 112, 112), (1, 4, 4), (0, -1, -1))
    grid = grid_of(ConvProblem.parse("backward_input 1x3x12x12 4x3x2x2 s3"))
    assert (grid.phases, grid.taps, grid.axes[1].own_taps) == ((1, 3, 3), (1, 1, 1), (1, 1, 0))
    grid = grid_of(ConvProblem.parse("backward_input 1x3x12x12 4x3x3x3 s2 d3"))
    assert [(axis.delta, axis.distance) for axis in grid.axes[1:]] == [(1, 3)] * 2


NOT_FINITE = [
    ("forward 1x3x6x8 4x3x3x3 p1", {"input": {(0, 1, 0, 2, 3): np.inf, (0, 2, 0, 5, 0): np.nan}}),
    ("forward 1x3x6x8 4x3x3x3 p1 bfloat16", {"input": {(0, 1, 0, 2, 3): np.inf}, "weight": {(1, 2, 0, 1, 1): -np.inf}}),
    ("backward_input 1x3x6x8 4x3x3x3 p1 s2 float16", {"output": {(0, 1, 0, 1, 1): np.inf}}),
    ("backward_input 1x3x6x8 4x3x3x3 p1", {"weight": {(1, 2, 0, 0, 0): np.inf}}),
]


@pytest.mark.parametrize(("text", "where"), NOT_FINITE)
def test_data_that_are_not_finite(cp: Any, text: str, where: dict[str, Any]) -> None:
    check(cp, text, where=where)


def test_errors(cp: Any) -> None:
    """Within the bounds; those of tf32 are larger than what two of them keep by three digits."""
    problem, rng = ConvProblem.parse("forward 1x3x6x6 9x3x5x5 s2 p2"), np.random.default_rng(3)
    operands = {role: rng.standard_normal(a.shape).astype("f4") for role, a in integer_operands(problem).items()}
    exact = oracle.convolve(problem, {role: a.astype(float) for role, a in operands.items()})
    errors = {}
    for algorithm in (STRICT, TF32):
        found = computed(cp, problem, operands, algorithm)
        errors[algorithm] = np.abs(found - exact).max() / np.abs(exact).max()
        assert errors[algorithm] <= algorithm.error_bound(problem).relative
    assert 300 * errors[STRICT] < errors[TF32]


def test_what_is_supported() -> None:
    for text, supported in (("forward 8x3x224x224 64x3x7x7 s2 p3", True), ("forward 8x64x28x28 64x64x3x3 p1", False),
                            ("backward_weight 8x3x224x224 64x3x7x7 s2 p3", False),
                            ("forward 8x3x224x224 768x3x32x32 s32", False)):  # fmt: skip
        assert STRICT.supports(ConvProblem.parse(text)) == supported, text
    for level, strict, tf32 in (("highest", True, False), ("medium", True, True), ("ieee", False, False)):
        problem = ConvProblem.parse(f"forward 8x3x224x224 64x3x7x7 s2 p3 {level}")
        assert (admitted(STRICT, problem), admitted(TF32, problem)) == (strict, tf32), level


@pytest.mark.parametrize("text", [text for text, _, _ in CASES])
def test_what_a_plan_asks_for(text: str) -> None:
    problem = ConvProblem.parse(text)
    for algorithm in ALGORITHMS:
        if problem.dtype in algorithm.dtypes:
            for params in algorithm.parameters(problem):
                made = algorithm.launches(Operation.contiguous(problem), params)
                assert algorithm.workspace(problem, params, 1) == max(step.workspace_bytes for step in made)
                assert all(launch.shared_bytes <= 96 << 10 for launch in made)


PARTS_OF_FEWEST = 1.05


@pytest.mark.parametrize("text", ["forward 1x3x16x64 32x3x3x3 p1 bfloat16", "backward_input 1x3x32x64 16x3x3x3 s2 p1"])
def test_whole_sectors_are_stored(text: str) -> None:
    """Those of all phases together, too."""
    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    problem = ConvProblem.parse(text)
    algorithm = STRICT if problem.dtype == "float32" else NARROW
    with emulated_cupy.pretend(devices=("H200",)):
        computed(emulated_cupy, problem, integer_operands(problem), algorithm)
        accesses = emulated_cupy.system.last_launch["few_channels"].accesses()
        stored = sum(x.moved for x in accesses if "st.global" in x.text)
    sectors = np.prod(problem.result_shape) * numpy_dtype(problem.dtype).itemsize / 32
    assert sectors <= stored <= PARTS_OF_FEWEST * sectors + 4


MUTATIONS = [
    # what is changed, into what, where it must be noticed
    ("__syncthreads(); // the chunk is there", "", CASES[0]),
    ("__syncthreads(); // what is overwritten has been read", "{}", CASES[1]),
    ("fc_copy_wait<0>();", "", CASES[0]),
    ("tile += gridDim.x", "tile += 2 * gridDim.x", CASES[1]),
    ("word < WORDS ? plane", "true ? plane", CASES[0]),
    ("patch[PLANES * PLANE + i] = 0", "", CASES[0]),
    ("(fc_u32)(left + column) < (fc_u32)c.source_size[2]", "true", CASES[1]),
    ("channel < channels)", "true)", CASES[0]),
    ("if (r.row + f >= r.rows) break;", "", CASES[0]),
    ("h >= c.pixels[1] || w >= c.pixels[2]", "false", CASES[10]),
    ("at % tiles.distance[axis] || ", "", CASES[17]),
    ("fc_add_step(sum, part);", "", CASES[3]),
    ("zero != 0", "false", NOT_FINITE[3]),
]


@pytest.mark.parametrize(("old", "new", "case"), MUTATIONS, ids=lambda value: str(value)[:24])
def test_what_is_changed_is_found(old: str, new: str, case: tuple[Any, ...]) -> None:
    """A barrier, a wait, a bound: the machine reports it, or the result is wrong."""
    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    changed = []

    def edit(source: str) -> str:
        changed.append(old in source)
        return source.replace(old, new)

    text, tile, options = case if len(case) == 3 else (case[0], "", {"where": case[1]})
    with emulated_cupy.pretend(seed=12345), pytest.raises((AssertionError, emulated_cupy.KernelError)):
        check(emulated_cupy, text, tile, edit=edit, **options)
    assert any(changed)
