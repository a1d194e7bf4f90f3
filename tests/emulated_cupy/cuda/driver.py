"""``cupy.cuda.driver``: errors of the CUDA driver."""

from __future__ import annotations

from typing import Any

_ERRORS = {
    1: ("CUDA_ERROR_INVALID_VALUE", "invalid argument"),
    500: ("CUDA_ERROR_NOT_FOUND", "named symbol not found"),
    701: ("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"),
}


class CUDADriverError(RuntimeError):
    """An error of the driver, by its number."""

    def __init__(self, status: int, why: str = "") -> None:
        self.status, self._why = status, why
        super().__init__(": ".join([*_ERRORS[status], *filter(None, [why])]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self._why)
