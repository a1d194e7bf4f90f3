"""Padding modes by axis, layouts, and the options of convolutions, forward and backward, on every kind of arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from array_modules import ArrayModule, array_module
from gpu_cases import integers

NUMPY_MODES = {
    "zeros": "constant",
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


@pytest.fixture(params=["numpy", "emulated"])
def arrays(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


def padded(x: np.ndarray, pads: Any, modes: Any, value: float, first: int) -> np.ndarray:
    """By np.pad; axes of "zeros" last, so that zeros win in corners."""
    for axis in sorted(range(len(pads)), key=lambda axis: modes[axis] == "zeros"):
        widths = [(0, 0)] * x.ndim
        widths[first + axis] = tuple(max(width, 0) for width in pads[axis])
        more: dict[str, Any] = {"constant_values": value} if modes[axis] == "constant" else {}
        x = np.pad(x, widths, mode=NUMPY_MODES[modes[axis]], **more)  # type: ignore[call-overload]
        before, after = (-min(width, 0) for width in pads[axis])
        x = x[(slice(None),) * (first + axis) + (slice(before, x.shape[first + axis] - after),)]
    return x


def dilated(x: np.ndarray, steps: tuple[int, ...], first: int) -> np.ndarray:
    shape = list(x.shape)
    for axis, step in enumerate(steps, first):
        shape[axis] = (shape[axis] - 1) * step + 1
    result = np.zeros(shape, x.dtype)
    result[(slice(None),) * first + tuple(slice(None, None, step) for step in steps)] = x
    return result


def check_gradients(arrays: ArrayModule, rank: int, x: Any, w: Any, y: np.ndarray, **arguments: Any) -> None:
    """<dy, conv(x, w)> = <dw, w>, and = <dx, x> for what of it is linear in x, exactly; both ways to ask for them."""
    dy = integers(*y.shape, dtype=y.dtype.name)
    here, there = arrays.host, arrays.to
    dx, dw, db = here(getattr(fastconv, f"conv{rank}d_backward")(there(dy), there(x), there(w), **arguments))
    of_zeros = here(getattr(fastconv, f"conv{rank}d")(there(np.zeros_like(x)), there(w), **arguments))
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    np.testing.assert_equal(np.sum(dx * x), np.sum(dy * (y - of_zeros)))
    np.testing.assert_equal(np.sum(dw * w), np.sum(dy * y))
    channels = -1 if arguments.get("layout") in ("NWC", "NHWC", "NDHWC") else y.ndim - rank - 1
    np.testing.assert_equal(db, np.moveaxis(dy, channels, 0).reshape(y.shape[channels], -1).sum(axis=1))
    of_input, of_weight = (getattr(fastconv.grad, f"conv{rank}d_{role}") for role in ("input", "weight"))
    np.testing.assert_equal(here(of_input(x.shape, there(w), there(dy), **arguments)), dx)
    np.testing.assert_equal(here(of_weight(there(x), w.shape, there(dy), **arguments)), dw)


PADS: list[Any] = [((2, 1), (1, 3)), ((9, 14), (13, 8)), ((0, 0), (3, 2)), ((-1, 2), (2, -2))]


@pytest.mark.parametrize("modes", list(itertools.product(NUMPY_MODES, repeat=2)), ids="-".join)
def test_a_mode_for_each_axis(modes: tuple[str, str]) -> None:
    x, w = integers(2, 4, 5, 6), integers(6, 2, 3, 2)
    for pads in PADS:
        if min(map(min, pads)) < 0 and not set(modes) <= {"zeros", "constant"}:
            continue
        value = 3.0 if "constant" in modes else 0.0
        arguments = {"groups": 2, "padding": pads, "padding_mode": modes, "padding_value": value}
        y = fastconv.conv2d(x, w, **arguments)
        np.testing.assert_equal(y, fastconv.conv2d(padded(x, pads, modes, value, 2), w, groups=2))
        with array_module("numpy") as arrays:
            check_gradients(arrays, 2, x, w, y, **arguments)


@pytest.mark.parametrize("modes", ["symmetric", ("circular", "zeros"), ("constant", "reflect")], ids=str)
def test_modes_on_every_kind_of_arrays(arrays: ArrayModule, modes: Any) -> None:
    x, w = integers(2, 5, 4, 4), integers(3, 2, 2, 4)
    each = (modes, modes) if isinstance(modes, str) else modes
    arguments: dict[str, Any] = {"padding": ((5, 1), (2, 3)), "padding_mode": modes, "layout": "NHWC", "stride": (2, 1)}
    arguments |= {"w_layout": "HWIO"} | ({"padding_value": -2.0} if "constant" in each else {})
    w = np.ascontiguousarray(w.transpose(2, 3, 1, 0)[:, :, :1].repeat(4, 2))
    y = arrays.host(fastconv.conv2d(arrays.to(x), arrays.to(w), **arguments))
    whole = padded(x, arguments["padding"], each, -2.0, 1)
    np.testing.assert_equal(y, fastconv.conv2d(whole, w, stride=(2, 1), layout="NHWC", w_layout="HWIO"))
    check_gradients(arrays, 2, x, w, y, **arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "complex128"])
def test_symmetric_padding_of_every_dtype(dtype: str) -> None:
    x, w = integers(1, 2, 3, dtype=dtype), integers(2, 2, 2, dtype=dtype)
    for pads in ([(2, 3)], [(40, 17)]):
        y = fastconv.conv1d(x, w, padding=pads, padding_mode="symmetric")
        np.testing.assert_equal(y, fastconv.conv1d(np.pad(x, ((0, 0), (0, 0), pads[0]), "symmetric"), w))
        dy = integers(*y.shape, dtype=dtype, most=1)
        dx, dw, _ = fastconv.conv1d_backward(dy, x, w, padding=pads, padding_mode="symmetric")
        wide = np.complex128 if np.iscomplexobj(x) else np.float64
        expected = np.sum(dy.astype(wide) * np.conj(y.astype(wide)))
        np.testing.assert_allclose(np.sum(dx.astype(wide) * np.conj(x)), expected, rtol=2e-3)
        np.testing.assert_allclose(np.sum(dw.astype(wide) * np.conj(w)), expected, rtol=2e-3)


def test_one_element_is_repeated() -> None:
    x, w = np.full((1, 1, 1), 3, np.float32), np.ones((1, 1, 1), np.float32)
    for mode in ("reflect", "replicate", "circular", "symmetric"):
        np.testing.assert_equal(fastconv.conv1d(x, w, padding=3, padding_mode=mode), np.full((1, 1, 7), 3, np.float32))


def test_words_in_any_case() -> None:
    x, w = integers(1, 2, 5, 5), integers(2, 2, 2, 2)
    for word in ("same", "valid", "full", "same_lower"):
        for said in (word.upper(), word.title()):
            np.testing.assert_equal(fastconv.conv2d(x, w, padding=said), fastconv.conv2d(x, w, padding=word))
            transposed = fastconv.conv_transpose2d(x, w, stride=2, padding=said)
            np.testing.assert_equal(transposed, fastconv.conv_transpose2d(x, w, stride=2, padding=word))
    np.testing.assert_equal(fastconv.conv2d(x, w, padding="SAME_UPPER"), fastconv.conv2d(x, w, padding="same"))
    np.testing.assert_equal(
        fastconv.conv2d(x, w, padding=1, padding_mode="Reflect", layout="nchw", w_layout="oihw"),
        fastconv.conv2d(x, w, padding=1, padding_mode="reflect"),
    )
    np.testing.assert_equal(fastconv.max_pool2d(x, 2, padding="SAME"), fastconv.max_pool2d(x, 2, padding="same"))


@pytest.mark.parametrize(("rank", "letters"), [(1, "IOW"), (2, "IOHW"), (3, "IODHW")])
@pytest.mark.parametrize("groups", [1, 2])
def test_weights_with_input_channels_first(arrays: ArrayModule, rank: int, letters: str, groups: int) -> None:
    size = (5, 4, 3)[:rank]
    x, w = integers(2, 4, *size), integers(6, 4 // groups, *(2,) * rank)
    turned = np.ascontiguousarray(w.swapaxes(0, 1))
    conv = getattr(fastconv, f"conv{rank}d")
    y = conv(x, w, groups=groups)
    np.testing.assert_equal(arrays.host(conv(arrays.to(x), arrays.to(turned), groups=groups, w_layout=letters)), y)
    check_gradients(arrays, rank, x, turned, y, groups=groups, w_layout=letters)
    transposed = getattr(fastconv, f"conv_transpose{rank}d")
    np.testing.assert_equal(
        arrays.host(transposed(arrays.to(y), arrays.to(turned), groups=groups, w_layout=letters)),
        transposed(y, w, groups=groups),
    )


def test_output_padding_of_a_stride_and_more() -> None:
    x, w, bias = integers(1, 2, 3, 4), integers(2, 3, 3, 2), integers(3)
    arguments: dict[str, Any] = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2)}
    least = fastconv.conv_transpose2d(x, w, bias, **arguments)
    for more in ((2, 3), (7, 0), (1, 11)):
        y = fastconv.conv_transpose2d(x, w, bias, output_padding=more, **arguments)
        assert y.shape[2:] == tuple(size + extra for size, extra in zip(least.shape[2:], more, strict=True))
        # A smaller padding shows more of the same.
        full = fastconv.conv_transpose2d(x, w, bias, **arguments | {"padding": 0})[:, :, 1:]
        expected = np.broadcast_to(bias[:, None, None], y.shape).copy()
        common = tuple(slice(min(a, b)) for a, b in zip(full.shape[2:], y.shape[2:], strict=True))
        expected[:, :, *common] = full[:, :, *common]
        np.testing.assert_equal(y, expected)
        dy = integers(*y.shape)
        dx, dw, db = fastconv.conv_transpose2d_backward(dy, x, w, bias, output_padding=more, **arguments)
        linear = y - bias[:, None, None]
        assert np.sum(dx * x) == np.sum(dy * linear) == np.sum(dw * w)
        np.testing.assert_equal(db, dy.sum(axis=(0, 2, 3)))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"padding": ((2, 0), (1, 3))},
        {"padding": ((-2, 1), (3, -1)), "groups": 2},
        {"stride": (1, 2), "padding": 1},
        {"dilation": 2, "padding": "same"},
        {"padding": 2, "padding_mode": "reflect"},
        {"padding": 2, "padding_mode": ("constant", "zeros"), "padding_value": 5.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("layouts", [{}, {"layout": "NHWC", "w_layout": "HWIO"}], ids=["first", "last"])
def test_input_dilation(arrays: ArrayModule, arguments: dict[str, Any], layouts: dict[str, str]) -> None:
    if arrays.module is not np and len(arguments) != 1 + bool(layouts):
        pytest.skip("the same steps as on NumPy's arrays")
    groups = arguments.get("groups", 1)
    x, w = integers(2, 4, 5, 3), integers(6, 4 // groups, 3, 2)
    first = 2
    if layouts:
        x, w, first = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), 1
    plain = {name: value for name, value in arguments.items() if name != "padding_value"}
    for steps in ((2, 3), (1, 4), (1, 1)):
        whole = dilated(x, steps, first)
        expected = fastconv.conv2d(whole, w, **plain, **layouts)
        if "padding_value" in arguments:
            whole = padded(whole, ((2, 2), (2, 2)), arguments["padding_mode"], 5.0, first)
            expected = fastconv.conv2d(whole, w, groups=groups, **layouts)
        own = {**arguments, **layouts, "input_dilation": steps}
        y = arrays.host(fastconv.conv2d(arrays.to(x), arrays.to(w), **own))
        np.testing.assert_equal(y, expected)
        check_gradients(arrays, 2, x, w, y, **own)


def test_input_dilation_of_other_calls() -> None:
    """Without a batch, in 1-D and 3-D, depthwise, with bias, activation and residual."""
    x, w, bias = integers(3, 7), integers(4, 3, 3), integers(4)
    y = fastconv.conv1d(dilated(x, (3,), 1), w, bias, padding=2, activation="relu")
    add = integers(*y.shape)
    np.testing.assert_equal(fastconv.conv1d(x, w, bias, padding=2, input_dilation=3, activation="relu"), y)
    arguments: dict[str, Any] = {"padding": 2, "add": add, "activation": "relu"}
    out = np.empty_like(y)
    got = fastconv.conv1d(x, w, bias, input_dilation=3, out=out, **arguments)
    assert got is out
    np.testing.assert_equal(out, fastconv.conv1d(dilated(x, (3,), 1), w, bias, **arguments))
    found = fastconv.conv1d_backward(y, x, w, bias, input_dilation=3, **arguments)
    dx, dw, db = fastconv.conv1d_backward(y, dilated(x, (3,), 1), w, bias, **arguments)
    np.testing.assert_equal(found[0], dx[:, ::3])
    np.testing.assert_equal(found[1], dw)
    np.testing.assert_equal(found[2], db)
    x, w = integers(2, 3, 3, 2, 4), integers(6, 1, 2, 2, 2)
    y = fastconv.depthwise_conv3d(x, w, input_dilation=(1, 2, 3))
    np.testing.assert_equal(y, fastconv.conv3d(dilated(x, (1, 2, 3), 2), w, groups=3))
    dx, dw, _ = fastconv.depthwise_conv3d_backward(y, x, w, input_dilation=(1, 2, 3))
    assert np.sum(dx * x) == np.sum(y * y) == np.sum(dw * w)


@pytest.mark.parametrize("layouts", [{}, {"layout": "NHWC", "w_layout": "OHWI"}], ids=["first", "last"])
@pytest.mark.parametrize(
    "more", [{}, {"input_dilation": 2}, {"stride": 2, "padding_mode": "constant", "padding_value": 1.0}]
)
def test_batch_groups(arrays: ArrayModule, layouts: dict[str, str], more: dict[str, Any]) -> None:
    """Each group of output channels is computed from its group of images."""
    x, w = integers(6, 4, 5, 4), integers(9, 4, 2, 3)
    channels = 1
    if layouts:
        x, w, channels = x.transpose(0, 2, 3, 1), w.transpose(0, 2, 3, 1), 3
    arguments = {"padding": 1, **layouts, **more}
    parts = [fastconv.conv2d(x[2 * g : 2 * g + 2], w[3 * g : 3 * g + 3], **arguments) for g in range(3)]
    y = arrays.host(fastconv.conv2d(arrays.to(x), arrays.to(w), batch_group_count=3, **arguments))
    np.testing.assert_equal(y, np.concatenate(parts, channels))
    check_gradients(arrays, 2, x, w, y, batch_group_count=3, **arguments)


def test_promotion() -> None:
    x, w, bias = integers(1, 2, 6), integers(3, 2, 3, dtype="float64"), integers(3, dtype="float16")
    wide = [array.astype(np.float64) for array in (x, w, bias)]
    with pytest.raises(TypeError, match=r"^w: got dtype float64"):
        fastconv.conv1d(x, w, bias)
    with pytest.raises(TypeError, match=r"^w: got dtype float64"):
        fastconv.conv1d(x, w, bias, promote=False)
    y = fastconv.conv1d(x, w, bias, promote=True)
    assert y.dtype == np.float64
    np.testing.assert_equal(y, fastconv.conv1d(*wide))
    dy = y.astype(np.float32)
    for got, expected in zip(
        fastconv.conv1d_backward(dy, x, w, bias, promote=True),
        fastconv.conv1d_backward(dy.astype(np.float64), *wide),
        strict=True,
    ):
        assert got.dtype == np.float64
        np.testing.assert_equal(got, expected)
    dx = fastconv.grad.conv1d_input(x.shape, w, dy, promote=True)
    assert dx.dtype == np.float64
    y = fastconv.conv1d(np.arange(8).reshape(1, 2, 4), x[:, :, :3].astype(np.float32), promote=True)
    assert y.dtype == np.float64
    y = fastconv.conv_transpose1d(x.astype(np.complex64), integers(2, 1, 3), promote=True)
    assert y.dtype == np.complex64
    with pytest.raises(TypeError, match=r"^x: got dtype int64"):
        fastconv.conv1d(np.arange(8).reshape(1, 2, 4), np.ones((1, 2, 3), int), promote=True)


def test_sums_in_double_precision() -> None:
    random = np.random.default_rng(5)
    x, w = (random.standard_normal(shape, dtype=np.float32) for shape in ((2, 64, 9, 9), (8, 64, 3, 3)))
    exact = fastconv.conv2d(x.astype(np.float64), w.astype(np.float64), padding=1)
    y = fastconv.conv2d(x, w, padding=1, accumulate_dtype="float64")
    assert y.dtype == np.float32
    np.testing.assert_equal(y, exact.astype(np.float32))
    assert np.any(fastconv.conv2d(x, w, padding=1) != y)
    out = np.empty((2, 8, 18, 9), np.float32)[:, :, ::2]
    assert fastconv.conv2d(x, w, padding=1, accumulate_dtype=np.float64, out=out) is out
    np.testing.assert_equal(out, y)
    wide = fastconv.conv2d_backward(exact, x.astype(np.float64), w.astype(np.float64), padding=1)
    dy = exact.astype(np.float32)
    wide = fastconv.conv2d_backward(dy.astype(np.float64), x.astype(np.float64), w.astype(np.float64), padding=1)
    found = fastconv.conv2d_backward(dy, x, w, padding=1, accumulate_dtype="float64")
    for got, expected in zip(found, wide, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_equal(got, expected.astype(np.float32))
    half = x.astype(np.float16)
    y = fastconv.conv2d(half, w.astype(np.float16), accumulate_dtype="float32")
    np.testing.assert_equal(y, fastconv.conv2d(half, w.astype(np.float16)))


def test_empty_results(arrays: ArrayModule) -> None:
    x, w, bias = arrays.to(integers(2, 3, 2, 4)), arrays.to(integers(5, 3, 3, 3)), arrays.to(integers(5))
    with pytest.raises(ValueError, match=r"^w: got a kernel that reaches over"):
        fastconv.conv2d(x, w)
    y = fastconv.conv2d(x, w, bias, allow_empty=True, activation="relu")
    assert y.shape == (2, 5, 0, 2)
    dx, dw, db = arrays.host(fastconv.conv2d_backward(y, x, w, bias, allow_empty=True))
    for got, like in zip((dx, dw, db), (x, w, bias), strict=True):
        np.testing.assert_equal(got, np.zeros(like.shape, np.float32))
    assert fastconv.conv2d(x, w, padding=((-2, -3), (0, 0)), allow_empty=True).shape == (2, 5, 0, 2)
    cropped = {"padding": ((-2, -3), (0, 0)), "padding_mode": "circular"}
    assert fastconv.conv2d(x, w, allow_empty=True, **cropped).shape == (2, 5, 0, 2)
    assert fastconv.conv2d(x, w, input_dilation=(1, 3), allow_empty=True).shape == (2, 5, 0, 8)
    np.testing.assert_equal(arrays.host(fastconv.conv2d(x, w, padding=1, allow_empty=True)),
                            arrays.host(fastconv.conv2d(x, w, padding=1)))  # fmt: skip


def test_empty_results_of_transposed_convolutions() -> None:
    w, bias = integers(2, 3, 3, 3), integers(3)
    y = fastconv.conv_transpose2d(integers(1, 2, 1, 4), w, bias, padding=(2, 0), allow_empty=True)
    assert y.shape == (1, 3, 0, 6)
    y = fastconv.conv_transpose2d(integers(1, 2, 0, 4), w, bias, stride=2, allow_empty=True)
    np.testing.assert_equal(y, np.broadcast_to(bias[:, None, None], (1, 3, 1, 9)))
    dx, dw, db = fastconv.conv_transpose2d_backward(y, integers(1, 2, 0, 4), w, bias, stride=2, allow_empty=True)
    assert dx.shape == (1, 2, 0, 4)
    np.testing.assert_equal(dw, np.zeros_like(w))
    np.testing.assert_equal(db, y.sum(axis=(0, 2, 3)))


@pytest.mark.parametrize("family", ["conv", "conv_transpose", "depthwise_conv"])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradients_into_given_arrays(arrays: ArrayModule, family: str, activation: str | None) -> None:
    x, w = integers(2, 4, 5, 6), integers(4, 1 if family == "depthwise_conv" else 4, 2, 3)
    forward, backward = getattr(fastconv, f"{family}2d"), getattr(fastconv, f"{family}2d_backward")
    dy = integers(*forward(x, w).shape)
    expected = backward(dy, x, w, activation=activation)
    dx, dw, db = (arrays.to(np.empty_like(array)) for array in expected)
    there = [arrays.to(array) for array in (dy, x, w)]
    got = backward(*there, activation=activation, out=(dx, dw, db))
    assert got[0] is dx
    assert got[1] is dw
    assert got[2] is db
    for ours, theirs in zip(arrays.host(got), expected, strict=True):
        np.testing.assert_equal(ours, theirs)
    got = backward(*there, activation=activation, out=(None, dw, None), needs=(False, True, True))
    assert got[0] is None
    assert got[1] is dw
    # In the place of the inputs.
    got = backward(*there, activation=activation, out=(there[1], there[2], None))
    assert got[0] is there[1]
    for ours, theirs in zip(arrays.host(got), expected, strict=True):
        np.testing.assert_equal(ours, theirs)


def test_no_gradients_into_wrong_arrays() -> None:
    x, w = integers(1, 2, 4), integers(3, 2, 2)
    dy = fastconv.conv1d(x, w)
    for out, kind in (
        (np.empty_like(x), TypeError),
        ((None, None), ValueError),
        ((np.empty((1, 2, 5), np.float32), None, None), ValueError),
        ((None, np.empty_like(w, dtype=np.float64), None), TypeError),
        ((None, None, [1.0, 2.0, 3.0]), TypeError),
    ):
        with pytest.raises(kind, match=r"^out: got "):
            fastconv.conv1d_backward(dy, x, w, out=out)
    with pytest.raises(ValueError, match=r"^out: got an array for dx, which is not needed"):
        fastconv.conv1d_backward(dy, x, w, needs=(False, True, True), out=(x, None, None))


WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("padding_value", "1", TypeError),
    ("padding_value", True, TypeError),
    ("padding_value", None, TypeError),
    ("padding_value", 1.0, ValueError),
    ("input_dilation", 0, ValueError),
    ("input_dilation", (1, 1, 1), ValueError),
    ("input_dilation", 1.5, TypeError),
    ("batch_group_count", 0, ValueError),
    ("batch_group_count", 2.0, TypeError),
    ("batch_group_count", 2, ValueError),
    ("promote", 1, TypeError),
    ("allow_empty", "yes", TypeError),
    ("accumulate_dtype", "float16", ValueError),
    ("accumulate_dtype", "double precision", ValueError),
    ("accumulate_dtype", 3, ValueError),
    ("dilatoin", 2, TypeError),
]


@pytest.mark.parametrize(("argument", "value", "kind"), WRONG, ids=str)
def test_wrong_options(argument: str, value: Any, kind: type[Exception]) -> None:
    x, w = integers(3, 2, 5, 5), integers(3, 2, 2, 2)
    dy = fastconv.conv2d(x, w)
    for call in (
        lambda **options: fastconv.conv2d(x, w, **options),
        lambda **options: fastconv.conv2d_backward(dy, x, w, **options),
        lambda **options: fastconv.grad.conv2d_input(x.shape, w, dy, **options),
        lambda **options: fastconv.grad.conv2d_weight(x, w.shape, dy, **options),
    ):
        with pytest.raises(kind, match=rf"^(x|input_shape|{argument}): got "):
            call(**{argument: value})


def test_transposed_convolutions_have_fewer_options() -> None:
    x, w = integers(1, 2, 4), integers(2, 3, 2)
    for name in ("input_dilation", "batch_group_count", "padding_value"):
        with pytest.raises(TypeError, match=rf"^{name}: got an argument that this function does not have"):
            fastconv.conv_transpose1d(x, w, **{name: 1})


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_gradients_of_other_functions_into_given_arrays(arrays: ArrayModule, again: bool) -> None:
    x, columns = integers(2, 3, 6, 8), integers(2, 12, 12)
    halves, averages = integers(2, 3, 3, 4), integers(2, 3, 1, 1)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (fastconv.max_pool2d_backward, (halves, x, 2)),
        (fastconv.avg_pool2d_backward, (halves, x, 2)),
        (fastconv.adaptive_avg_pool2d_backward, (halves, x, (3, 4))),
        (fastconv.adaptive_max_pool2d_backward, (halves, x, (3, 4))),
        (fastconv.global_avg_pool_backward, (averages, x)),
        (fastconv.global_max_pool_backward, (averages, x)),
        (fastconv.unfold_backward, (columns, x, 2, 1, 0, 2)),
        (fastconv.fold_backward, (x, (6, 8), 2, 1, 0, 2)),
    ]
    for function, given in calls:
        expected = function(*given)
        there = arrays.to(given)
        if again:
            function(*there)
        out = arrays.to(np.full((*expected.shape, 2), 7, np.float32)[..., 0])
        assert function(*there, out=out) is out
        np.testing.assert_equal(arrays.host(out), expected)
        with pytest.raises(ValueError, match=r"^out: got shape \(1,\)"):
            function(*there, out=out[0, 0, :1] if out.ndim == 3 else out[0, 0, 0, :1])


def test_four_gradients_into_given_arrays() -> None:
    x, w, pointwise, dy = integers(2, 3, 8), integers(6, 1, 3), integers(4, 6, 1), integers(2, 4, 6)
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (fastconv.separable_conv1d_backward, (dy, x, w, pointwise)),
        (fastconv.causal_conv1d_backward, (x, x, w[:3])),
    ]
    for function, given in calls:
        expected = function(*given)
        out = tuple(np.empty_like(array) for array in expected[:3])
        got = function(*given, out=(*out, None))
        for ours, place, theirs in zip(got, (*out, got[3]), expected, strict=True):
            assert ours is place
            np.testing.assert_equal(ours, theirs)
        with pytest.raises(ValueError, match=r"^out: got shape"):
            function(*given, out=(None, out[0], None, None))
