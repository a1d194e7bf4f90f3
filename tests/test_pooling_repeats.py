"""Poolings called again are launched on the user's arrays, and give what they give the long way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastconv
from operands import integers
from test_arrays import SAME_VALUES
from test_repeats import assert_equal, events_of

Call = Callable[..., Any]


class LongWay(np.ndarray):
    """Arrays of a subclass are never launched."""


CALLS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "max": ("max_pool2d", (2, 3, 9, 10), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "max, indices": ("max_pool2d", (2, 3, 9, 10), {"kernel_size": (2, 3), "return_indices": True, "ceil_mode": True}),
    "max, channels last": ("max_pool2d", (2, 9, 10, 20), {"kernel_size": 3, "dilation": 2, "layout": "NHWC"}),
    "max, 1-D, no batch": ("max_pool1d", (3, 40), {"kernel_size": 5, "return_indices": True}),
    "max, 3-D": ("max_pool3d", (1, 2, 5, 6, 7), {"kernel_size": 2, "padding": 1}),
    "average": ("avg_pool2d", (2, 3, 8, 8), {"kernel_size": 2, "padding": 1, "count_include_pad": False}),
    "average, divisor": ("avg_pool3d", (1, 2, 4, 5, 6), {"kernel_size": 2, "divisor_override": 3}),
    "average, channels last": ("avg_pool1d", (2, 30, 9), {"kernel_size": 3, "layout": "NWC"}),
    "adaptive max": ("adaptive_max_pool2d", (2, 3, 7, 9), {"output_size": (3, None), "return_indices": True}),
    "adaptive average": ("adaptive_avg_pool2d", (2, 3, 7, 9), {"output_size": 4}),
    "global average": ("global_avg_pool", (2, 5, 7, 7), {}),
    "global average, channels last": ("global_avg_pool", (2, 7, 7, 5), {"layout": "NHWC", "keepdims": False}),
    "global average, 4-D": ("global_avg_pool", (2, 5, 2, 3, 4, 5), {}),
    "global max": ("global_max_pool", (2, 5, 7, 7), {"keepdims": False}),
    "global max, channels last": ("global_max_pool", (2, 4, 3, 2, 6), {"layout": "NDHWC"}),
}
by_call = pytest.mark.parametrize("name", CALLS)


@by_call
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "int8", "uint16", "int64"])
def test_other_arrays(name: str, dtype: str) -> None:
    function, shape, arguments = CALLS[name]
    call = getattr(fastconv, function)
    for number in range(3):
        x = integers(shape, number).astype(dtype)
        try:
            expected = call(x.view(LongWay), **arguments)
        except TypeError:
            for _ in range(2):
                with pytest.raises(TypeError, match=r"^x: got dtype"):
                    call(x, **arguments)
            return
        found = call(x, **arguments)
        assert_equal(found, expected)
        assert (found[0] if isinstance(found, tuple) else found).dtype == dtype


@by_call
def test_a_repeated_call_enters_compiled_code_once(name: str) -> None:
    function, shape, arguments = CALLS[name]
    if len(shape) > 5:
        pytest.skip("axes are folded first")
    x, call = integers(shape, 1).astype(np.float32), getattr(fastconv, function)
    assert len(events_of(lambda: call(x, **arguments))) > 20
    events = events_of(lambda: call(x, **arguments))
    assert [event for event in events if event not in ("<lambda>", "tuple.__new__")] == [function]


@by_call
@pytest.mark.parametrize("kind", SAME_VALUES)
def test_arrays_of_every_kind_after_plain_ones(name: str, kind: str) -> None:
    function, shape, arguments = CALLS[name]
    call, x = getattr(fastconv, function), integers(shape, 1).astype(np.float32)
    expected = call(x.view(LongWay), **arguments)
    y = expected[0] if isinstance(expected, tuple) else expected
    out = np.full_like(y, 77, subok=False)
    for _ in range(2):
        assert_equal(call(x, **arguments), expected)
        assert_equal(call(x, **arguments, out=out), expected)
    assert_equal(call(SAME_VALUES[kind](x), **arguments), expected)
    if kind not in ("read-only", "last two swapped in memory" if y.ndim < 2 else ""):
        odd = SAME_VALUES[kind](np.full_like(out, 77))
        found = call(x, **arguments, out=odd)
        assert (found[0] if isinstance(found, tuple) else found) is odd
        np.testing.assert_array_equal(np.asarray(odd), y)
    wrong = np.empty((*y.shape, 1), np.float32)
    with pytest.raises(ValueError, match=r"^out: got"):
        call(x, **arguments, out=wrong)


def test_out_overlapping_the_input() -> None:
    x = integers((2, 3, 8, 8), 1).astype(np.float32)
    expected = fastconv.max_pool2d(x, 3, 1, 1)
    plain = np.empty_like(x)
    for _ in range(2):
        fastconv.max_pool2d(x, 3, 1, 1, out=plain)
    fastconv.max_pool2d(x, 3, 1, 1, out=x[::-1])
    np.testing.assert_array_equal(x[::-1], expected)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"kernel_size": 1}, {"kernel_size": True}),
        ({"kernel_size": 2, "ceil_mode": True}, {"kernel_size": 2, "ceil_mode": 1}),
        ({"kernel_size": 2, "ceil_mode": False}, {"kernel_size": 2, "ceil_mode": 0}),
        ({"kernel_size": 2, "return_indices": True}, {"kernel_size": 2, "return_indices": 1}),
        ({"kernel_size": 2, "threads": 1}, {"kernel_size": 2, "threads": 1.0}),
    ],
)
def test_equal_arguments_that_mean_another_thing(right: dict[str, Any], wrong: dict[str, Any]) -> None:
    x = np.ones((1, 2, 5, 5), np.float32)
    for _ in range(2):
        fastconv.max_pool2d(x, **right)
        with pytest.raises(TypeError, match=rf"^{list(wrong)[-1]}: got"):
            fastconv.max_pool2d(x, **wrong)
