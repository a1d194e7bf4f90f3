"""What the cost models know of a device: how many units it has and how fast they are.

What has not been measured follows from the device's properties, so that the choice of an algorithm fits the device.
Parameters that influence bits are ranked for ``LARGE``, on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._algorithm import Machine
from .device import Device


@dataclass(frozen=True)
class GpuMachine(Machine):
    """The constants, and the units of a multiprocessor."""

    multiprocessors: int = 132
    lanes: int = 128
    """Multiply-adds of float32 in a cycle."""
    tensor_products: int = 1290
    """Of 16-bit floats in a cycle, with sums of float32, by mma.sync; half as many of TF32."""

    __hash__ = Machine.__hash__

    @property
    def hertz(self) -> float:
        """Cycles in a second."""
        return self.multiply_adds_per_second["float32"] / (self.multiprocessors * self.lanes)

    @property
    def bytes_per_cycle(self) -> float:
        """Of the memory."""
        return self.bytes_per_second / self.hertz

    def multiply_adds_per_cycle(self, dtype: str) -> float:
        """Of a multiprocessor, in float32 or float64."""
        return self.multiply_adds_per_second[dtype] / (self.multiprocessors * self.hertz)

    @property
    def tensor_ratio(self) -> float:
        """What tensor cores do in the time of a multiply-add of float32, by what those of LARGE do."""
        return self.tensor_products / self.lanes / (LARGE.tensor_products / LARGE.lanes)


LARGE = GpuMachine({"float32": 3e13, "float64": 1.5e13}, 4e12, 2.5e-6, 1e-5)
"""An H200."""
SUSTAINED_CLOCK, SUSTAINED_BANDWIDTH = 0.9, 0.82
"""Of what the properties say."""
HALF_LANES = ((7, 5), (8, 0))
DOUBLES = {(8, 0): 32, (9, 0): 64, (10, 0): 64}
"""Multiply-adds of float64 in a cycle; on other devices 2."""
TENSOR_PRODUCTS = {(7, 5): 512, (8, 0): 1024, (9, 0): 1290, (10, 0): 1024}
"""By capability. Others have 512, of which GeForces do half where sums are of float32."""


def of_device(device: Device, measured: Machine | None) -> GpuMachine:
    """The constants of a device: measured ones, or those that follow from its properties."""
    capability, lanes = device.capability, 64 if device.capability in HALF_LANES else 128
    others = 256 if "GeForce" in device.name else 512
    units = device.multiprocessors, lanes, TENSOR_PRODUCTS.get(capability, others)
    if measured is None:
        if not (device.hertz and device.memory_bytes_per_second):
            return LARGE
        cycles = device.multiprocessors * device.hertz * SUSTAINED_CLOCK
        rates = {"float32": cycles * lanes, "float64": cycles * DOUBLES.get(capability, 2)}
        measured = Machine(rates, device.memory_bytes_per_second * SUSTAINED_BANDWIDTH, LARGE.call_seconds,
                           LARGE.numpy_call_seconds)  # fmt: skip
    return GpuMachine(measured.multiply_adds_per_second, measured.bytes_per_second, measured.call_seconds,
                      measured.numpy_call_seconds, *units)  # fmt: skip


def with_units(machine: Machine) -> GpuMachine:
    """The machine, with the units of LARGE where nothing is said of them."""
    if isinstance(machine, GpuMachine):
        return machine
    return GpuMachine(machine.multiply_adds_per_second, machine.bytes_per_second, machine.call_seconds,
                      machine.numpy_call_seconds)  # fmt: skip
