"""``jax.lax``'s convolutions on plain arrays, by their definition; and beside JAX where that is installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from fastconv.compat import lax

DTYPES = ("int8", "uint8", "int16", "int32", "uint32", "int64", "bool", "float16", "float32", "float64", "complex64")


def values(rng: np.random.Generator, shape: Any, dtype: str) -> np.ndarray:
    kind = np.dtype(dtype).kind
    if kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if kind == "c" else x).astype(dtype)


def padded(x: np.ndarray, dilation: Any, pads: Any) -> np.ndarray:
    """Zeros between the elements, then zeros or nothing around them."""
    for axis, (d, (low, high)) in enumerate(zip(dilation, pads, strict=True), 2):
        size = x.shape[axis]
        spread = np.zeros((*x.shape[:axis], max((size - 1) * d + 1, 0), *x.shape[axis + 1 :]), x.dtype)
        spread[(slice(None),) * axis + (slice(None, None, d),)] = x
        whole = [(0, 0)] * x.ndim
        whole[axis] = (max(low, 0), max(high, 0))
        around = np.pad(spread, whole)
        x = np.take(around, range(max(-low, 0), around.shape[axis] - max(-high, 0)), axis)
    return x


def definition(x: Any, w: Any, strides: Any, pads: Any, spread: Any, dilation: Any, groups: int, batches: int) -> Any:
    """Of (N, C, ...) and (O, I, ...), element by element."""
    x = padded(x, spread, pads)
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    sizes = [max((size - r) // s + 1, 0) for size, r, s in zip(x.shape[2:], reach, strides, strict=True)]
    count = x.shape[0] // batches
    y = np.zeros((count, w.shape[0], *sizes), x.dtype)
    for o, place in itertools.product(range(w.shape[0]), itertools.product(*map(range, sizes))):
        own = slice(o // (w.shape[0] // groups) * w.shape[1], (o // (w.shape[0] // groups) + 1) * w.shape[1])
        images = slice(o // (w.shape[0] // batches) * count, (o // (w.shape[0] // batches) + 1) * count)
        seen = tuple(slice(p * s, p * s + r, d) for p, s, r, d in zip(place, strides, reach, dilation, strict=True))
        terms = x[(images, own, *seen)] * w[o]
        y[(slice(None), o, *place)] = terms.reshape(count, -1).sum(axis=1, dtype=x.dtype)
    return y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4])
def test_is_what_is_defined(rank: int, dtype: str) -> None:
    rng = np.random.default_rng(rank)
    for groups, batches in ((1, 1), (2, 1), (1, 2)):
        x = values(rng, (2, 2 * groups, *rng.integers(2, 6, rank)), dtype)
        w = values(rng, (4, 2, *rng.integers(1, 3, rank)), dtype)
        strides, spread, dilation = (tuple(map(int, rng.integers(1, 3, rank))) for _ in range(3))
        pads = [(int(low), int(high)) for low, high in rng.integers(-1, 4, (rank, 2))]
        wanted = definition(x, w, strides, pads, spread, dilation, groups, batches)
        found = lax.conv_general_dilated(x, w, strides, pads, spread, dilation, None, groups, batches)
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        if found.dtype.kind in "iub":
            assert np.array_equal(found, wanted)
        else:
            limit = {"float16": 1e-2, "float64": 1e-13}.get(dtype, 4e-6)
            assert np.abs(found - wanted).max(initial=0) <= limit * max(np.abs(wanted).max(initial=0), 1)


def test_dimension_numbers() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.random((2, 3, 6, 5)), rng.random((4, 3, 3, 2))
    plain = lax.conv_general_dilated(x, w, (1, 2), "SAME")
    words = ("HNWC", "WOIH", "CWHN")
    # Strides belong to the spatial axes as rhs has them: W, H.
    arrays = x.transpose(2, 0, 3, 1), w.transpose(3, 0, 1, 2)
    for numbers in (words, list(words), lax.conv_dimension_numbers(arrays[0].shape, arrays[1].shape, words)):
        y = lax.conv_general_dilated(*arrays, (2, 1), "SAME", dimension_numbers=numbers)
        assert np.allclose(y, plain.transpose(1, 3, 2, 0))


def test_sizes_of_zero() -> None:
    for x, w in (((0, 3, 5), (4, 3, 2)), ((2, 0, 5), (4, 0, 2)), ((2, 3, 5), (0, 3, 2)), ((2, 3, 1), (4, 3, 2))):
        y = lax.conv(np.ones(x), np.ones(w), (1,), "VALID")
        assert y.shape == (x[0], w[0], max(x[2] - 1, 0))
        assert not y.any()
    cut = lax.conv_general_dilated(np.ones((1, 1, 5)), np.ones((1, 1, 2)), (1,), [(-7, 10)])
    assert np.array_equal(cut, np.zeros((1, 1, 7)))


@pytest.mark.parametrize(
    ("arguments", "more", "error", "words"),
    [
        (((3, 3, 5), (4, 3)), {}, TypeError, "lhs, rhs: got shapes"),
        (((3,), (4,)), {"window_strides": ()}, TypeError, "lhs, rhs: got shapes"),
        (((2, 3, 5), (4, 2, 2)), {}, ValueError, "rhs: got 2 channels"),
        (((2, 3, 5), (4, 3, 2)), {"window_strides": (0,)}, ValueError, "window_strides: got"),
        (((2, 3, 5), (4, 3, 2)), {"window_strides": (1, 1)}, ValueError, "window_strides: got"),
        (((2, 3, 5), (4, 3, 2)), {"rhs_dilation": (0,)}, TypeError, "rhs_dilation: got"),
        (((2, 3, 5), (4, 3, 2)), {"padding": "causal"}, RuntimeError, "padding: got 'causal'"),
        (((2, 3, 5), (4, 3, 2)), {"padding": 3}, ValueError, "padding: got 3"),
        (((2, 3, 5), (4, 3, 2)), {"padding": [(-6, 0)]}, ValueError, "padding: got"),
        (((2, 3, 5), (4, 3, 2)), {"lhs_dilation": (2,)}, ValueError, "padding: got 'VALID' with lhs_dilation"),
        (((2, 3, 5), (4, 3, 2)), {"feature_group_count": 2}, ValueError, "feature_group_count: got 2"),
        (((3, 3, 5), (4, 3, 2)), {"batch_group_count": 2}, ValueError, "batch_group_count: got 2"),
        (((2, 3, 5), (4, 3, 2)), {"dimension_numbers": ("NCH", "OIH", "NCX")}, TypeError, "dimension_numbers: got"),
        (((2, 3, 5), (4, 3, 2)), {"precision": "some"}, ValueError, "precision: got"),
        (((2, 3, 5), (4, 3, 2)), {"preferred_element_type": np.float32}, TypeError, "preferred_element_type: got"),
    ],
)
def test_refusals(arguments: Any, more: dict[str, Any], error: type[Exception], words: str) -> None:
    x, w = map(np.ones, arguments)
    with pytest.raises(error, match=words):
        lax.conv_general_dilated(x, w, **{"window_strides": (1,), "padding": "VALID", **more})
    with pytest.raises(TypeError, match="rhs: got float32"):
        lax.conv(np.ones((1, 1, 3)), np.ones((1, 1, 3), np.float32), (1,), "VALID")


def test_transposed_sizes() -> None:
    x, w = np.ones((1, 4, 8)), np.ones((3, 8, 2))
    for words, size in (("SAME", 8), ("VALID", 9), ([(1, 2)], 8)):
        assert lax.conv_transpose(x, w, (2,), words).shape == (1, size, 2)
    assert lax.conv_transpose(x, w.swapaxes(1, 2), (2,), "SAME", transpose_kernel=True).shape == (1, 8, 2)


def test_inside_of_jax() -> None:
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    x, w = rng.random((2, 4, 8, 7), np.float32), rng.random((6, 2, 3, 2), np.float32)
    how: dict[str, Any] = {"window_strides": (2, 1), "padding": [(1, 0), (2, 1)], "feature_group_count": 2}

    def loss(function: Any) -> Any:
        return lambda x, w: (function(x, w, **how) ** 2).sum()

    wanted = jax.grad(loss(jax.lax.conv_general_dilated), (0, 1))(x, w)
    found = jax.jit(jax.grad(loss(lax.conv_general_dilated), (0, 1)))(x, w)
    for one, other in zip(found, wanted, strict=True):
        assert np.allclose(one, other, rtol=1e-4)


@pytest.mark.full
def test_jaxs_harnesses() -> None:
    """The cases that JAX's wheel has of this operator, on plain arrays."""
    pytest.importorskip("jax")
    harnesses = pytest.importorskip("jax._src.internal_test_util.test_harnesses")
    rng, passed = np.random.RandomState(0), 0
    names = ("lhs_dilation", "rhs_dilation", "dimension_numbers", "feature_group_count", "batch_group_count")
    for harness in harnesses.all_harnesses:
        if harness.group_name == "conv_general_dilated":
            lhs, rhs, *_ = arguments = harness.dyn_args_maker(rng)
            wanted, case = np.asarray(harness.dyn_fun(*arguments)), harness.params
            more = {name: case[name] for name in (*names, "precision", "preferred_element_type")}
            lhs, rhs = np.asarray(lhs), np.asarray(rhs)
            found = lax.conv_general_dilated(lhs, rhs, case["window_strides"], case["padding"], **more)
            assert found.shape == wanted.shape
            wide = np.complex128 if wanted.dtype.kind == "c" else np.float64
            error = np.abs(found.astype(wide) - wanted.astype(wide)).max(initial=0)
            limit = {"float16": 2e-3, "bfloat16": 2e-2}.get(lhs.dtype.name, 1e-5)
            assert error <= limit * np.abs(wanted.astype(wide)).max(initial=0), harness.fullname
            passed += 1
    assert passed >= 110
