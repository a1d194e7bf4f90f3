"""``cupy.cuda.cublas``: products of column-major matrices, by their addresses as cuBLAS takes them.

As CuPy's it is linked with a library, whose path ``__file__`` is: what looks there for cuBLAS's own functions finds
those here. They may be recorded; CuPy's may not.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from . import runtime
from .linked import INT, LONG, POINTER, SIZE, library
from .memory import POISON, holds
from .stream import get_current_stream, submit

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F = 68, 77, 70
CUBLAS_GEMM_DEFAULT = -1
_CUDA_R_16BF = 14
_TYPES = {0: "f4", 1: "f8", 2: "f2"}
"""cudaDataType -> dtype; CUDA_R_16BF needs ml_dtypes."""
_SUPPORTED = {
    *((0, 0, compute) for compute in (CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32)),
    *((half, c, CUBLAS_COMPUTE_32F) for half in (2, _CUDA_R_16BF) for c in (half, 0)),
    (1, 1, CUBLAS_COMPUTE_64F),
}
"""Types of A and B, of C, and of the computation."""
_TF32_MATH = 3
_INVALID_VALUE, _NOT_SUPPORTED = 7, 15


@dataclass
class _Handle:
    """What is set of a handle."""

    device: int
    stream: int = 0
    workspace: tuple[int, int] = (0, 0)
    """Address and bytes; taken back when a stream is set."""
    math_mode: int = 0


_handles: dict[int, _Handle] = {}
_numbers = itertools.count(1)


def create() -> int:
    """A handle of the current device."""
    number = next(_numbers)
    _handles[number] = _Handle(runtime.getDevice())
    return number


def destroy(handle: int) -> None:
    """Forget a handle."""
    del _handles[handle]


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


def _tf32(x: np.ndarray) -> np.ndarray:
    """Rounded to ten bits behind the first one."""
    bits = x.astype(np.float32).view(np.uint32)
    rounded: np.ndarray = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
    return rounded


def gemmStridedBatchedEx(handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int,  # noqa: N802
                         Atype: int, lda: int, strideA: int, B: int, Btype: int, ldb: int, strideB: int, beta: int,
                         C: int, Ctype: int, ldc: int, strideC: int, batchCount: int, computeType: int,
                         algo: int) -> None:  # fmt: skip
    """C = alpha A B + beta C for every matrix of a batch; sums in float64 or float32."""
    if get_current_stream().is_capturing():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    _multiply(None, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB, beta, C, Ctype, ldc,
              strideC, batchCount, computeType, algo)  # fmt: skip


def _multiply(handle: _Handle | None, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int, Atype: int,
              lda: int, strideA: int, B: int, Btype: int, ldb: int, strideB: int, beta: int, C: int, Ctype: int,
              ldc: int, strideC: int, batchCount: int, computeType: int, algo: int) -> None:  # fmt: skip
    wide = np.dtype(np.float64 if computeType == CUBLAS_COMPUTE_64F else np.float32)
    scalar = ctypes.c_double if computeType == CUBLAS_COMPUTE_64F else ctypes.c_float
    factor, kept = scalar.from_address(alpha).value, scalar.from_address(beta).value
    left, right = (m, k), (k, n)
    is_tf32 = computeType == CUBLAS_COMPUTE_32F_FAST_TF32 or (handle is not None and handle.math_mode == _TF32_MATH)
    scratch = (0, 0) if handle is None else handle.workspace

    def multiply() -> None:
        a = _matrices(A, Atype, left if transa == CUBLAS_OP_N else left[::-1], lda, strideA, batchCount)
        b = _matrices(B, Btype, right if transb == CUBLAS_OP_N else right[::-1], ldb, strideB, batchCount)
        c = _matrices(C, Ctype, (m, n), ldc, strideC, batchCount)
        if scratch[1]:
            _poison(*scratch)
        a = (a if transa == CUBLAS_OP_N else a.swapaxes(1, 2)).astype(wide)
        b = (b if transb == CUBLAS_OP_N else b.swapaxes(1, 2)).astype(wide)
        with np.errstate(all="ignore"):
            product = wide.type(factor) * (_tf32(a) @ _tf32(b) if is_tf32 and Atype == 0 else a @ b)
            c[...] = product + wide.type(kept) * c.astype(wide) if kept else product
        if scratch[1]:
            _poison(*scratch)

    submit(multiply, [])


def _poison(address: int, size: int) -> None:
    """What is scratch memory of a product is nobody else's."""
    if not holds(runtime.getDevice(), address, size):
        raise runtime.CUDARuntimeError(700)
    ctypes.memset(address, POISON, size)


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


# -- the library
def _of_handle(function: Callable[..., int]) -> Callable[..., int]:
    """A function of the library, whose first argument is a handle of the current device."""

    def called(number: int, *arguments: Any) -> int:
        handle = _handles.get(number)
        if handle is None or handle.device != runtime.getDevice():
            return _INVALID_VALUE
        return function(handle, *arguments)

    return called


def _set_stream(handle: _Handle, stream: int) -> int:
    handle.stream, handle.workspace = stream, (0, 0)
    return 0


def _set_workspace(handle: _Handle, address: int, size: int) -> int:
    if address % 256 or not holds(runtime.getDevice(), address, size):
        return _INVALID_VALUE
    handle.workspace = address, size
    return 0


def _set_math_mode(handle: _Handle, mode: int) -> int:
    handle.math_mode = mode & 15
    return 0


def _gemm(handle: _Handle, transa: int, transb: int, m: int, n: int, k: int, alpha: int, *rest: Any) -> int:
    a, a_type, lda, _, b, b_type, ldb, _, _, c, c_type, ldc, _, count, compute, _ = rest
    if handle.stream != get_current_stream().ptr or min(m, n, k, count) < 1 or not (a and b and c):
        return _INVALID_VALUE
    rows_a, rows_b = (m if transa == CUBLAS_OP_N else k), (k if transb == CUBLAS_OP_N else n)
    if lda < rows_a or ldb < rows_b or ldc < m:
        return _INVALID_VALUE
    if a_type != b_type or (a_type, c_type, compute) not in _SUPPORTED:
        return _NOT_SUPPORTED
    _multiply(handle, transa, transb, m, n, k, alpha, *rest)
    return 0


_FUNCTIONS = {
    "cublasSetStream_v2": (_of_handle(_set_stream), (POINTER, POINTER)),
    "cublasSetWorkspace_v2": (_of_handle(_set_workspace), (POINTER, POINTER, SIZE)),
    "cublasSetMathMode": (_of_handle(_set_math_mode), (POINTER, INT)),
    "cublasGemmStridedBatchedEx": (
        _of_handle(_gemm),
        (
            *(POINTER, INT, INT, INT, INT, INT, POINTER, POINTER, INT, INT, LONG),
            *(POINTER, INT, INT, LONG, POINTER, POINTER, INT, INT, LONG, INT, INT, INT),
        ),
    ),
}
_path = cache(lambda: library(_FUNCTIONS))
del __file__


def __getattr__(name: str) -> str:
    if name == "__file__":
        return _path()
    raise AttributeError(f"the stand-in for cupy.cuda.cublas has no {name}")
