"""The stand-in for CuPy: arrays, their memory, devices and what is absent, as CuPy has them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import emulated_cupy as cp
import subprocesses
from emulated_cupy.cuda.runtime import CUDARuntimeError

CODE = 'extern "C" __global__ void add(float *y, float by) { y[threadIdx.x] += by; }'


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with cp.pretend():
        yield


# -- arrays
def test_arrays_are_not_numpys() -> None:
    x = cp.asarray(np.arange(12.0).reshape(3, 4))
    assert not isinstance(x, np.ndarray)
    assert not hasattr(x, "__array_interface__")
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    for wrong in (lambda: x + np.ones(4), lambda: np.ones(4) + x, lambda: cp.add(x, np.ones(4)),
                  lambda: x.__setitem__(0, np.ones(4)), lambda: cp.concatenate([x, np.ones((1, 4))]),
                  lambda: np.concatenate([x, np.ones((1, 4))])):  # fmt: skip
        with pytest.raises(TypeError):
            wrong()


VIEWS = [
    lambda x: x[1:, ::2],
    lambda x: x[::-1, None, -1],
    lambda x: x.T,
    lambda x: x.reshape(4, 3),
    lambda x: x.transpose(1, 0)[2:],
    lambda x: x[..., 1:][:0],
    lambda x: x.swapaxes(0, 1),
    lambda x: x.ravel(),
    lambda x: x[None].squeeze(0),
    lambda x: x.view("i8"),
]


@pytest.mark.parametrize("number", range(len(VIEWS)))
def test_views_are_numpys(number: int) -> None:
    host = np.arange(12.0).reshape(3, 4)
    x = cp.asarray(host)
    ours, theirs = VIEWS[number](x), VIEWS[number](host)
    assert (ours.shape, ours.strides, ours.dtype) == (theirs.shape, theirs.strides, theirs.dtype)
    assert ours.base is x
    assert not ours.flags.owndata
    assert (ours.flags.c_contiguous, ours.flags.f_contiguous) == (theirs.flags.c_contiguous, theirs.flags.f_contiguous)
    if ours.size:
        offset = theirs.__array_interface__["data"][0] - host.__array_interface__["data"][0]
        assert ours.data.ptr == x.data.ptr + offset
        ours.fill(5)
        theirs.fill(5)
    np.testing.assert_array_equal(x.get(), host)


COMPUTED = [
    (lambda m, x: x + 1 - x * x / 2, "arithmetic"),
    (lambda m, x: 2 - x, "scalar on the left"),
    (lambda m, x: -abs(x) @ x.T, "matmul"),
    (lambda m, x: x.sum(axis=(0, 1)), "sum to no axes"),
    (lambda m, x: m.sum(x, axis=0, keepdims=True), "sum"),
    (lambda m, x: m.where(x > 4, x, -x), "where"),
    (lambda m, x: m.concatenate([x, x[::-1]], axis=1), "concatenate"),
    (lambda m, x: m.take(x, m.arange(1, 3), axis=1), "take"),
    (lambda m, x: m.moveaxis(x[None], 0, -1), "moveaxis"),
    (lambda m, x: m.broadcast_to(x[:, None], (3, 2, 4)).copy(), "broadcast"),
    (lambda m, x: x[x > 3], "mask"),
    (lambda m, x: m.add(x.astype(m.float32), x.astype(m.float16)), "promotion"),
    (lambda m, x: m.conj(x + 1j * x).imag, "complex"),
    (lambda m, x: m.einsum("ij,kj->ik", x, x), "einsum"),
    (lambda m, x: np.add(x, x, out=x), "a ufunc of NumPy's with out"),
    (lambda m, x: m.full((2, 3), 7, m.int8), "full"),
]  # fmt: skip


@pytest.mark.parametrize(("compute", "name"), COMPUTED, ids=[name for _, name in COMPUTED])
def test_results_are_numpys(compute: Any, name: str) -> None:
    host = np.arange(12.0).reshape(3, 4)
    ours, theirs = compute(cp, cp.asarray(host)), np.asarray(compute(np, host))
    assert isinstance(ours, cp.ndarray)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours.get(), theirs)


def test_real_and_imaginary_parts_are_views() -> None:
    z = cp.asarray(np.array([1 + 2j, 3 - 4j]))
    z.imag[:] = 9
    z.real *= 2
    np.testing.assert_array_equal(z.get(), [2 + 9j, 6 + 9j])
    x = cp.zeros(3)
    assert x.real is x


def test_new_arrays() -> None:
    assert np.isnan(cp.empty((2, 3)).get()).all()
    assert (cp.zeros((2, 3), order="F").get() == 0).all()
    assert cp.zeros((2, 3), order="F").flags.f_contiguous
    assert cp.empty((0, 3)).data.ptr == 0
    x = cp.asarray(np.zeros((3, 4, 5)).transpose(2, 0, 1))
    assert cp.empty_like(x).strides == cp.zeros_like(x).strides == np.empty_like(x._host).strides
    assert cp.asarray(x) is x
    assert cp.asarray(x, dtype=np.float32).dtype == np.float32
    assert cp.ascontiguousarray(x).flags.c_contiguous
    assert x.astype(x.dtype, copy=False) is x
    with pytest.raises(ValueError, match="Negative"):
        cp.empty((-1,))
    for dtype in ("O", ">f4", "U3", "M8[s]", np.longdouble, "f4,i4"):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            cp.empty(3, dtype)


def test_bfloat16() -> None:
    a = cp.asarray(np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16))
    product = a @ a.T
    assert product.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(product.get().astype(float), [[5, 14], [14, 50]])


def test_sums_of_half_products_are_float32s() -> None:
    a = cp.full((1, 4096), 1, np.float16)
    assert float((a @ a.T)[0, 0]) == 4096


def test_arrays_that_overlap() -> None:
    x = cp.zeros((4, 6))
    windows = cp.lib.stride_tricks.as_strided(x, (3, 2, 6), (48, 48, 8))
    windows[0, 1, 0] = 3
    assert float(x[1, 0]) == 3
    assert cp.shares_memory(x, windows)
    assert cp.may_share_memory(x[::2], x[1::2])
    assert not cp.shares_memory(x[::2], x[1::2])
    assert not cp.may_share_memory(x, cp.zeros(3))


def test_other_librarys_arrays_are_viewed() -> None:
    x = cp.asarray(np.arange(12.0).reshape(3, 4))[:, 1:]

    class Other:
        __cuda_array_interface__ = x.__cuda_array_interface__

    view = cp.asarray(Other())
    assert view.data.ptr == x.data.ptr
    np.testing.assert_array_equal(view.get(), x.get())


def test_transforms() -> None:
    from emulated_cupy.cupyx.scipy import fft

    x = np.random.default_rng(0).standard_normal((3, 8, 9)).astype(np.float32)
    spectrum = fft.rfftn(cp.asarray(x), (10, 12), (1, 2))
    assert spectrum.dtype == np.complex64
    back = fft.irfftn(spectrum, (10, 12), axes=(1, 2)).get()
    np.testing.assert_allclose(back[:, :8, :9], x, atol=1e-6)
    z = fft.ifftn(fft.fftn(cp.asarray(x.astype(complex)), axes=(0,)), axes=(0,))
    np.testing.assert_allclose(z.get(), x, atol=1e-6)
    assert [fft.next_fast_len(n) for n in (1, 11, 13, 2048, 2049)] == [1, 12, 14, 2048, 2058]


# -- memory
def test_pages_around_an_array_cannot_be_touched() -> None:
    code = """
