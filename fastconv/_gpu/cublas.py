"""Products of matrices by cuBLAS, as steps among launches; the one module that calls it.

CuPy loads the library and makes handles. The products themselves are called in the library that it has loaded: CuPy's
own functions refuse to be recorded, and they take a handle's workspace away with every call. Products on several
streams would then share one, and which kernels cuBLAS takes would depend on what else runs. Here a product's workspace
is part of the call's scratch memory, so that the same call computes the same bits, recorded or not.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import cupy
from .launch import Workspace
from .linked import INT, LONG, POINTER, SIZE, Prototypes, are_available, check
from .linked import functions as linked

OPERATION_N, OPERATION_T = 0, 1
COMPUTE_32F, COMPUTE_32F_FAST_TF32, COMPUTE_64F = 68, 77, 70
ALGORITHM_DEFAULT = -1
DEFAULT_MATH, DISALLOW_REDUCED_PRECISION_REDUCTION = 0, 16
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
"""cudaDataType."""
MAX_SIZE = 2**31 - 1
"""Of a matrix, and of the distance of its rows."""
ALIGNED_BYTES = 256
"""Of a workspace."""
MOST_SCRATCH_BYTES, LEAST_SCRATCH_BYTES, PARTS = 2**25, 2**16, 32
"""Of cuBLAS, which splits long sums where it has room for the parts."""

FUNCTIONS: Prototypes = {
    "cublasSetStream_v2": (POINTER, POINTER),
    "cublasSetWorkspace_v2": (POINTER, POINTER, SIZE),
    "cublasSetMathMode": (POINTER, INT),
    "cublasGemmStridedBatchedEx": (
        *(POINTER, INT, INT, INT, INT, INT),  # handle, operations, m, n, k
        *(POINTER, POINTER, INT, INT, LONG),  # alpha; address, type, leading dimension and stride of A
        *(POINTER, INT, INT, LONG),  # of B
        *(POINTER, POINTER, INT, INT, LONG),  # beta; of C
        *(INT, INT, INT),  # matrices, type of the computation, algorithm
    ),
}

TILE = 64
"""Rows and columns that it computes at least."""


def scratch_bytes(result_bytes: int) -> int:
    """What to give cuBLAS for products whose results are of that size."""
    wanted = min(max(PARTS * result_bytes, LEAST_SCRATCH_BYTES), MOST_SCRATCH_BYTES)
    return -(-wanted // ALIGNED_BYTES) * ALIGNED_BYTES


def is_available() -> bool:
    """Whether CuPy finds cuBLAS."""
    return are_available("cublas", FUNCTIONS)


class _Handles(threading.local):
    """A thread's handles, one for each device and library: a handle's stream is set before every product."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], int] = {}

    def current(self, functions: Mapping[str, Any]) -> int:
        """That of the current device."""
        key = cupy.current_device(), id(functions)  # which are kept
        handle = self._found.get(key)
        if handle is None:
            cupy.forbid_capture("a handle of cuBLAS that has to be made")
            handle = int(cupy.module().cuda.cublas.create())
            mode = DEFAULT_MATH | DISALLOW_REDUCED_PRECISION_REDUCTION
            check(functions["cublasSetMathMode"](handle, mode), "cublasSetMathMode")
            self._found[key] = handle
        return handle


handles = _Handles()


@dataclass(frozen=True)
class Matrices:
    """A batch of matrices in an array, or in scratch memory; distances are in elements."""

    place: str | Workspace
    dtype: np.dtype
    row: int
    """From a row to the next one."""
    column: int
    batch: int = 0
    offset: int = 0
    """Of the first element, in elements."""

    def moved(self, elements: int) -> Matrices:
        """The same, so many elements further on."""
        return Matrices(self.place, self.dtype, self.row, self.column, self.batch, self.offset + elements)

    def is_usable(self, rows: int, columns: int) -> bool:
        """Whether cuBLAS takes them where they lie: elements of rows or of columns side by side."""
        return self._leading(rows, columns) is not None

    def _leading(self, rows: int, columns: int) -> tuple[bool, int] | None:
        """Whether columns are contiguous, and the distance of the other ones."""
        for is_column_major, inner, outer, inside, outside in (
            (True, self.row, self.column, rows, columns),
            (False, self.column, self.row, columns, rows),
        ):
            least = max(inside, 1)
            if (inner == 1 or inside == 1) and (outside == 1 or least <= outer <= MAX_SIZE):
                return is_column_major, outer if outside > 1 else least
        return None


