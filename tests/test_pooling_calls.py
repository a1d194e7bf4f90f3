"""How pooling and unfold are called: arrays of every kind, overlapping results, guarded memory, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastconv
from fastconv._normalize import pooling
from operands import integers
from subprocesses import HERE, output_of, python
from test_arrays import SAME_VALUES

X = integers((2, 9, 7, 6), 1).astype(np.float32)
POOLED = integers((2, 9, 4, 3), 2).astype(np.float32)
SETTINGS = {"kernel_size": 3, "stride": 2, "padding": ((1, 1), (0, 1))}

CALLS: dict[str, tuple[Callable[..., Any], np.ndarray, dict[str, Any]]] = {
    "max": (fastconv.max_pool2d, X, SETTINGS),
    "average": (fastconv.avg_pool2d, X, SETTINGS),
    "rows": (fastconv.avg_pool2d, integers((1, 1, 1, 40), 3).astype(np.float32), {"kernel_size": (1, 20)}),
    "adaptive": (fastconv.adaptive_avg_pool2d, X, {"output_size": (4, 3)}),
    "adaptive max": (fastconv.adaptive_max_pool2d, X, {"output_size": 1}),
    "global": (fastconv.global_avg_pool, X, {"keepdims": False}),
    "max gradient": (lambda dy, **s: fastconv.max_pool2d_backward(dy, X, **s), POOLED, SETTINGS),
    "average gradient": (lambda dy, **s: fastconv.avg_pool2d_backward(dy, X, **s), POOLED, SETTINGS),
    "unfold": (fastconv.unfold, X, {"kernel_size": 3, "padding": 1, "stride": 2}),
    "fold": (fastconv.fold, integers((2, 36, 20), 4).astype(np.float32), {"output_size": (6, 5), "kernel_size": 2}),
}
WITH_OUT = [name for name in CALLS if "gradient" not in name]


@pytest.mark.parametrize("kind", SAME_VALUES)
@pytest.mark.parametrize("name", CALLS)
def test_inputs_of_every_kind(name: str, kind: str) -> None:
    function, x, settings = CALLS[name]
    expected = function(x, **settings)
    odd = SAME_VALUES[kind](x)
    before = odd.copy()
    result = function(odd, **settings)
    assert type(result) is np.ndarray
    assert result.dtype == np.float32
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(odd, before)


@pytest.mark.parametrize("dtype", ["float64", "float16", ml_dtypes.bfloat16, "complex64"])
@pytest.mark.parametrize("kind", SAME_VALUES)
def test_other_dtypes_of_every_kind(kind: str, dtype: Any) -> None:
    if dtype is ml_dtypes.bfloat16 and kind in ("byte-swapped", "odd strides"):
        pytest.skip("NumPy has no such arrays of an extension dtype")
    x = X.astype(dtype)
    odd = SAME_VALUES[kind](x)
    for function in (fastconv.avg_pool2d, fastconv.unfold):
        np.testing.assert_array_equal(function(odd, 2), function(x, 2))
    if dtype != "complex64":
        places = fastconv.max_pool2d(x, 2, return_indices=True)[1]
        np.testing.assert_array_equal(fastconv.max_pool2d(odd, 2, return_indices=True)[1], places)
        given = SAME_VALUES[kind](places)
        dy = fastconv.max_pool2d(x, 2)
        found = fastconv.max_pool2d_backward(dy, odd, 2, indices=given)
        np.testing.assert_array_equal(found, fastconv.max_pool2d_backward(dy, x, 2))


@pytest.mark.parametrize("kind", [name for name in SAME_VALUES if name != "read-only"])
@pytest.mark.parametrize("name", WITH_OUT)
def test_out_of_every_kind(name: str, kind: str) -> None:
    function, x, settings = CALLS[name]
    expected = function(x, **settings)
    out = SAME_VALUES[kind](np.full_like(expected, 99))
    assert function(x, out=out, **settings) is out
    np.testing.assert_array_equal(np.asarray(out), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64"])
def test_out_may_overlap_the_input(dtype: str) -> None:
    functions = [fastconv.avg_pool2d] if dtype == "complex64" else [fastconv.avg_pool2d, fastconv.max_pool2d]
    for function in functions:
        for reverse in (False, True):
            memory = integers((2 * 3 * 8 * 8 + 5,), 5).astype(dtype)
            x = memory[:384].reshape(2, 3, 8, 8)
            out = memory[5:389].reshape(2, 3, 8, 8)
            x = x[..., ::-1] if reverse else x
            expected = function(x.copy(), 3, 1, 1)
            function(x, 3, 1, 1, out=out)
            np.testing.assert_array_equal(out, expected)


def test_what_lies_between_the_elements_of_out_is_left_alone() -> None:
    larger = np.full((4, 18, 8, 6), 99, np.float32)
    out = larger[::2, ::2, ::2, ::2]
    for function in (fastconv.max_pool2d, fastconv.avg_pool2d):
        function(X, out=out, **SETTINGS)
        np.testing.assert_array_equal(out, function(X, **SETTINGS))
        out[...] = 99
        assert (larger == 99).all()


def test_nothing_outside_the_arrays_is_touched() -> None:
    run = python(str(HERE / "guarded_pooling.py"), timeout=300)
    lines = run.stdout.strip().splitlines()
    assert run.returncode == 0, f"last: {lines[-1:]}\n{run.stderr[-3000:]}"
    assert int(lines[-1].split()[0]) >= 200


ONES = np.ones((2, 3, 4, 4), np.float32)
POOLINGS = [fastconv.max_pool2d, fastconv.avg_pool2d]
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"kernel_size": 0}, ValueError, "kernel_size: got 0"),
    ({"kernel_size": -2}, ValueError, "kernel_size: got -2"),
    ({"kernel_size": (2, 2, 2)}, ValueError, "kernel_size: got (2, 2, 2)"),
    ({"kernel_size": 2.0}, TypeError, "kernel_size: got 2.0"),
    ({"kernel_size": True}, TypeError, "kernel_size: got True"),
    ({"kernel_size": None}, TypeError, "kernel_size: got None"),
    ({"kernel_size": 5}, ValueError, "at most the padded input, (4, 4)"),
    ({"kernel_size": 2**62}, ValueError, "kernel_size: got"),
    ({"kernel_size": 3, "dilation": 2**61}, ValueError, "kernel_size: got 3"),
    ({"kernel_size": 2, "stride": 0}, ValueError, "stride: got 0"),
    ({"kernel_size": 2, "stride": (1, -1)}, ValueError, "stride: got (1, -1)"),
    ({"kernel_size": 2, "dilation": 0}, ValueError, "dilation: got 0"),
    ({"kernel_size": 2, "padding": -1}, ValueError, "padding: got -1"),
    ({"kernel_size": 3, "padding": 2}, ValueError, "padding: got 2; allowed: at most half the kernel size: (1, 1)"),
    ({"kernel_size": 3, "padding": (1, 2)}, ValueError, "padding: got (1, 2)"),
    ({"kernel_size": 3, "padding": ((3, 0), (0, 0))}, ValueError, "at most (2, 2)"),
    ({"kernel_size": 3, "padding": ((0, -1), (0, 0))}, ValueError, "padding: got ((0, -1), (0, 0))"),
    ({"kernel_size": 3, "padding": (1, 1, 1, 1)}, ValueError, "padding: got (1, 1, 1, 1)"),
    ({"kernel_size": 3, "padding": "causal"}, ValueError, "padding: got 'causal'"),
    ({"kernel_size": 3, "padding": "some"}, ValueError, "padding: got 'some'"),
    ({"kernel_size": 2, "ceil_mode": 1}, TypeError, "ceil_mode: got 1; allowed: True or False"),
    ({"kernel_size": 2, "layout": "NCDHW"}, ValueError, "layout: got 'NCDHW'; allowed: NCHW"),
    ({"kernel_size": 2, "threads": 0}, ValueError, "threads: got 0"),
    ({"kernel_size": 2, "out": np.ones((2, 3, 2, 3), np.float32)}, ValueError, "out: got shape (2, 3, 2, 3)"),
    ({"kernel_size": 2, "out": np.ones((2, 3, 2, 2))}, TypeError, "out: got dtype float64"),
    ({"kernel_size": 2, "out": [0.0]}, TypeError, "out: got list"),
]


@pytest.mark.parametrize("function", POOLINGS)
@pytest.mark.parametrize(("settings", "error", "message"), REFUSED)
def test_bad_settings(
    function: Callable[..., Any], settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        function(ONES, **settings)
    assert message in str(raised.value)


def _call(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Callable[[], Any]:
    return lambda: function(*arguments, **settings)


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (_call(fastconv.max_pool2d, ONES[0, 0], 2), ValueError, "x: got"),
    (_call(fastconv.max_pool2d, ONES[None], 2), ValueError, "x: got"),
    (_call(fastconv.max_pool2d, ONES.astype(bool), 2), TypeError, "x: got dtype bool"),
    (_call(fastconv.max_pool2d, ONES.astype(np.complex64), 2), TypeError, "x: got dtype complex64"),
    (_call(fastconv.avg_pool2d, ONES.astype(np.int32), 2), TypeError, "x: got dtype int32"),
    (_call(fastconv.max_pool2d, ONES.astype(object), 2), TypeError, "x: got an array of dtype object"),
    (_call(fastconv.max_pool2d, None, 2), TypeError, "x: got None"),
    (_call(fastconv.max_pool2d, ONES[..., :0], 2), ValueError, "x: got shape (2, 3, 4, 0)"),
    (_call(fastconv.max_pool2d, ONES, 2, return_indices=1), TypeError, "return_indices: got 1"),
    (_call(fastconv.avg_pool2d, ONES, 2, count_include_pad=None), TypeError, "count_include_pad: got None"),
    (_call(fastconv.avg_pool2d, ONES, 2, divisor_override=0), ValueError, "divisor_override: got 0"),
    (_call(fastconv.avg_pool2d, ONES, 2, divisor_override=2.0), TypeError, "divisor_override: got 2.0"),
    (_call(fastconv.adaptive_avg_pool2d, ONES, -1), ValueError, "output_size: got -1"),
    (_call(fastconv.adaptive_avg_pool2d, ONES, (1, 2, 3)), ValueError, "output_size: got (1, 2, 3)"),
    (_call(fastconv.adaptive_max_pool2d, ONES, 1.5), TypeError, "output_size: got 1.5"),
    (_call(fastconv.global_avg_pool, ONES[0, 0]), ValueError, "x: got shape (4, 4)"),
    (_call(fastconv.global_avg_pool, ONES, keepdims=0), TypeError, "keepdims: got 0"),
    (_call(fastconv.global_max_pool, ONES, layout="NWC"), ValueError, "layout: got 'NWC'"),
    (_call(fastconv.max_pool2d_backward, ONES, ONES, 2), ValueError, "dy: got shape (2, 3, 4, 4); allowed: shape"),
    (_call(fastconv.max_pool2d_backward, ONES[..., ::2, ::2], (2, 3, 4, 4), 2), TypeError, "x: got (2, 3, 4, 4)"),
    (_call(fastconv.avg_pool2d_backward, np.ones((2, 3, 2, 2)), ONES, 2), TypeError, "x: got dtype float32"),
    (_call(fastconv.avg_pool2d_backward, ONES, (2, 3, -4, 4), 2), ValueError, "x: got (2, 3, -4, 4)"),
    (_call(fastconv.unfold, ONES, 5), ValueError, "kernel_size: got blocks that reach over (5, 5)"),
    (_call(fastconv.unfold, ONES, (2,)), ValueError, "x: got shape (2, 3, 4, 4)"),
    (_call(fastconv.unfold, ONES, (2, 2, 2, 2)), ValueError, "kernel_size: got (2, 2, 2, 2)"),
    (_call(fastconv.unfold, ONES, 2, 0), ValueError, "dilation: got 0"),
    (_call(fastconv.unfold, ONES, 2, 1, -1), ValueError, "padding: got -1"),
    (_call(fastconv.unfold, ONES, 2, stride=0), ValueError, "stride: got 0"),
    (_call(fastconv.unfold, ONES[:, :, :0], 1), ValueError, "x: got shape (2, 3, 0, 4)"),
    (_call(fastconv.fold, np.ones((2, 5, 9)), 4, 2), ValueError, "x: got 5 rows; allowed: a multiple of the 4"),
    (_call(fastconv.fold, np.ones((2, 4, 8)), 4, 2), ValueError, "x: got shape (2, 4, 8); allowed: shape (2, 4, 9)"),
    (_call(fastconv.fold, np.ones((2, 3, 4, 9)), 4, 2), ValueError, "x: got shape (2, 3, 4, 9)"),
    (_call(fastconv.fold, np.ones((2, 4, 9), bool), 4, 2), TypeError, "x: got dtype bool"),
    (_call(fastconv.fold, np.ones((2, 4, 9)), 0, 2), ValueError, "output_size: got 0"),
    (_call(fastconv.unfold_backward, np.ones((2, 4, 9)), (2, 1, 5, 4), 2), ValueError, "dy: got shape (2, 4, 9)"),
    (_call(fastconv.fold_backward, ONES, (4, 5), 2), ValueError, "dy: got shape (2, 3, 4, 4)"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_bad_arguments(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)
    assert "; allowed: " in str(raised.value)


@pytest.mark.parametrize("places", [-2, 16, 2**40])
def test_indices_outside_the_plane(places: int) -> None:
    y, indices = fastconv.max_pool2d(ONES, 2, return_indices=True)
    indices[1, 2, 0, 1] = places
    with pytest.raises(ValueError, match=r"indices: got indices .*; allowed: -1..15"):
        fastconv.max_pool2d_backward(y, ONES, 2, indices=indices)
    with pytest.raises(TypeError, match="indices: got dtype int32"):
        fastconv.max_pool2d_backward(y, ONES, 2, indices=indices.astype(np.int32))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_kernel_trusts_no_index(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another thread wrote to the indices after they were checked: those outside count nowhere, least of all in
    the planes beside theirs."""
    shape, pooled = ((2, 9, 6, 7), (2, 9, 3, 3)) if layout == "NCHW" else ((2, 6, 7, 9), (2, 3, 3, 9))
    dy, x = np.ones(pooled, np.float32), integers(shape, 5).astype(np.float32)
    places = fastconv.max_pool2d(x, 2, layout=layout, return_indices=True)[1]
    kept = fastconv.max_pool2d_backward(dy, x, 2, layout=layout, indices=places)
    for number, wrong in enumerate((42, 43, -2, 83, 2**31, 2**40, 2**61 + 3, 2**63 - 1, -(2**63))):
        index = np.unravel_index(10 * number, pooled)
        kept[_element(places[index], index, layout)] = 0
        places[index] = wrong
    monkeypatch.setattr(pooling, "_checked_indices", lambda indices, call: indices)
    found = fastconv.max_pool2d_backward(dy, x, 2, layout=layout, indices=places)
    np.testing.assert_array_equal(found, kept)


