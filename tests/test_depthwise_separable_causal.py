"""Depthwise, separable and causal convolutions, forward and backward, against the definitions, exactly, in integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
import oracle
from definitions import Convolution, bias_gradient, inner, integers, to_layout

RANKS = (1, 2, 3)
SIZES = {1: (9,), 2: (6, 7), 3: (3, 4, 5)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1},
    "dilated": {"dilation": 2, "padding": 2},
    "circular": {"padding": 2, "padding_mode": "circular"},
}
MODES = {"zeros": "constant", "circular": "wrap"}


def definition(rank: int, channels: int, settings: dict[str, Any]) -> Convolution:
    """The depthwise convolution that the settings ask for."""
    pads = [(settings.get("padding", 0),) * 2] * rank
    mode = MODES[settings.get("padding_mode", "zeros")]
    return Convolution((settings.get("stride", 1),) * rank, pads, (settings.get("dilation", 1),) * rank, channels, mode)


def pointwise(rank: int) -> Convolution:
    return Convolution((1,) * rank, [(0, 0)] * rank, (1,) * rank)


def function(name: str) -> Any:
    return getattr(fastconv, name)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("rank", RANKS)
def test_depthwise(rank: int, multiplier: int, dtype: str, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(rank)
    x = integers(rng, (2, 3, *SIZES[rank]), dtype)
    w = integers(rng, (3 * multiplier, 1, *KERNELS[rank]), dtype)
    bias = integers(rng, (3 * multiplier,), dtype)
    by_definition = definition(rank, 3, settings)
    expected = by_definition.forward(x, w) + bias.reshape(-1, *[1] * rank)
    result = function(f"depthwise_conv{rank}d")(x, w, bias, **settings)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == dtype
    dy = integers(rng, expected.shape, dtype)
    dx, dw, db = function(f"depthwise_conv{rank}d_backward")(dy, x, w, bias, **settings)
    np.testing.assert_array_equal(dx, by_definition.input_gradient(dy, x, w))
    np.testing.assert_array_equal(dw, by_definition.weight_gradient(dy, x, w))
    np.testing.assert_array_equal(db, bias_gradient(dy))


@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("weight", ["OIHW", "HWIO", "OHWI"])
def test_depthwise_is_a_convolution_with_as_many_groups_as_channels(weight: str, last: bool) -> None:
    rng = np.random.default_rng(0)
    x, w = to_layout(integers(rng, (1, 4, 5, 6)), last)[0], to_layout(integers(rng, (8, 1, 3, 3)), last, weight)
    layouts = {"layout": "NHWC" if last else "NCHW", "w_layout": weight, "padding": "same", "activation": "relu"}
    y = fastconv.depthwise_conv2d(x, w, **layouts)
    np.testing.assert_array_equal(y, fastconv.conv2d(x, w, groups=4, **layouts))
    dy = integers(rng, y.shape)
    gradients = fastconv.depthwise_conv2d_backward(dy, x, w, needs=(True, True, False), **layouts)
    expected = fastconv.conv2d_backward(dy, x, w, groups=4, needs=(True, True, False), **layouts)
    np.testing.assert_array_equal(gradients[0], expected[0])
    np.testing.assert_array_equal(gradients[1], expected[1])
    assert gradients[2] is None


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("rank", RANKS)
def test_separable(rank: int, dtype: str, settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(rank)
    x = integers(rng, (2, 2, *SIZES[rank]), dtype)
    w_depthwise = integers(rng, (4, 1, *KERNELS[rank]), dtype)
    w_pointwise, bias = integers(rng, (3, 4, *[1] * rank), dtype), integers(rng, (3,), dtype)
    first, second = definition(rank, 2, settings), pointwise(rank)
    middle = first.forward(x, w_depthwise)
    expected = second.forward(middle, w_pointwise) + bias.reshape(-1, *[1] * rank)
    result = function(f"separable_conv{rank}d")(x, w_depthwise, w_pointwise, bias, **settings)
    np.testing.assert_array_equal(result, expected)
    dy = integers(rng, expected.shape, dtype)
    gradients = function(f"separable_conv{rank}d_backward")(dy, x, w_depthwise, w_pointwise, bias, **settings)
    dmiddle = second.input_gradient(dy, middle, w_pointwise)
    for gradient, by_definition in zip(
        gradients,
        (
            first.input_gradient(dmiddle, x, w_depthwise),
            first.weight_gradient(dmiddle, x, w_depthwise),
            second.weight_gradient(dy, middle, w_pointwise),
            bias_gradient(dy),
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(gradient, by_definition)
        assert gradient.dtype == dtype
    bare = function(f"separable_conv{rank}d")(x, w_depthwise, w_pointwise, **settings)
    product = inner(dy, bare)
    assert product == inner(gradients[0], x) == inner(gradients[1], w_depthwise) == inner(gradients[2], w_pointwise)


@pytest.mark.parametrize("needs", [(bool(n & 1), bool(n & 2), bool(n & 4), bool(n & 8)) for n in range(16)])
@pytest.mark.parametrize("activation", [None, "silu"])
def test_separable_needs(needs: tuple[bool, ...], activation: str | None) -> None:
    rng = np.random.default_rng(5)
    x, w_depthwise, w_pointwise = (integers(rng, shape) for shape in ((2, 5, 6), (4, 1, 3, 2), (3, 4, 1, 1)))
    bias, dy = integers(rng, (3,)), integers(rng, (3, 3, 5))
    arguments = (dy, x, w_depthwise, w_pointwise, bias)
    every = fastconv.separable_conv2d_backward(*arguments, activation=activation)
    some = fastconv.separable_conv2d_backward(*arguments, activation=activation, needs=needs)
    assert [gradient is not None for gradient in some] == list(needs)
    for gradient, expected in zip(some, every, strict=True):
        assert gradient is None or np.array_equal(gradient, expected)


def test_separable_through_an_activation() -> None:
    """dy times the slope of tanh at z, which is 1 - tanh(z)^2."""
    rng = np.random.default_rng(6)
    x, w_depthwise, w_pointwise = (rng.standard_normal(shape) for shape in ((1, 2, 5, 6), (4, 1, 3, 2), (3, 4, 1, 1)))
    bias, add, dy = rng.standard_normal(3), rng.standard_normal((1, 3, 3, 5)), rng.standard_normal((1, 3, 3, 5))
    first, second = definition(2, 2, {}), pointwise(2)
    middle = first.forward(x, w_depthwise)
    z = second.forward(middle, w_pointwise) + bias.reshape(-1, 1, 1) + add
    arguments = (x, w_depthwise, w_pointwise, bias)
    result = fastconv.separable_conv2d(*arguments, activation="tanh", add=add)
    np.testing.assert_allclose(result, np.tanh(z), rtol=1e-12)
    gradients = fastconv.separable_conv2d_backward(dy, *arguments, activation="tanh", add=add)
    dz = dy * (1 - np.tanh(z) ** 2)
    dmiddle = second.input_gradient(dz, middle, w_pointwise)
    np.testing.assert_allclose(gradients[0], first.input_gradient(dmiddle, x, w_depthwise), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradients[2], second.weight_gradient(dz, middle, w_pointwise), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradients[3], bias_gradient(dz), rtol=1e-10)


def test_separable_layouts_and_out() -> None:
    rng = np.random.default_rng(7)
    x, w_depthwise, w_pointwise = (integers(rng, shape) for shape in ((2, 3, 5, 6), (6, 1, 3, 2), (3, 6, 1, 1)))
    expected = fastconv.separable_conv2d(x, w_depthwise, w_pointwise, padding=[(1, 1), (1, 0)])
    x_last = to_layout(x, True)
    result = fastconv.separable_conv2d(
        x_last,
        to_layout(w_depthwise, True, "HWIO"),
        to_layout(w_pointwise, True, "HWIO"),
        padding=[(1, 1), (1, 0)],
        layout="NHWC",
        w_layout="HWIO",
        out=x_last,
    )
    assert result is x_last
    np.testing.assert_array_equal(result, to_layout(expected, True))


def by_definition(x: np.ndarray, w: np.ndarray, state: np.ndarray, dilation: int) -> np.ndarray:
    """y[t] = sum over j of w[j] * signal[t - (k - 1 - j) * dilation], where the signal begins with ``state``."""
    signal = np.concatenate([state, x], axis=2)
    length = x.shape[2]
    return sum(w[:, j, None] * signal[:, :, j * dilation : j * dilation + length] for j in range(w.shape[1]))


CAUSAL = [(length, kernel, dilation) for length in (1, 2, 7) for kernel in (1, 2, 4) for dilation in (1, 3)]
by_size = pytest.mark.parametrize(("length", "kernel", "dilation"), CAUSAL)


def causal_arrays(length: int, kernel: int, dilation: int, dtype: str = "float64") -> tuple[np.ndarray, ...]:
    """x, w, bias, state, dy, dstate of small integers."""
    rng = np.random.default_rng(length)
    signal, state = (2, 3, length), (2, 3, (kernel - 1) * dilation)
    return tuple(integers(rng, shape, dtype) for shape in (signal, (3, kernel), (3,), state, signal, state))


@by_size
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_causal(length: int, kernel: int, dilation: int, dtype: str) -> None:
    x, w, bias, state, _, _ = causal_arrays(length, kernel, dilation, dtype)
    expected = by_definition(x, w, state, dilation) + bias[:, None]
    after = np.concatenate([state, x], axis=2)[:, :, length:]
    for weight in (w, w[:, None]):
        y, new_state = fastconv.causal_conv1d(x, weight, bias, state=state, dilation=dilation)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(new_state, after)
        assert y.dtype == new_state.dtype == dtype
        assert not np.may_share_memory(new_state, x)
        assert not np.may_share_memory(new_state, state)
    without, _ = fastconv.causal_conv1d(x, w, bias, dilation=dilation)
    np.testing.assert_array_equal(without, by_definition(x, w, 0 * state, dilation) + bias[:, None])
    np.testing.assert_array_equal(
        without, fastconv.depthwise_conv1d(x, w[:, None], bias, padding="causal", dilation=dilation)
    )


@by_size
def test_causal_layouts_and_single_signals(length: int, kernel: int, dilation: int) -> None:
    x, w, bias, state, dy, dstate = causal_arrays(length, kernel, dilation)
    y, after = fastconv.causal_conv1d(x, w, bias, state=state, dilation=dilation)
    gradients = fastconv.causal_conv1d_backward(dy, x, w, bias, state=state, dstate=dstate, dilation=dilation)
    for last in (False, True):
        layout = "NWC" if last else "NCW"
        moved = [to_layout(array, last) for array in (x, state, dy, dstate)]
        y_moved, after_moved = fastconv.causal_conv1d(
            moved[0], w, bias, state=moved[1], dilation=dilation, layout=layout
        )
        np.testing.assert_array_equal(y_moved, to_layout(y, last))
        np.testing.assert_array_equal(after_moved, to_layout(after, last))
        back = fastconv.causal_conv1d_backward(
            moved[2], moved[0], w, bias, state=moved[1], dstate=moved[3], dilation=dilation, layout=layout
        )
        np.testing.assert_array_equal(back[0], to_layout(gradients[0], last))
        np.testing.assert_array_equal(back[1], gradients[1])
        np.testing.assert_array_equal(back[2], gradients[2])
        np.testing.assert_array_equal(back[3], to_layout(gradients[3], last))
        y_one, after_one = fastconv.causal_conv1d(
            moved[0][1], w, bias, state=moved[1][1], dilation=dilation, layout=layout
        )
        np.testing.assert_array_equal(y_one, y_moved[1])
        np.testing.assert_array_equal(after_one, after_moved[1])


@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", [1, 2, 4])
def test_causal_in_pieces_has_the_bits_of_the_whole(kernel: int, dtype: str, activation: str | None) -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((2, 5, 40)).astype(dtype)
    w, bias = rng.standard_normal((5, kernel)).astype(dtype), rng.standard_normal(5).astype(dtype)
    whole, last_state = fastconv.causal_conv1d(x, w, bias, activation=activation, algorithm="reference")
    for cuts in ([20], [1, 2, 3, 5, 8, 13, 21], list(range(1, 40))):
        state, pieces = None, []
        for piece in np.split(x, cuts, axis=2):
            y, state = fastconv.causal_conv1d(piece, w, bias, state=state, activation=activation, algorithm="reference")
            pieces.append(y)
        np.testing.assert_array_equal(np.concatenate(pieces, axis=2), whole)
        np.testing.assert_array_equal(state, last_state)


@by_size
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_causal_gradients(length: int, kernel: int, dilation: int, dtype: str) -> None:
    """Gradients of (y, state after) at once: <dy, y> + <dstate, state after> goes back to x and state, or to w."""
    x, w, bias, state, dy, dstate = causal_arrays(length, kernel, dilation, dtype)
    y, after = fastconv.causal_conv1d(x, w, state=state, dilation=dilation)
    for weight in (w, w[:, None]):
        dx, dw, db, dstate_before = fastconv.causal_conv1d_backward(
            dy, x, weight, bias, state=state, dstate=dstate, dilation=dilation
        )
        assert (dx.shape, dw.shape, dstate_before.shape) == (x.shape, weight.shape, state.shape)
        assert inner(dy, y) == inner(dw, weight)
        assert inner(dy, y) + inner(dstate, after) == inner(dx, x) + inner(dstate_before, state)
        np.testing.assert_array_equal(db, bias_gradient(dy))
    signal = np.concatenate([state, x], axis=2)
    by_convolution = Convolution((1,), [(0, 0)], (dilation,), 3)
    expected = by_convolution.input_gradient(dy, signal, w[:, None])
    expected[:, :, length:] += dstate
    np.testing.assert_array_equal(np.concatenate([dstate_before, dx], axis=2), expected)
    np.testing.assert_array_equal(dw[:, 0], by_convolution.weight_gradient(dy, signal, w[:, None])[:, 0])


def test_causal_gradients_through_pieces_and_an_activation() -> None:
    """Going back piece by piece, with the state's gradient carried, gives the gradients of the whole."""
    rng = np.random.default_rng(9)
    x, w, bias, dy = (rng.standard_normal(shape) for shape in ((2, 3, 11), (3, 4), (3,), (2, 3, 11)))
    dx, dw, db, dstate = fastconv.causal_conv1d_backward(dy, x, w, bias, activation="silu")
    states, pieces = [np.zeros((2, 3, 3))], np.split(x, [2, 3, 8], axis=2)
    for piece in pieces:
        states.append(fastconv.causal_conv1d(piece, w, bias, state=states[-1], activation="silu")[1])
    back, carried, dw_sum, db_sum = [], None, 0, 0
    for piece, state, dy_piece in zip(pieces[::-1], states[-2::-1], np.split(dy, [2, 3, 8], axis=2)[::-1], strict=True):
        dx_piece, dw_piece, db_piece, carried = fastconv.causal_conv1d_backward(
            dy_piece, piece, w, bias, state=state, dstate=carried, activation="silu"
        )
        back.insert(0, dx_piece)
        dw_sum, db_sum = dw_sum + dw_piece, db_sum + db_piece
    bound = {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(np.concatenate(back, axis=2), dx, **bound)
    np.testing.assert_allclose(dw_sum, dw, **bound)
    np.testing.assert_allclose(db_sum, db, **bound)
    np.testing.assert_allclose(carried, dstate, **bound)


@pytest.mark.parametrize("needs", [(bool(n & 1), bool(n & 2), bool(n & 4), bool(n & 8)) for n in range(16)])
def test_causal_needs(needs: tuple[bool, ...]) -> None:
    x, w, bias, state, dy, _ = causal_arrays(7, 4, 1)
    every = fastconv.causal_conv1d_backward(dy, x, w, bias, state=state)
    some = fastconv.causal_conv1d_backward(dy, x, w, bias, state=state, needs=needs)
    assert [gradient is not None for gradient in some] == list(needs)
    for gradient, expected in zip(some, every, strict=True):
        assert gradient is None or np.array_equal(gradient, expected)


@pytest.mark.parametrize("kernel", [1, 3])
def test_causal_out_activation_and_add(kernel: int) -> None:
    x, w, bias, state, add, _ = causal_arrays(7, kernel, 1)
    expected = oracle.activate(by_definition(x, w, state, 1) + bias[:, None] + add, "relu", 0)
    after = np.concatenate([state, x], axis=2)[:, :, 7:]
    strided = np.full((2, 3, 14), 77.0)
    for where in ("new", "strided", "x", "add", "x reversed"):
        x, _, _, _, add, _ = causal_arrays(7, kernel, 1)
        places = {"new": np.empty_like(x), "strided": strided[:, :, ::2], "x": x, "add": add, "x reversed": x[:, ::-1]}
        out = places[where]
        y, new_state = fastconv.causal_conv1d(x, w, bias, state=state, activation="relu", add=add, out=out)
        assert y is out
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(new_state, after)
    assert (strided[:, :, 1::2] == 77).all()


@pytest.mark.parametrize("channels", [2, 20])
@pytest.mark.parametrize("algorithm", ["depthwise_nhwc", "auto"])
def test_phases_that_no_tap_belongs_to(algorithm: str, channels: int) -> None:
    """Of a stride beyond the kernel, some pixels get no gradient."""
    rng = np.random.default_rng(0)
    w, dy = rng.integers(-4, 5, (channels, 1, 1, 1)), rng.integers(-4, 5, (1, 2, 3, channels))
    w, dy = w.astype(np.float32), dy.astype(np.float32)
    how = {"stride": (2, 3), "groups": channels, "layout": "NHWC"}
    dx = fastconv.grad.conv2d_input((1, 4, 8, channels), w, dy, **how, algorithm=algorithm)
    expected = np.zeros_like(dx)
    expected[:, ::2, ::3] = dy * w.reshape(-1)
    np.testing.assert_array_equal(dx, expected)