@dataclass(frozen=True)
class Product:
    """``c = a @ b`` or ``c += a @ b`` for every matrix of a batch; sums are of float64 for float64, else of float32.

    TF32 is taken only where it is asked for, whatever CuPy's settings are.
    """

    a: Matrices
    b: Matrices
    c: Matrices
    rows: int
    columns: int
    depth: int
    batch: int
    adds: bool = False
    tf32: bool = False
    scratch: Workspace = Workspace(0)  # noqa: RUF009 - frozen
    """Where cuBLAS may have its own scratch memory, and how much."""
    scratch_bytes: int = 0
    workspace_bytes: int = 0
    """Of the whole call, those that this step touches."""

    def bind(self) -> Callable[[Mapping[str, Any]], None]:
        """What computes it, of arrays by their roles, on the current device and stream."""
        functions = linked("cublas", FUNCTIONS)
        set_stream, set_workspace = functions["cublasSetStream_v2"], functions["cublasSetWorkspace_v2"]
        multiply, stream_of = functions["cublasGemmStridedBatchedEx"], cupy.module().cuda.get_current_stream
        left, right, sizes = self._operands()
        (a, transposed_a, pitch_a), (b, transposed_b, pitch_b), c = left, right, self.c
        pitch_c = self._result()[1]
        scalar = ctypes.c_double if c.dtype == np.float64 else ctypes.c_float
        alpha, beta = scalar(1), scalar(float(self.adds))
        compute = COMPUTE_64F if c.dtype == np.float64 else COMPUTE_32F_FAST_TF32 if self.tf32 else COMPUTE_32F
        handles.current(functions)  # before a capture

        def run(arrays: Mapping[str, Any]) -> None:
            handle = handles.current(functions)
            check(set_stream(handle, stream_of().ptr), "cublasSetStream")
            if self.scratch_bytes:
                scratch = arrays["workspace"].data.ptr + self.scratch.offset_bytes
                check(set_workspace(handle, scratch, self.scratch_bytes), "cublasSetWorkspace")
            status = multiply(
                *(handle, transposed_a, transposed_b, *sizes),
                *(ctypes.addressof(alpha), _address(a, arrays), TYPES[a.dtype.name], pitch_a, a.batch),
                *(_address(b, arrays), TYPES[b.dtype.name], pitch_b, b.batch),
                *(ctypes.addressof(beta), _address(c, arrays), TYPES[c.dtype.name], pitch_c, c.batch),
                *(self.batch, compute, ALGORITHM_DEFAULT),
            )
            check(status, "cublasGemmStridedBatchedEx")

        return run

    def work(self, multiprocessors: int) -> float:
        """Multiply-adds of whole tiles, in rounds of the multiprocessors; long sums are split for want of tiles."""
        tiles = self.batch * -(-self.rows // TILE) * -(-self.columns // TILE)
        splits = max(min(multiprocessors // tiles, self.depth // 256), 1) if tiles < multiprocessors else 1
        rounds = -(-tiles * splits // multiprocessors)
        return rounds * multiprocessors * TILE * TILE * (self.depth / splits)

    def moved_bytes(self) -> float:
        """From and to memory, every matrix once."""
        of_batch = self.batch if self.a.batch else 1, self.batch if self.b.batch else 1
        left = self.rows * self.depth * self.a.dtype.itemsize * of_batch[0]
        right = self.depth * self.columns * self.b.dtype.itemsize * of_batch[1]
        result = self.batch * self.rows * self.columns * self.c.dtype.itemsize
        return left + right + result * (2 if self.adds else 1)

    def _result(self) -> tuple[bool, int]:
        found = self.c._leading(self.rows, self.columns)
        assert found is not None, self.c
        return found

    def _operands(self) -> tuple[tuple[Matrices, int, int], tuple[Matrices, int, int], tuple[int, int, int]]:
        """As cuBLAS wants them, whose results have contiguous columns: c = a b, or c^T = b^T a^T."""
        is_column_major, _ = self._result()
        sizes = {"a": (self.rows, self.depth), "b": (self.depth, self.columns)}
        found = []
        for name, matrices in (("a", self.a), ("b", self.b)):
            leading = matrices._leading(*sizes[name])
            assert leading is not None, matrices
            found.append((matrices, OPERATION_N if leading[0] == is_column_major else OPERATION_T, leading[1]))
        if is_column_major:
            return found[0], found[1], (self.rows, self.columns, self.depth)
        return found[1], found[0], (self.columns, self.rows, self.depth)


def _address(matrices: Matrices, arrays: Mapping[str, Any]) -> int:
    place, offset = matrices.place, matrices.offset * matrices.dtype.itemsize
    if isinstance(place, Workspace):
        return int(arrays["workspace"].data.ptr) + place.offset_bytes + offset
    return int(arrays[place].data.ptr) + offset
