"""Pooling by its definition, one window after the other in plain Python, and random cases of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastconv
from operands import numpy_dtype

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64", "float16", "bfloat16")

Positions = list[int]
Axis = list[tuple[Positions, int]]
"""For every output of an axis: the positions it owns, and how many of them there are with the padding."""


def sliding_axis(size: int, kernel: int, stride: int, pad: tuple[int, int], dilation: int, ceil_mode: bool) -> Axis:
    """Windows that start every ``stride`` elements of the padded axis."""
    before, after = pad
    extent = dilation * (kernel - 1) + 1
    axis = []
    for start in itertools.count(-before, stride):
        beyond = start + extent - (size + after)
        if beyond > 0 and not (ceil_mode and beyond < stride and start < size):
            return axis
        touched = [start + tap * dilation for tap in range(kernel)]
        inside = [position for position in touched if 0 <= position < size]
        axis.append((inside, sum(position < size + after for position in touched)))
    raise AssertionError("never reached")


def adaptive_axis(size: int, outputs: int) -> Axis:
    """Windows that share the axis out evenly."""
    bounds = [(output * size // outputs, math.ceil((output + 1) * size / outputs)) for output in range(outputs)]
    return [(list(range(first, end)), end - first) for first, end in bounds]


@dataclass
class PoolCase:
    """One call: the function's name without its rank, x in canonical order (n, c, spatial), and the settings."""

    name: str
    x: np.ndarray
    settings: dict[str, Any]
    axes: list[Axis] = field(default_factory=list)
    channels_last: bool = False
    batched: bool = True

    def __post_init__(self) -> None:
        if self.axes:
            return
        sizes, s = self.x.shape[2:], self.settings
        if self.name.startswith("adaptive"):
            self.axes = [
                adaptive_axis(size, size if wanted is None else wanted)
                for size, wanted in zip(sizes, s["output_size"], strict=True)
            ]
            return
        rank = len(sizes)
        pads = [pad if isinstance(pad, tuple) else (pad, pad) for pad in s.get("padding", (0,) * rank)]
        dilation = s.get("dilation", (1,) * rank)
        stride = s.get("stride") or s["kernel_size"]
        self.axes = [
            sliding_axis(*axis, s.get("ceil_mode", False))
            for axis in zip(sizes, s["kernel_size"], stride, pads, dilation, strict=True)
        ]

    @property
    def rank(self) -> int:
        return self.x.ndim - 2

    @property
    def result_shape(self) -> tuple[int, ...]:
        """In canonical order."""
        return (*self.x.shape[:2], *(len(axis) for axis in self.axes))

    @property
    def planes_shape(self) -> tuple[int, ...]:
        """(n, c, elements of a plane)."""
        return (*self.x.shape[:2], math.prod(self.x.shape[2:]))

    def given(self, array: np.ndarray) -> np.ndarray:
        """A canonical array as the call takes it."""
        array = array if self.batched else array[0]
        return np.ascontiguousarray(np.moveaxis(array, -self.rank - 1, -1)) if self.channels_last else array

    def canonical(self, array: np.ndarray) -> np.ndarray:
        """An array of the call's in canonical order."""
        array = np.moveaxis(array, -1, -self.rank - 1) if self.channels_last else array
        return array if self.batched else array[None]

    def call(self, suffix: str, *arrays: Any, **more: Any) -> Any:
        """The function of the case's name and rank with ``suffix``, on arrays in the call's layout."""
        function = getattr(fastconv, f"{self.name}{self.rank}d{suffix}")
        return function(*arrays, layout=LAYOUTS[self.rank][self.channels_last], **self.settings, **more)

    def forward(self, **more: Any) -> Any:
        return self.call("", self.given(self.x), **more)

    def windows(self) -> Any:
        """For every output its index without n and c, the flat positions it owns, and their number with the padding."""
        sizes = self.x.shape[2:]
        for output in itertools.product(*(range(len(axis)) for axis in self.axes)):
            owned = [axis[index] for axis, index in zip(self.axes, output, strict=True)]
            positions = itertools.product(*(inside for inside, _ in owned))
            flat = [int(np.ravel_multi_index(position, sizes)) for position in positions]
            yield output, flat, math.prod(count for _, count in owned)

    def maxima(self) -> tuple[np.ndarray, np.ndarray]:
        """Maxima and where they are: the first of equals, the last NaN."""
        lowest = -np.inf if self.x.dtype.name in FLOATS else np.iinfo(self.x.dtype).min
        values = np.full(self.result_shape, lowest).astype(self.x.dtype)
        indices = np.full(self.result_shape, -1)
        planes = self.x.reshape(self.planes_shape)
        for output, flat, _ in self.windows():
            for plane in np.ndindex(*self.x.shape[:2]):
                for number, position in enumerate(flat):
                    value, best = planes[(*plane, position)], values[plane + output]
                    if number == 0 or value > best or value != value:
                        values[plane + output], indices[plane + output] = value, position
        return values, indices

    def divisors(self) -> np.ndarray:
        """The divisor of every output of an average."""
        divisors = np.ones(self.result_shape[2:], np.int64)
        for output, flat, padded_count in self.windows():
            count = padded_count if self.settings.get("count_include_pad", True) else len(flat)
            divisors[output] = self.settings.get("divisor_override") or count or 1
        return divisors

    def sums(self) -> np.ndarray:
        """The exact sums of integers, as int64 or complex128."""
        wide = self.x.astype(np.complex128 if self.x.dtype.kind == "c" else np.int64)
        planes = wide.reshape(self.planes_shape)
        sums = np.zeros(self.result_shape, wide.dtype)
        for output, flat, _ in self.windows():
            sums[(..., *output)] = planes[..., flat].sum(axis=-1)
        return sums

    def averages(self) -> np.ndarray:
        """The exact averages of integers, rounded as the dtype's quotients are."""
        sums, divisors = self.sums(), self.divisors()
        if self.x.dtype == np.int64:
            return np.abs(sums) // np.abs(divisors) * np.sign(sums) * np.sign(divisors)
        if self.x.dtype.kind == "c":
            return (sums.real / divisors + 1j * (sums.imag / divisors)).astype(self.x.dtype)
        quotients = sums / divisors
        if self.x.dtype.itemsize == 2:
            # Half floats are summed and divided in float32.
            return quotients.astype(np.float32).astype(self.x.dtype)
        return quotients.astype(self.x.dtype)

    def spread(self, shares: np.ndarray) -> np.ndarray:
        """What every element of x gets when every output gives its share to each element that it owns."""
        planes = np.zeros(self.planes_shape, shares.dtype)
        for output, flat, _ in self.windows():
            planes[..., flat] += shares[(..., *output)][..., None]
        return planes.reshape(self.x.shape)

    def scatter(self, indices: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What every element of x gets when every output gives its value to the element that its index names."""
        planes = np.zeros(self.planes_shape, values.dtype)
        for where in np.ndindex(*indices.shape):
            if indices[where] >= 0:
                planes[(*where[:2], indices[where])] += values[where]
        return planes.reshape(self.x.shape)


def integer_values(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Small integers, many of them equal."""
    rng = np.random.default_rng(seed)
    least = 0 if dtype.startswith("uint") else -3
    values = rng.integers(least, 4, shape)
    if dtype.startswith("complex"):
        return (values + 1j * rng.integers(-3, 4, shape)).astype(dtype)
    return values.astype(numpy_dtype(dtype))


def real_values(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Integers with NaN, infinities, zeros of both signs and whole stretches of -inf among them."""
    rng = np.random.default_rng(seed)
    values = integer_values(seed, shape, dtype)
    if dtype in INTEGERS:
        values[rng.random(shape) < 0.2] = np.iinfo(dtype).max
        values[rng.random(shape) < 0.3] = np.iinfo(dtype).min
        return values
    values[rng.random(shape) < 0.2] = -0.0
    for special, part in ((np.nan, 0.1), (np.inf, 0.05), (-np.inf, rng.choice([0.0, 0.3, 1.0]))):
        if rng.random() < 0.5:
            values[rng.random(shape) < part] = special
    return values


@st.composite
def pool_cases(draw: st.DrawFn, name: str, dtypes: tuple[str, ...], special: bool = False) -> PoolCase:
    """Random calls of ``name``, of every rank, layout, dtype and setting."""
    rank = draw(st.integers(1, 3))
    sizes = draw(st.tuples(*[st.integers(1, {1: 40, 2: 9, 3: 5}[rank])] * rank))
    settings = draw(_adaptive_settings(rank) if name.startswith("adaptive") else _settings(name, rank, sizes))
    batched = draw(st.booleans())
    shape = (draw(st.integers(0, 3)) if batched else 1, draw(st.sampled_from([1, 2, 3, 8, 11])), *sizes)
    make = real_values if special else integer_values
    x = make(draw(st.integers(0, 2**16)), shape, draw(st.sampled_from(dtypes)))
    return PoolCase(name, x, settings, channels_last=draw(st.booleans()), batched=batched)


def _adaptive_settings(rank: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"output_size": st.tuples(*[st.none() | st.integers(1, 8)] * rank)})


@st.composite
def _settings(draw: st.DrawFn, name: str, rank: int, sizes: tuple[int, ...]) -> dict[str, Any]:
    def each(strategy: st.SearchStrategy[int]) -> tuple[int, ...]:
        return draw(st.tuples(*[strategy] * rank))

    ceil_mode = draw(st.booleans())
    dilation = each(st.sampled_from([1, 1, 1, 2, 3]))
    kernel, pads = [], []
    for size, step in zip(sizes, dilation, strict=True):
        taps = draw(st.integers(1, 5))
        pair = draw(st.just((taps // 2,) * 2) | st.tuples(*[st.integers(0, step * (taps - 1))] * 2))
        while step * (taps - 1) + 1 > size + sum(pair):
            taps -= 1
            pair = (min(pair[0], step * (taps - 1)), min(pair[1], step * (taps - 1)))
        kernel.append(taps)
        pads.append(pair)
    settings: dict[str, Any] = {"kernel_size": tuple(kernel), "padding": tuple(pads), "ceil_mode": ceil_mode}
    if draw(st.booleans()):
        settings["stride"] = each(st.integers(1, 4))
    if any(step != 1 for step in dilation):
        settings["dilation"] = dilation
    if name.startswith("avg"):
        settings["count_include_pad"] = draw(st.booleans())
        if draw(st.integers(0, 3)) == 0:
            settings["divisor_override"] = draw(st.sampled_from([-2, 1, 3, 7]))
    return settings
