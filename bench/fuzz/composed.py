"""Separable and causal convolutions, their gradients, and convolutions of integers: Case -> Subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import fastconv

from .activations import activate, slope_of
from .case import Case
from .convolutions import (
    activation_argument,
    bias_of,
    is_smooth,
    magnitudes_of,
    padding_argument,
    reach_refusal,
    typical_size,
)
from .definition import Convolution, convolution_of
from .layouts import channel_view, to_user, weight_layout, weight_to_user, weight_view
from .subject import Arrays, Expected, How, Results, Subject
from .values import numpy_dtype, values, wide


def _rounded(array: np.ndarray, case: Case) -> np.ndarray:
    """What is left of exact values that are stored in the case's dtype on the way."""
    with np.errstate(all="ignore"):
        return wide(array.astype(numpy_dtype(case.dtype)))


class Separable:
    """separable_conv*d and its gradients."""

    def __init__(self, case: Case) -> None:
        self.case, self.is_gradient = case, case.function.endswith("_backward")
        self.first: Convolution = convolution_of(case)
        ones = (1,) * case.rank
        self.second = Convolution(ones, ones, ((0, 0),) * case.rank, ones)
        middle = case.groups * case.filters
        self.sizes = self.first.output_sizes(case.size)
        self.shapes: dict[str, tuple[int, ...]] = {
            "x": (case.batch, case.groups, *case.size),
            "w_depthwise": (middle, 1, *case.kernel),
            "w_pointwise": (case.points, middle, *ones),
            "y": (case.batch, case.points, *self.sizes),
        }

    def subject(self) -> Subject:
        """The case made ready."""
        case, refused = self.case, reach_refusal(self.case, self.first)
        made = Subject(case, self._arrays(), self._call, self._expect, refused=refused)
        made.directions = ("backward",) if self.is_gradient else ("forward",)
        if not self.is_gradient:
            made.result_shape = to_user(case, self.shapes["y"])
        return made

    def _arrays(self) -> dict[str, np.ndarray]:
        case, rng = self.case, np.random.default_rng(self.case.seed)
        y_shape = to_user(case, [max(size, 0) for size in self.shapes["y"]])

        def data(shape: Sequence[int]) -> np.ndarray:
            return values(rng, shape, case.dtype, case.data)

        made = {"dy": data(y_shape)} if self.is_gradient else {}
        made["x"] = data(to_user(case, self.shapes["x"]))
        for name in ("w_depthwise", "w_pointwise"):
            made[name] = data(weight_to_user(case, self.shapes[name]))
        if case.bias:
            made["bias"] = bias_of(rng, case.points, case)
        if case.add:
            made["add"] = data(y_shape)
        return made

    def _call(self, arrays: Arrays, how: How) -> Results:
        case = self.case
        given: dict[str, Any] = {
            "stride": case.stride,
            "padding": padding_argument(case),
            "dilation": case.dilation,
            "padding_mode": case.padding_mode,
            "layout": "channels_last" if case.channels_last else None,
            "w_layout": weight_layout(case),
            "activation": activation_argument(case),
            "precision": case.precision,
            "algorithm": how.algorithm,
            "threads": how.threads,
        }
        if case.needs is not None and self.is_gradient:
            given["needs"] = case.needs
        found = getattr(fastconv, case.name)(**arrays, **given, **({} if self.is_gradient else {"out": how.out}))
        return tuple(found) if self.is_gradient else (found,)

    def _expect(self, arrays: Arrays) -> list[Expected | None]:
        case = self.case
        with np.errstate(all="ignore"):
            exact = self._computed({name: wide(array) for name, array in arrays.items()}, exact=True)
            magnitudes = self._computed(magnitudes_of(arrays), exact=False)
        smooth = is_smooth(case)
        needs = (case.needs or (True,) * 4) if self.is_gradient else (True,)
        return [
            Expected(value, magnitude, typical=typical_size(arrays, list(arrays)), smooth=smooth) if needed else None
            for value, magnitude, needed in zip(exact, magnitudes, needs, strict=True)
        ]

    def _computed(self, arrays: Arrays, exact: bool) -> list[np.ndarray]:
        case = self.case
        x = channel_view(case, arrays["x"])
        w_depthwise, w_pointwise = (weight_view(case, arrays[name]) for name in ("w_depthwise", "w_pointwise"))
        middle = self.first.forward(x, w_depthwise)
        if exact:
            middle = _rounded(middle, case)
        z = self.second.forward(middle, w_pointwise)
        if "bias" in arrays:
            z = z + arrays["bias"].reshape(-1, *(1,) * case.rank)
        if "add" in arrays:
            z = z + channel_view(case, arrays["add"])
        if not self.is_gradient:
            y = activate(z, case.activation, case.slope) if exact else z
            return [channel_view(case, y, back=True)]
        dy = channel_view(case, arrays["dy"])
        if exact:
            dy = slope_of(z, dy, case.activation, case.slope)
            x, middle, w_depthwise, w_pointwise = (a.conj() for a in (x, middle, w_depthwise, w_pointwise))
        dmiddle = self.second.input_gradient(dy, middle.shape, w_pointwise)
        dw_pointwise = self.second.weight_gradient(dy, middle)
        if exact:
            dmiddle = _rounded(dmiddle, case)
        dx = self.first.input_gradient(dmiddle, x.shape, w_depthwise)
        dw_depthwise = self.first.weight_gradient(dmiddle, x)
        weights = [weight_view(case, dw, back=True) for dw in (dw_depthwise, dw_pointwise)]
        return [channel_view(case, dx, back=True), *weights, dy.sum(axis=(0, *range(2, dy.ndim)))]


