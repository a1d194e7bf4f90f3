"""``fastconv.compat.autograd``: derivatives of every order held to finite differences, and autograd's own tests."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

autograd = pytest.importorskip("autograd")

import autograd.numpy as anp  # noqa: E402
from autograd.test_util import check_grads  # noqa: E402
from scipy import signal  # noqa: E402

import fastconv  # noqa: E402
from fastconv.compat import autograd as of_autograd  # noqa: E402
from subprocesses import output_of  # noqa: E402

RNG = np.random.default_rng(5)

CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9), (4, 3, 3), {}),
    ((2, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    ((2, 3, 6, 7), (4, 3, 3, 2), {"padding": [(2, 0), (1, 1)], "dilation": (1, 2)}),
    ((1, 3, 7, 6), (2, 3, 2, 3), {"stride": (2, 3), "padding": "same"}),
    ((2, 6, 5, 3), (3, 3, 3, 4), {"padding": 1, "layout": "NHWC", "w_layout": "HWIO"}),
    ((2, 4, 5, 6), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
    ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), {"padding": (1, 0, 1)}),
    ((1, 2, 6, 6), (2, 2, 3, 3), {"padding": 2, "padding_mode": "circular"}),
]
POOLINGS: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 3, 9), 3, {}),
    ((2, 3, 7, 6), (3, 2), {"stride": 2, "padding": (1, 1)}),
    ((2, 7, 6, 3), 2, {"layout": "NHWC"}),
    ((1, 2, 4, 5, 4), 2, {"stride": 1}),
]


def ids(case: Any) -> str:
    return str(case)


def random(*shape: int, is_complex: bool = False) -> np.ndarray:
    array = RNG.standard_normal(shape)
    return array + 1j * RNG.standard_normal(shape) if is_complex else array


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "how"), CONVOLUTIONS, ids=ids)
def test_convolutions(shape: tuple[int, ...], kernel: tuple[int, ...], how: dict[str, Any], is_complex: bool) -> None:
    """The convolution and both its gradients, each for both its arguments, twice, by reverse and by forward mode."""
    x, w = (random(*size, is_complex=is_complex) for size in (shape, kernel))
    conv = partial(of_autograd.conv, **how)
    y = conv(x, w)
    np.testing.assert_array_equal(y, getattr(fastconv, f"conv{len(shape) - 2}d")(x, w, **how))
    check_grads(conv, (0, 1), modes=["fwd", "rev"], order=2)(x, w)
    dy = random(*y.shape, is_complex=is_complex)
    input_grad = partial(of_autograd.conv_input_grad, shape=shape, **how)
    weight_grad = partial(of_autograd.conv_weight_grad, shape=kernel, **how)
    check_grads(input_grad, (0, 1), modes=["fwd", "rev"], order=2)(w, dy)
    check_grads(weight_grad, (0, 1), modes=["fwd", "rev"], order=2)(x, dy)


def test_mixed_real_and_complex() -> None:
    x, w = random(2, 3, 5, 5), random(2, 3, 3, 3, is_complex=True)
    check_grads(of_autograd.conv, (0, 1), modes=["rev"], order=2)(x, w)
    check_grads(of_autograd.conv, (0, 1), modes=["rev"], order=2)(w, x[:, :, :3, :3])


def test_transposed() -> None:
    x, w = random(2, 4, 3, 3), random(4, 2, 3, 3)
    transposed = partial(of_autograd.conv_transpose, shape=(2, 2, 6, 6), stride=2, padding=1)
    expected = fastconv.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1)
    np.testing.assert_allclose(transposed(x, w), expected, rtol=1e-12)
    check_grads(transposed, (0, 1), modes=["rev"], order=2)(x, w)


@pytest.mark.parametrize(("shape", "kernel", "how"), POOLINGS, ids=ids)
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_pooling(name: str, shape: tuple[int, ...], kernel: Any, how: dict[str, Any]) -> None:
    x = RNG.permutation(np.arange(float(np.prod(shape)))).reshape(shape)  # no two are close to another
    pool = partial(getattr(of_autograd, name), kernel_size=kernel, **how)
    np.testing.assert_array_equal(pool(x), getattr(fastconv, f"{name}{len(shape) - 2}d")(x, kernel, **how))
    check_grads(pool, modes=["fwd", "rev"], order=3)(x)
    check_grads(lambda x: pool(x) ** 2, modes=["fwd", "rev"], order=2)(x / 10)


def test_integers_are_floats_and_dtypes_are_promoted() -> None:
    x, w = np.ones((1, 1, 4), np.int64), np.ones((1, 1, 2), np.float32)
    assert of_autograd.conv(x, x[..., :2]).dtype == np.float64
    assert of_autograd.conv(w, w).dtype == np.float32
    with pytest.raises(ValueError, match="one to three axes"):
        of_autograd.conv(np.ones((2, 2)), np.ones((2, 2)))


def test_it_learns() -> None:
    """A kernel is found again from its results by steps along the gradient."""
    x, hidden = random(4, 2, 8, 8), random(3, 2, 3, 3)
    wanted = fastconv.conv2d(x, hidden, padding=1)
    loss = autograd.value_and_grad(lambda w: anp.mean((of_autograd.conv(x, w, padding=1) - wanted) ** 2))
    w = np.zeros_like(hidden)
    for _ in range(200):
        w = w - 0.4 * loss(w)[1]
    np.testing.assert_allclose(w, hidden, atol=1e-3)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(
    ("a", "b"), [((5, 6), (3, 2)), ((3, 4), (5, 7)), ((6,), (6,)), ((3, 4, 5), (2, 3, 1))], ids=ids
)
def test_convolve_is_scipy_s(mode: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    A, B = random(*a), random(*b)
    np.testing.assert_allclose(of_autograd.convolve(A, B, mode=mode), signal.convolve(A, B, mode), atol=1e-12)
    check_grads(partial(of_autograd.convolve, mode=mode), (0, 1), modes=["rev"], order=2)(A, B)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve_over_some_axes_is_autograd_s(mode: str) -> None:
    from autograd.scipy.signal import convolve

    A, B = random(2, 5, 4, 3), random(2, 4, 2, 3, 2)
    axes, dot_axes = ([1, 2], [2, 4]), ([0, 3], [0, 3])
    found = of_autograd.convolve(A, B, axes, dot_axes, mode)
    np.testing.assert_allclose(found, convolve(A, B, axes=axes, dot_axes=dot_axes, mode=mode), atol=1e-12)


def test_convolve_refuses_what_autograd_does() -> None:
    with pytest.raises(AssertionError, match="Mode most undefined"):
        of_autograd.convolve(np.ones(3), np.ones(3), mode="most")
    with pytest.raises(ValueError, match="larger than the other"):
        of_autograd.convolve(np.ones((2, 5)), np.ones((3, 2)), mode="valid")
    with pytest.raises(NotImplementedError, match="at most three"):
        of_autograd.convolve(np.ones((2, 2, 2, 2)), np.ones((2, 2, 2, 2)))


def test_install_and_uninstall() -> None:
    from autograd.scipy import signal as of_scipy

    own = of_scipy.convolve
    of_autograd.install()
    of_autograd.install()
    try:
        assert of_scipy.convolve is of_autograd.convolve
    finally:
        of_autograd.uninstall()
    assert of_scipy.convolve is own
    of_autograd.uninstall()
    assert of_scipy.convolve is own


@pytest.mark.full
@pytest.mark.skipif("FASTCONV_TEST_AUTOGRAD" not in os.environ, reason="no unpacked source distribution of autograd")
def test_autograd_s_own_tests() -> None:
    """Of ``autograd.scipy.signal.convolve``; the variable names the folder, for wheels of autograd have no tests."""
    options = ["-q", "-c", "/dev/null", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "convolve"]
    file = Path(os.environ["FASTCONV_TEST_AUTOGRAD"]) / "tests" / "test_scipy.py"
    code = "import sys, pytest\nfrom fastconv.compat import autograd\nautograd.install()\nsys.exit(pytest.main({}))"
    assert "5 passed" in output_of(code.format([*options, str(file)]), timeout=120)
