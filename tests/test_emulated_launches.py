"""The stand-in for CuPy: streams, their capture, graphs, and launches of kernels with all that CUDA refuses."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import emulated_cupy as cp
from emulated_cupy import nvrtc
from emulated_cupy.cuda.runtime import CUDARuntimeError

needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)
ADD = 'extern "C" __global__ void add(float *y, float by) { y[threadIdx.x] += by; }'
ONE = np.float32(1)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with cp.pretend():
        yield


# -- streams and graphs
def test_a_captured_stream_records() -> None:
    """Arithmetic, copies and transforms run when the graph does, on what is in memory then."""
    x, stream = cp.zeros(4), cp.cuda.Stream()
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        y = x + 1
        total = cp.zeros(4)
        total[1:] = y[:-1]
        graph = stream.end_capture()
    assert np.isnan(y.get()).all()
    x.fill(5)
    graph.launch(stream)
    assert y.get().tolist() == [6] * 4
    assert total.get().tolist() == [0, 6, 6, 6]
    x.fill(7)
    graph.upload(stream)
    graph.launch()
    assert y.get().tolist() == [8] * 4
    assert cp.system.counts["graph_launch"] == 2


SYNCHRONISING = {
    "get": lambda x, stream: x.get(),
    "asnumpy": lambda x, stream: cp.asnumpy(x),
    "float": lambda x, stream: float(x[0]),
    "bool": lambda x, stream: bool(x[0]),
    "mask": lambda x, stream: x[x > 0],
    "item": lambda x, stream: x.sum().item(),
    "from the host": lambda x, stream: cp.asarray(np.zeros(3)),
    "stream": lambda x, stream: stream.synchronize(),
    "device": lambda x, stream: cp.cuda.Device().synchronize(),
    "runtime": lambda x, stream: cp.cuda.runtime.deviceSynchronize(),
    "event": lambda x, stream: stream.record().synchronize(),
    "set": lambda x, stream: x.set(np.zeros(4)),
}


@pytest.mark.parametrize("name", SYNCHRONISING)
def test_nothing_waits_for_a_captured_stream(name: str) -> None:
    """And the capture is lost, as CUDA's is."""
    x, stream = cp.zeros(4), cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
            SYNCHRONISING[name](x, stream)
        with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
    assert not stream.is_capturing()
    stream.synchronize()


def test_captures_begin_and_end_in_order() -> None:
    with pytest.raises(RuntimeError, match="default"):
        cp.cuda.Stream.null.begin_capture()
    stream = cp.cuda.Stream()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalState"):
        stream.end_capture()
    stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureImplicit"):
        cp.zeros(3)  # on the legacy stream, which waits for blocking ones
    with pytest.raises(CUDARuntimeError, match="Invalidated"):
        stream.end_capture()


def test_a_second_stream_joins_a_capture_by_an_event() -> None:
    x, first, second = cp.zeros(4), cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)
    first.begin_capture()
    second.wait_event(first.record())
    assert second.is_capturing()
    with second:
        x += 1
    first.wait_event(second.record())
    graph = first.end_capture()
    assert not second.is_capturing()
    assert x.get().max() == 0
    graph.launch(first)
    assert x.get().min() == 1


def test_a_graph_does_not_keep_memory() -> None:
    x, stream = cp.zeros(4), cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        cp.add(x, 1)  # its result is nobody's
        graph = stream.end_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalAddress"):
        graph.launch(stream)


def test_streams_are_of_a_device() -> None:
    stream = cp.cuda.Stream()
    with cp.cuda.Device(1), pytest.raises(CUDARuntimeError, match="cudaErrorInvalidResourceHandle"):
        stream.use()
    start, end = cp.cuda.Event(), cp.cuda.Event()
    start.record(stream)
    end.record(stream)
    end.synchronize()
    assert cp.cuda.get_elapsed_time(start, end) >= 0


