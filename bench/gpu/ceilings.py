"""What the device reaches at this moment: products of large matrices by cuBLAS, FFMA alone, and copies."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from fastconv import ConvProblem
from fastconv._problem import numpy_dtype

from .arrays import Noise, bytes_of
from .calibration import Calibration
from .clock import Clock

SIDE = 8192
"""Of the square matrices."""
SAMPLES = 5
CUDA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}
"""cudaDataType by dtype."""
COMPUTE_32F, COMPUTE_32F_TF32 = 68, 77
"""cublasComputeType_t."""


class Ceilings:
    """Measured once for every level, in the same run as the layers."""

    def __init__(self, clock: Clock, noise: Noise) -> None:
        self._clock, self._noise = clock, noise
        self._products: dict[tuple[str, str], float] = {}
        self._calibration = Calibration(clock)
        self.bytes_per_second = self._calibration.copy_bytes_per_second

    def flops_per_second(self, problem: ConvProblem) -> float:
        """Of products at the problem's dtype and precision: cuBLAS's, or what FFMA reach where they do more."""
        key = problem.dtype, problem.precision
        if key not in self._products:
            dtype = numpy_dtype(problem.dtype)
            a, b = (self._noise.array(SIDE * SIDE, dtype).reshape(SIDE, SIDE) for _ in range(2))
            run = product(self._clock.cp, a, b, self._clock.cp.empty((SIDE, SIDE), dtype), problem.precision)
            reached = 2 * SIDE**3 / self._clock.median(run, SAMPLES)
            is_strict = problem.dtype == "float32" and problem.precision != "medium"
            ffma = self._calibration.float32_flops_per_second if is_strict else 0.0
            self._products[key] = max(reached, ffma)
        return self._products[key]

    def seconds(self, problem: ConvProblem) -> float:
        """The least time: of the definition's products, or of reading both arrays and writing the result once."""
        return max(
            2 * problem.multiply_adds / self.flops_per_second(problem), bytes_of(problem) / self.bytes_per_second
        )

    def is_bound_by_memory(self, problem: ConvProblem) -> bool:
        """Whether the bytes take longer than the products."""
        return bytes_of(problem) / self.bytes_per_second >= 2 * problem.multiply_adds / self.flops_per_second(problem)


def product(cp: Any, a: Any, b: Any, out: Any, precision: str = "high") -> Callable[[], None]:
    """``out = a @ b`` by cuBLAS, of C-contiguous matrices; in TF32 for float32 at precision "medium"."""
    (m, k), n = a.shape, b.shape[1]
    kind = CUDA_TYPES[a.dtype.name]
    compute = COMPUTE_32F_TF32 if (a.dtype.name, precision) == ("float32", "medium") else COMPUTE_32F
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    cublas = cp.cuda.cublas

    def run() -> None:  # cuBLAS has matrices by columns: the product of the transposes, in the other order
        cublas.gemmStridedBatchedEx(
            cp.cuda.device.get_cublas_handle(), 0, 0, n, m, k, ctypes.addressof(one), b.data.ptr, kind, n, k * n,
            a.data.ptr, kind, k, m * k, ctypes.addressof(zero), out.data.ptr, kind, n, m * n, 1, compute, -1,
        )  # fmt: skip

    return run
