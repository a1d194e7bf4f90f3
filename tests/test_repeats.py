"""Calls made again are launched without being checked or planned again, and mean what they would mean alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv._backend import algorithm_names
from fastconv._cpu.engine import workspace
from operands import integers
from test_arrays import SAME_VALUES, Tagged
from test_errors import complaint_about
from wrong_calls import TARGETS, Target, wrong_calls

Call = Callable[..., Any]


def events_of(call: Callable[[], Any]) -> list[str]:
    """Names of the Python functions and of the built-in ones that a call enters."""
    found: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            found.append(frame.f_code.co_name)
        elif event == "c_call":
            found.append(argument.__qualname__)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found[1:-1]  # without the lambda itself and the end of the profile


X, W, DY = integers((2, 4, 7, 8), 1), integers((6, 2, 3, 3), 2), integers((2, 6, 7, 8), 3)
BIAS = integers((6,), 4)
FUNCTIONS: dict[str, tuple[Call, dict[str, Any]]] = {
    "conv2d": (fastconv.conv2d, {"x": X, "w": W, "bias": BIAS, "add": DY, "activation": ("leaky_relu", 0.5)}),
    "conv_transpose2d": (fastconv.conv_transpose2d, {"x": DY, "w": W, "output_padding": 0}),
    "depthwise_conv2d": (fastconv.depthwise_conv2d, {"x": X, "w": integers((8, 1, 3, 3), 2)}),
    "conv2d_backward": (fastconv.conv2d_backward, {"dy": DY, "x": X, "w": W, "bias": BIAS}),
    "conv_transpose2d_backward": (
        fastconv.conv_transpose2d_backward,
        {"dy": X, "x": DY, "w": W, "needs": (True, False, True)},
    ),
    "grad.conv2d_input": (fastconv.grad.conv2d_input, {"input_shape": X.shape, "w": W, "dy": DY}),
    "grad.conv2d_weight": (fastconv.grad.conv2d_weight, {"x": X, "weight_shape": W.shape, "dy": DY}),
    "grad.conv_transpose2d_input": (
        fastconv.grad.conv_transpose2d_input,
        {"input_shape": DY.shape, "w": W, "dy": X},
    ),
}


def called(name: str, algorithm: str = "auto", dtype: str = "float32") -> tuple[Call, dict[str, Any]]:
    """A function and the arguments of a call."""
    function, arguments = FUNCTIONS[name]
    arrays = {key: value.astype(dtype) if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    groups = {} if "depthwise" in name else {"groups": 2}
    return function, {**arrays, **groups, "padding": 1, "algorithm": algorithm}


def parts(result: Any) -> tuple[np.ndarray | None, ...]:
    return result if isinstance(result, tuple) else (result,)


def assert_equal(found: Any, expected: Any) -> None:
    for one, other in zip(parts(found), parts(expected), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(workspace.IS_FENCED, reason="all scratch memory is allocated anew, by Python")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_repeated_call_enters_compiled_code_once(name: str) -> None:
    """Nothing is normalised, planned or viewed: in Python only the function itself runs."""
    function, arguments = called(name)
    assert len(events_of(lambda: function(**arguments))) > 50
    settings = ["_settings"] if "depthwise" in name else []
    assert events_of(lambda: function(**arguments)) == [name.removeprefix("grad."), *settings]


@pytest.mark.skipif(workspace.IS_FENCED, reason="all scratch memory is allocated anew, by Python")
def test_a_repeated_planned_call_enters_compiled_code_once() -> None:
    x, w = X.astype(np.float32), W.astype(np.float32)
    planned = fastconv.plan("conv2d", x.shape, w.shape, groups=2)
    packed = planned.pack(w)
    for weight in (w, packed):
        planned(x, weight)
        assert events_of(lambda weight=weight: planned(x, weight)) == ["__call__"]
    assert_equal(planned(x + 1, packed), fastconv.conv2d(x + 1, w, groups=2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_other_arrays_of_the_same_shapes(name: str, dtype: str) -> None:
    function, arguments = called(name, dtype=dtype)
    function(**arguments)
    for number in range(2):
        changed = {
            key: integers(value.shape, 10 + number).astype(dtype) if isinstance(value, np.ndarray) else value
            for key, value in arguments.items()
        }
        assert_equal(function(**changed), function(**{**changed, "algorithm": "reference"}))


LAYOUTS = [
    (rank, batched, last, letters)
    for rank in (1, 2, 3)
    for batched in (True, False)
    for last in (True, False)
    for letters in range(3)
]


@pytest.mark.parametrize(("rank", "batched", "last", "letters"), LAYOUTS)
def test_every_layout(rank: int, batched: bool, last: bool, letters: int) -> None:
    """Stride, dilation, groups, all roles; the reference computes what the first call, and then the second, gives."""
    data = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}[rank][last]
    weights = {1: ("OIW", "WIO", "OWI"), 2: ("OIHW", "HWIO", "OHWI"), 3: ("OIDHW", "DHWIO", "ODHWI")}[rank][letters]
    settings = {"layout": data, "w_layout": weights, "stride": (2, 1, 2)[-rank:], "padding": 1, "groups": 2}

    def arranged(shape: tuple[int, ...], seed: int, is_weight: bool = False) -> np.ndarray:
        array = integers(shape, seed).astype(np.float32)
        if is_weight:
            axes = {0: range(rank + 2), 1: (*range(2, rank + 2), 1, 0), 2: (0, *range(2, rank + 2), 1)}[letters]
            return np.ascontiguousarray(array.transpose(tuple(axes)))
        array = np.ascontiguousarray(np.moveaxis(array, 1, -1)) if last else array
        return array if batched else array[0]

    batch = 2 if batched else 1
    sizes, kernel = (5, 6, 7)[-rank:], (3, 2, 3)[-rank:]
    w = arranged((6, 2, *kernel), 2, True)
    convolve = getattr(fastconv, f"conv{rank}d")
    backward = getattr(fastconv, f"conv{rank}d_backward")
    y_shape = None
    for number in range(3):
        x = arranged((batch, 4, *sizes), 20 + number)
        expected = convolve(x, w, **settings, algorithm="reference")
        assert_equal(convolve(x, w, **settings), expected)
        assert_equal(convolve(x, w, out=np.empty_like(expected), **settings), expected)
        y_shape = expected.shape
        dy = integers(y_shape, 30 + number).astype(np.float32)
        plain = {**settings, "algorithm": "reference"}
        assert_equal(backward(dy, x, w, **settings), backward(dy, x, w, **plain))


@pytest.mark.parametrize("kind", SAME_VALUES)
@pytest.mark.parametrize("role", ["x", "w", "bias", "add", "out"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_arrays_of_every_kind_after_plain_ones(kind: str, role: str, layout: str) -> None:
    """Misaligned, swapped, strided, read-only arrays find a launch of plain ones."""
    if (kind, role) == ("read-only", "out"):
        pytest.skip("refused")
    _, arguments = called("conv2d")
    if layout == "NHWC":
        for name in ("x", "add"):
            arguments[name] = np.ascontiguousarray(np.moveaxis(arguments[name], 1, -1))
    arguments["layout"] = layout
    expected = fastconv.conv2d(**arguments)
    arguments["out"] = np.full_like(expected, 77)
    for _ in range(2):
        assert fastconv.conv2d(**arguments) is arguments["out"]
    if (kind, role) == ("last two swapped in memory", "bias"):
        pytest.skip("one axis")
    odd = SAME_VALUES[kind](arguments[role])
    found = fastconv.conv2d(**{**arguments, role: odd})
    np.testing.assert_array_equal(np.asarray(found), expected)
    assert (found is odd) == (role == "out")
    if role != "out":
        without_out = {key: value for key, value in arguments.items() if key != "out"}
        np.testing.assert_array_equal(fastconv.conv2d(**{**without_out, role: odd}), expected)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_wrong_calls_after_right_ones(target: Target) -> None:
    """What equals an argument of a right call and is another one (True, 1.0) is refused as if there had been none."""
    for _ in range(2):
        target.function(**target.arguments)
    complaints = []
    for argument, value, exception in wrong_calls(target):
        complaint = complaint_about(target, {**target.arguments, argument: value}, argument, exception)
        if complaint is not None:
            complaints.append(f"{argument}={value!r}: {complaint}")
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"stride": 1}, {"stride": True}),
        ({"stride": 1}, {"stride": 1.0}),
        ({"stride": (1, 1)}, {"stride": (1, True)}),
        ({"stride": (1, 1)}, {"stride": [1, 1.0]}),
        ({"padding": 0}, {"padding": False}),
        ({"padding": ((0, 1), (0, 1))}, {"padding": ((0, 1), (0, True))}),
        ({"groups": 1}, {"groups": 1.0}),
        ({"threads": 1}, {"threads": True}),
        ({"activation": ("leaky_relu", 1)}, {"activation": ("leaky_relu", True)}),
        ({"activation": ("leaky_relu", 0.5)}, {"activation": ["leaky_relu", 0.5]}),
    ],
)
def test_equal_arguments_that_mean_another_thing(right: dict[str, Any], wrong: dict[str, Any]) -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((2, 2, 3, 3), np.float32)
    for _ in range(2):
        fastconv.conv2d(x, w, **right)
        with pytest.raises((TypeError, ValueError), match=f"^{next(iter(wrong))}: got"):
            fastconv.conv2d(x, w, **wrong)


def test_needs_are_bools() -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((2, 2, 3, 3), np.float32)
    dy = np.ones((1, 2, 3, 3), np.float32)
    fastconv.conv2d_backward(dy, x, w, needs=(True, True, False))
    with pytest.raises(TypeError, match=r"^needs: got"):
        fastconv.conv2d_backward(dy, x, w, needs=(1, 1, 0))
    assert fastconv.conv2d_backward(dy, x, w, needs=[True, True, False])[2] is None


def test_one_array_in_two_roles() -> None:
    """Says nothing about which array is which."""
    x, w = integers((3, 3, 3, 3), 1).astype(np.float32), integers((3, 3, 3, 3), 2).astype(np.float32)
    for first, second in ((x, x), (x, w), (w, x), (w, w), (x, w)):
        for _ in range(2):
            found = fastconv.conv2d(first, second, padding=1)
            assert_equal(found, fastconv.conv2d(first.copy(), second.copy(), padding=1, algorithm="reference"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_non_finite_weights_after_finite_ones(value: float, dtype: str, place: int) -> None:
    """Padding is skipped, not multiplied by zero: every element of the weight is looked at."""
    for shape, strides in (((4, 3, 3, 3), 1), ((70, 3, 3, 3), 1), ((4, 3, 3, 3), 2)):
        dy, w = np.ones((1, shape[0], 5, 5), dtype), np.ones(shape, dtype)
        larger = np.ones([strides * size for size in shape], dtype)
        fastconv.conv_transpose2d(dy, w)
        fastconv.conv_transpose2d(dy, w)
        odd = larger[(slice(None, None, strides),) * 4]
        odd.flat[place] = value
        assert_equal(fastconv.conv_transpose2d(dy, odd), fastconv.conv_transpose2d(dy, odd, algorithm="reference"))


@pytest.mark.parametrize("algorithm", algorithm_names())
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_algorithm_is_launched_with_the_same_bits(name: str, algorithm: str) -> None:
    """As the long way, which arrays of a subclass take; NaN and infinity in any array included."""
    function, arguments = called(name, algorithm)
    try:
        function(**arguments)
    except ValueError as refused:
        if not str(refused).startswith("algorithm: got"):
            raise
        return
    names = [key for key, value in arguments.items() if isinstance(value, np.ndarray)]
    for role in (None, *names):
        changed = {key: value.copy() if key in names else value for key, value in arguments.items()}
        if role is not None:
            changed[role].flat[[0, -1]] = np.nan, np.inf
        long_way = {key: value.view(Tagged) if key in names else value for key, value in changed.items()}
        assert_equal(function(**changed), function(**long_way))


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col"])
def test_out_overlapping_the_inputs(algorithm: str) -> None:
    values, w = integers((2, 3, 9, 11), 1).astype(np.float32), integers((3, 3, 3, 3), 2).astype(np.float32)
    settings = {"padding": 1, "algorithm": algorithm}
    expected = fastconv.conv2d(values, w, **settings)
    plain = np.empty_like(expected)
    for _ in range(2):
        fastconv.conv2d(values, w, out=plain, **settings)
    for shift in (0, 1, 7, 300, -1, -297, -594, 594):
        buffer = np.zeros(values.size + 1200, np.float32)
        x = buffer[600 : 600 + values.size].reshape(values.shape)
        x[...] = values
        out = buffer[600 + shift : 600 + shift + values.size].reshape(values.shape)
        assert fastconv.conv2d(x, w, out=out, **settings) is out
        np.testing.assert_array_equal(out, expected)
    x = values.copy()
    np.testing.assert_array_equal(fastconv.conv2d(x, w, out=x[::-1, :, ::-1], **settings), expected)
    repeated = np.lib.stride_tricks.as_strided(np.zeros(10_000, np.float32), expected.shape, (400, 44, 44, 4))
    with pytest.raises(ValueError, match="out"):
        fastconv.conv2d(values, w, out=np.broadcast_to(plain[:1], plain.shape), **settings)
    assert fastconv.conv2d(values, w, out=repeated, **settings) is repeated


@pytest.mark.skipif(workspace.IS_FENCED, reason="all scratch memory is allocated anew, by Python")
def test_out_of_elements_that_overlap() -> None:
    """Kernels would write an element over another one: such arrays go the long way, which computes aside."""
    values, w = integers((2, 3, 9, 11), 1).astype(np.float32), integers((3, 3, 3, 3), 2).astype(np.float32)
    shape = (2, 3, 9, 11)
    memory = np.zeros(10_000, np.float32)

    def events(*strides: int) -> int:
        out = np.lib.stride_tricks.as_strided(memory, shape, strides)
        return len(events_of(lambda: fastconv.conv2d(values, w, padding=1, out=out)))

    plain = np.empty(shape, np.float32)
    for _ in range(2):
        fastconv.conv2d(values, w, padding=1, out=plain)
    assert events(*plain.strides) == 1
    assert events(4, 24, 72, 648) == 1
    for strides in ((1188, 44, 44, 4), (1188, 396, 40, 4), (4, 396, 44, 4), (1188, 396, 8, 4), (0, 396, 44, 4)):
        assert events(*strides) > 10, strides


def test_many_threads() -> None:
    """Launches of the same plan at the same time, each on arrays of its own."""
    w = integers((16, 8, 3, 3), 2).astype(np.float32)
    inputs = [integers((1, 8, 12, 12), seed).astype(np.float32) for seed in range(4)]
    wanted = [fastconv.conv2d(x, w, algorithm="reference") for x in inputs]
    wrong: list[int] = []

    def compute(number: int) -> None:
        for _ in range(300):
            if not np.array_equal(fastconv.conv2d(inputs[number], w), wanted[number]):
                wrong.append(number)

    workers = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_interrupted_by_a_call_of_its_own() -> None:
    """A finaliser or a signal handler may call in the middle of a call; what runs there is a whole call."""
    x, w = integers((1, 4, 9, 9), 1).astype(np.float32), integers((4, 4, 3, 3), 2).astype(np.float32)
    expected = fastconv.conv2d(x, w, algorithm="reference")
    found: list[bool] = []

    def inside(*_: Any) -> None:
        sys.setprofile(None)
        found.append(np.array_equal(fastconv.conv2d(x, w), expected))

    for _ in range(2):
        fastconv.conv2d(x, w)
    sys.setprofile(inside)
    result = fastconv.conv2d(x, w)
    sys.setprofile(None)
    np.testing.assert_array_equal(result, expected)
    assert found == [True]
