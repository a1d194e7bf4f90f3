"""Pooling of all kinds, unfold and fold, and their gradients: Case -> Subject."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import fastconv

from . import windows
from .case import Case
from .convolutions import padding_argument
from .definition import pads_of
from .layouts import channel_view, to_user
from .subject import Arrays, Expected, How, Results, Subject
from .values import values, wide
from .windows import Axis


def axes_of(case: Case) -> list[Axis]:
    """The case's windows."""
    if "global" in case.function:
        return [Axis.shared(size, 1) for size in case.size]
    if "adaptive" in case.function:
        assert case.output_size is not None
        outputs = [size if wanted is None else wanted for size, wanted in zip(case.size, case.output_size, strict=True)]
        return [Axis.shared(size, count) for size, count in zip(case.size, outputs, strict=True)]
    stride = case.kernel if case.default_stride else case.stride
    pads = pads_of(case.padding, case.size, case.kernel, stride, case.dilation)
    axes = zip(case.size, case.kernel, stride, pads, case.dilation, strict=True)
    return [Axis.sliding(*axis, case.ceil_mode) for axis in axes]


def _pairs(case: Case) -> Sequence[tuple[int, int]]:
    """Padding in numbers; zeros where it is a word."""
    return ((0, 0),) * case.rank if isinstance(case.padding, str) else case.padding


