"""The GPU's implicit_gemm against the definition, exactly, on small integers; what it takes; mutations are found."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest

import oracle
from fastconv import ConvProblem
from fastconv._algorithm import Machine
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.implicit_gemm import ALGORITHMS
from fastconv._gpu.algorithms.implicit_gemm.tiles import TILES
from fastconv._gpu.parts import UNLIMITED, Limits
from gpu_kernels.implicit_gemm import run

ROLES = {"forward": ("input", "weight"), "backward_input": ("output", "weight"), "backward_weight": ("input", "output")}


def shape_of(problem: ConvProblem, role: str) -> tuple[int, ...]:
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    return problem.result_shape if role == "add" else shapes[role]


def placed(cp: Any, values: np.ndarray, role: str, problem: ConvProblem, how: str) -> Any:
    """An array of the device in the problem's layout, as its canonical view; "odd": with gaps and an odd start."""
    axes = (0, 1, 2, 3, 4)
    if role == "weight":
        axes = {"OIDHW": axes, "DHWIO": (2, 3, 4, 1, 0), "ODHWI": (0, 2, 3, 4, 1)}[problem.weight_layout]
    elif problem.layout == "channels_last":
        axes = (0, 2, 3, 4, 1)
    shape = [values.shape[axis] for axis in axes]
    whole = cp.full([size + (how == "odd") for size in shape[:-1]] + [2 * shape[-1] + 1], np.nan, values.dtype)
    if how != "odd":
        whole = cp.empty(shape, values.dtype)
    part = whole[tuple(slice(0, size) for size in shape[:-1])]
    part = part[..., 1 : 2 * shape[-1] + 1 : 2] if how == "odd" else part
    part[...] = cp.asarray(np.ascontiguousarray(values.transpose(axes)))
    return part.transpose(tuple(int(axis) for axis in np.argsort(axes)))


def check(cp: Any, text: str, tile: str = "", splits: int = 1, limits: Limits = UNLIMITED, how: str = "",
          edit: Any = lambda text: text, is_packed: bool = False) -> list[Any]:  # fmt: skip
    """Runs the problem on small integers and compares every element."""
    problem = ConvProblem.parse(text)
    tile = tile or ("64x64x16" if problem.dtype == "float32" else "64x64x8")
    rng, dtype = np.random.default_rng(len(text)), np.dtype(problem.dtype)
    result = {"forward": "output", "backward_input": "input", "backward_weight": "weight"}[problem.direction]
    values = {role: rng.integers(-4, 5, shape_of(problem, role)) for role in ROLES[problem.direction]}
    expected, more = oracle.convolve(problem, values), {}
    if problem.epilogue.bias:
        more["bias"] = rng.integers(-9, 10, problem.result_channels)
    if problem.epilogue.add:
        more["add"] = rng.integers(-9, 10, problem.result_shape)
    expected = oracle.finish(problem, expected, more.get("bias"), more.get("add"))
    arrays = {role: placed(cp, v.astype(dtype), role, problem, how) for role, v in values.items()}
    arrays[result] = placed(cp, np.full(problem.result_shape, np.nan, dtype), result, problem, how)
    if "bias" in more:
        arrays["bias"] = cp.asarray(more["bias"].astype(dtype))
    if "add" in more:
        arrays["add"] = placed(cp, more["add"].astype(dtype), "add", problem, how)
    made = run(cp, problem, arrays, {"tile": tile, "splits": splits}, limits, edit, is_packed)
    compare = np.testing.assert_array_equal
    if problem.epilogue.activation in ("silu", "gelu", "tanh", "sigmoid"):
        compare = functools.partial(np.testing.assert_allclose, rtol=2e-6, atol=1e-6)
    compare(arrays[result].get(), expected)
    return made


FORWARD = [
    "forward 2x5x9x11 70x5x3x3 p1",
    "forward 1x16x8x8 64x16x1x1",
    "forward 2x8x6x8 68x8x1x1 +bias+add+relu",
    "forward 1x7x13x10 20x7x3x2 s2x3 p1:2x0 d1x2 +bias",
    "forward 3x12x6x5 24x4x3x3 p1 g3 +add",
    "forward 1x3x12x9 5x3x3x3 p-1 +relu6",
    "forward 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1",
    "forward 1x9x40 33x9x5 p2 d2",
    "forward 2x8x7x9 72x8x3x3 p1 channels_last DHWIO +bias+add",
    "forward 2x6x7x5 10x6x3x3 s2 p1 channels_last ODHWI",
    "forward 1x8x4x4 16x8x3x3 p3",
    "forward 1x2x0x4 3x2x1x1 p1 +bias",
    "forward 2x0x3x4 3x0x1x1 +bias",
]


