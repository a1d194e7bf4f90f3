"""``cupy.cuda.runtime``: the functions of the CUDA runtime that a backend calls, and its errors."""

from __future__ import annotations

import threading
from typing import Any

from ..system import profile, require_device, system

_ERRORS = {
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    3: ("cudaErrorInitializationError", "initialization error"),
    35: ("cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    401: ("cudaErrorIllegalState", "the operation cannot be performed in the present state"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    719: ("cudaErrorLaunchFailure", "unspecified launch failure"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
    906: (
        "cudaErrorStreamCaptureImplicit",
        "operation would make the legacy stream depend on a capturing blocking stream",
    ),
}


class CUDARuntimeError(RuntimeError):
    """An error of the runtime, by its number."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(": ".join(_ERRORS[status]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status,)


class _Thread(threading.local):
    """What every thread has of its own."""

    device = 0


_thread = _Thread()


def getDevice() -> int:  # noqa: N802 - CuPy's name, as all below
    """The current device of this thread."""
    require_device()
    return _thread.device


def setDevice(device: int) -> None:  # noqa: N802
    """Make it the current device of this thread."""
    profile(device)
    _thread.device = device


def getDeviceCount() -> int:  # noqa: N802
    """How many there are."""
    require_device()
    return len(system.devices)


def getDeviceProperties(device: int) -> dict[str, Any]:  # noqa: N802
    """What CUDA calls a device's properties."""
    of = profile(device)
    return {
        "name": of.name.encode(),
        "major": of.capability[0],
        "minor": of.capability[1],
        "multiProcessorCount": of.multiprocessors,
        "sharedMemPerBlock": 48 << 10,
        "sharedMemPerBlockOptin": of.shared_bytes_optin,
        "sharedMemPerMultiprocessor": of.shared_bytes_multiprocessor,
        "regsPerBlock": 65536,
        "regsPerMultiprocessor": 65536,
        "l2CacheSize": of.l2_bytes,
        "totalGlobalMem": of.memory_bytes if system.memory_limit is None else system.memory_limit,
        "warpSize": 32,
        "maxThreadsPerBlock": 1024,
        "maxThreadsPerMultiProcessor": of.threads_multiprocessor,
        "maxThreadsDim": (1024, 1024, 64),
        "maxGridSize": (2**31 - 1, 65535, 65535),
    }


def driverGetVersion() -> int:  # noqa: N802
    """The driver's; 0 without one."""
    return 0 if system.absent == "driver" else 13000


def runtimeGetVersion() -> int:  # noqa: N802
    """That of the runtime which CuPy was built with."""
    return 13000


def deviceSynchronize() -> None:  # noqa: N802
    """Wait for the device: an error while one of its streams is captured."""
    from .stream import forbid_synchronization

    require_device()
    forbid_synchronization(None)


def memGetInfo() -> tuple[int, int]:  # noqa: N802
    """Bytes of the current device: free, and all of them."""
    from .memory import live_bytes

    device = getDevice()
    total = getDeviceProperties(device)["totalGlobalMem"]
    return max(0, total - live_bytes(device)), total
