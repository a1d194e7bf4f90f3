"""The correlations of a problem as kernels take them: fc_correlation, one for each stride phase."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .._correlation import Correlation, Phase
from .._problem import ConvProblem, Sizes
from .layout import Layout
from .source import CORRELATION

NO_STRIDES = (0, 0, 0, 0, 0)


@dataclass
class PhaseStruct:
    """One stride phase, with the distance of taps positive on every axis."""

    fields: dict[str, object]
    """Those of fc_correlation."""
    pixels: Sizes
    taps: Sizes
    step: Sizes
    first: Sizes
    delta: Sizes

    def packed(self, **changes: object) -> np.ndarray:
        """The struct; ``changes`` are values of other fields."""
        struct = np.zeros(1, CORRELATION)
        for name, value in (self.fields | changes).items():
            struct[name] = value
        return struct

    def at_image(self, begin: int) -> dict[str, int]:
        """The fields that differ where the first image is another one."""
        return {
            f"{name}_at": self.fields[f"{name}_at"] + begin * self.fields[f"{name}_stride"][0]  # type: ignore[index, operator]
            for name in ("source", "result", "add")
        }


def all_phases(problem: ConvProblem, layouts: Mapping[str, Layout]) -> PhaseStruct:
    """An input gradient with its own steps, distances and padding, for kernels that compute all phases at once."""
    weight, per_group = layouts["weight"].strides, problem.out_channels // problem.groups
    first: Sizes = tuple(before for before, _ in problem.padding)  # type: ignore[assignment]
    fields: dict[str, object] = {
        "source_stride": layouts["output"].strides, "result_stride": layouts["input"].strides,
        "add_stride": layouts["add"].strides if "add" in layouts else NO_STRIDES,
        "weight_stride": (weight[1], weight[0], *weight[2:]), "weight_group_stride": per_group * weight[0],
        **{f"{name}_at": 0 for name in ("source", "result", "add", "weight")},
        "batch": problem.batch, "groups": problem.groups, "channels": per_group,
        "filters": problem.in_channels // problem.groups, "pixels": problem.input_size, "taps": problem.kernel_size,
        "source_size": problem.output_size, "step": problem.stride, "first": first, "delta": problem.dilation,
        "slope": problem.epilogue.slope,
    }  # fmt: skip
    return PhaseStruct(fields, problem.input_size, problem.kernel_size, problem.stride, first, problem.dilation)


def source_role(problem: ConvProblem) -> str:
    """The role of the array that pixels read."""
    return "output" if problem.direction == "backward_input" else "input"


def phases_of(problem: ConvProblem, layouts: Mapping[str, Layout]) -> Iterator[PhaseStruct]:
    """The correlations that have pixels, in the order of their first elements."""
    correlation = Correlation.of(problem)
    counts = correlation.phases
    for index in itertools.product(*map(range, counts)):
        chosen = [axis.phase(i) for axis, i in zip(correlation.axes, index, strict=True)]
        if all(phase.pixels for phase in chosen):
            yield _phase(problem, correlation, chosen, layouts)


def _phase(
    problem: ConvProblem, correlation: Correlation, chosen: list[Phase], layouts: Mapping[str, Layout]
) -> PhaseStruct:
    axes = correlation.axes
    is_input = problem.direction == "backward_input"
    source = layouts[source_role(problem)].strides
    result = list(layouts["input" if is_input else "output"].strides)
    weight = list(layouts["weight"].strides)
    add = list(layouts["add"].strides) if "add" in layouts else list(NO_STRIDES)
    per_group = correlation.channels if is_input else correlation.filters
    group_stride = per_group * weight[0]
    if is_input:
        weight[:2] = weight[1], weight[0]
    at = {"source_at": 0, "result_at": 0, "add_at": 0, "weight_at": 0}
    first, delta = [], []
    for axis, (shape, phase) in enumerate(zip(axes, chosen, strict=True), 2):
        at["result_at"] += phase.begin * result[axis]
        at["add_at"] += phase.begin * add[axis]
        at["weight_at"] += phase.first_tap * weight[axis]
        result[axis] *= shape.stride
        add[axis] *= shape.stride
        weight[axis] *= shape.tap_step
        begin, distance, last = phase.first, shape.delta, max(phase.taps - 1, 0)
        if distance < 0:  # from the last tap to the first
            begin, distance = begin + last * distance, -distance
            at["weight_at"] += last * weight[axis]
            weight[axis] = -weight[axis]
        first.append(begin)
        delta.append(distance if phase.taps > 1 else 1)
    pixels, taps, steps = zip(*((p.pixels, p.taps, a.step) for p, a in zip(chosen, axes, strict=True)), strict=True)
    fields = {
        "source_stride": source, "result_stride": result, "add_stride": add, "weight_stride": weight,
        "weight_group_stride": group_stride, **at, "batch": correlation.batch, "groups": correlation.groups,
        "channels": correlation.channels, "filters": correlation.filters, "pixels": pixels, "taps": taps,
        "source_size": [axis.source_size for axis in axes], "step": steps, "first": first, "delta": delta,
        "slope": problem.epilogue.slope,
    }  # fmt: skip
    return PhaseStruct(fields, pixels, taps, steps, tuple(first), tuple(delta))  # type: ignore[arg-type]
