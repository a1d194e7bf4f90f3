"""Plans and packed weights carried to other processes and ISA levels, and copies of them."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
import packed_cases
from fastconv._backend import algorithm_names
from fastconv._choose.select import carried_plan, forget_plans, plan_for
from fastconv._cpu import backend
from fastconv._cpu.engine import runtime
from fastconv.planning import PackedWeight
from subprocesses import output_of

USABLE = [name for name, usable in runtime.isa_levels() if usable]
CHILD: dict[str, Any] = {"timeout": 300, "FASTCONV_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LEVELS = [backend.ISA] if "FASTCONV_MAX_ISA" in os.environ else USABLE
ENDS = sorted({LEVELS[0], LEVELS[-1]})

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "conv1d causal": ("conv1d", (2, 4, 19), (6, 2, 3), {"padding": "causal", "groups": 2, "precision": "ieee"}),
    "conv2d": ("conv2d", (2, 3, 8, 9), (4, 3, 3, 2), {"padding": [(1, 0), [2, -1]], "activation": ("leaky_relu", 0.5)}),
    "conv2d NHWC": ("conv2d", (2, 8, 9, 3), (3, 3, 3, 4), {"layout": "NHWC", "w_layout": "HWIO", "padding": 1}),
    "conv2d reflect": ("conv2d", (3, 8, 9), (4, 3, 3, 3), {"padding": 2, "padding_mode": "reflect"}),
    "conv2d empty": ("conv2d", (0, 3, 8, 9), (4, 3, 3, 3), {}),
    "conv_transpose2d": ("conv_transpose2d", (2, 4, 5, 6), (4, 1, 3, 3), {"stride": 2, "output_size": [11, 14]}),
    "conv_transpose1d": ("conv_transpose1d", (2, 4, 7), (4, 3, 4), {"stride": 3, "output_padding": 2, "padding": 1}),
    "depthwise_conv3d": ("depthwise_conv3d", (1, 2, 4, 5, 6), (4, 1, 2, 2, 2), {"layout": "channels_first"}),
}
by_function = pytest.mark.parametrize("case", FUNCTIONS.values(), ids=FUNCTIONS.keys())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pickles, from the lowest level and from the highest."""
    folder = tmp_path_factory.mktemp("packed")
    for level in ENDS:
        path = str(folder / level)
        code = f"import pathlib, packed_cases; packed_cases.write(pathlib.Path({path!r}))"
        output_of(code, **CHILD, FASTCONV_MAX_ISA=level)
    return folder


@pytest.mark.parametrize(
    "here",
    # A level in the middle is like the ends.
    [pytest.param(level, marks=() if level in ENDS else pytest.mark.full) for level in LEVELS],
)
def test_packed_weights_of_every_level(here: str, written: Path) -> None:
    """Each is taken with the bits of the plain weight, or refused by plans that are not like its own."""
    code = "import pathlib, packed_cases; print(*(packed_cases.check(pathlib.Path(path)) for path in {paths!r}))"
    paths = [str(written / level) for level in ENDS]
    kept = [int(word) for word in output_of(code.format(paths=paths), **CHILD, FASTCONV_MAX_ISA=here).split()]
    plans = packed_cases.plans
    names = [name for name in algorithm_names() if name != "split_bf16"]
    least = sum(1 for name in names for _ in plans(name, "forward", "float32"))
    assert len(kept) == len(ENDS)
    assert min(kept) >= 2 * least, "algorithms that every level has stay as they were chosen"


@pytest.mark.parametrize("level", [level for level in USABLE if level != backend.ISA])
def test_layouts_of_another_level_are_never_taken_for_ones_own(level: str) -> None:
    """Even where the packed array itself was carried over."""
    code = (
        "import fastconv, numpy as np\n"
        "planned = fastconv.plan('conv2d', (1, 8, 12, 12), (16, 8, 3, 3), algorithm='winograd')\n"
        "print(planned.pack(np.ones((16, 8, 3, 3), 'f')).made_for)"
    )
    planned = fastconv.plan("conv2d", (1, 8, 12, 12), (16, 8, 3, 3), algorithm="winograd")
    packed = planned.pack(np.ones((16, 8, 3, 3), np.float32))
    made_for = output_of(code, FASTCONV_MAX_ISA=level).strip()
    assert level in made_for
    assert fastconv.__version__ in made_for
    with pytest.raises(ValueError, match=r"^w: got a weight packed by another plan"):
        planned(np.ones((1, 8, 12, 12), np.float32), PackedWeight(packed.weight, packed.packed, made_for, planned))