import ctypes, sys
import emulated_cupy as cp
x = cp.zeros(1000, "f4")
at = x.data.ptr + (-1 if sys.argv[1] == "before" else 0) * 4096 + (4000 if sys.argv[1] == "behind" else 0)
print(ctypes.c_float.from_address(at).value)
"""
    assert subprocesses.python("-c", code, "inside").stdout == "0.0\n"
    for where in ("before", "behind"):
        assert subprocesses.python("-c", code, where).returncode == -11, where


def test_out_of_memory() -> None:
    with cp.pretend(memory_limit=1 << 20):
        x = cp.zeros(100_000)
        with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="400,000 bytes"):
            cp.zeros(50_000)
        free, total = cp.cuda.runtime.memGetInfo()
        assert total == 1 << 20
        assert free <= total - x.nbytes
        del x
        cp.zeros(100_000)
    pool = cp.get_default_memory_pool()
    pool.set_limit(size=1000)
    try:
        with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="limit set to: 1,000 bytes"):
            cp.zeros(2000)
    finally:
        pool.set_limit(size=0)


def test_allocators_and_counts() -> None:
    taken = []

    def allocate(size: int) -> Any:
        taken.append(size)
        return cp.get_default_memory_pool().malloc(size)

    with cp.cuda.using_allocator(allocate):
        x = cp.zeros(10)
    cp.zeros(10)
    assert taken == [80]
    assert cp.system.counts["allocation"] == 2
    half = x.data + 40
    half.memset_async(0xFF, 8)
    assert np.isnan(x.get()).tolist() == [i == 5 for i in range(10)]
    view = cp.ndarray((5,), np.float64, memptr=half)
    view.fill(1)
    assert float(x.sum()) == 5


# -- devices
def test_two_devices() -> None:
    x = cp.zeros(4)
    with cp.cuda.Device(1) as second:
        assert second.compute_capability == "75"
        y = cp.zeros(4)
        assert y.device == cp.cuda.Device(1) == cp.cuda.Device()
        for wrong in (lambda: y + x, lambda: y.__setitem__(0, x[0]), lambda: cp.matmul(x, y)):
            with pytest.raises(ValueError, match="same as the current device: array device = 0 while current = 1"):
                wrong()
        moved = x.copy()
        assert moved.device.id == 1
    assert cp.cuda.Device().id == 0 == x.device.id
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidDevice"):
        cp.cuda.Device(2).use()
    properties = cp.cuda.runtime.getDeviceProperties(0)
    assert properties["name"] == b"NVIDIA H200"
    assert cp.cuda.Device(0).attributes["MultiProcessorCount"] == properties["multiProcessorCount"] == 132


def test_devices_and_streams_are_threads_own() -> None:
    seen = []

    def look() -> None:
        seen.append((cp.cuda.runtime.getDevice(), cp.cuda.get_current_stream()))

    with cp.cuda.Device(1), cp.cuda.Stream():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [(0, cp.cuda.Stream.null)]


DEVICE_CALLS = [
    lambda m: m.cuda.runtime.getDeviceCount(),
    lambda m: m.zeros(3),
    lambda m: m.empty(0),
    lambda m: m.asarray(np.zeros(3)),
    lambda m: m.cuda.get_current_stream(),
    lambda m: m.cuda.Device(),
    lambda m: m.cuda.Device(0).compute_capability,
    lambda m: m.cuda.Stream(),
    lambda m: m.cuda.Stream.null.synchronize(),
    lambda m: m.cuda.Event(),
    lambda m: m.cuda.runtime.deviceSynchronize(),
    lambda m: m.cuda.runtime.memGetInfo(),
    lambda m: m.cuda.alloc(10),
    lambda m: m.RawModule(code=CODE).get_function("add"),
    lambda m: m.RawKernel(CODE, "add")((1,), (1,), ()),
    lambda m: m.get_default_memory_pool().used_bytes(),
]


@pytest.mark.parametrize(
    ("absent", "message"), [("driver", "cudaErrorInsufficientDriver: CUDA driver"), ("device", "cudaErrorNoDevice")]
)
@pytest.mark.parametrize("number", range(len(DEVICE_CALLS)))
def test_without_a_device(number: int, absent: str, message: str) -> None:
    with cp.pretend(absent=absent):
        assert not cp.cuda.is_available()
        cp.RawModule(code=CODE)
        with pytest.raises(CUDARuntimeError, match=message):
            DEVICE_CALLS[number](cp)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # CuPy's streams that could not be made
def test_cupy_without_a_driver_fails_as_the_stand_in_does() -> None:
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    if cupy.cuda.is_available():
        pytest.skip("there is a device")
    assert cupy.cuda.runtime.driverGetVersion() == 0
    for number, call in enumerate(DEVICE_CALLS):
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError) as raised:
            call(cupy)
        with cp.pretend(absent="driver"), pytest.raises(CUDARuntimeError) as ours:
            call(cp)
        assert str(raised.value) == str(ours.value), number
        assert raised.value.status == ours.value.status


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_no_device() -> None:
    code = """
import os
import emulated_cupy as cp
cp.zeros(3)
child = os.fork()
if child == 0:
    try:
        cp.zeros(3)
    except cp.cuda.runtime.CUDARuntimeError as failed:
        os._exit(7 if "initialization error" in str(failed) else 1)
    os._exit(2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocesses.output_of(code) == "7\n"
