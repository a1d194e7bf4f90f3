"""``cupy.cuda.Device``: a device, and the one that is current."""

from __future__ import annotations

from typing import Any

from ..system import profile
from . import runtime


class Device:
    """A device by its number, or the current one; as a context manager, current inside."""

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = runtime.getDevice() if device is None else int(device)
        self._outer: list[int] = []

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        self._outer.append(runtime.getDevice())
        runtime.setDevice(self.id)
        return self

    def __exit__(self, *_: object) -> None:
        runtime.setDevice(self._outer.pop())

    def use(self) -> None:
        """Make it the current device of this thread."""
        runtime.setDevice(self.id)

    def synchronize(self) -> None:
        """Wait for it."""
        with self:
            runtime.deviceSynchronize()

    @property
    def compute_capability(self) -> str:
        """As "90"."""
        return "{}{}".format(*profile(self.id).capability)

    @property
    def attributes(self) -> dict[str, Any]:
        """What CUDA calls a device's attributes."""
        of = runtime.getDeviceProperties(self.id)
        shown = profile(self.id)
        return {
            "ClockRate": shown.clock_khz,
            "MemoryClockRate": shown.memory_clock_khz,
            "GlobalMemoryBusWidth": shown.memory_bits,
            "ComputeCapabilityMajor": of["major"],
            "ComputeCapabilityMinor": of["minor"],
            "MultiProcessorCount": of["multiProcessorCount"],
            "MaxSharedMemoryPerBlock": of["sharedMemPerBlock"],
            "MaxSharedMemoryPerBlockOptin": of["sharedMemPerBlockOptin"],
            "MaxSharedMemoryPerMultiprocessor": of["sharedMemPerMultiprocessor"],
            "MaxRegistersPerBlock": of["regsPerBlock"],
            "MaxRegistersPerMultiprocessor": of["regsPerMultiprocessor"],
            "MaxThreadsPerBlock": of["maxThreadsPerBlock"],
            "L2CacheSize": of["l2CacheSize"],
            "WarpSize": of["warpSize"],
            **{f"MaxGridDim{axis}": size for axis, size in zip("XYZ", of["maxGridSize"], strict=True)},
        }

    @property
    def mem_info(self) -> tuple[int, int]:
        """Bytes that are free, and all of them."""
        with self:
            return runtime.memGetInfo()


def get_cublas_handle() -> int:
    """What cuBLAS is called with."""
    return runtime.getDevice() + 1


def get_compute_capability() -> str:
    """The current device's, as "90"."""
    return Device().compute_capability