@pytest.mark.parametrize("algorithm", algorithm_names())
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_packed_arrays_elsewhere_in_memory_or_of_another_size(algorithm: str, direction: str) -> None:
    """Weights put together by hand are computed with or refused; kernels read nothing but what there is."""
    for planned in packed_cases.plans(algorithm, direction, "float32"):
        source, w = packed_cases.operands(planned)
        right = planned.pack(w)
        if not isinstance(right.packed, np.ndarray):
            continue
        expected = planned(source, w)
        memory = np.empty(right.packed.nbytes + 64, np.uint8)
        start = -memory.ctypes.data % 64 + right.packed.itemsize
        moved = memory[start:][: right.packed.nbytes].view(right.packed.dtype).reshape(right.packed.shape)
        moved[...] = right.packed
        by_hand = PackedWeight(right.weight, moved, right.made_for, planned)
        small = PackedWeight(right.weight, right.packed[:-1], right.made_for, planned)
        with contextlib.suppress(ValueError):
            atol = 1e-5 * np.abs(expected).max()
            np.testing.assert_allclose(planned(source, by_hand), expected, rtol=0, atol=atol)
        with pytest.raises(ValueError, match=r"^w: got packed weights of another size"):
            planned(source, small)
        np.testing.assert_array_equal(planned(source, right), expected)  # now the others would be launched
        with contextlib.suppress(ValueError):
            np.testing.assert_allclose(planned(source, by_hand), expected, rtol=0, atol=atol)
        with pytest.raises(ValueError, match=r"^w: got packed weights of another size"):
            planned(source, small)


@by_function
@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_plans_are_the_same_plans(case: tuple[Any, ...], direction: str, protocol: int) -> None:
    *arguments, options = case
    options = {**options, "direction": direction}
    if direction != "forward":
        options.pop("activation", None)
    planned = fastconv.plan(*arguments, **options, threads=1)
    again = pickle.loads(pickle.dumps(planned, protocol))
    assert repr(again) == repr(planned)
    assert again.choice == planned.choice
    assert again.result_shape == planned.result_shape
    rng = np.random.default_rng(0)
    described = planned._signature.described
    shapes = {
        "forward": (described.x_shape, described.w_shape),
        "backward_input": (described.y_shape, described.w_shape),
        "backward_weight": (described.x_shape, described.y_shape),
    }
    first, second = (rng.standard_normal(shape).astype(np.float32) for shape in shapes[direction])
    np.testing.assert_array_equal(again(first, second), planned(first, second))
    if direction != "backward_weight":
        packed = pickle.loads(pickle.dumps(planned.pack(second), protocol))
        assert not packed.weight.flags.writeable
        for other in (planned, again):
            np.testing.assert_array_equal(other(first, packed), planned(first, second))


def test_a_pickled_plan_is_what_was_planned_whatever_changed_since() -> None:
    padding = [[1, 1], [2, 2]]
    with fastconv.precision("ieee"):
        planned = fastconv.plan("conv2d", (1, 3, 8, 8), (4, 3, 3, 3), padding=padding)
    padding[0][0] = 2
    again = pickle.loads(pickle.dumps(planned))
    assert again.choice.problem == planned.choice.problem
    assert again.result_shape == (1, 4, 8, 10)


def test_a_model_of_plans_and_packed_weights() -> None:
    """Pickled and copied together they are still each other's."""
    planned = fastconv.plan("conv2d", (1, 3, 8, 8), (4, 3, 3, 3))
    model = {"plan": planned, "weights": [planned.pack(np.full((4, 3, 3, 3), n, np.float32)) for n in range(3)]}
    x = np.ones((1, 3, 8, 8), np.float32)
    for again in (pickle.loads(pickle.dumps(model)), copy.copy(model), copy.deepcopy(model)):
        for number, packed in enumerate(again["weights"]):
            assert packed.plan is again["plan"]
            np.testing.assert_array_equal(again["plan"](x, packed), np.full((1, 4, 6, 6), 27 * number, np.float32))


