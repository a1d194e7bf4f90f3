"""The bits of a result do not depend on how arrays lie in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fastconv
from operands import ALGORITHMS, embedded

Transform = Callable[[np.ndarray], np.ndarray]

ORDERS: dict[str, Transform] = {
    "channels last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "channels first": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, 0)), 0, 1),
    "reversed": lambda a: np.ascontiguousarray(a.transpose()).transpose(),
    "gaps": lambda a: embedded(np.pad(a, 2), 1)[2:-2, 2:-2, 2:-2, 2:-2],
    "every third": lambda a: embedded(a, 3),
    "4 bytes on": lambda a: _shifted(a, 1),
    "20 bytes on": lambda a: _shifted(a, 5),
}

# Products of matrices, of vectors and of numbers by im2col; layers for the others.
BITS = (
    ((3, 16, 13, 7), (24, 16, 1, 1), {}),
    ((1, 16, 1, 7), (1, 16, 1, 1), {}),
    ((5, 8, 1, 1), (16, 8, 1, 1), {}),
    ((2, 16, 14, 14), (8, 16, 3, 3), {"padding": 1}),
    ((1, 300, 6, 6), (17, 300, 1, 1), {}),
    ((2, 32, 9, 8), (32, 4, 3, 3), {"groups": 8, "layout": "NHWC"}),
    ((1, 1, 12, 12), (1, 1, 5, 5), {}),
)


def _shifted(array: np.ndarray, elements: int) -> np.ndarray:
    """The same values so many elements after a multiple of 64 bytes."""
    raw = np.empty(array.size + 32, array.dtype)
    begin = -raw.ctypes.data % 64 // array.itemsize + elements
    view = raw[begin : begin + array.size].reshape(array.shape)
    view[...] = array
    return view


# These join axes of arrays without gaps, and look up weights or gradients that lie in lines in another order of sums.
OF_OTHER_ORDERS = ("depthwise_nhwc", "implicit_gemm", "split_bf16")


@pytest.mark.parametrize("algorithm", [a.name for a in ALGORITHMS if a.name not in OF_OTHER_ORDERS])
@pytest.mark.parametrize("case", BITS, ids=str)
def test_strides_do_not_change_the_bits(algorithm: str, case: tuple[tuple[int, ...], tuple[int, ...], dict]) -> None:
    """Strides of the result's and of the inputs' memory, in each direction."""
    shape, w_shape, settings = case
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal(shape).astype(np.float32), rng.standard_normal(w_shape).astype(np.float32)
    if settings.get("layout") == "NHWC":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    dy = rng.standard_normal(fastconv.conv2d(x, w, **settings).shape).astype(np.float32)
    settings = settings | {"algorithm": algorithm, "threads": 1}
    calls: dict[str, tuple[Callable[..., np.ndarray], np.ndarray, np.ndarray]] = {
        "y": (lambda a, b, out=None: fastconv.conv2d(a, b, out=out, **settings), x, w),
        "dx": (lambda a, b, out=None: fastconv.grad.conv2d_input(x.shape, b, a, out=out, **settings), dy, w),
        "dw": (lambda a, b, out=None: fastconv.grad.conv2d_weight(a, w.shape, b, out=out, **settings), x, dy),
    }
    for direction, (call, first, second) in calls.items():
        first, second = _shifted(first, 0), _shifted(second, 0)
        try:
            expected = call(first, second)
        except ValueError as refused:
            if not str(refused).startswith("algorithm: got"):
                raise
            continue
        for name, make in ORDERS.items():
            out = make(np.zeros(expected.shape, np.float32))
            for found in (call(make(first), second), call(first, make(second)), call(first, second, out)):
                assert found.tobytes() == expected.tobytes(), (direction, name)


@pytest.mark.parametrize(("mode", "padding"), [("reflect", 8), ("circular", 8), ("replicate", 8), ("replicate", 20)])
@pytest.mark.parametrize("groups", [1, 4])
def test_strides_of_out_do_not_change_the_bits_where_padding_repeats(mode: str, padding: int, groups: int) -> None:
    """A gradient adds up all places of the padded axes that repeat one element."""
    rng = np.random.default_rng(5)
    x, w, dy = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((2, 4, 9, 11), (4, 4 // groups, 3, 3), (2, 4, 7 + 2 * padding, 9 + 2 * padding))
    )
    settings = {"padding": padding, "padding_mode": mode, "groups": groups}
    found = 0
    for algorithm in ALGORITHMS:
        try:
            expected = fastconv.grad.conv2d_input(x.shape, w, dy, algorithm=algorithm.name, **settings)
        except ValueError as refused:
            if not str(refused).startswith("algorithm: got"):
                raise
            continue
        found += 1
        for name, make in ORDERS.items():
            out = make(np.zeros(x.shape, np.float32))
            fastconv.grad.conv2d_input(x.shape, w, dy, out=out, algorithm=algorithm.name, **settings)
            assert out.tobytes() == expected.tobytes(), (algorithm.name, name)
    assert found > 3


def test_an_array_times_itself_is_as_times_its_copy() -> None:
    """NumPy's BLAS has another product for a matrix and its own transpose."""
    x = np.random.default_rng(0).standard_normal((2, 24, 9, 7)).astype(np.float32)
    same, other = (fastconv.grad.conv2d_weight(x, (24, 24, 1, 1), dy, algorithm="im2col") for dy in (x, x.copy()))
    assert same.tobytes() == other.tobytes()