def _element(place: int, index: tuple[Any, ...], layout: str) -> tuple[Any, ...]:
    """The index of element ``place`` of 6 x 7 pixels, in the plane of the pooled element ``index``."""
    pixel = divmod(int(place), 7)
    return (index[0], index[1], *pixel) if layout == "NCHW" else (index[0], *pixel, index[3])


def test_indices_that_another_thread_changes() -> None:
    """Refused or ignored, whenever they change: the process lives, and nothing beside the gradient is written."""
    code = """
import threading
import numpy as np
import fastconv

x = np.random.default_rng(0).standard_normal((4, 8, 64, 64), np.float32)
dy, good = fastconv.max_pool2d(x, 2, return_indices=True)
places, done = good.copy(), threading.Event()

def flip() -> None:
    while not done.is_set():
        for wrong in (2**40, -(2**40), 5000):
            places[1:, :, ::3] = wrong
            places[...] = good

thread = threading.Thread(target=flip)
thread.start()
computed = refused = 0
while computed < 300 and refused < 3000:
    try:
        fastconv.max_pool2d_backward(dy, x, 2, indices=places)
        computed += 1
    except ValueError:
        refused += 1
done.set()
thread.join()
assert computed, refused
print("alive")
"""
    assert output_of(code).strip() == "alive"