@pytest.mark.parametrize("text", FORWARD)
def test_forward(cp: Any, text: str) -> None:
    check(cp, text)


BACKWARD_INPUT = [
    "backward_input 2x5x9x11 70x5x3x3 p1",
    "backward_input 1x20x13x10 7x20x3x2 s2x3 p1:2x0 d1x2 +bias",
    "backward_input 2x12x7x6 24x4x4x4 s2 p1 g3 +add",
    "backward_input 1x6x5x5 8x6x1x1 s3 +bias",
    "backward_input 1x5x12x9 3x5x3x3 p-1",
    "backward_input 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1",
    "backward_input 1x9x41 8x9x5 s2 p3 d3 +leaky_relu=0.5",
    "backward_input 2x24x7x8 9x24x3x3 s2 p1 channels_last DHWIO +add",
    "backward_input 1x4x3x3 2x4x2x2 s2 p2:5",
]


@pytest.mark.parametrize("text", BACKWARD_INPUT)
def test_backward_input(cp: Any, text: str) -> None:
    check(cp, text)


BACKWARD_WEIGHT = [
    "backward_weight 2x5x9x11 70x5x3x3 p1",
    "backward_weight 3x66x5x5 9x66x1x1",
    "backward_weight 1x7x13x10 20x7x3x2 s2x3 p1:2x0 d1x2",
    "backward_weight 2x12x6x5 24x4x3x3 p1 g3",
    "backward_weight 1x3x12x9 5x3x3x3 p-1",
    "backward_weight 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1",
    "backward_weight 1x9x300 3x9x5 p2 d2",
    "backward_weight 2x8x7x9 72x8x3x3 p1 channels_last DHWIO",
    "backward_weight 2x6x7x5 10x6x3x3 s2 p1 channels_last ODHWI",
    "backward_weight 2x64x5x6 64x64x1x1 channels_last DHWIO",
    "backward_weight 2x8x7x9 72x8x3x3 p1 channels_last ODHWI",
    "backward_weight 1x3x2x2 4x3x3x3 p3:2",
    "backward_weight 0x3x4x4 5x3x3x3 p1",
    "backward_weight 1x3x2x2 4x3x5x5",
]


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("text", BACKWARD_WEIGHT)
def test_backward_weight(cp: Any, text: str, splits: int) -> None:
    check(cp, text, splits=splits)


POINTWISE = [
    ("backward_weight 3x130x5x5 70x130x1x1", "128x128x16-8x16", {"splits": 2}),
    ("backward_weight 2x9x9x6 140x9x1x1 s2x3", "128x64x16-16x8", {"limits": Limits(wide=True)}),
    ("backward_weight 2x12x7x4 24x4x1x1 g3 p-1x0", "64x128x16-8x16", {"how": "odd"}),
    ("backward_weight 2x5x4x6 9x5x1x1 p1", "64x128x16-8x16", {}),
    ("backward_weight 2x5x4x6 9x5x1x1 float64", "64x64x8", {"splits": 2}),
    ("backward_weight 3x9x14x16 20x9x1x1", "64x64x8", {"splits": 30}),
    ("backward_weight 5x6x8x16 3x2x1x1 g3", "64x64x8", {"splits": 70, "limits": Limits(pixels=300)}),
]


@pytest.mark.parametrize(("text", "tile", "options"), POINTWISE)
def test_weight_gradients_of_one_tap(cp: Any, text: str, tile: str, options: dict[str, Any]) -> None:
    first = check(cp, text, tile, **options)[0]
    assert ("ROW_STEP (THREADS / BK)" in first.source) == ("p1" not in text)


SPLIT = [
    "forward 1x40x6x5 70x40x3x3 p1 +bias+add+relu",
    "forward 2x64x4x4 68x64x1x1 channels_last +bias",
    "backward_input 2x7x9x6 40x7x3x3 s2 p1 +add",
    "forward 1x64x8x8 6x32x1x1 g2 +relu6",
]


@pytest.mark.parametrize("text", SPLIT)
@pytest.mark.parametrize("splits", [2, 5])
def test_a_split_reduction(cp: Any, text: str, splits: int) -> None:
    made = check(cp, text, splits=splits)
    assert [launch.kernel for launch in made[1:3]] == ["correlate", "add_partials"]


