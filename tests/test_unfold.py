"""unfold and fold equal their definitions, element by element, and are each other's adjoints, exactly."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from pooling_cases import FLOATS, INTEGERS, integer_values

DTYPES = (*FLOATS, *INTEGERS, "complex64", "complex128")


@dataclass
class Case:
    """One call: the image and the settings."""

    image: np.ndarray
    settings: dict[str, Any]
    batched: bool

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.image.shape[-len(self.settings["kernel_size"]) :]

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        s = self.settings
        pads = [pad if isinstance(pad, tuple) else (pad, pad) for pad in s["padding"]]
        return tuple(
            len(range(-before, size + after - dilation * (kernel - 1), stride))
            for size, kernel, dilation, stride, (before, after) in zip(
                self.sizes, s["kernel_size"], s["dilation"], s["stride"], pads, strict=True
            )
        )

    def entries(self) -> Any:
        """(row without its channel, column, position in the image) of every element that is not padding."""
        s = self.settings
        for column, block in enumerate(itertools.product(*(range(count) for count in self.counts))):
            for row, tap in enumerate(itertools.product(*(range(kernel) for kernel in s["kernel_size"]))):
                before = [pad[0] if isinstance(pad, tuple) else pad for pad in s["padding"]]
                position = tuple(
                    b * stride + t * dilation - pad
                    for b, stride, t, dilation, pad in zip(block, s["stride"], tap, s["dilation"], before, strict=True)
                )
                if all(0 <= i < size for i, size in zip(position, self.sizes, strict=True)):
                    yield row, column, position

    def grid(self) -> np.ndarray:
        """Zeros of the columns' shape with rows split into (channel, tap)."""
        lead = self.image.shape[: self.image.ndim - len(self.sizes)]
        elements = math.prod(self.settings["kernel_size"])
        return np.zeros((*lead, elements, math.prod(self.counts)), self.image.dtype)

    def as_columns(self, grid: np.ndarray) -> np.ndarray:
        return grid.reshape(*grid.shape[:-3], grid.shape[-3] * grid.shape[-2], grid.shape[-1])

    def unfolded(self) -> np.ndarray:
        grid = self.grid()
        for row, column, position in self.entries():
            grid[..., row, column] = self.image[(..., *position)]
        return self.as_columns(grid)

    def folded(self, columns: np.ndarray) -> np.ndarray:
        image = np.zeros_like(self.image)
        grid = columns.reshape(self.grid().shape)
        for row, column, position in self.entries():
            image[(..., *position)] += grid[..., row, column]
        return image


@st.composite
def cases(draw: st.DrawFn, dtypes: tuple[str, ...] = DTYPES) -> Case:
    """Images of one to three axes, with every setting."""
    rank = draw(st.integers(1, 3))
    batched = draw(st.booleans())
    sizes = draw(st.tuples(*[st.integers(1, {1: 20, 2: 7, 3: 4}[rank])] * rank))
    kernel, dilation, pads = [], [], []
    for size in sizes:
        taps, step = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 3]))
        pad = draw(st.integers(0, 3) | st.tuples(st.integers(-1, 3), st.integers(-1, 3)))
        total = sum(pad) if isinstance(pad, tuple) else 2 * pad
        if size + total < 1:
            pad, total = 0, 0
        while step * (taps - 1) + 1 > size + total:
            taps -= 1
        kernel.append(taps)
        dilation.append(step)
        pads.append(pad)
    if any(isinstance(pad, tuple) for pad in pads):
        pads = [pad if isinstance(pad, tuple) else (pad, pad) for pad in pads]
    settings = {
        "kernel_size": tuple(kernel),
        "dilation": tuple(dilation),
        "padding": tuple(pads),
        "stride": draw(st.tuples(*[st.integers(1, 3)] * rank)),
    }
    lead = (draw(st.integers(0, 2)),) if batched else ()
    shape = (*lead, draw(st.integers(1, 3)), *sizes)
    return Case(integer_values(draw(st.integers(0, 999)), shape, draw(st.sampled_from(dtypes))), settings, batched)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@given(case=cases((*DTYPES, "bool")))
def test_unfold(case: Case) -> None:
    assert_same(fastconv.unfold(case.image, **case.settings), case.unfolded())


@given(case=cases(), seed=st.integers(0, 99))
def test_fold(case: Case, seed: int) -> None:
    columns = integer_values(seed, case.as_columns(case.grid()).shape, case.image.dtype.name)
    assert_same(fastconv.fold(columns, case.sizes, **case.settings), case.folded(columns))


