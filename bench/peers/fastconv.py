"""fastconv in four forms: the plain call, weights packed once, the tuner's choice, and with bias and relu."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import fastconv
from fastconv import grad
from fastconv._choose import tune
from fastconv._choose.select import plan_for
from fastconv._problem import Epilogue
from fastconv.planning import PlannedConvolution

from ..case import Case
from .peer import Peer, Prepared


class Fastconv(Peer):
    """The plain call with nothing prepared: every call chooses, packs, allocates and computes."""

    name = "fastconv"
    modules = ("fastconv",)
    distributions = ("fastconv",)
    is_rival = False
    has_epilogues = True

    def __init__(self, algorithm: str = "auto") -> None:
        self._algorithm = algorithm

    def refusal(self, case: Case) -> str:
        return ""

    def prepare(self, case: Case) -> Prepared:
        settings = settings_of(case, self._algorithm)
        x, w, dy = user_array(case, case.x), case.w, user_array(case, case.dy)
        calls: dict[str, Callable[[], np.ndarray]] = {
            "forward": lambda: getattr(fastconv, f"conv{case.rank}d")(x, w, case.bias, **settings),
            "backward_input": lambda: getattr(grad, f"conv{case.rank}d_input")(x.shape, w, dy, **settings),
            "backward_weight": lambda: getattr(grad, f"conv{case.rank}d_weight")(x, w.shape, dy, **settings),
        }
        return Prepared(
            calls[case.problem.direction], lambda y: case_array(case, y), chosen(planned(case, self._algorithm))
        )


class FastconvPacked(Fastconv):
    """A plan with its weights packed once."""

    name = "packed"

    def refusal(self, case: Case) -> str:
        return "no weights to pack" if case.problem.direction == "backward_weight" else ""

    def prepare(self, case: Case) -> Prepared:
        return self._of(case, planned(case, self._algorithm))

    def _of(self, case: Case, plan: PlannedConvolution) -> Prepared:
        x, dy = user_array(case, case.x), user_array(case, case.dy)
        array = functools.partial(case_array, case)
        if case.problem.direction == "backward_weight":
            return Prepared(lambda: plan(x, dy), array, chosen(plan))
        first, weight = x if case.problem.direction == "forward" else dy, plan.pack(case.w)
        return Prepared(lambda: plan(first, weight, case.bias), array, chosen(plan))


class FastconvTuned(FastconvPacked):
    """The choice that the tuner makes for this problem here and now, with packed weights; it is not stored."""

    name = "tuned"
    effort = "measure"

    def refusal(self, case: Case) -> str:
        return ""

    def prepare(self, case: Case) -> Prepared:
        record = tune.tune_problem(case.problem, case.threads, self.effort)
        plan = planned(case)
        choice = plan_for(plan.choice.problem, record.algorithm, case.threads, record.params)
        return self._of(case, PlannedConvolution(plan._signature, choice))


class FastconvBiasRelu(Fastconv):
    """The plain call with a bias and relu, as networks call it: what these cost."""

    name = "+bias+relu"
    is_same_problem = False

    def refusal(self, case: Case) -> str:
        if case.problem.epilogue or case.problem.direction != "forward":
            return "has no epilogue, or its own"
        return ""

    def prepare(self, case: Case) -> Prepared:
        problem = case.problem.replace(epilogue=Epilogue.parse(self.name))
        return super().prepare(Case.of(problem, case.threads))


def settings_of(case: Case, algorithm: str) -> dict[str, Any]:
    """The case as keyword arguments."""
    return {
        "stride": case.stride,
        "padding": case.padding,
        "dilation": case.dilation,
        "groups": case.problem.groups,
        "layout": ("NWC", "NHWC", "NDHWC")[case.rank - 1] if case.is_channels_last else None,
        "precision": case.problem.precision,
        "algorithm": algorithm,
        "threads": case.threads,
        **({"activation": "relu"} if case.has_relu else {}),
    }


def planned(case: Case, algorithm: str = "auto") -> PlannedConvolution:
    """The plan that a plain call makes."""
    x_shape = user_array(case, case.x).shape
    settings = {**settings_of(case, algorithm), "direction": case.problem.direction}
    return fastconv.plan(f"conv{case.rank}d", x_shape, case.w.shape, case.problem.dtype, **settings)


def chosen(plan: PlannedConvolution) -> str:
    """Algorithm and parameters."""
    return " ".join([plan.choice.algorithm.name, *(f"{name}={value}" for name, value in plan.choice.params.items())])


def user_array(case: Case, array: np.ndarray) -> np.ndarray:
    """Input or output in the order of axes that the layout has."""
    return np.moveaxis(array, 1, -1) if case.is_channels_last else array


def case_array(case: Case, result: np.ndarray) -> np.ndarray:
    """The result with its channels second, as in the case."""
    is_weight = case.problem.direction == "backward_weight"
    return np.moveaxis(result, -1, 1) if case.is_channels_last and not is_weight else result