# -- cuBLAS
@pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
def test_products_by_address(kind: Any) -> None:
    """A row-major a @ b is a column-major b a."""
    blas, rng = cp.cuda.cublas, np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype(kind) for shape in ((3, 4, 5), (3, 5, 6)))
    x, y, c = cp.asarray(a), cp.asarray(b), cp.full((3, 4, 6), 2, np.float32 if kind == np.float16 else kind)
    double, codes = kind == np.float64, {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
    scalars = [(ctypes.c_double if double else ctypes.c_float)(value) for value in (1, 3)]
    one, three = map(ctypes.addressof, scalars)
    code, c_code = codes[x.dtype.name], codes[c.dtype.name]
    compute = blas.CUBLAS_COMPUTE_64F if double else blas.CUBLAS_COMPUTE_32F
    matrices = (y.data.ptr, code, 6, 30, x.data.ptr, code, 5, 20, three, c.data.ptr, c_code, 6, 24)
    blas.gemmStridedBatchedEx(cp.cuda.device.get_cublas_handle(), 0, 0, 6, 4, 5, one, *matrices, 3, compute, -1)
    np.testing.assert_array_equal(c.get().astype(float), a.astype(float) @ b.astype(float) + 6)
    with pytest.raises(CUDARuntimeError, match="IllegalAddress"):
        blas.gemmStridedBatchedEx(1, 0, 0, 6, 4, 5, one, *matrices, 4, compute, -1)


@pytest.mark.parametrize("double", [False, True])
def test_transposed_products_by_address(double: bool) -> None:
    blas, dtype = cp.cuda.cublas, np.float64 if double else np.float32
    a, b = np.arange(12.0).reshape(1, 3, 4), np.arange(20.0).reshape(1, 5, 4)
    x, y, c = cp.asarray(a, dtype), cp.asarray(b, dtype), cp.empty((1, 3, 5), dtype)
    scalars = [(ctypes.c_double if double else ctypes.c_float)(value) for value in (1, 0)]
    one, zero = map(ctypes.addressof, scalars)
    gemm = blas.dgemmStridedBatched if double else blas.sgemmStridedBatched
    matrices = (y.data.ptr, 4, 20, x.data.ptr, 4, 12, zero, c.data.ptr, 5, 15)
    gemm(1, blas.CUBLAS_OP_T, blas.CUBLAS_OP_N, 5, 3, 4, one, *matrices, 1)
    np.testing.assert_array_equal(c.get(), a @ b.swapaxes(1, 2))


# -- kernels
@needs_nvrtc
def test_kernels_run_on_the_current_stream() -> None:
    kernel, y, stream = cp.RawKernel(ADD, "add"), cp.zeros(32, np.float32), cp.cuda.Stream(non_blocking=True)
    kernel((1,), (32,), (y, ONE))
    with stream:
        stream.begin_capture()
        kernel((1,), (32,), (y, ONE))
        kernel((1,), (32,), (y, ONE), stream=stream)
        graph = stream.end_capture()
    assert y.get().max() == 1
    graph.launch(stream)
    assert y.get().min() == 3
    assert cp.system.counts["launch"] == 3
    assert cp.system.counts["module"] == 1
    del y
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalAddress"):
        graph.launch(stream)


@needs_nvrtc
def test_arguments_must_fit() -> None:
    code = 'extern "C" __global__ void k(float *y, long long n, struct { int a, b; } s) { y[0] = n + s.a * s.b; }'
    code = code.replace("struct { int a, b; } s", "pair s").replace(
        'extern "C"', 'struct pair { int a, b; }; extern "C"'
    )
    kernel, y = cp.RawModule(code=code).get_function("k"), cp.zeros(1, np.float32)
    pair = np.array([(3, 4)], "i4,i4")
    kernel((1,), (1,), (y, 5, pair))
    assert y.get()[0] == 17
    kernel((1,), (1,), (y.data, np.int64(6), pair))
    assert y.get()[0] == 18
    for wrong in (
        (y, np.int32(5), pair),
        (y, 5),
        (y, 5, pair, 1),
        (y, 5, np.zeros(2)),
        (y, 5, "pair"),
        (y, 5, pair[:0]),
    ):
        with pytest.raises(TypeError, match=r"bytes for parameters of|Unsupported type"):
            kernel((1,), (1,), wrong)


LAUNCHES = [
    ({"grid": (1, 65536)}, "grid"),
    ({"grid": (0,)}, "grid"),
    ({"block": (1025,)}, "block"),
    ({"block": (1, 1, 65)}, "block"),
    ({"block": (64, 32)}, "threads"),
    ({"shared_mem": (48 << 10) + 1}, "shared memory"),
]


@needs_nvrtc
@pytest.mark.parametrize(("change", "message"), LAUNCHES, ids=str)
def test_launches_have_limits(change: dict[str, Any], message: str) -> None:
    kernel, y = cp.RawKernel(ADD, "add"), cp.zeros(1024, np.float32)
    with pytest.raises(cp.cuda.driver.CUDADriverError, match=message):
        kernel(**{"grid": (1,), "block": (32,), "args": (y, ONE), **change})


@needs_nvrtc
def test_attributes_of_kernels() -> None:
    code = (
        'extern "C" __global__ void __launch_bounds__(64) k(float *y) { __shared__ float s[256]; s[threadIdx.x] = y[0];'
    )
    kernel = cp.RawKernel(code + " __syncthreads(); y[threadIdx.x] = s[threadIdx.x ^ 1]; }", "k")
    assert 0 < kernel.num_regs < 64
    assert kernel.local_size_bytes == 0
    assert kernel.shared_size_bytes >= 1024
    assert kernel.max_threads_per_block == 64
    y = cp.zeros(128, np.float32)
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="128 threads"):
        kernel((1,), (128,), (y,))
    kernel.max_dynamic_shared_size_bytes = most = (227 << 10) - 1024
    kernel((1,), (64,), (y,), shared_mem=most)
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = most + 1
    with cp.cuda.Device(1), pytest.raises(cp.cuda.driver.CUDADriverError, match="shared memory"):
        kernel((1,), (64,), (cp.zeros(64, np.float32),), shared_mem=64 << 10)


@needs_nvrtc
def test_kernels_of_another_device_touch_nothing_here() -> None:
    y = cp.zeros(32, np.float32)
    with cp.cuda.Device(1), pytest.raises(cp.KernelError, match="out of bounds"):
        cp.RawKernel(ADD, "add")((1,), (32,), (y, ONE))


@needs_nvrtc
def test_source_that_does_not_compile() -> None:
    with pytest.raises(cp.cuda.compiler.CompileException, match="undefined_thing"):
        cp.RawModule(code='extern "C" __global__ void k() { undefined_thing(); }').compile()
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="NOT_FOUND"):
        cp.RawModule(code=ADD).get_function("no_such_kernel")
    with cp.cuda.Device(1), pytest.raises(cp.cuda.driver.CUDADriverError, match="code for 90a"):
        cp.RawModule(code=ADD, options=("-arch=sm_90a",)).compile()
