"""Convolutions, transposed and depthwise ones, their gradients and plans: Case -> Subject."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import fastconv
from fastconv import ConvProblem
from fastconv._problem import Epilogue

from .activations import activate, slope_of
from .case import Case
from .definition import Convolution, convolution_of, transposed_sizes
from .layouts import channel_view, to_user, weight_layout, weight_to_user, weight_view
from .subject import Arrays, Expected, How, Results, Subject
from .values import halves, values, wide

OPERANDS = {"forward": ("x", "w"), "backward_input": ("dy", "w"), "backward_weight": ("dy", "x")}
DIRECTIONS = ("forward", "backward_input", "backward_weight")


def subject(case: Case) -> Subject:
    """The case made ready."""
    return _Made(case).subject()


class _Made:
    """A case with its shapes."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.words = case.function.split(".")
        self.is_plan, self.is_grad = self.words[0] == "plan", self.words[0] == "grad"
        self.base = self.words[1] if self.is_plan else self.words[0]
        self.direction = self._direction()
        self._plans: dict[tuple[str, int], fastconv.PlannedConvolution] = {}
        self.convolution: Convolution = convolution_of(case)
        wide_side, narrow_side = case.channels * case.groups, case.filters * case.groups
        self.x_channels, self.y_channels = (narrow_side, wide_side) if case.is_transposed else (wide_side, narrow_side)
        sizes = transposed_sizes(case) if case.is_transposed else self.convolution.output_sizes(case.size)
        self.x_shape = (case.batch, self.x_channels, *case.size)
        self.y_shape = (case.batch, self.y_channels, *sizes)
        self.w_shape = (narrow_side, case.channels, *case.kernel)

    def _direction(self) -> str:
        if self.is_plan:
            return self.words[2]
        if self.is_grad:
            return {"input": "backward_input", "weight": "backward_weight", "bias": "bias"}[
                self.words[1].rsplit("_", 1)[1]
            ]
        return "all" if self.base.endswith("_backward") else "forward"

    def subject(self) -> Subject:
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
        case, rng = self.case, np.random.default_rng(case_seed(self.case))

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
                made["bias"] = values(rng, (self.y_channels,), case.dtype, case.data)
                if case.data != "normal" and not case.dtype.startswith("complex"):
                    made["bias"] = halves(made["bias"])
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
            function = getattr(fastconv.grad, self.words[1].replace("*", str(case.rank)))
            if self.direction == "bias":
                return (function(arrays["dy"], layout=chosen.get("layout")),)
            if self.direction == "backward_input":
                shape = to_user(case, self.x_shape)
                return (function(shape, arrays["w"], arrays["dy"], out=how.out, **chosen),)
            return (function(arrays["x"], weight_to_user(case, self.w_shape), arrays["dy"], out=how.out, **chosen),)
        function = getattr(fastconv, case.name)
        chosen |= {"bias": arrays.get("bias"), "add": arrays.get("add"), "activation": activation_argument(case)}
        if self.direction == "all":
            if case.needs is not None:
                chosen["needs"] = case.needs
            return tuple(function(arrays["dy"], arrays["x"], arrays["w"], **chosen))
        return (function(arrays["x"], arrays["w"], out=how.out, **chosen),)

    def _planned(self, arrays: Arrays, how: How, chosen: dict[str, Any]) -> Results:
        """By a plan that is kept for the calls that follow."""
        plan = self._plans.get((how.algorithm, how.threads))
        if plan is None:
            if self.direction == "forward":
                chosen["activation"] = activation_argument(self.case)
            shapes = to_user(self.case, self.x_shape), weight_to_user(self.case, self.w_shape)
            name = self.base.replace("*", str(self.case.rank))
            plan = fastconv.plan(name, *shapes, self.case.dtype, direction=self.direction, **chosen)
            self._plans[how.algorithm, how.threads] = plan
        if self.direction == "backward_weight":
            return (plan(arrays["x"], arrays["dy"], out=how.out),)
        first = arrays["x" if self.direction == "forward" else "dy"]
        weight = plan.pack(arrays["w"]) if how.packed else arrays["w"]
        more = {name: arrays[name] for name in ("bias", "add") if name in arrays}
        return (plan(first, weight, out=how.out, **more),)

    def _expect(self, arrays: Arrays) -> list[Expected | None]:
        case = self.case
        exact = self._results({name: wide(array) for name, array in arrays.items()})
        with np.errstate(all="ignore"):
            magnitudes = self._magnitudes({name: np.abs(wide(array)) for name, array in arrays.items()})
        # The gradient of padding adds up results that were rounded.
        adds_up = case.padding_mode != "zeros" and (case.data == "normal" or case.dtype in ("float16", "bfloat16"))
        kept = case.needs or (True, True, True)
        found: list[Expected | None] = []
        names = {"all": ("backward_input", "backward_weight", "bias")}.get(self.direction, (self.direction,))
        for name, needed in zip(names, kept if self.direction == "all" else (True,), strict=True):
            if not needed:
                found.append(None)
                continue
            problem, typical = None, 0.0
            if name != "bias":
                problem = self.problem(name)
                typical = math.sqrt(problem.reduction) * typical_size(arrays, OPERANDS[name])
            if self.direction == "all" and case.activation:
                problem = None
            smooth = is_smooth(case) or (adds_up and name == "backward_input")
            found.append(Expected(exact[name], magnitudes[name], problem, typical, smooth))
        return found

    def _results(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """By direction, in the user's axes."""
        with np.errstate(all="ignore"):
            return self._computed(arrays, conjugate=True, magnitudes=False)

    def _magnitudes(self, arrays: Arrays) -> dict[str, np.ndarray]:
        finite = {name: np.where(np.isfinite(array), array, 1) for name, array in arrays.items()}
        return self._computed(finite, conjugate=False, magnitudes=True)

    def _computed(self, arrays: Arrays, conjugate: bool, magnitudes: bool) -> dict[str, np.ndarray]:
        case, c = self.case, self.convolution
        views = {name: channel_view(case, a) for name, a in arrays.items() if name in ("x", "dy", "add")}
        w = weight_view(case, arrays["w"]) if "w" in arrays else None
        found: dict[str, np.ndarray] = {}
        dy = views.get("dy")
        if self.direction in ("forward", "all"):
            needs_z = self.direction == "forward" or case.activation is not None
            if needs_z:
                assert w is not None
                x = views["x"]
                z = c.input_gradient(x, self.y_shape, w) if case.is_transposed else c.forward(x, w)
                if "bias" in arrays:
                    z = z + arrays["bias"].reshape(-1, *(1,) * case.rank)
                if "add" in views:
                    z = z + views["add"]
                if self.direction == "forward":
                    y = z if magnitudes else activate(z, case.activation, case.slope)
                    return {"forward": channel_view(case, y, back=True)}
                if not magnitudes:
                    assert dy is not None
                    dy = slope_of(z, dy, case.activation, case.slope)
        assert dy is not None
        found["bias"] = dy.sum(axis=(0, *range(2, dy.ndim)))
        if w is not None:
            weight = w.conj() if conjugate else w
            dx = c.forward(dy, weight) if case.is_transposed else c.input_gradient(dy, self.x_shape, weight)
            found["backward_input"] = channel_view(case, dx, back=True)
        if "x" in views:
            x = views["x"].conj() if conjugate else views["x"]
            dw = c.weight_gradient(x, dy) if case.is_transposed else c.weight_gradient(dy, x)
            found["backward_weight"] = weight_view(case, dw, back=True)
        return found


def reach_refusal(case: Case, convolution: Convolution) -> str | None:
    """Why a convolution has to be refused."""
    for size, pair in zip(case.size, convolution.pads, strict=True):
        most = {"reflect": max(size - 1, 0), "circular": size, "replicate": 2**62 if size else 0}
        if max(pair) > most.get(case.padding_mode, 2**62):
            return "more padding than the mode can repeat"
    if "separable" in case.function and case.groups < 1:
        return "no channels"
    return "a kernel larger than the padded input" if min(convolution.output_sizes(case.size)) < 1 else None


def is_smooth(case: Case) -> bool:
    """Whether the activation is not exact on integers."""
    return case.activation in ("silu", "gelu", "tanh", "sigmoid") or (
        case.activation == "leaky_relu" and case.slope != 0.5
    )


def case_seed(case: Case) -> list[int]:
    """The seed of a case's data."""
    return [case.seed, math.prod(case.size)]


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


def typical_size(arrays: Arrays, names: Sequence[str]) -> float:
    """The product of the root mean squares of the arrays that are multiplied."""
    finite = [np.nan_to_num(np.abs(wide(arrays[name])), posinf=0) for name in names if arrays[name].size]
    return math.prod(math.sqrt(float(np.mean(array**2))) for array in finite)
