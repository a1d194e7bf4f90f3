"""Arrays as users have them, through the public functions: every stride, alignment, byte order and overlap gives what a
plain contiguous copy gives, and inputs stay as they were."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import ml_dtypes
import numpy as np
import pytest

import fastconv
from fastconv._arrays import writable_in_place
from fastconv._backend import algorithm_names
from operands import ALGORITHMS, accepted, compute, embedded, exact_case, integers, rounded
from problems import problems

Transform = Callable[[np.ndarray], np.ndarray]


def _misaligned(array: np.ndarray) -> np.ndarray:
    raw = np.empty(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned or array.itemsize == 1
    return view


def _odd_strides(array: np.ndarray) -> np.ndarray:
    """A field of a packed record: strides that are no multiple of the item size; the first element is aligned."""
    record = np.zeros(array.shape, [("value", array.dtype), ("tail", "u1")])
    record["value"] = array
    return record["value"]


def _wild_strides(array: np.ndarray) -> np.ndarray:
    """Axes of size 1 may have any stride at all."""
    strides = [(-(2**40) - 1) if size == 1 else stride for size, stride in zip(array.shape, array.strides, strict=True)]
    return np.lib.stride_tricks.as_strided(array, array.shape, strides)


def _read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class Tagged(np.ndarray):
    """A subclass that would break arithmetic, were it to reach any."""

    def __array_finalize__(self, source: object) -> None:
        pass

    def __mul__(self, other: object) -> None:
        raise AssertionError("arithmetic on a subclass")


SAME_VALUES: dict[str, Transform] = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "axes reversed in memory": lambda a: np.ascontiguousarray(a.transpose(range(a.ndim)[::-1])).transpose(),
    "last two swapped in memory": lambda a: np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2),
    "every third element": lambda a: embedded(a, 3),
    "backwards": lambda a: embedded(a, -1),
    "every second, backwards": lambda a: embedded(a, -2),
    "misaligned": _misaligned,
    "odd strides": _odd_strides,
    "read-only": _read_only,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "wild strides of size-1 axes": _wild_strides,
    "subclass": lambda a: a.view(Tagged),
}
NAMES = list(SAME_VALUES)

# Size-1 axes on purpose, and a depthwise problem: they take other paths.
CALLS = {
    "plain": ((2, 3, 9, 11), (5, 3, 3, 3), {"padding": 1}),
    "strided": ((1, 4, 8, 1), (6, 2, 3, 1), {"stride": 2, "groups": 2, "padding": ((1, 1), (0, 0))}),
    "depthwise": ((1, 6, 1, 12), (6, 1, 1, 3), {"groups": 6}),
}


def arguments(call: str, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    shape, w_shape, settings = CALLS[call]
    return integers(shape, 1).astype(dtype), integers(w_shape, 2).astype(dtype), settings


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("x_kind", NAMES)
@pytest.mark.parametrize("w_kind", NAMES)
def test_inputs_of_every_kind(call: str, x_kind: str, w_kind: str) -> None:
    x, w, settings = arguments(call)
    expected = fastconv.conv2d(x, w, algorithm="reference", **settings)
    odd_x, odd_w = SAME_VALUES[x_kind](x), SAME_VALUES[w_kind](w)
    before = odd_x.copy(), odd_w.copy()
    result = fastconv.conv2d(odd_x, odd_w, **settings)
    assert type(result) is np.ndarray
    assert result.dtype == np.float32
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(odd_x, before[0])
    np.testing.assert_array_equal(odd_w, before[1])


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
@pytest.mark.parametrize("kind", NAMES)
def test_every_algorithm_takes_every_kind(algorithm: str, kind: str) -> None:
    for call in CALLS:
        x, w, settings = arguments(call)
        expected = fastconv.conv2d(x, w, algorithm="reference", **settings)
        dx = fastconv.conv_transpose2d(expected, w, algorithm="reference", **settings)
        try:
            y = fastconv.conv2d(SAME_VALUES[kind](x), w, algorithm=algorithm, **settings)
            back = fastconv.conv_transpose2d(SAME_VALUES[kind](expected), w, algorithm=algorithm, **settings)
        except ValueError as refused:
            if not str(refused).startswith("algorithm: got"):
                raise
            continue
        np.testing.assert_allclose(y, expected, atol=1e-3)
        np.testing.assert_allclose(back, dx, atol=0.1)


ADDED = (
    "2x3x9x11 5x3x3x3 p1",
    "1x4x9x10 6x4x1x1",
    "1x3x9x17 16x3x3x3 s2 p1 channels_last",
    "2x6x9x11 6x1x3x3 p1 g6",
    "1x16x7x9 16x1x3x3 p1 g16 channels_last",
    "2x32x7x9 32x2x3x3 p1 g16 channels_last",
    "1x33x7x21 35x33x3x3 p1",
    "1x33x7x21 35x33x3x3 p1 channels_last",
)
"""Every algorithm takes some of them."""


@pytest.mark.parametrize("algorithm", [algorithm.name for algorithm in ALGORITHMS])
def test_add_of_any_strides(algorithm: str) -> None:
    """What is added has strides of its own, of which those of the result say nothing."""
    cases = problems([f"{shape} +bias+add" for shape in ADDED], directions=("forward", "backward_input"))
    cases = [problem for problem in cases if algorithm in accepted(problem)]
    for problem in cases:
        operands, expected = exact_case(problem)
        for kind in ("axes reversed in memory", "every third element", "every second, backwards"):
            odd = SAME_VALUES[kind](operands["add"])
            result = compute(problem, algorithm, {**operands, "add": odd}, 2)
            np.testing.assert_array_equal(rounded(result), expected, f"{problem}: {kind}")
    assert cases


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("dtype", ["float64", "complex64", "float16", ml_dtypes.bfloat16])
def test_other_dtypes(kind: str, dtype: str) -> None:
    if dtype is ml_dtypes.bfloat16 and kind in ("byte-swapped", "odd strides"):
        pytest.skip("NumPy has no such arrays of an extension dtype")
    x, w, settings = arguments("strided", dtype)
    expected = fastconv.conv2d(x, w, **settings)
    np.testing.assert_array_equal(fastconv.conv2d(SAME_VALUES[kind](x), SAME_VALUES[kind](w), **settings), expected)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_weights_at_every_step(dtype: str) -> None:
    """Their parts lie at steps that NumPy's loops of strided arrays have code of their own for."""
    rng = np.random.default_rng(0)
    for groups, step, taps in product((1, 6), range(1, 9), (1, 2, 5)):
        x = (rng.integers(-9, 9, (2, 6, 16)) + 1j * rng.integers(-9, 9, (2, 6, 16))).astype(dtype)
        # Rows do not continue each other.
        w = np.full((6, 6 // groups, taps * step + 1), np.nan, dtype)[:, :, : taps * step : step]
        w[...] = rng.integers(-9, 9, w.shape) + 1j * rng.integers(-9, 9, w.shape)
        for algorithm in ("auto", "implicit_gemm"):
            expected = fastconv.conv1d(x, w.copy(), groups=groups, algorithm=algorithm)
            result = fastconv.conv1d(x, w, groups=groups, algorithm=algorithm)
            np.testing.assert_array_equal(result, expected, f"{algorithm}: {groups} groups, step {step}, {taps} taps")


@pytest.mark.parametrize("kind", [name for name in NAMES if name != "read-only"])
@pytest.mark.parametrize("call", CALLS)
def test_out_of_every_kind(kind: str, call: str) -> None:
    x, w, settings = arguments(call)
    expected = fastconv.conv2d(x, w, **settings)
    out = SAME_VALUES[kind](np.full_like(expected, 99))
    result = fastconv.conv2d(x, w, out=out, **settings)
    assert result is out
    np.testing.assert_array_equal(np.asarray(out), expected)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_aligned_as_their_parts(dtype: str) -> None:
    """NumPy asks for no more."""

    def between(array: np.ndarray) -> np.ndarray:
        part = array.itemsize // 2
        view = np.zeros(array.nbytes + part, np.uint8)[part:].view(array.dtype).reshape(array.shape)
        assert view.flags.aligned
        view[...] = array
        return view

    for call in CALLS:
        x, w, settings = arguments(call, dtype)
        y = fastconv.conv2d(x, w, **settings)
        expected = fastconv.conv2d(x, w, **settings, add=y)
        for name in algorithm_names():
            out = between(np.full_like(expected, 99))
            try:
                fastconv.conv2d(between(x), between(w), add=between(y), out=out, algorithm=name, **settings)
            except ValueError:
                continue  # not one for this problem
            np.testing.assert_array_equal(rounded(out), expected, err_msg=name)


def test_byte_orders_may_differ() -> None:
    x, w, settings = arguments("plain")
    expected = fastconv.conv2d(x, w, **settings)
    swapped = x.astype(x.dtype.newbyteorder())
    out = np.empty_like(expected)
    np.testing.assert_array_equal(fastconv.conv2d(swapped, w, out=out, **settings), expected)


def test_what_lies_between_the_elements_of_out_is_left_alone() -> None:
    x, w, settings = arguments("plain")
    expected = fastconv.conv2d(x, w, **settings)
    larger = np.full([2 * size for size in expected.shape], 99, np.float32)
    fastconv.conv2d(x, w, out=larger[::2, ::2, ::2, ::2], **settings)
    np.testing.assert_array_equal(larger[::2, ::2, ::2, ::2], expected)
    larger[::2, ::2, ::2, ::2] = 99
    assert (larger == 99).all()


def test_a_zero_stride_input_is_a_repeated_one() -> None:
    w = integers((5, 3, 3, 3), 2).astype(np.float32)
    for shape in ((1, 1, 1, 1), (1, 3, 1, 11), (2, 1, 9, 1), (1, 1, 9, 11)):
        broadcast = np.broadcast_to(integers(shape, 1).astype(np.float32), (2, 3, 9, 11))
        for algorithm in ("auto", *(algorithm.name for algorithm in ALGORITHMS)):
            try:
                result = fastconv.conv2d(broadcast, w, padding=1, algorithm=algorithm)
            except ValueError:
                continue
            expected = fastconv.conv2d(broadcast.copy(), w, padding=1, algorithm="reference")
            np.testing.assert_allclose(result, expected, atol=1e-3, err_msg=algorithm)


def test_a_zero_stride_out_gets_no_wrong_result_elsewhere() -> None:
    """Elements of out that share memory cannot all be right; NumPy refuses to write to such views, so do we."""
    x, w, settings = arguments("plain")
    out = np.broadcast_to(np.zeros((1, 5, 9, 11), np.float32), (2, 5, 9, 11))
    with pytest.raises(ValueError, match="out: got"):
        fastconv.conv2d(x, w, out=out, **settings)


@pytest.mark.parametrize("algorithm", ["auto", *(algorithm.name for algorithm in ALGORITHMS)])
def test_out_overlapping_the_inputs(algorithm: str) -> None:
    """As if there were no overlap: out is x, x shifted, x reversed, w, the residual, or all in one buffer."""
    layout, groups, w_shape = {
        "depthwise_nhwc": ("NHWC", 11, (11, 1, 3, 3)),
        "small_groups": ("NHWC", 16, (32, 2, 3, 3)),
        "depthwise_nchw": ("NCHW", 3, (3, 1, 3, 3)),
    }.get(algorithm, ("NCHW", 1, (3, 3, 3, 3)))
    of_channels = {"layout": layout, "groups": groups}
    w = integers(w_shape, 2).astype(np.float32)
    shape = (2, 3, 9, w_shape[0] if layout == "NHWC" else 11)
    values, add = integers(shape, 1).astype(np.float32), integers(shape, 5).astype(np.float32)

    def conv(x: np.ndarray, w: np.ndarray, **more: np.ndarray) -> np.ndarray:
        return fastconv.conv2d(x, w, padding=1, algorithm=algorithm, **of_channels, **more)

    expected = conv(values, w)
    for make in (
        lambda x: x,
        lambda x: x[::-1],
        lambda x: x[:, :, ::-1, ::-1],
    ):
        x = values.copy()
        out = make(x)
        np.testing.assert_array_equal(conv(x, w, out=out), expected)
        np.testing.assert_array_equal(out, expected)
    for shift in (1, 7, 300, -1, -297):
        buffer = np.empty(values.size + 600, np.float32)
        x = buffer[300 : 300 + values.size].reshape(values.shape)
        x[...] = values
        out = buffer[300 + shift : 300 + shift + values.size].reshape(values.shape)
        np.testing.assert_array_equal(conv(x, w, out=out), expected)
    residual = add.copy()
    np.testing.assert_array_equal(conv(values, w, add=residual, out=residual), conv(values, w, add=add))
    if algorithm == "small_groups":  # no shape of its inputs is one of its weights
        return
    # A shape that is an input's and a weight's at once.
    shape = {"depthwise_nhwc": (3, 1, 3, 3), "depthwise_nchw": (1, 1, 3, 3)}.get(algorithm, (3, 3, 3, 3))
    square = integers(shape, 4).astype(np.float32)
    of_channels = {"layout": "NHWC", "groups": 3} if algorithm == "depthwise_nhwc" else {}
    of_square = {"padding": 1, "algorithm": algorithm} | of_channels
    inside = square.copy()
    wanted = fastconv.conv2d(square, square, **of_square)
    np.testing.assert_array_equal(fastconv.conv2d(inside, inside, **of_square, out=inside), wanted)


@pytest.mark.parametrize("algorithm", ["auto", "small_groups", "depthwise_nchw", "implicit_gemm"])
def test_out_of_stride_phases_in_any_order(algorithm: str) -> None:
    """Rows, columns and channels backwards, far apart, or an axis that was put in: no phase lands elsewhere."""
    x, w = integers((1, 32, 7, 9), 1).astype(np.float32), integers((32, 1, 3, 3), 2).astype(np.float32)
    settings = {"stride": 2, "padding": 1, "groups": 32}
    expected = fastconv.conv_transpose2d(x, w, algorithm="reference", **settings)
    _, channels, height, width = expected.shape
    for make in (
        lambda: np.zeros(expected.shape, np.float32)[:, :, ::-1],
        lambda: np.zeros(expected.shape, np.float32)[:, :, :, ::-1],
        lambda: np.zeros(expected.shape, np.float32)[:, ::-1],
        lambda: np.zeros((1, channels, 3 * height, width + 5), np.float32)[:, :, ::3, 2:-3],
        lambda: np.zeros((1, height, channels, width), np.float32).transpose(0, 2, 1, 3),
    ):
        out = make()
        fastconv.conv_transpose2d(x, w, algorithm=algorithm, out=out, **settings)
        np.testing.assert_array_equal(out, expected)
    row, kernel = x[:, :, :1], w[:, :, :1]
    out = np.zeros((1, 32, 9), np.float32)[:, :, np.newaxis]
    fastconv.conv2d(
        row,
        kernel,
        padding=(0, 1),
        groups=32,
        algorithm=algorithm if algorithm != "depthwise_nchw" else "auto",
        out=out,
    )
    np.testing.assert_array_equal(out, fastconv.conv2d(row, kernel, padding=(0, 1), groups=32, algorithm="reference"))


def test_out_of_elements_that_overlap() -> None:
    """Views of all kinds, at random: kernels write in place only where every element has memory of its own."""
    rng = np.random.default_rng(0)
    memory = np.zeros(4096, np.float32)
    verdicts = set()
    for _ in range(3000):
        shape = tuple(int(size) for size in rng.integers(1, 5, 4))
        steps = rng.choice([0, 1, 2, 3, 4, 6, 8, 12, 24, 48], 4) * rng.choice([-1, 1], 4)
        view = np.lib.stride_tricks.as_strided(memory[2048:], shape, tuple(int(step) * 4 for step in steps))
        places = sum(index * step for index, step in zip(np.ogrid[tuple(map(slice, shape))], steps, strict=True))
        overlaps = np.unique(places).size < view.size
        if writable_in_place(view):
            assert not overlaps, (shape, steps)
        verdicts.add((bool(overlaps), writable_in_place(view)))
    assert {(True, False), (False, True)} <= verdicts


def test_lists_and_scalars_of_other_libraries() -> None:
    assert fastconv.conv1d([[1.0, 2.0, 4.0]], [[[1.0, -1.0]]]).tolist() == [[-1.0, -2.0]]

    class Holder:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            return np.array([[1.0, 2.0, 4.0]])

    assert fastconv.conv1d(Holder(), [[[1.0, -1.0]]]).tolist() == [[-1.0, -2.0]]


def test_memory_mapped_files(tmp_path: object) -> None:
    x, w, settings = arguments("plain")
    path = f"{tmp_path}/x.npy"
    np.save(path, x)
    mapped = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(fastconv.conv2d(mapped, w, **settings), fastconv.conv2d(x, w, **settings))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_out_of_a_subclass_with_operations_of_its_own() -> None:
    """A matrix stays 2-D whatever is done to it."""
    x, w = integers((3, 9), 1).astype(np.float64), integers((4, 3, 3), 2).astype(np.float64)
    out = np.matrix(np.zeros((4, 7)))
    assert fastconv.conv1d(np.matrix(x), w, out=out) is out
    np.testing.assert_array_equal(out, fastconv.conv1d(x, w))


def test_a_refused_call_changes_nothing() -> None:
    x, w, settings = arguments("plain")
    out = np.full((2, 5, 9, 11), 7, np.float32)
    for wrong in ({"groups": 2}, {"padding": -1}, {"stride": 0}, {"activation": "no"}, {"algorithm": "no"}):
        with pytest.raises((ValueError, TypeError)):
            fastconv.conv2d(x, w, **{**settings, **wrong}, out=out)
    assert (out == 7).all()
