"""Correlations of problems: their phases have every product of the definition once, and no more pixels, taps or reach
than the whole says."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv import ConvProblem
from fastconv._correlation import Axis, Correlation, Phase
from problems import describe, named


def products(axis: Axis, phase: Phase) -> list[tuple[int, int, int]]:
    """(element of the source, tap, element of the result) of all products of a phase."""
    found = []
    for pixel, t in itertools.product(range(phase.pixels), range(phase.taps)):
        source = phase.first + pixel * axis.step + t * axis.delta
        if 0 <= source < axis.source_size:
            found.append((source, phase.first_tap + t * axis.tap_step, phase.begin + pixel * axis.stride))
    return found


def defined(problem: ConvProblem, axis: int) -> list[tuple[int, int, int]]:
    """The same by the definition: output o sees input i through tap t where i + before = o*stride + t*dilation."""
    found = []
    for o, t in itertools.product(range(problem.output_size[axis]), range(problem.kernel_size[axis])):
        i = o * problem.stride[axis] + t * problem.dilation[axis] - problem.padding[axis][0]
        if 0 <= i < problem.input_size[axis]:
            found.append((o, t, i) if problem.direction == "backward_input" else (i, t, o))
    return found


def check(problem: ConvProblem) -> None:
    whole = Correlation.of(problem)
    for number, axis in enumerate(whole.axes):
        phases = [axis.phase(index) for index in range(axis.phases)]
        found = [product for phase in phases for product in products(axis, phase)]
        assert sorted(found) == sorted(defined(problem, number))
        assert sum(phase.pixels for phase in phases) == axis.size
        assert max((phase.pixels for phase in phases), default=0) == axis.pixels
        assert max((phase.taps for phase in phases), default=0) <= axis.taps
        for phase in phases:
            reads = [phase.first + t * axis.delta for t in range(phase.taps)]
            assert all(axis.origin <= read <= axis.origin + axis.reach for read in reads)
    count = whole.phases[0] * whole.phases[1] * whole.phases[2]
    assert count == problem.phases
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    is_backward = problem.direction == "backward_input"
    assert (whole.channels, whole.filters) == ((filters, channels) if is_backward else (channels, filters))


@pytest.mark.parametrize("problem", named()[::5], ids=describe)
def test_phases_of_named_problems(problem: ConvProblem) -> None:
    check(problem)


@given(
    size=st.integers(1, 30),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 9),
    dilation=st.integers(1, 9),
    before=st.integers(0, 12),
    after=st.integers(0, 12),
    direction=st.sampled_from(["forward", "backward_input", "backward_weight"]),
)
def test_phases_of_any_axis(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int, direction: str
) -> None:
    if size + before + after < (kernel - 1) * dilation + 1:
        return
    problem = ConvProblem.parse(f"{direction} 1x1x{size} 1x1x{kernel} s{stride} d{dilation} float32")
    check(problem.replace(padding=((0, 0), (0, 0), (before, after))))