@given(case=cases(("float32", "complex64", "int64")), seed=st.integers(0, 99))
def test_gradients(case: Case, seed: int) -> None:
    """unfold's gradient is fold and fold's is unfold; <columns, unfold(image)> = <fold(columns), image> exactly."""
    image, s = case.image, case.settings
    columns = integer_values(seed, case.as_columns(case.grid()).shape, image.dtype.name)
    unfolded, folded = fastconv.unfold(image, **s), fastconv.fold(columns, case.sizes, **s)
    assert (columns * unfolded).sum() == (folded * image).sum()
    for like in (image, image.shape):
        assert_same(fastconv.unfold_backward(columns, like, **s), folded)
    assert_same(fastconv.fold_backward(image, case.sizes, **s), unfolded)


def test_unfold_turns_a_convolution_into_a_product() -> None:
    x, w = integer_values(1, (2, 3, 9, 8), "float32"), integer_values(2, (4, 3, 3, 2), "float32")
    settings = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    y = fastconv.conv2d(x, w, **settings)
    product = w.reshape(4, -1) @ fastconv.unfold(x, (3, 2), **settings)
    np.testing.assert_array_equal(product.reshape(y.shape), y)


@pytest.mark.parametrize("word", ["same", "same_lower", "full", "valid"])
def test_padding_words(word: str) -> None:
    x = integer_values(3, (1, 2, 6, 7), "float32")
    pads = {"same": ((1, 2),) * 2, "same_lower": ((2, 1),) * 2, "full": ((3, 3),) * 2, "valid": ((0, 0),) * 2}[word]
    np.testing.assert_array_equal(fastconv.unfold(x, 4, padding=word), fastconv.unfold(x, 4, padding=pads))


def test_over_how_many_axes_blocks_slide() -> None:
    """As many as kernel_size or output_size list; with ints alone two, as in torch, or what the array leaves."""
    ones = np.ones
    assert fastconv.unfold(ones((2, 3, 5, 6)), 2).shape == (2, 12, 20)
    assert fastconv.unfold(ones((3, 5, 6)), 2).shape == (12, 20)
    assert fastconv.unfold(ones((3, 5, 6)), (2,)).shape == (3, 10, 5)
    assert fastconv.unfold(ones((5, 6)), 2).shape == (10, 5)
    assert fastconv.unfold(ones((1, 2, 3, 4, 5)), 2).shape == (1, 16, 24)
    assert fastconv.unfold(ones((2, 3, 4, 5)), (2, 2, 2)).shape == (16, 24)
    assert fastconv.fold(ones((4, 9)), 4, 2).shape == (1, 4, 4)
    assert fastconv.fold(ones((4, 3)), (4,), 2).shape == (2, 4)
    assert fastconv.fold(ones((2, 8, 8)), (3, 3, 3), 2).shape == (2, 1, 3, 3, 3)


def test_empty_batches_and_channels() -> None:
    assert fastconv.unfold(np.ones((0, 3, 5, 5)), 2).shape == (0, 12, 16)
    assert fastconv.unfold(np.ones((2, 0, 5, 5)), 2).shape == (2, 0, 16)
    assert fastconv.fold(np.ones((0, 12, 16)), 5, 2).shape == (0, 3, 5, 5)
    assert fastconv.fold(np.ones((2, 0, 16)), 5, 2).shape == (2, 0, 5, 5)


def test_half_floats_are_summed_in_float32() -> None:
    """1 and sixteen quarters of its last digit: rounding after every addition would lose them all."""
    for dtype in (np.float16, ml_dtypes.bfloat16):
        columns = np.full((17, 17), float(ml_dtypes.finfo(dtype).eps) / 4).astype(dtype)
        columns[0, :] = 1
        folded = fastconv.fold(columns, (33,), 17)
        assert folded.dtype == dtype
        assert float(folded[0, 16]) == 1 + 4 * float(ml_dtypes.finfo(dtype).eps)


def test_out_may_be_the_input() -> None:
    x = integer_values(4, (1, 1, 4, 4), "float32")
    memory = np.zeros(36, np.float32)
    memory[:16] = x.ravel()
    out = memory.reshape(1, 4, 9)
    assert fastconv.unfold(memory[:16].reshape(x.shape), 2, out=out) is out
    np.testing.assert_array_equal(out, fastconv.unfold(x, 2))
