"""Casts between float32 and 16-bit floats are NumPy's and ml_dtypes', bit for bit, in any order of axes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fastconv._cpu.elementwise.loops import cast, cast_into

FLOAT32 = np.dtype(np.float32)
HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]

pytestmark = pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")


def bits(array: np.ndarray) -> np.ndarray:
    """The bits; of NaN only its sign and that it is one, for NumPy keeps other payloads than the machine does."""
    found = np.ascontiguousarray(array).view(f"u{array.itemsize}").copy()
    nan = np.isnan(array)
    found[nan] |= np.array(0x7FFF if array.itemsize == 2 else 0x7FFFFFFF, found.dtype)
    return found


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_half(dtype: np.dtype) -> None:
    halves = np.arange(65536, dtype=np.uint16).view(dtype)
    wide = cast(halves, FLOAT32, 1)
    assert wide.dtype == FLOAT32
    np.testing.assert_array_equal(bits(wide), bits(halves.astype(FLOAT32)))
    # Widened halves are exact: they come back, but for the payloads that NaN may lose.
    narrow = cast(wide, dtype, 1)
    assert narrow.dtype == dtype
    np.testing.assert_array_equal(bits(narrow), bits(wide.astype(dtype)))
    numbers = ~np.isnan(halves)
    np.testing.assert_array_equal(narrow.view(np.uint16)[numbers], halves.view(np.uint16)[numbers])
    np.testing.assert_array_equal(np.isnan(narrow), ~numbers)


def test_nan_of_float16_is_quiet() -> None:
    halves = np.array([0x7C01, 0xFD55, 0x7E00], np.uint16)
    wide = cast(halves.view(np.float16), FLOAT32, 1).view(np.uint32)
    assert [hex(value) for value in wide] == ["0x7fc02000", "0xffeaa000", "0x7fc00000"]
    signalling = np.array([0x7F800001, 0xFF800001], np.uint32).view(np.float32)
    assert cast(signalling, HALVES[0], 1).view(np.uint16).tolist() == [0x7E00, 0xFE00]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_random_bits_and_ties_are_narrowed(dtype: np.dtype) -> None:
    """Numbers of all magnitudes, and every number halfway between two halves with its two neighbours."""
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 2**32, 3_000_000, dtype=np.uint32)
    near_float16 = rng.integers(0x32000000, 0x48000000, 1_000_000, dtype=np.uint32)
    halves = np.arange(0x7C00 if dtype == np.float16 else 0x7F80, dtype=np.uint16)
    low, high = (part.view(dtype).astype(np.float64) for part in (halves[:-1], halves[1:]))
    ties = ((low + high) / 2).astype(np.float32)
    edge = np.array([65504, 65519.996, 65520, 65520.004, 3.3961775e38, 3.4028235e38, np.inf, 2**-25, 0], np.float32)
    around = np.concatenate([np.nextafter(ties, np.float32(0)), ties, np.nextafter(ties, np.float32(np.inf)), edge])
    for given in (anything.view(np.float32), near_float16.view(np.float32), around, -around):
        np.testing.assert_array_equal(bits(cast(given, dtype, 2)), bits(given.astype(dtype)))


def arrays(dtype: np.dtype) -> dict[str, np.ndarray]:
    full = np.random.default_rng(1).standard_normal((4, 6, 10, 8)).astype(dtype)
    return {
        "contiguous": full,
        "transposed": full.transpose(0, 3, 1, 2),
        "reversed axes": full.T,
        "one of an axis": full[:, :1],
        "offset": full[1:],
        "gaps": full[:, ::2, :, 1:],
        "backwards": full[:, :, ::-1],
        "broadcast": np.broadcast_to(full[:1], full.shape),
        "one element": full[:1, :1, :1, :1],
        "no axes": full[0, 0, 0, 0, ...],
        "empty": full[:, :0],
    }


@pytest.mark.parametrize("kind", arrays(FLOAT32))
@pytest.mark.parametrize(("source", "target"), [(h, FLOAT32) for h in HALVES] + [(FLOAT32, h) for h in HALVES], ids=str)
def test_strides(source: np.dtype, target: np.dtype, kind: str) -> None:
    array = arrays(source)[kind]
    array.flags.writeable = False
    expected = array.astype(target)
    found = cast(array, target, 1)
    assert found.dtype == target
    assert found.shape == array.shape
    assert kind == "empty" or [s for s, n in zip(found.strides, found.shape, strict=True) if n > 1] == [
        s for s, n in zip(expected.strides, expected.shape, strict=True) if n > 1
    ]
    np.testing.assert_array_equal(bits(found), bits(expected))
    inside = np.zeros([n + 2 for n in array.shape], target)[(..., *(slice(1, n + 1) for n in array.shape))]
    for result in (np.empty_like(array, dtype=target), np.zeros(array.shape, target), inside):
        cast_into(array, result, 1)
        np.testing.assert_array_equal(bits(result), bits(expected))


def test_byte_order_and_alignment() -> None:
    numbers = np.random.default_rng(2).standard_normal((3, 50)).astype(np.float32)
    for given in (numbers.astype(">f4"), numbers.astype(">f2")):
        target = HALVES[0] if given.itemsize == 4 else FLOAT32
        np.testing.assert_array_equal(cast(given, target, 1), given.astype(target))
    swapped = np.zeros((3, 50), ">f2")
    cast_into(numbers, swapped, 1)
    np.testing.assert_array_equal(swapped, numbers.astype(np.float16))
    memory = np.zeros(numbers.nbytes + 1, np.uint8)
    odd = memory[1:].view(np.float32).reshape(numbers.shape)
    odd[...] = numbers
    np.testing.assert_array_equal(cast(odd, HALVES[0], 1), numbers.astype(np.float16))


def test_other_dtypes_are_numpys() -> None:
    numbers = np.arange(-5, 5, dtype=np.int8)
    assert cast(numbers, np.dtype(np.int8), 1) is numbers
    np.testing.assert_array_equal(cast(numbers, np.dtype(np.float64), 1), numbers.astype(np.float64))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("size", [32767, 32769, 2**19 + 17])
def test_threads(dtype: np.dtype, size: int) -> None:
    wide = np.random.default_rng(3).standard_normal(size).astype(np.float32)
    narrow = wide.astype(dtype)
    for threads in (1, 2, 5):
        np.testing.assert_array_equal(bits(cast(wide, dtype, threads)), bits(narrow))
        np.testing.assert_array_equal(cast(narrow, FLOAT32, threads), narrow.astype(np.float32))