@pytest.mark.parametrize("text", [SPLIT[0], SPLIT[3], BACKWARD_WEIGHT[3]])
def test_blocks_that_add_several_rows(cp: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("fastconv._gpu.gemm.SUMMING_BLOCKS", 3)
    (added,) = (launch for launch in check(cp, text, splits=2) if launch.kernel == "add_partials")
    assert added.grid[1] <= 3


LARGE = [
    "forward 32x256x14x14 1024x256x1x1",
    "backward_weight 256x64x112x112 64x64x3x3 p1",
    "backward_input 32x512x7x7 512x512x3x3 p1",
    "forward 5x1x1000000000 1x1x3 p1",
]


EACH = [FORWARD[3], FORWARD[2], FORWARD[8], BACKWARD_INPUT[2], BACKWARD_WEIGHT[0], BACKWARD_WEIGHT[7]]


@pytest.mark.parametrize("text", EACH)
@pytest.mark.parametrize("tile", [tile.name for tile in TILES["float32"]])
def test_tiles(cp: Any, text: str, tile: str) -> None:
    check(cp, text, tile)


@pytest.mark.parametrize("text", EACH)
def test_offsets_of_64_bits(cp: Any, text: str) -> None:
    made = check(cp, text, limits=Limits(wide=True))
    assert all(
        "#define WIDE 1" in launch.source for launch in made if launch.kernel in ("correlate", "weight_gradient")
    )


@pytest.mark.parametrize("text", [*EACH, BACKWARD_WEIGHT[5], FORWARD[6]])
@pytest.mark.parametrize("limits", [Limits(pixels=13), Limits(elements=700)], ids=["pixels", "elements"])
def test_parts_of_batches_and_images(cp: Any, text: str, limits: Limits) -> None:
    made = check(cp, text, limits=limits)
    if limits.pixels == 13:
        assert len(made) > 2


@pytest.mark.parametrize("text", [*EACH, FORWARD[9]])
def test_arrays_with_gaps_at_odd_addresses(cp: Any, text: str) -> None:
    check(cp, text, how="odd")


@pytest.mark.parametrize("activation", ["silu", "gelu", "tanh", "sigmoid", "leaky_relu=0.25", "relu6"])
def test_activations(cp: Any, activation: str) -> None:
    check(cp, f"forward 1x3x6x7 5x3x3x3 p1 +bias+{activation}")


@pytest.mark.parametrize("text", [FORWARD[0], FORWARD[8], BACKWARD_INPUT[2]])
def test_weights_that_were_packed_before(cp: Any, text: str) -> None:
    made = check(cp, text, is_packed=True)
    assert [launch.kernel for launch in made].count("pack_weights") == 1


@pytest.mark.parametrize("text", [FORWARD[2], FORWARD[8], BACKWARD_WEIGHT[0]])
def test_a_device_without_asynchronous_copies(text: str) -> None:
    import emulated_cupy as cp
    from emulated_cupy import nvrtc

    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    with cp.pretend(devices=("T4",), seed=3):
        check(cp, text)


def test_subnormal_numbers_are_kept(cp: Any) -> None:
    """Although CuPy compiles with -ftz=true."""
    problem = ConvProblem.parse("forward 1x1x1x4 1x1x1x1 +bias")
    x, w = np.float32([1e-40, -3e-41, 0, 1]).reshape(1, 1, 1, 1, 4), np.full((1,) * 5, 0.5, "f4")
    arrays = {"input": x, "weight": w, "output": np.empty_like(x), "bias": np.zeros(1, "f4")}
    arrays = {role: cp.asarray(array) for role, array in arrays.items()}
    run(cp, problem, arrays, {"tile": "64x64x8", "splits": 1})
    np.testing.assert_array_equal(arrays["output"].get(), x * np.float32(0.5))


MANY_SPLITS = "backward_weight 1x2x16x16 1030x2x1x1"


def test_lines_of_threads_add_many_splits(cp: Any) -> None:
    added = check(cp, MANY_SPLITS, "64x64x8", splits=16)[-1]
    assert "#define LINES 4" in added.source
    assert added.grid[1] < 1030


ALGORITHM = ALGORITHMS[0]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("text", [BACKWARD_INPUT[0], BACKWARD_INPUT[2], "backward_input 1x5x6x5 66x5x3x3 s2 p1 +bias"])
def test_weights_that_are_not_finite(cp: Any, text: str, is_packed: bool) -> None:
    """Zeros around the source are not multiplied by them in an input gradient."""
    problem = ConvProblem.parse(text)
    values = {role: np.ones(shape_of(problem, role), np.float32) for role in ("output", "weight")}
    values["weight"].flat[-3], values["weight"].flat[7] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected = oracle.convolve(problem, values)
    arrays = {role: cp.asarray(v) for role, v in values.items()}
    arrays["input"] = cp.empty(problem.input_shape, np.float32)
    if problem.epilogue.bias:
        arrays["bias"] = cp.zeros(problem.in_channels, np.float32)
    if problem.epilogue.add:
        arrays["add"] = cp.zeros(problem.input_shape, np.float32)
    run(cp, problem, arrays, {"tile": "64x64x8", "splits": 1}, is_packed=is_packed)
    np.testing.assert_array_equal(arrays["input"].get(), expected)


@pytest.mark.parametrize("text", [*FORWARD[:11], *BACKWARD_INPUT, *BACKWARD_WEIGHT[:10], *LARGE])
def test_what_a_plan_asks_for(text: str) -> None:
    """Parameters are plain and different, the workspace is enough for each, costs are positive."""
    problem = ConvProblem.parse(text)
    assert ALGORITHM.supports(problem)
    parameters = ALGORITHM.parameters(problem)
    assert len({json.dumps(params) for params in parameters}) == len(parameters) <= 10
    for params in parameters:
        made = ALGORITHM.launches(Operation.contiguous(problem), params)
        needed = max(launch.workspace_bytes for launch in made)
        assert ALGORITHM.workspace(problem, params, 1) >= needed
        assert 0 < ALGORITHM.cost(problem, params, 1, Machine({"float32": 3e13, "float64": 1e13}, 4.3e12)) < 10
    elementwise = ALGORITHM.error_bound(problem).elementwise
    assert elementwise is not None
    assert elementwise >= problem.reduction * 2.0**-24


@pytest.mark.parametrize("text", EACH)
def test_float64(cp: Any, text: str) -> None:
    words = text.split()
    check(cp, " ".join([*words[:3], "float64", *words[3:]]))


def test_columns_behind_the_last_one_are_aligned(cp: Any) -> None:
    check(cp, "backward_weight 1x2x1x2 2x2x1x2 channels_last ODHWI float64")


MUTATIONS = [
    # what is changed, into what, where it must be noticed
    ({"__syncthreads(); // everyone's": "// everyone's"}, FORWARD[0]),
    ({"__syncthreads(); // the tables": "// the tables"}, FORWARD[8]),
    ({"fc_copy_wait<STAGES - 2>();": "fc_copy_wait<STAGES - 1>();"}, FORWARD[0]),
    ({"to = from;": ""}, FORWARD[0]),
    ({"first_m + y >= rows ||": ""}, FORWARD[0]),
    ({"first_n + i < gemm.columns ? first_n + i : 0": "first_n + i"}, FORWARD[0]),
    ({"< c.source_size[1];": "< c.source_size[1] + 1;"}, FORWARD[0]),
    ({"channel + i * CHANNEL_STEP < c.channels": "true"}, FORWARD[0]),
    ({"a_inside = false;": ""}, FORWARD[0]),
    ({"bias[y + down]": "bias[y]"}, "forward 2x8x7x9 72x8x3x3 p1 channels_last DHWIO +bias+add"),
    ({"at == 2 * CHUNK ? 0": "at == CHUNK ? 0", "3 * CHUNK": "2 * CHUNK"}, "backward_weight 1x4x20x20 9x4x1x2"),
    ({"make_tables(at_pixel + CHUNK": "make_tables(at_pixel"}, "backward_weight 1x4x20x20 9x4x1x2"),
    ({"j * ROW_STEP < a_rows": "true"}, BACKWARD_WEIGHT[0]),
    ({"min(b_row + i * ROW_STEP, columns - VECTOR)": "b_row"}, BACKWARD_WEIGHT[0]),
    ({"int s = line + LINES;": "int s = line + 2 * LINES;"}, SPLIT[0]),
    ({"__syncthreads(); // of all lines": ""}, MANY_SPLITS),
    ({"__syncthreads(); // nobody reads": "// nobody reads"}, MANY_SPLITS),
    ({"pixel < end;": "true;"}, "backward_weight 2x5x4x6 9x5x1x1"),
    ({"i * ROW_STEP < a_rows": "true"}, "backward_weight 3x66x5x5 9x66x1x1"),
    ({"|| first_n + x >= columns": ""}, SPLIT[0]),
    ({"first += AT_ONCE": "first += taps"}, "forward 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1"),
    ({"first + i - d * gemm.plane_taps.d": "first + i"}, "forward 2x4x5x6x7 9x4x2x3x2 p1x0x1 s1x2x1"),
]


@pytest.mark.parametrize(("changes", "text"), MUTATIONS, ids=lambda value: next(iter(value)) if value else "")
def test_what_is_changed_is_found(changes: dict[str, str], text: str) -> None:
    """A barrier, a wait, a buffer, a bound: the machine reports it, or the result is wrong."""
    import emulated_cupy as cp
    from emulated_cupy import nvrtc

    if nvrtc.library() is None:
        pytest.skip(nvrtc.MISSING)
    changed = set()

    def edit(source: str) -> str:
        for old, new in changes.items():
            if old in source:
                changed.add(old)
                source = source.replace(old, new)
        return source

    with cp.pretend(seed=12345), pytest.raises((AssertionError, cp.KernelError)):
        check(cp, text, splits=3 if text in SPLIT else 16 if text == MANY_SPLITS else 1, edit=edit)
    assert changed == set(changes)
