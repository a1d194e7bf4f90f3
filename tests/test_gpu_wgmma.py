"""The GPU's wgmma against the definition, exactly, on small integers; which arrays it takes; mutations are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastconv
import oracle
from array_modules import DEVICE, ArrayModule, array_module
from emulated_cupy import KernelError
from fastconv import ConvProblem
from fastconv._backend import find_backend
from fastconv._choose.select import candidates, plan_for
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.wgmma import ALGORITHMS
from fastconv._gpu.algorithms.wgmma.boxes import box_of, pixels_of
from fastconv._gpu.algorithms.wgmma.launches import products_of
from fastconv._gpu.algorithms.wgmma.tiles import TILES
from fastconv._gpu.launch import Workspace
from fastconv._gpu.tensor_map import TensorMap
from fastconv._problem import numpy_dtype
from gpu_kernels import wgmma
from gpu_launches import computed
from nvrtc_gate import Table

(WGMMA,) = ALGORITHMS
ROLES = {"forward": ("input", "weight"), "backward_input": ("output", "weight")}


@pytest.fixture(params=["in order", "random order", DEVICE])
def gpu(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    """Warps in their order and in a random one; a device of the kind."""
    name = DEVICE if request.param == DEVICE else "emulated"
    with array_module(name, **({} if name == DEVICE else {"seed": 7 * ("random" in request.param)})) as module:
        if not WGMMA.runs_on(tuple(map(int, module.module.cuda.Device().compute_capability))):
            pytest.skip("needs a device of compute capability 9.0")
        yield module


def case(text: str) -> tuple[ConvProblem, dict[str, np.ndarray], np.ndarray]:
    """A problem, small integers, and the exact result, rounded."""
    problem, rng = ConvProblem.parse(text), np.random.default_rng(len(text))
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    operands = {role: rng.integers(-3, 4, shapes[role]) for role in ROLES[problem.direction]}
    expected = oracle.convolve(problem, operands)
    if problem.epilogue.bias:
        operands["bias"] = rng.integers(-9, 10, problem.result_channels)
    if problem.epilogue.add:
        operands["add"] = rng.integers(-9, 10, problem.result_shape)
    expected = oracle.finish(problem, expected, operands.get("bias"), operands.get("add"))
    return problem, operands, expected.astype(np.float32).astype(numpy_dtype(problem.dtype))


def check(module: Any, text: str, tile: str, edit: Callable[[str], str] = lambda text: text) -> bool:
    """Whether every element of the result is right."""
    problem, operands, expected = case(text)
    assert WGMMA.supports(problem)
    found = computed(module, WGMMA, problem, operands, {"tile": tile}, edit)
    return np.array_equal(found.astype(np.float32), expected.astype(np.float32))


CASES = [
    # pixels contiguous, of every width of a box; channels and filters with tails
    ("forward 1x16x6x40 72x16x3x3 p1 bfloat16", "64x128"),
    ("forward 2x70x4x16 40x70x3x2 p1x0 float16 +bias+relu", "128x128"),
    ("forward 1x8x5x56 130x8x3x3 p1:0x2 d2x1 bfloat16 +add", "128x256"),
    ("forward 1x8x7x8 24x8x3x3 s2x1 p1 bfloat16", "128x128"),
    ("forward 1x5x40 9x5x5 p2 d2 float16 +bias+leaky_relu=0.5", "64x128"),
    ("forward 2x9x4x6 16x9x1x1 bfloat16 +bias", "128x128"),
    ("forward 1x8x8x16 8x8x3x3 p-1 bfloat16", "64x128"),
    # channels contiguous
    ("forward 2x72x7x7 136x72x3x3 p1 bfloat16 channels_last +bias+add+relu6", "128x128"),
    ("forward 3x16x5x6 13x16x2x3 s2x3 p1:2x0 d1x2 float16 channels_last +bias", "64x128"),
    ("forward 5x8x3x5 24x8x1x1 s2 float16 channels_last +add", "128x128"),
    ("forward 9x8x5x7 8x8x1x1 bfloat16 channels_last", "128x256"),
    ("forward 1x128x4x5 128x64x3x3 g2 p1 bfloat16 channels_last", "64x128"),
    ("forward 1x8x3x4x5 8x8x2x3x2 s1x2x1 p1x0x1 bfloat16 channels_last", "64x128"),
    # input gradients, by stride phases
    ("backward_input 1x12x5x16 24x12x3x3 p1 bfloat16 +bias", "64x128"),
    ("backward_input 2x16x6x7 40x16x3x3 s2 p1 float16 channels_last +add", "128x128"),
    ("backward_input 1x8x7x6 16x8x1x1 s3 bfloat16 channels_last +bias", "64x128"),
    ("backward_input 1x8x9x6 16x8x2x4 s2x3 d3x1 p1 bfloat16 channels_last", "128x256"),
]


@pytest.mark.parametrize(("text", "tile"), CASES)
def test_exact(gpu: ArrayModule, text: str, tile: str) -> None:
    assert check(gpu.module, text, tile)


NONFINITE = [
    "forward 1x8x5x16 16x8x3x3 p1 bfloat16",
    "forward 2x72x4x5 16x72x3x3 p1 float16 channels_last",
    "backward_input 2x16x5x6 8x16x3x3 s2 p1 bfloat16 channels_last",
    "backward_input 1x8x5x8 8x8x3x3 p1 float16",
]


@pytest.mark.parametrize("role", ["weight", "other"])
@pytest.mark.parametrize("text", NONFINITE)
def test_nan_and_infinities_are_where_the_definition_has_them(text: str, role: str) -> None:
    problem, operands, _ = case(text)
    rng = np.random.default_rng(1)
    name = role if role == "weight" else next(iter(ROLES[problem.direction]))
    operands = {role: values.astype(np.float64) for role, values in operands.items()}
    operands[name].flat[rng.integers(0, operands[name].size, 2)] = np.inf, np.nan
    with array_module("emulated") as gpu, np.errstate(invalid="ignore"):
        found = computed(gpu.module, WGMMA, problem, operands).astype(np.float64)
        reference = find_backend("gpu").algorithms[-1]
        expected = computed(gpu.module, reference, problem, operands, {}).astype(np.float64)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))


# -- what it takes
@pytest.mark.parametrize(
    ("text", "supported"),
    [
        ("forward 1x8x28x28 8x8x3x3 p1 bfloat16", False),  # rows of 56 bytes
        ("forward 1x8x28x28 8x8x1x1 bfloat16", True),  # planes of 1568
        ("forward 1x8x28x28 8x8x3x3 p1 bfloat16 channels_last", True),
        ("forward 1x12x28x28 8x12x3x3 p1 bfloat16 channels_last", False),
        ("forward 1x8x32x32 8x8x3x3 s2 p1 bfloat16", False),  # columns with steps
        ("forward 1x8x32x32 8x8x3x3 s2 p1 bfloat16 channels_last", True),
        ("forward 1x8x99x99 8x8x3x3 s9 p1 bfloat16 channels_last", False),
        ("forward 1x64x8x8 64x32x3x3 g2 p1 bfloat16 channels_last", False),
        ("backward_weight 1x8x8x8 8x8x3x3 p1 bfloat16 channels_last", False),
    ],
)
def test_problems(text: str, supported: bool) -> None:
    assert WGMMA.supports(ConvProblem.parse(text)) is supported


def test_arrays() -> None:
    """Any strides that the copy unit has words for; results may lie in any way."""
    problem = ConvProblem.parse("forward 2x16x8x8 8x16x3x3 p1 bfloat16 channels_last")
    whole = Operation.contiguous(problem)

    def takes(role: str, **changes: Any) -> bool:
        return WGMMA.computes(replace(whole, layouts={**whole.layouts, role: replace(whole.layouts[role], **changes)}))

    assert takes("input")
    assert takes("input", strides=(16384, 1, 0, 2048, 128))
    assert not takes("input", alignment=8)
    assert not takes("input", strides=(-16384, 1, 0, 2048, 128))
    assert not takes("input", strides=(16384, 2, 0, 2048, 128))
    assert not takes("input", strides=(16384, 1, 0, 2048, 20))
    assert takes("output", strides=(-5000, 3, 0, 77, 11), alignment=2)
    assert takes("weight", strides=(1, -9, 0, 3, 1), alignment=2)
    assert not takes("output", dtype=np.dtype(np.float32))


def test_boxes_leave_little_unused() -> None:
    """Small maps are computed by images side by side."""
    for text, share in (
        ("forward 32x256x56x56 256x256x3x3 p1", 0.87),
        ("forward 32x64x28x28 64x64x3x3 p1 channels_last", 1),
        ("forward 32x64x14x14 64x64x3x3 p1 channels_last", 1),
        ("forward 32x64x7x7 64x64x3x3 p1 channels_last", 0.87),
        ("forward 32x64x7x7 64x64x1x1 channels_last", 0.94),
        ("forward 32x64x28x28 64x64x1x1", 0.94),
    ):
        (product,) = products_of(Operation.contiguous(ConvProblem.parse(f"{text} bfloat16"))) or ()
        pixels, box = pixels_of(product.c), box_of(product.c, product.source, 128)
        assert box.pixels <= 128
        assert np.prod(pixels) >= share * np.prod(box.across(pixels)) * 128, (text, box)


def test_it_is_not_chosen_for_its_estimate() -> None:
    problem = ConvProblem.parse("forward 32x256x56x56 256x256x3x3 p1 bfloat16 channels_last")
    with array_module("emulated") as module:
        gpu = find_backend("gpu")
        assert candidates(problem, 1, backend=gpu)[0][0] is WGMMA
        plan = plan_for(problem, backend=gpu)
        assert plan.algorithm is not WGMMA
        assert WGMMA.name not in dict(plan.candidates)
        assert plan_for(problem, WGMMA.name, backend=gpu).algorithm is WGMMA
        assert gpu.is_usable(WGMMA)
        with module.module.cuda.Device(1):
            assert not gpu.is_usable(WGMMA)


def test_arrays_that_cannot_be_addressed_are_for_another_algorithm() -> None:
    _, operands, expected = case("forward 2x16x8x8 8x16x3x3 p1 bfloat16 channels_last")
    x, w = (operands[role][:, :, 0].astype(np.float32) for role in ("input", "weight"))
    with array_module("emulated") as gpu:
        to = numpy_dtype("bfloat16")
        x, w = gpu.to(x.astype(to)), gpu.to(w.astype(to))  # channels_first: rows of 16 bytes
        for array in (x, gpu.module.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
            got = fastconv.conv2d(array, w, padding=1, algorithm="wgmma")
            np.testing.assert_array_equal(gpu.host(got).astype(np.float32), expected[:, :, 0].astype(np.float32))
        odd = gpu.module.empty((2, 16, 8, 9), x.dtype)[..., :8]
        odd[...] = x
        got = fastconv.conv2d(odd, w, padding=1, algorithm="wgmma")
        assert "correlate" in gpu.module.system.last_launch
        np.testing.assert_array_equal(gpu.host(got).astype(np.float32), expected[:, :, 0].astype(np.float32))


def test_a_tensor_map_follows_its_array() -> None:
    """It is encoded again where the array lies elsewhere, and refused where the driver refuses it."""
    with array_module("emulated") as gpu:
        one, other = gpu.module.zeros((2, 4, 64), np.uint16), gpu.module.zeros((2, 4, 64), np.uint16)
        tensor = TensorMap("input", 0, (64, 4, 2), (128, 512), (64, 4, 1), (1, 1, 1), 128)
        first = tensor.of({"input": one})
        assert tensor.of({"input": one}) is first
        assert tensor.of({"input": other}).tobytes() != first.tobytes()
        scratch = TensorMap(Workspace(256), 256, (64, 4, 2), (128, 512), (64, 4, 1), (1, 1, 1), 128)
        moved = scratch.of({"workspace": one})
        assert int(moved.view(np.uint64)[0]) == one.data.ptr + 512
        for wrong in (
            replace_map(tensor, offset_bytes=8),
            replace_map(tensor, strides=(128, 520)),
            replace_map(tensor, box=(64, 257, 1)),
            replace_map(tensor, swizzle=64),
        ):
            with pytest.raises(RuntimeError, match="cuTensorMapEncodeTiled"):
                wrong.of({"input": one})


def replace_map(tensor: TensorMap, **changes: Any) -> TensorMap:
    names = ("place", "offset_bytes", "sizes", "strides", "box", "steps", "swizzle")
    return TensorMap(**{name: getattr(tensor, name) for name in names} | changes)


def test_nothing_is_spilled() -> None:
    limits = {f"{tile.bm}x{tile.bn}": 65536 // (tile.threads * tile.resident) for tile in TILES}
    for (name, _), used in Table.read(wgmma.TABLE).rows.items():
        assert used.local_bytes == 0, name
        if name.startswith("correlate"):
            assert -(-used.registers // 8) * 8 <= limits[name.split(",")[1]], name


# -- mutations
NCHW = "forward 1x200x6x40 72x200x3x3 p1 bfloat16 +bias"
NHWC = "forward 3x136x7x7 136x136x3x3 p1 bfloat16 channels_last"
TALL = "forward 1x16x13x13 8x16x3x3 p1 bfloat16 channels_last"
STEPPED = "backward_input 2x16x6x7 40x16x3x3 s2 p1 float16 channels_last +add"
MUTATIONS = [
    # problem, what is changed, into what: each must change the result or be reported
    (NCHW, "fc_wgmma_wait<1>(); //", "fc_wgmma_wait<2>(); //"),
    (NCHW, "fc_wgmma_wait<0>();", ""),
    (NCHW, "fc_barrier_wait(&full[stage], parity);", ""),
    (NHWC, "fc_barrier_wait(&full[stage], parity);", "fc_barrier_wait(&full[stage], parity ^ 1);"),
    (NHWC, "fc_barrier_wait(&empty[stage], parity);", ""),
    (NHWC, "fc_barrier_wait(&empty[stage], parity);", "fc_barrier_wait(&empty[stage], parity ^ 1);"),
    (NHWC, "fc_barrier_arrive(&empty[before]);", "fc_barrier_arrive(&empty[stage]);"),
    (NHWC, "fc_barrier_init(&empty[i], WARPGROUPS);", "fc_barrier_init(&empty[i], 1);"),
    (NHWC, "boxes.bytes);", "boxes.bytes - 128);"),
    (NHWC, "fc_sync_threads<1, CONSUMERS>(); // nobody multiplies any more", ""),
    (
        NHWC,
        "fc_stage_sums((float *)ring, sum);\n    fc_sync_threads<1, CONSUMERS>();",
        "fc_stage_sums((float *)ring, sum);",
    ),
    (NCHW, "SPAN == 128 ? 1 : SPAN == 64 ? 2 : 3", "0"),
    (NCHW, "64 * SPAN, 8 * SPAN", "8 * SPAN, 64 * SPAN"),
    (NHWC, "fc_matrix(b + k * 32, 16, 1024, SWIZZLE_128)", "fc_matrix(b + k * 32, 16, 1024, 2)"),
    (NHWC, "fc_matrix(a + k * 32, 16, 1024, SWIZZLE_128)", "fc_matrix(a + k * 32, 16, 512, SWIZZLE_128)"),
    (NHWC, "(threadIdx.x >> 7) * 64 * 128", "0"),
    (TALL, "h >= c.pixels[1] || ", ""),
    (NHWC, "n >= c.batch || ", ""),
    (NHWC, "|| f >= c.filters) continue", ") continue"),
    (NHWC, "(int)next >= boxes.n || ", ""),
    (NHWC, "channel < c.channels; channel += 64", "channel + 64 <= c.channels; channel += 64"),
    (STEPPED, "at_w + w * c.delta[2]", "at_w - w * c.delta[2]"),
    (STEPPED, "more[e]);", "more[0]);"),
    (STEPPED, "c.weight_at + d", "d"),
    (STEPPED, "if (channel + e < c.channels)", "if (channel + e + 8 < c.channels)"),
]


@pytest.mark.parametrize(("text", "old", "new"), MUTATIONS)
def test_what_is_changed_is_found(text: str, old: str, new: str) -> None:
    """A wait, a barrier, a swizzle, a number of bytes, a bound: reported, or the result is wrong."""
    places = []

    def edit(source: str) -> str:
        places.append(source.count(old))
        return source.replace(old, new)

    with array_module("emulated", seed=3) as gpu:
        try:
            is_right = check(gpu.module, text, "128x128", edit)
        except KernelError:
            is_right = False
    assert max(places) == 1
    assert not is_right