def _spatial_settings(case: Case) -> dict[str, Any]:
    given = {"kernel_size": case.kernel, "padding": padding_argument(case), "dilation": case.dilation}
    # A pooling takes less of a single number than of a pair.
    if "pool" in case.function and any(pair[0] > k // 2 for pair, k in zip(_pairs(case), case.kernel, strict=True)):
        given["padding"] = case.padding
    return given if case.default_stride else {**given, "stride": case.stride}


def _pool_refusal(case: Case, sizes: Sequence[int]) -> str | None:
    """Why a pooling has to be refused."""
    if min(case.size) < 1:
        return "an empty axis"
    if "adaptive" in case.function or "global" in case.function:
        return None
    reach = [step * (k - 1) + 1 for step, k in zip(case.dilation, case.kernel, strict=True)]
    if any(not 0 <= number < r for pair, r in zip(_pairs(case), reach, strict=True) for number in pair):
        return "padding that a window cannot reach over"
    return "a window larger than the padded input" if min(sizes) < 1 else None


class Pool:
    """max and avg pooling: sliding, adaptive and global, and their gradients."""

    def __init__(self, case: Case) -> None:
        self.case, self.axes = case, axes_of(case)
        self.is_gradient, self.is_maximum = case.function.endswith("_backward"), "max_pool" in case.function
        self.is_global = "global" in case.function
        self.x_shape = (case.batch, case.channels, *case.size)
        self.y_shape = (case.batch, case.channels, *windows.output_sizes(self.axes))

    def subject(self) -> Subject:
        """The case made ready."""
        case, rng = self.case, np.random.default_rng(self.case.seed)
        refused = _pool_refusal(case, self.y_shape[2:])
        arrays = {"x": self._values(rng, to_user(case, self.x_shape))}
        if self.is_gradient:
            arrays["dy"] = self._values(rng, self._y_user(self.y_shape))
            if case.indices and not refused:
                _, places = windows.maxima(channel_view(case, arrays["x"]), self.axes)
                arrays["indices"] = channel_view(case, places, back=True)
        made = Subject(case, arrays, self._call, self._expect, algorithms=False, refused=refused)
        made.directions = ("backward",) if self.is_gradient else ("forward",)
        if not self.is_gradient:
            made.result_shape = self._y_user(self.y_shape)
        return made

    def _values(self, rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
        # Many elements are equal, so that it shows which of them is taken.
        return values(rng, shape, self.case.dtype, self.case.data)

    def _y_user(self, shape: Sequence[int]) -> tuple[int, ...]:
        if self.is_global and not self.case.keepdims:
            return tuple(shape[:2])
        return to_user(self.case, shape)

    def _y_view(self, array: np.ndarray) -> np.ndarray:
        """The (N, C, sizes...) view of a result of the user's."""
        if self.is_global and not self.case.keepdims:
            return array.reshape(*array.shape, *(1,) * self.case.rank)
        return channel_view(self.case, array)

    def _call(self, arrays: Arrays, how: How) -> Results:
        case = self.case
        given: dict[str, Any] = {"layout": "channels_last" if case.channels_last else None, "threads": how.threads}
        if self.is_global:
            given["keepdims"] = case.keepdims
        elif "adaptive" in case.function:
            given["output_size"] = case.output_size
        else:
            given |= {**_spatial_settings(case), "ceil_mode": case.ceil_mode}
            if not self.is_maximum:
                given |= {"count_include_pad": case.count_include_pad, "divisor_override": case.divisor_override}
        function = getattr(fastconv, case.name)
        if self.is_gradient:
            x: Any = arrays["x"]
            if "indices" in arrays:
                given["indices"] = arrays["indices"]
            if case.shape_only and (not self.is_maximum or "indices" in arrays):
                x = x.shape
            return (function(arrays["dy"], x, **given),)
        if self.is_maximum and case.return_indices and not self.is_global:
            return tuple(function(arrays["x"], return_indices=True, out=how.out, **given))
        return (function(arrays["x"], out=how.out, **given),)

    def _expect(self, arrays: Arrays) -> list[Expected | None]:
        case = self.case
        with np.errstate(all="ignore"):
            x = channel_view(case, arrays["x"])
            if self.is_gradient:
                places = self._y_view(arrays["indices"]) if "indices" in arrays else None
                return [self._expected_gradient(x, self._y_view(arrays["dy"]), places)]
            if self.is_maximum:
                best, places = windows.maxima(x, self.axes)
                found = [best if x.dtype.kind in "iu" else wide(best), places]
                shown = [self._shown(array) for array in found]
                return [
                    Expected(array) for array in (shown if case.return_indices and not self.is_global else shown[:1])
                ]
            return [self._expected_average(x)]

    def _expected_average(self, x: np.ndarray) -> Expected:
        case = self.case
        divisor = windows.divisors(self.axes, case.count_include_pad, case.divisor_override)
        if x.dtype == np.int64:
            total = windows.sums(x, self.axes)
            return Expected(self._shown(np.abs(total) // np.abs(divisor) * np.sign(total) * np.sign(divisor)))
        total = windows.sums(wide(x), self.axes)
        value = total.real / divisor + 1j * (total.imag / divisor) if np.iscomplexobj(total) else total / divisor
        if x.dtype.itemsize == 2:  # half floats are divided in float32
            value = value.astype(np.float32).astype(np.float64)
        if case.data == "normal":
            finite = np.where(np.isfinite(wide(x)), np.abs(wide(x)), 1)
            return Expected(self._shown(value), self._shown(windows.sums(finite, self.axes) / np.abs(divisor)))
        return Expected(self._shown(value))

    def _expected_gradient(self, x: np.ndarray, dy: np.ndarray, places: np.ndarray | None) -> Expected:
        case, given = self.case, wide(dy)
        if self.is_maximum:
            if places is None:
                _, places = windows.maxima(x, self.axes)
            dx = windows.scatter(places, given, case.size)
            weights = windows.scatter(places, np.abs(np.where(np.isfinite(given), given, 1)), case.size)
            exact = case.data != "normal"
        else:
            divisor = windows.divisors(self.axes, case.count_include_pad, case.divisor_override)
            dx = windows.spread(given / divisor, self.axes)
            weights = windows.spread(np.abs(np.where(np.isfinite(given), given, 1)) / np.abs(divisor), self.axes)
            exact = False
        value = channel_view(case, dx, back=True)
        return Expected(value) if exact else Expected(value, channel_view(case, weights, back=True), smooth=True)

    def _shown(self, array: np.ndarray) -> np.ndarray:
        if self.is_global and not self.case.keepdims:
            return array.reshape(array.shape[:2])
        return channel_view(self.case, array, back=True)


class Blocks:
    """unfold, fold and their gradients."""

    def __init__(self, case: Case) -> None:
        self.case, self.axes = case, axes_of(case)
        self.unfolds = case.function in ("unfold", "fold_backward")
        blocks = math.prod(windows.output_sizes(self.axes))
        batch = (case.batch,) if case.batched else ()
        self.image_shape = (*batch, case.channels, *case.size)
        self.columns_shape = (*batch, case.channels * math.prod(case.kernel), blocks)

    def subject(self) -> Subject:
        """The case made ready."""
        case, rng = self.case, np.random.default_rng(self.case.seed)
        refused = "an empty axis" if min(case.size) < 1 else None
        if min(windows.output_sizes(self.axes)) < 1:
            refused = "a block larger than the padded image"
        shape = self.image_shape if self.unfolds else self.columns_shape
        arrays = {"x": values(rng, shape, case.dtype, case.data)}
        made = Subject(case, arrays, self._call, self._expect, algorithms=False, threads=False, refused=refused)
        made.directions = ("backward",) if case.function.endswith("_backward") else ("forward",)
        if not case.function.endswith("_backward"):
            made.result_shape = self.columns_shape if self.unfolds else self.image_shape
        return made

    def _call(self, arrays: Arrays, how: How) -> Results:
        case, x = self.case, arrays["x"]
        given = {**_spatial_settings(case), "stride": case.stride}
        match case.function:
            case "unfold":
                return (fastconv.unfold(x, out=how.out, **given),)
            case "fold":
                return (fastconv.fold(x, case.size, out=how.out, **given),)
            case "unfold_backward":
                return (fastconv.unfold_backward(x, self.image_shape, **given),)
        return (fastconv.fold_backward(x, case.size, **given),)

    def _expect(self, arrays: Arrays) -> list[Expected | None]:
        x = arrays["x"] if self.case.batched else arrays["x"][None]
        native = x.astype(x.dtype.newbyteorder("="))
        with np.errstate(all="ignore"):
            if self.unfolds:
                found, magnitude = windows.columns(native, self.axes), None
                found = found if native.dtype.kind in "iub" else wide(found)
            elif native.dtype.kind in "iub":
                found, magnitude = windows.folded(native, self.axes), None
            else:
                exact = wide(native)
                found = windows.folded(exact, self.axes)
                finite = np.where(np.isfinite(exact), np.abs(exact), 1)
                magnitude = windows.folded(finite, self.axes) if self.case.data == "normal" else None
        if not self.case.batched:
            found, magnitude = found[0], None if magnitude is None else magnitude[0]
        return [Expected(found, magnitude, smooth=True)]