def test_copies() -> None:
    """What does not change needs no second one."""
    planned = fastconv.plan("conv2d", (1, 3, 8, 8), (4, 3, 3, 3))
    planned(np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32))
    problem = planned.choice.problem
    for thing in (planned, planned.choice, planned.pack(np.ones((4, 3, 3, 3), np.float32))):
        assert copy.copy(thing) is copy.deepcopy(thing) is thing
    for again in (copy.copy(problem), copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
        assert again == problem
        assert hash(again) == hash(problem)
    choice = pickle.loads(pickle.dumps(planned.choice))
    assert choice == planned.choice
    assert choice.algorithm is planned.choice.algorithm
    assert choice.candidates == planned.choice.candidates


def test_threads_of_a_pickled_plan() -> None:
    """Those that it was told, else those of the process that it comes to."""
    arguments = ("conv2d", (8, 64, 32, 32), (64, 64, 3, 3))
    with fastconv.num_threads(4):
        free, told = pickle.dumps(fastconv.plan(*arguments)), pickle.dumps(fastconv.plan(*arguments, threads=3))
    with fastconv.num_threads(2):
        assert pickle.loads(free).choice.threads == 2
        assert pickle.loads(told).choice.threads == 3


@pytest.mark.parametrize("lost", ["supports", "registry"])
def test_an_algorithm_that_is_not_to_be_had_here(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("conv2d", (1, 8, 12, 12), (16, 8, 3, 3))
    planned = fastconv.plan(*arguments, algorithm="winograd")
    x, w = packed_cases.operands(planned)
    text = pickle.dumps((planned, planned.pack(w)))
    winograd = planned.choice.algorithm
    if lost == "supports":
        monkeypatch.setattr(type(winograd), "supports", lambda *_: False)
    else:
        monkeypatch.setattr(
            backend, "algorithms", tuple(known for known in backend.algorithms if known is not winograd)
        )
    forget_plans()
    other, packed = pickle.loads(text)
    assert other.choice.algorithm is not winograd
    np.testing.assert_array_equal(other(x, packed), other(x, w))


def test_parameters_that_are_not_to_be_had_here() -> None:
    """An algorithm that was asked for stays; one that was found best is chosen anew."""
    problem = fastconv.ConvProblem.parse("forward 1x8x12x12 16x8x3x3 float32")
    for params in ({}, {"tile_size": 6}, {"tile_size": 10**6, "tiles": -1, "panels": "1"}):
        assert carried_plan(problem, "winograd", params, 1, "forced", ()) == plan_for(problem, "winograd", 1)
        assert carried_plan(problem, "winograd", params, 1, "tuned", ()) == plan_for(problem, "auto", 1)


def test_the_limits_of_here_hold_for_plans_from_elsewhere() -> None:
    planned = fastconv.plan("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), threads=1)
    assert planned.choice.workspace_bytes > 2**10
    text = pickle.dumps(planned)
    fastconv.set_workspace_limit(2**10)
    try:
        assert pickle.loads(text).choice.workspace_bytes <= 2**10
    finally:
        fastconv.set_workspace_limit(None)


def test_only_plans_take_packed_weights() -> None:
    planned = fastconv.plan("conv2d", (1, 3, 8, 8), (4, 3, 3, 3))
    x, packed = np.ones((1, 3, 8, 8), np.float32), planned.pack(np.ones((4, 3, 3, 3), np.float32))
    message = r"w: got PackedWeight; allowed: an array .*a packed weight is for calls of the plan"
    with pytest.raises(TypeError, match=f"^{message}"):
        fastconv.conv2d(x, packed)
    with pytest.raises(TypeError, match=f"^{message}"):
        planned.pack(packed)
    with pytest.raises(TypeError, match=r"^dy: got PackedWeight; "):
        fastconv.conv2d_backward(packed, x, packed)
    with pytest.raises(TypeError, match="a packed weight is for calls of the plan"):
        np.asarray(packed)


def test_a_packed_weight_that_nothing_is_multiplied_by() -> None:
    """Everything that the weight could reach is cropped: it is packed into no bytes at all."""
    planned = fastconv.plan(
        "depthwise_conv1d", (1, 1, 1), (1, 1, 1), stride=2, padding=[(1, 0)], direction="backward_input"
    )
    dy, w = np.ones(planned._signature.described.y_shape, np.float32), np.ones((1, 1, 1), np.float32)
    np.testing.assert_array_equal(planned(dy, planned.pack(w)), planned(dy, w))