class Causal:
    """causal_conv1d and its gradients."""

    def __init__(self, case: Case) -> None:
        self.case, self.is_gradient = case, case.function.endswith("_backward")
        self.reach = (case.kernel[0] - 1) * case.dilation[0]
        self.convolution = Convolution(case.kernel, (1,), ((0, 0),), case.dilation, case.groups)

    def subject(self) -> Subject:
        """The case made ready."""
        case = self.case
        refused = "no length" if case.size[0] < 1 else None
        made = Subject(case, self._arrays(), self._call, self._expect, refused=refused)
        made.directions = ("backward",) if self.is_gradient else ("forward",)
        if not self.is_gradient:
            made.result_shape = to_user(case, (case.batch, case.groups, *case.size))
        return made

    def _arrays(self) -> dict[str, np.ndarray]:
        case, rng = self.case, np.random.default_rng(self.case.seed)
        shape = to_user(case, (case.batch, case.groups, *case.size))
        state = to_user(case, (case.batch, case.groups, self.reach))

        def data(shape: Sequence[int]) -> np.ndarray:
            return values(rng, shape, case.dtype, case.data)

        made = {"dy": data(shape)} if self.is_gradient else {}
        made["x"] = data(shape)
        made["w"] = data((case.groups, *case.kernel) if case.flat_weight else (case.groups, 1, *case.kernel))
        if case.bias:
            made["bias"] = bias_of(rng, case.groups, case)
        if case.state:
            made["state"] = data(state)
            if self.is_gradient:
                made["dstate"] = data(state)
        if case.add:
            made["add"] = data(shape)
        return made

    def _call(self, arrays: Arrays, how: How) -> Results:
        case = self.case
        given: dict[str, Any] = {
            "dilation": case.dilation[0],
            "layout": "NWC" if case.channels_last else None,
            "activation": activation_argument(case),
            "precision": case.precision,
            "algorithm": how.algorithm,
            "threads": how.threads,
        }
        if self.is_gradient and case.needs is not None:
            given["needs"] = case.needs
        if not self.is_gradient:
            given["out"] = how.out
        return tuple(getattr(fastconv, case.name)(**arrays, **given))

    def _expect(self, arrays: Arrays) -> list[Expected | None]:
        case = self.case
        with np.errstate(all="ignore"):
            exact = self._computed({name: wide(array) for name, array in arrays.items()}, exact=True)
            magnitudes = self._computed(magnitudes_of(arrays), exact=False)
        # Half floats are rounded once more where the gradient of the next state is added.
        smooth = is_smooth(case) or (self.is_gradient and case.state and case.dtype in ("float16", "bfloat16"))
        needs = (case.needs or (True,) * 4) if self.is_gradient else (True, True)
        return [
            Expected(value, magnitude, typical=typical_size(arrays, list(arrays)), smooth=smooth) if needed else None
            for value, magnitude, needed in zip(exact, magnitudes, needs, strict=True)
        ]

    def _computed(self, arrays: Arrays, exact: bool) -> list[np.ndarray]:
        case, reach = self.case, self.reach
        x = channel_view(case, arrays["x"])
        w = arrays["w"].reshape(case.groups, 1, *case.kernel)
        before = channel_view(case, arrays["state"]) if case.state else np.zeros((*x.shape[:2], reach), x.dtype)
        joined = np.concatenate([before, x], axis=2)
        z = self.convolution.forward(joined, w)
        if "bias" in arrays:
            z = z + arrays["bias"].reshape(-1, 1)
        if "add" in arrays:
            z = z + channel_view(case, arrays["add"])
        if not self.is_gradient:
            y = activate(z, case.activation, case.slope) if exact else z
            return [channel_view(case, a, back=True) for a in (y, joined[..., joined.shape[2] - reach :])]
        dy = channel_view(case, arrays["dy"])
        if exact:
            dy = slope_of(z, dy, case.activation, case.slope)
            joined, w = joined.conj(), w.conj()
        gradient = self.convolution.input_gradient(dy, joined.shape, w)
        dw = self.convolution.weight_gradient(dy, joined).reshape(arrays["w"].shape)
        if "dstate" in arrays:
            gradient[..., gradient.shape[2] - reach :] += channel_view(case, arrays["dstate"])
        dx, dstate = (channel_view(case, a, back=True) for a in (gradient[..., reach:], gradient[..., :reach]))
        return [dx, dw, dy.sum(axis=(0, 2)), dstate]


