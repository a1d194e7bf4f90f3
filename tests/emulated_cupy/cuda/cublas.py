"""``cupy.cuda.cublas``: products of column-major matrices, by their addresses as cuBLAS takes them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from . import runtime
from .memory import holds
from .stream import submit

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F = 68, 77, 70
CUBLAS_GEMM_DEFAULT = -1
_CUDA_R_16BF = 14
_TYPES = {0: "f4", 1: "f8", 2: "f2"}
"""cudaDataType -> dtype; CUDA_R_16BF needs ml_dtypes."""


def _dtype(kind: int) -> np.dtype:
    if kind == _CUDA_R_16BF:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(_TYPES[kind])


def _matrices(address: int, kind: int, shape: tuple[int, ...], pitch: int, step: int, batch: int) -> np.ndarray:
    """A batch of matrices; an error if they are not all in one allocation of the current device."""
    dtype, (rows, columns) = _dtype(kind), shape
    size = ((batch - 1) * step + (columns - 1) * pitch + rows) * dtype.itemsize
    if not holds(runtime.getDevice(), address, size) or pitch < rows:
        raise runtime.CUDARuntimeError(700)
    buffer: Any = (ctypes.c_char * size).from_address(address)
    strides = (step * dtype.itemsize, dtype.itemsize, pitch * dtype.itemsize)
    return np.ndarray((batch, rows, columns), dtype, buffer, 0, strides)


def gemmStridedBatchedEx(handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int,  # noqa: N802
                         Atype: int, lda: int, strideA: int, B: int, Btype: int, ldb: int, strideB: int, beta: int,
                         C: int, Ctype: int, ldc: int, strideC: int, batchCount: int, computeType: int,
                         algo: int) -> None:  # fmt: skip
    """C = alpha A B + beta C for every matrix of a batch; sums in float64 or float32."""
    wide = np.dtype(np.float64 if computeType == CUBLAS_COMPUTE_64F else np.float32)
    scalar = ctypes.c_double if computeType == CUBLAS_COMPUTE_64F else ctypes.c_float
    factor, kept = scalar.from_address(alpha).value, scalar.from_address(beta).value
    left, right = (m, k), (k, n)

    def multiply() -> None:
        a = _matrices(A, Atype, left if transa == CUBLAS_OP_N else left[::-1], lda, strideA, batchCount)
        b = _matrices(B, Btype, right if transb == CUBLAS_OP_N else right[::-1], ldb, strideB, batchCount)
        c = _matrices(C, Ctype, (m, n), ldc, strideC, batchCount)
        a = (a if transa == CUBLAS_OP_N else a.swapaxes(1, 2)).astype(wide)
        b = (b if transb == CUBLAS_OP_N else b.swapaxes(1, 2)).astype(wide)
        product = wide.type(factor) * (a @ b)
        c[...] = product + wide.type(kept) * c.astype(wide) if kept else product

    submit(multiply, [])


def sgemmStridedBatched(handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int,  # noqa: N802
                        lda: int, strideA: int, B: int, ldb: int, strideB: int, beta: int, C: int, ldc: int,
                        strideC: int, batchCount: int) -> None:  # fmt: skip
    """The same in float32."""
    gemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, A, 0, lda, strideA, B, 0, ldb, strideB, beta, C, 0,
                         ldc, strideC, batchCount, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT)  # fmt: skip


def dgemmStridedBatched(handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int,  # noqa: N802
                        lda: int, strideA: int, B: int, ldb: int, strideB: int, beta: int, C: int, ldc: int,
                        strideC: int, batchCount: int) -> None:  # fmt: skip
    """The same in float64."""
    gemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, A, 1, lda, strideA, B, 1, ldb, strideB, beta, C, 1,
                         ldc, strideC, batchCount, CUBLAS_COMPUTE_64F, CUBLAS_GEMM_DEFAULT)  # fmt: skip
