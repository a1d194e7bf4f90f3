"""Convolutions, transposed and depthwise ones, their gradients and plans: Case -> Subject."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import fastconv
from fastconv import ConvProblem
from fastconv._problem import Epilogue

from . import device
from .activations import activate, slope_of
from .case import Case
from .closeness import loose
from .definition import Convolution, convolution_of, transposed_sizes
from .layouts import channel_view, to_user, weight_layout, weight_to_user, weight_view
from .subject import Arrays, Expected, How, Results, Subject
from .values import halves, values, wide

OPERANDS = {"forward": ("x", "w"), "backward_input": ("dy", "w"), "backward_weight": ("dy", "x")}
DIRECTIONS = ("forward", "backward_input", "backward_weight")


class Plain:
    """conv*d, conv_transpose*d, depthwise_conv*d, their gradients, all or one at a time, and plans of them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.words = case.function.split(".")
        self.is_plan, self.is_grad = self.words[0] == "plan", self.words[0] == "grad"
        self.base = self.words[1] if self.is_plan else self.words[0]
        self.direction = self._direction()
        self._plans: dict[tuple[str, int], fastconv.PlannedConvolution] = {}
        self.convolution: Convolution = convolution_of(case)
        channels, filters = case.channels * case.groups, case.filters * case.groups
        self.x_channels, self.y_channels = (filters, channels) if case.is_transposed else (channels, filters)
        sizes = transposed_sizes(case) if case.is_transposed else self.convolution.output_sizes(case.size)
        self.x_shape = (case.batch, self.x_channels, *case.size)
        self.y_shape = (case.batch, self.y_channels, *sizes)
        self.w_shape = (filters, case.channels, *case.kernel)

    def _direction(self) -> str:
        if self.is_plan:
            return self.words[2]
        if self.is_grad:
            last = self.words[1].rsplit("_", 1)[1]
            return {"input": "backward_input", "weight": "backward_weight", "bias": "bias"}[last]
        return "all" if self.base.endswith("_backward") else "forward"

    def subject(self) -> Subject:
        """The case made ready."""
        case, refused = self.case, self._refusal()
        made = Subject(case, self._arrays(), self._call, self._expect, refused=refused)
        made.directions = {"all": DIRECTIONS[1:]}.get(self.direction, (self.direction,))
        if self.direction == "bias":
            made.algorithms = made.threads = False
        elif self.direction != "all":
            made.result_shape = {
                "forward": to_user(case, self.y_shape),
                "backward_input": to_user(case, self.x_shape),
                "backward_weight": weight_to_user(case, self.w_shape),
            }[self.direction]
        made.packs = self.is_plan and self.direction != "backward_weight"
        if not refused and self.direction != "bias":
            made.plain = [self.problem(direction) for direction in made.directions]
        return made

    def _refusal(self) -> str | None:
        """Why the call has to be refused."""
        case = self.case
        if self.direction == "bias":
            return None
        if "depthwise" in case.function and case.groups < 1:
            return "no channels"
        if case.is_transposed:
            return "no size is left" if min(self.y_shape[2:]) < 1 or min(case.size) < 1 else None
        return reach_refusal(case, self.convolution)

    def _arrays(self) -> dict[str, np.ndarray]:
        case, rng = self.case, np.random.default_rng(self.case.seed)

        def data(shape: Sequence[int]) -> np.ndarray:
            return values(rng, to_user(case, [max(size, 0) for size in shape]), case.dtype, case.data)

        made = {}
        if self.direction in ("forward", "all", "backward_weight"):
            made["x"] = data(self.x_shape)
        if self.direction in ("forward", "all", "backward_input"):
            made["w"] = values(rng, weight_to_user(case, self.w_shape), case.dtype, case.data)
        if self.direction != "forward":
            made["dy"] = data(self.y_shape)
        if self.direction in ("forward", "all"):
            if case.bias:
                made["bias"] = bias_of(rng, self.y_channels, case)
            if case.add:
                made["add"] = data(self.y_shape)
        return made

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that a plan takes, too."""
        case = self.case
        given: dict[str, Any] = {
            "stride": case.stride,
            "padding": padding_argument(case),
            "dilation": case.dilation,
            "w_layout": weight_layout(case),
            "precision": case.precision,
        }
        if case.channels_last:
            given["layout"] = "channels_last"
        if case.is_transposed:
            if case.output_padding is not None:
                given["output_padding"] = case.output_padding
        elif case.padding_mode != "zeros":
            given["padding_mode"] = case.padding_mode
        if "depthwise" not in case.function:
            given["groups"] = case.groups
        return given

    def problem(self, direction: str) -> ConvProblem:
        """What a direction computes, as the library names it."""
        case = self.case
        base = self.words[1].rsplit("_", 1)[0] if self.is_grad else self.base.removesuffix("_backward")
        shapes = to_user(case, self.x_shape), weight_to_user(case, self.w_shape)
        name = base.replace("*", str(case.rank))
        problem = fastconv.plan(name, *shapes, case.dtype, direction=direction, **self.settings()).choice.problem
        if direction == "forward" and self.direction == "forward":
            slope = 0.01 if case.slope is None else case.slope
            problem = problem.replace(epilogue=Epilogue(case.bias, case.add, case.activation, slope))
        return problem

    def _call(self, arrays: Arrays, how: How) -> Results:
        case = self.case
        chosen: dict[str, Any] = {"algorithm": how.algorithm, "threads": how.threads, **self.settings()}
        if self.is_plan:
            return self._planned(arrays, how, chosen)
        if self.is_grad:
            return (self._single_gradient(arrays, how, chosen),)
        function = getattr(fastconv, case.name)
        chosen |= {"bias": arrays.get("bias"), "add": arrays.get("add"), "activation": activation_argument(case)}
        if self.direction == "all":
            chosen |= {} if case.needs is None else {"needs": case.needs}
            return tuple(function(arrays["dy"], arrays["x"], arrays["w"], **chosen))
        return (function(arrays["x"], arrays["w"], out=how.out, **chosen),)

    def _single_gradient(self, arrays: Arrays, how: How, chosen: dict[str, Any]) -> np.ndarray:
        function: Any = getattr(fastconv.grad, self.words[1].replace("*", str(self.case.rank)))
        if self.direction == "bias":
            result = function(arrays["dy"], layout=chosen.get("layout"))
        elif self.direction == "backward_input":
            result = function(to_user(self.case, self.x_shape), arrays["w"], arrays["dy"], out=how.out, **chosen)
        else:
            shape = weight_to_user(self.case, self.w_shape)
            result = function(arrays["x"], shape, arrays["dy"], out=how.out, **chosen)
        return result  # type: ignore[no-any-return]

    def _planned(self, arrays: Arrays, how: How, chosen: dict[str, Any]) -> Results:
        """By a plan that is kept for the calls that follow."""
        plan = self._plans.get((how.algorithm, how.threads))
        if plan is None:
            if self.direction == "forward":
                chosen["activation"] = activation_argument(self.case)
            shapes = to_user(self.case, self.x_shape), weight_to_user(self.case, self.w_shape)
            name = self.base.replace("*", str(self.case.rank))
            plan = fastconv.plan(
                name, *shapes, self.case.dtype, direction=self.direction, backend=device.backend().name, **chosen
            )
            self._plans[how.algorithm, how.threads] = plan
        if self.direction == "backward_weight":
            return (plan(arrays["x"], arrays["dy"], out=how.out),)
        first = arrays["x" if self.direction == "forward" else "dy"]
        weight = plan.pack(arrays["w"]) if how.packed else arrays["w"]
        more = {name: arrays[name] for name in ("bias", "add") if name in arrays}
        return (plan(first, weight, out=how.out, **more),)

    def _expect(self, arrays: Arrays) -> list[Expected | None]:
        case = self.case
        with np.errstate(all="ignore"):
            exact = self._results({name: wide(array) for name, array in arrays.items()}, exact=True)
            magnitudes = self._results(magnitudes_of(arrays), exact=False)
            inherited = self._inherited(arrays)
        names = {"all": ("backward_input", "backward_weight", "bias")}.get(self.direction, (self.direction,))
        needs = (case.needs or (True, True, True)) if self.direction == "all" else (True,)
        found: list[Expected | None] = []
        for name, needed in zip(names, needs, strict=True):
            expected = Expected(exact[name], magnitudes[name], smooth=is_smooth(case))
            expected.inherited = inherited.get(name, 0.0)
            if name != "bias":
                self._bound(expected, name, arrays)
            found.append(expected if needed else None)
        return found

    def _bound(self, expected: Expected, direction: str, arrays: Arrays) -> None:
        """Note what bounds the error of a direction's result."""
        case, problem = self.case, self.problem(direction)
        expected.typical = math.sqrt(problem.reduction) * typical_size(arrays, OPERANDS[direction])
        if not (self.direction == "all" and case.activation):
            expected.problem = problem
        if case.padding_mode != "zeros" and direction == "backward_input":
            # The gradient of padding adds up what was rounded before.
            expected.smooth |= case.data == "normal" or case.dtype in ("float16", "bfloat16")

    def _results(self, arrays: Arrays, exact: bool) -> dict[str, np.ndarray]:
        """The definition by direction, in the user's axes; not ``exact``: of magnitudes."""
        case = self.case
        if self.direction == "forward":
            z = self._before_activation(arrays)
            y = activate(z, case.activation, case.slope) if exact else z
            return {"forward": channel_view(case, y, back=True)}
        dy = channel_view(case, arrays["dy"])
        if self.direction == "all" and case.activation and exact:
            dy = slope_of(self._before_activation(arrays), dy, case.activation, case.slope)
        return self._gradients(arrays, dy, conjugate=exact)

    def _inherited(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """By direction: what an error of z, a small part of the largest z, makes of slopes at z and so of gradients."""
        case = self.case
        if self.direction != "all" or not case.activation or not (case.data == "normal" or is_smooth(case)):
            return {}
        z = self._before_activation({name: wide(array) for name, array in arrays.items()})
        error, dy = loose(case) * np.nan_to_num(np.abs(z), posinf=0).max(initial=0), magnitudes_of(arrays)["dy"]
        shifts = (-error, 0.0, error)
        slopes = [slope_of(z + shift, channel_view(case, dy), case.activation, case.slope) for shift in shifts]
        return self._gradients(magnitudes_of(arrays), np.ptp(slopes, axis=0), conjugate=False)

    def _before_activation(self, arrays: Arrays) -> np.ndarray:
        case, x, w = self.case, channel_view(self.case, arrays["x"]), weight_view(self.case, arrays["w"])
        z = (
            self.convolution.input_gradient(x, self.y_shape, w)
            if case.is_transposed
            else self.convolution.forward(x, w)
        )
        if "bias" in arrays:
            z = z + arrays["bias"].reshape(-1, *(1,) * case.rank)
        return z + channel_view(case, arrays["add"]) if "add" in arrays else z

    def _gradients(self, arrays: Arrays, dy: np.ndarray, conjugate: bool) -> dict[str, np.ndarray]:
        case, c = self.case, self.convolution
        found = {"bias": dy.sum(axis=(0, *range(2, dy.ndim)))}
        if "w" in arrays:
            w = weight_view(case, arrays["w"])
            w = w.conj() if conjugate else w
            dx = c.forward(dy, w) if case.is_transposed else c.input_gradient(dy, self.x_shape, w)
            found["backward_input"] = channel_view(case, dx, back=True)
        if "x" in arrays:
            x = channel_view(case, arrays["x"])
            x = x.conj() if conjugate else x
            dw = c.weight_gradient(x, dy) if case.is_transposed else c.weight_gradient(dy, x)
            found["backward_weight"] = weight_view(case, dw, back=True)
        return found


def reach_refusal(case: Case, convolution: Convolution) -> str | None:
    """Why a convolution has to be refused."""
    for size, pair in zip(case.size, convolution.pads, strict=True):
        if size == 0 and max(pair) > 0 and case.padding_mode != "zeros":
            return "no elements that the mode can repeat"
    if "separable" in case.function and case.groups < 1:
        return "no channels"
    return "a kernel larger than the padded input" if min(convolution.output_sizes(case.size)) < 1 else None


def is_smooth(case: Case) -> bool:
    """Whether the activation is not exact on integers."""
    return case.activation in ("silu", "gelu", "tanh", "sigmoid") or (
        case.activation == "leaky_relu" and case.slope != 0.5
    )


def activation_argument(case: Case) -> Any:
    """The activation as the user gives it."""
    return ("leaky_relu", case.slope) if case.activation == "leaky_relu" and case.slope is not None else case.activation


def padding_argument(case: Case) -> Any:
    """Padding as ints where it can be said in ints."""
    if isinstance(case.padding, str):
        return case.padding
    if all(before == after >= 0 for before, after in case.padding):
        return [before for before, _ in case.padding]
    return [list(pair) for pair in case.padding]


def magnitudes_of(arrays: Arrays) -> dict[str, np.ndarray]:
    """The magnitudes of the arrays' elements, 1 for those that have none."""
    found = {name: np.abs(wide(array)) for name, array in arrays.items()}
    return {name: np.where(np.isfinite(array), array, 1) for name, array in found.items()}


def bias_of(rng: np.random.Generator, count: int, case: Case) -> np.ndarray:
    """A bias that keeps sums of integers off the kinks of activations."""
    bias = values(rng, (count,), case.dtype, case.data)
    return bias if case.data == "normal" or case.dtype.startswith("complex") else halves(bias)


def typical_size(arrays: Arrays, names: Sequence[str]) -> float:
    """The product of the root mean squares of the arrays that are multiplied."""
    finite = [np.nan_to_num(np.abs(wide(arrays[name])), posinf=0) for name in names if arrays[name].size]
    return math.prod(math.sqrt(float(np.mean(array**2))) for array in finite)