class Integer:
    """conv*d_integer."""

    def __init__(self, case: Case) -> None:
        self.case, self.convolution = case, convolution_of(case)
        self.sizes = self.convolution.output_sizes(case.size)

    def subject(self) -> Subject:
        """The case made ready."""
        case, rng = self.case, np.random.default_rng(self.case.seed)
        x_shape = to_user(case, (case.batch, case.channels * case.groups, *case.size))
        w_shape = weight_to_user(case, (case.filters * case.groups, case.channels, *case.kernel))
        arrays = {
            "x": values(rng, x_shape, case.dtype, "integers"),
            "w": values(rng, w_shape, case.weight_dtype, "integers"),
        }
        made = Subject(case, arrays, self._call, self._expect, refused=reach_refusal(case, self.convolution))
        made.directions, made.result_dtype = ("forward",), np.dtype(np.int32)
        made.result_shape = to_user(case, (case.batch, case.filters * case.groups, *self.sizes))
        return made

    def _zero_points(self) -> tuple[int, Any]:
        """Zero points that the dtypes have."""
        first, second = (
            int(np.clip(point, np.iinfo(dtype).min, np.iinfo(dtype).max))
            for point, dtype in zip(self.case.zero_points, (self.case.dtype, self.case.weight_dtype), strict=True)
        )
        if not self.case.zero_point_per_filter:
            return first, second
        filters = np.arange(self.case.filters * self.case.groups)
        return first, (np.abs(second) - filters % (abs(second) + 1)).astype(self.case.weight_dtype)

    def _call(self, arrays: Arrays, how: How) -> Results:
        case = self.case
        given: dict[str, Any] = {
            "stride": case.stride,
            "padding": padding_argument(case),
            "dilation": case.dilation,
            "groups": case.groups,
            "layout": "channels_last" if case.channels_last else None,
            "w_layout": weight_layout(case),
            "algorithm": how.algorithm,
            "threads": how.threads,
            "out": how.out,
        }
        return (getattr(fastconv, case.name)(arrays["x"], arrays["w"], *self._zero_points(), **given),)

    def _expect(self, arrays: Arrays) -> list[Expected | None]:
        case, (x_zero, w_zero) = self.case, self._zero_points()
        x = channel_view(case, wide(arrays["x"])) - x_zero
        zeros = np.asarray(w_zero, np.float64).reshape(-1, *(1,) * (case.rank + 1))
        y = self.convolution.forward(x, weight_view(case, wide(arrays["w"])) - zeros)
        return [Expected(channel_view(case, y, back=True))]
