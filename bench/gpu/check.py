"""A part of a result against the definition, computed on the device in float64."""

from __future__ import annotations

from typing import Any

from fastconv._backend import find_backend
from fastconv._choose.select import plan_for
from fastconv._problem import RESULT, Epilogue

from ..case import Case

MULTIPLY_ADDS = 3e8
"""Work of the definition that a check may take; it decides how many channels count."""
MOST_CHANNELS = 4
WRONG = {"highest": 1e-4, "high": 1e-4, "medium": 2e-2, "float16": 2e-2, "bfloat16": 5e-2}
"""By level, a larger error is a wrong result."""


class Check:
    """Exact values of a case's last image and last channels: where tails are."""

    def __init__(self, cp: Any, case: Case) -> None:
        self._cp = cp
        problem, arrays = case.problem, case.operands
        image = slice(problem.batch - 1, problem.batch)
        inputs, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
        if problem.direction == "backward_weight":
            image = slice(0, problem.batch)
        of_one = problem.multiply_adds / problem.batch * (image.stop - image.start) / problem.groups
        kept_inputs = _few(inputs, of_one / filters) if problem.direction != "forward" else inputs
        kept_filters = _few(filters, of_one / inputs) if problem.direction != "backward_input" else filters
        channels = slice(problem.in_channels - kept_inputs, problem.in_channels)
        rows = slice(problem.out_channels - kept_filters, problem.out_channels)
        self._places = {
            "input": (image, channels),
            "weight": (rows, slice(inputs - kept_inputs, inputs)),
            "output": (image, rows),
        }
        self._problem = problem.replace(
            batch=image.stop - image.start, in_channels=kept_inputs, out_channels=kept_filters, groups=1,
            dtype="float64", layout="channels_first", weight_layout="OIDHW", precision="high", epilogue=Epilogue(),
        )  # fmt: skip
        self._role = RESULT[problem.direction]
        self._exact = self._computed(arrays)
        if arrays.bias is not None:
            self._exact += arrays.bias[rows].astype(cp.float64).reshape(1, -1, 1, 1, 1)

    def _computed(self, arrays: Any) -> Any:
        cp, backend = self._cp, find_backend("gpu")
        given = {
            role: cp.ascontiguousarray(getattr(arrays, role)[place].astype(cp.float64))
            for role, place in self._places.items()
            if role != self._role
        }
        given[self._role] = cp.empty(self._problem.result_shape, cp.float64)
        operands = type(arrays)(**given)
        backend.execute(plan_for(self._problem, "reference", backend=backend), operands)
        return given[self._role]

    def error(self, result: Any) -> float:
        """Largest error of a canonical result over the largest exact value; NaN where the result has one."""
        cp = self._cp
        part = result[self._places[self._role]].astype(cp.float64)
        return float(cp.abs(part - self._exact).max()) / max(float(cp.abs(self._exact).max()), 1e-300)


def _few(channels: int, multiply_adds: float) -> int:
    """So many of a group's channels as there is time for, at ``multiply_adds`` for all of them but one other axis."""
    of_one = max(multiply_adds / channels, 1.0)
    return max(1, min(MOST_CHANNELS, channels, int(MULTIPLY_ADDS / of_one)))
