"""The cost models know the device at hand; what influences bits does not depend on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

import emulated_cupy
import fastconv
from array_modules import forget_gpu
from fastconv import ConvProblem
from fastconv._backend import find_backend
from fastconv._choose import select
from fastconv._gpu import device
from fastconv._gpu.machine import LARGE, of_device, with_units

BACKEND = find_backend("gpu")
LAYER = ConvProblem.parse("forward 32x256x28x28 256x256x3x3 s2 p1")


@pytest.fixture(params=["A100", "RTX3090", "RTX4090", "H200"])
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    with emulated_cupy.pretend(devices=(request.param,)), emulated_cupy.installed():
        forget_gpu()
        select.forget_plans()
        yield request.param
    forget_gpu()
    select.forget_plans()


PEAKS = {
    "A100": (9.75, 1.7, 156), "RTX3090": (17.8, 0.84, 35.5), "RTX4090": (41.3, 0.92, 82.6), "H200": (31, 4.3, 312),
}  # fmt: skip
"""Multiply-adds of float32, and bytes, in a second; those of 16-bit floats by mma.sync: 1e12, data sheets'."""


def test_rates_are_near_those_of_data_sheets(name: str) -> None:
    here = of_device(device.current(), None)
    tensor = here.tensor_products * here.multiprocessors * here.hertz
    found = here.multiply_adds_per_second["float32"], here.bytes_per_second, tensor
    for rate, expected in zip(found, PEAKS[name], strict=True):
        assert 0.8 < rate / 1e12 / expected < 1.1
    assert here.multiply_adds_per_cycle("float64") == pytest.approx({"A100": 32, "H200": 64}.get(name, 2))


def test_a_choice_is_one_for_the_device(name: str) -> None:
    """Float32 as three products on tensor cores: not where GeForces have few of them."""
    chosen = select.plan_for(LAYER, backend=BACKEND).algorithm.name
    assert (chosen == "implicit_gemm_3xtf32") == (name in ("A100", "H200"))
    fastconv.set_deterministic(True)
    try:
        same = select.plan_for(LAYER, backend=BACKEND)
    finally:
        fastconv.set_deterministic(False)
    assert same.algorithm.name == select.estimated_plan(LAYER, 1, BACKEND, LARGE).algorithm.name


def test_parameters_are_the_same_everywhere(name: str) -> None:
    for algorithm in BACKEND.algorithms:
        if LAYER.dtype in algorithm.dtypes and algorithm.supports(LAYER):
            here = algorithm.parameters(LAYER)
            with emulated_cupy.pretend(devices=("T4",)):
                forget_gpu()
                assert algorithm.parameters(LAYER) == here
            forget_gpu()


def test_measured_rates_come_first(name: str) -> None:
    measured = dataclasses.replace(with_units(LARGE), bytes_per_second=1e12, multiprocessors=1)
    here = of_device(device.current(), measured)
    assert (here.bytes_per_second, here.multiprocessors) == (1e12, device.current().multiprocessors)
    assert here.multiply_adds_per_second == measured.multiply_adds_per_second


def test_a_device_that_says_nothing_of_its_clocks() -> None:
    assert of_device(device.Device("unknown", (8, 6), 10, 1, 1), None) == LARGE
