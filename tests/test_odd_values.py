"""Values that nobody means to pass: refused by name where they are no numbers, taken where they are after all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import fastconv

HUGE = 10**30


class Endless:
    """The protocol of sequences, without an end."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        return 1


class Failing:
    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise RuntimeError("no array here")


class Two:
    def __index__(self) -> int:
        return 2


NO_INTEGERS = {
    "nan": float("nan"),
    "NumPy float": np.float32(2),
    "bytes": b"22",
    "bytearray": bytearray(b"22"),
    "memoryview": memoryview(b"22"),
    "dict": {1: 2, 3: 4},
    "iterator": iter([1, 2]),
    "endless": Endless(),
    "Decimal": Decimal(2),
    "type": int,
    "bytes twice": [b"22", b"22"],
    "array of floats": np.array([1.0, 2.0]),
    "array of bools": np.array([True, True]),
    "array of a float": np.array(2.0),
    "array of text": np.array("2"),
}
NUMBERS = ("stride", "dilation", "groups", "padding", "threads", "output_padding", "output_size")


def arrays(**changes: Any) -> dict[str, Any]:
    """Arguments of a 2-D call that fits, with some changed."""
    rng = np.random.default_rng(0)
    made = {"x": rng.standard_normal((2, 4, 6, 7)), "w": rng.standard_normal((4, 4, 3, 3))}
    return made | changes


def refuse(kind: type[Exception], argument: str, value: Any) -> None:
    """The call with ``value`` as ``argument`` is refused, and the message says so in a few words."""
    function = fastconv.conv_transpose2d if argument.startswith("output_") else fastconv.conv2d
    with pytest.raises(kind, match=f"^{argument}: got .*; allowed: ") as caught:
        function(**arrays(**{argument: value}))
    assert type(caught.value) is kind
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("argument", NUMBERS)
@pytest.mark.parametrize("value", NO_INTEGERS.values(), ids=NO_INTEGERS)
def test_no_integers(argument: str, value: Any) -> None:
    refuse(TypeError, argument, value)


@pytest.mark.parametrize("argument", NUMBERS)
@pytest.mark.parametrize("value", [-HUGE, HUGE, 2**63, 2**64])
def test_numbers_beyond_every_machine(argument: str, value: int) -> None:
    refuse(ValueError, argument, value)


@pytest.mark.parametrize("word", ["x" * 10000, "\0", ["NCHW"], np.array([1, 2]), np.array(["a", "b"]), {}, object()])
@pytest.mark.parametrize("argument", ["layout", "w_layout", "padding_mode", "precision", "algorithm", "activation"])
def test_no_words(argument: str, word: Any) -> None:
    refuse(ValueError, argument, word)


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), 10**400])
def test_slopes_are_finite(slope: float) -> None:
    refuse(ValueError, "activation", ("leaky_relu", slope))


@pytest.mark.parametrize("slope", ["0.1", None, True, 1j, np.array([0.1])])
def test_slopes_are_numbers(slope: Any) -> None:
    refuse(TypeError, "activation", ("leaky_relu", slope))


@pytest.mark.parametrize("activation", [("relu", 1), ("leaky_relu",), ("leaky_relu", 1, 2), (np.array([1, 2]), 1)])
def test_no_other_activation_has_a_parameter(activation: Any) -> None:
    refuse(ValueError, "activation", activation)


@pytest.mark.parametrize("argument", ["x", "w", "bias", "add"])
@pytest.mark.parametrize("value", [Failing(), np, object(), iter([1.0]), np.zeros(4, "V4"), np.zeros(4, "M8[s]")])
def test_no_arrays(argument: str, value: Any) -> None:
    refuse(TypeError, argument, value)


@pytest.mark.parametrize("size", [HUGE, 2**62, 2**40])
def test_arrays_that_no_process_can_address(size: int) -> None:
    w, dy = np.zeros((4, 4, 3, 3)), np.zeros((2, 4, 4, 5))
    with pytest.raises(ValueError, match=r"^input_shape: got "):
        fastconv.grad.conv2d_input((2, 4, size, size), w, dy)
    with pytest.raises(ValueError, match=r"^(padding|x): got "):
        fastconv.conv2d(**arrays(padding=size))


@pytest.mark.parametrize(
    "two", [2, np.int8(2), np.uint64(2), np.array(2), Two(), (2, 2), [2], range(2, 3), np.array([2, 2])]
)
def test_integers_of_every_kind(two: Any) -> None:
    expected = fastconv.conv2d(**arrays(stride=2, dilation=2, padding=2))
    np.testing.assert_array_equal(fastconv.conv2d(**arrays(stride=two, dilation=two, padding=two)), expected)
    transposed = fastconv.conv_transpose2d(**arrays(stride=3, output_padding=2))
    np.testing.assert_array_equal(fastconv.conv_transpose2d(**arrays(stride=3, output_padding=two)), transposed)


@pytest.mark.parametrize("slope", [0.25, np.float32(0.25), np.float64(0.25)])
def test_slopes_of_every_kind(slope: Any) -> None:
    y = fastconv.conv2d(**arrays())
    leaky = fastconv.conv2d(**arrays(activation=("leaky_relu", slope)))
    np.testing.assert_array_equal(leaky, np.where(y < 0, y * 0.25, y))
