"""What does not compile or does not fit in a device's memory: another algorithm computes the call, or it is refused."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from array_modules import ArrayModule, array_module, assert_equal, forget_gpu
from fastconv._backend import find_backend
from fastconv._choose import select, tune
from fastconv._errors import unusable
from fastconv._gpu import compile, cublas
from fastconv._gpu.algorithm import GpuAlgorithm
from fastconv._gpu.algorithms.reference.algorithm import Reference
from gpu_cases import integers

X, W, DY = integers(2, 3, 5, 6), integers(4, 3, 3, 3), integers(2, 4, 3, 4)
NEEDS = {"pack_weights": 80}
"""implicit_gemm is not for the T4."""


@pytest.fixture
def gpu() -> Iterator[ArrayModule]:
    with array_module("emulated", devices=("T4", "RTX3090")) as module:
        forget_gpu()
        yield module
        forget_gpu()


@pytest.fixture
def gemm(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> ArrayModule:
    """implicit_gemm is the cost model's choice, and the definition is what else there is."""
    backend = find_backend("gpu")
    both = [one for one in backend.algorithms if one.name in ("implicit_gemm", "reference")]
    monkeypatch.setattr(backend, "algorithms", tuple(both))
    monkeypatch.setattr(Reference, "cost", lambda *how: 1.0)
    return gpu


REASON = (
    r"GPU: the kernel \w+ does not compile for sm_75 \(Tesla T4\): .*error.*pack_weights; needed: another algorithm"
)
WARNING = rf"^fastconv: implicit_gemm is not used on Tesla T4 from now on: {REASON}"


def test_the_next_algorithm_is_taken_with_one_warning(gemm: ArrayModule) -> None:
    cp, expected = gemm.module, fastconv.conv2d(X, W)
    with cp.pretend(needs=NEEDS):
        x, w = gemm.to((X, W))
        with pytest.warns(RuntimeWarning, match=WARNING) as given:
            assert_equal(gemm.host(fastconv.conv2d(x, w)), expected)
        assert len(given) == 1
        cp.system.counts.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_equal(gemm.host(fastconv.conv2d(x, w)), expected)
            assert cp.system.counts["module"] == 0
            dx, dw, _ = fastconv.conv2d_backward(gemm.to(DY), x, w, needs=(True, True, False))
            plan = fastconv.plan("conv2d", X.shape, W.shape, backend="gpu")
            assert plan.choice.algorithm.name != "implicit_gemm"
            assert "implicit_gemm" not in [name for name, _ in plan.choice.candidates]
        for got, want in zip((dx, dw), fastconv.conv2d_backward(DY, X, W), strict=False):
            assert_equal(gemm.host(got), want)
        assert "does not work on this device" in str(fastconv.explain(str(plan.choice.problem), backend="gpu"))
        with cp.cuda.Device(1), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_equal(gemm.host(fastconv.conv2d(*gemm.to((X, W)))), expected)
            other = select.plan_for(plan.choice.problem, backend=find_backend("gpu"))
            assert other.algorithm.name == "implicit_gemm"


def test_a_library_that_refuses(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cuBLAS does with some types and sizes on some devices."""
    backend, linked = find_backend("gpu"), cublas.linked
    both = [one for one in backend.algorithms if one.name in ("gemm", "reference")]
    monkeypatch.setattr(backend, "algorithms", tuple(both))
    monkeypatch.setattr(Reference, "cost", lambda *how: 1.0)
    refused = {"cublasGemmStridedBatchedEx": lambda *given: 15}
    monkeypatch.setattr(cublas, "linked", lambda *given: {**linked(*given), **refused})
    x, w = gpu.to((X, W))
    with pytest.warns(RuntimeWarning, match="gemm is not used on Tesla T4 .* such sizes") as given:
        assert_equal(gpu.host(fastconv.conv2d(x, w)), fastconv.conv2d(X, W))
    assert len(given) == 1
    with pytest.raises(RuntimeError, match="cublasGemmStridedBatchedEx is not for this device"):
        fastconv.conv2d(x, w, algorithm="gemm")


def test_a_forced_algorithm_says_why(gemm: ArrayModule) -> None:
    x, w = gemm.to((X, W))
    with gemm.module.pretend(needs=NEEDS), warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(RuntimeError, match=f"^{REASON}"):
                fastconv.conv2d(x, w, algorithm="implicit_gemm")
        planned = fastconv.plan("conv2d", X.shape, W.shape, algorithm="implicit_gemm", backend="gpu")
        with pytest.raises(RuntimeError, match="does not compile for sm_75"):
            planned(x, w)
        with pytest.raises(RuntimeError, match="does not compile for sm_75"):
            planned.pack(w)


def test_nothing_is_left_to_take(gemm: ArrayModule) -> None:
    """The definition itself does not compile."""
    needs = {**NEEDS, "reference_forward": 80, "correlate": 80}
    expected = pytest.raises(RuntimeError, match=r"^GPU: the kernel reference_forward does not compile for sm_75")
    with gemm.module.pretend(needs=needs), pytest.warns(RuntimeWarning, match="is not used on"), expected:
        fastconv.conv2d(*gemm.to((X, W)))


def test_plans_with_packed_weights(gemm: ArrayModule) -> None:
    """The plan was made, and the weight packed, before it turned out."""
    x, w = gemm.to((X, W))
    planned = fastconv.plan("conv2d", X.shape, W.shape, backend="gpu")
    assert planned.choice.algorithm.name == "implicit_gemm"
    packed = planned.pack(w)
    assert packed.packed is not None
    compile.forget()
    with gemm.module.pretend(needs=NEEDS):
        with pytest.warns(RuntimeWarning, match="implicit_gemm is not used"):
            first = gemm.host(planned(x, packed))
        assert_equal(first, fastconv.conv2d(X, W))
        assert_equal(gemm.host(planned(x, packed)), first)
        assert_equal(gemm.host(planned(x, w)), first)
        assert planned.pack(w).packed is None


class Unusable(Reference):
    """Finds out late, and packs weights into what no other algorithm takes."""

    name = "unusable"

    def cost(self, *how: Any) -> float:
        return 1e-9

    def pack(self, problem: Any, params: Any, weight: Any, threads: int) -> Any:
        return weight.copy() * 0

    def launches(self, operation: Any, params: Any) -> Any:
        raise unusable("it is not")


def test_another_algorithm_takes_the_plain_weight(gemm: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though that one packs weights, too: in its own way."""
    backend = find_backend("gpu")
    monkeypatch.setattr(backend, "algorithms", (Unusable(), *backend.algorithms))
    x, w = gemm.to((X, W))
    planned = fastconv.plan("conv2d", X.shape, W.shape, backend="gpu")
    packed = planned.pack(w)
    assert packed.packed is not None
    with pytest.warns(RuntimeWarning, match="unusable is not used on Tesla T4"):
        planned(x, packed)
    gemm.module.system.last_launch.clear()
    assert_equal(gemm.host(planned(x, packed)), fastconv.conv2d(X, W))
    assert "pack_weights" in gemm.module.system.last_launch


def test_variants_of_later_calls(gemm: ArrayModule) -> None:
    """A call with another ``out`` needs a kernel of its own, which does not compile."""
    x, w, expected = *gemm.to((X, W)), fastconv.conv2d(X, W)
    fastconv.conv2d(x, w)
    shape = expected.shape
    compile.forget()
    out = gemm.module.empty((*shape[:3], 2 * shape[3]), np.float32)[..., ::2]
    with gemm.module.pretend(needs={"fc_gemm": 80}), pytest.warns(RuntimeWarning, match="implicit_gemm is not used"):
        fastconv.conv2d(x, w, out=out)
    assert_equal(gemm.host(out), expected)


def test_a_lesser_device_is_not_even_tried(gemm: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = find_backend("gpu")
    (algorithm,) = [one for one in backend.algorithms if one.name == "implicit_gemm"]
    monkeypatch.setattr(type(algorithm), "capability", (8, 0))
    planned = fastconv.plan("conv2d", X.shape, W.shape, backend="gpu")
    assert planned.choice.algorithm.name != "implicit_gemm"
    with gemm.module.cuda.Device(1):
        assert backend.is_usable(algorithm)


SOURCE = """
extern "C" __global__ void kernel(int *x) { extern __shared__ int shared[]; shared[threadIdx.x] = 1; *x = shared[0]; }
"""


def test_too_much_shared_memory(gpu: ArrayModule) -> None:
    size = 80 << 10
    with pytest.raises(RuntimeError, match=r"^GPU: the kernel kernel with 81920 bytes .* does not run on sm_75"):
        compile.function(SOURCE, "kernel", size)
    with gpu.module.cuda.Device(1):
        result = gpu.module.zeros(1, np.int32)
        compile.function(SOURCE, "kernel", size)((1,), (1,), (result,), shared_mem=size)
        assert result.get()[0] == 1


def test_other_errors_of_the_driver_are_its_own(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    error = gpu.module.cuda.driver.CUDADriverError(500)

    def fail(self: Any, log_stream: Any = None) -> None:
        raise error

    monkeypatch.setattr(gpu.module.RawModule, "compile", fail)
    with pytest.raises(gpu.module.cuda.driver.CUDADriverError):
        compile.function(SOURCE, "kernel")
    monkeypatch.undo()
    assert compile.function(SOURCE, "kernel") is not None


# -- memory
def _free(gpu: ArrayModule, size: int) -> Any:
    """So many bytes are free, inside."""
    gc.collect()
    return gpu.module.pretend(memory_limit=gpu.module.get_default_memory_pool().used_bytes() + size)


@pytest.mark.parametrize("options", [{}, {"padding": 1, "padding_mode": "reflect"}])
def test_the_smallest_algorithm_is_tried(gemm: ArrayModule, options: dict[str, Any]) -> None:
    """Of a first call, and of a repeated one; whatever was tried before is given back."""
    cp, pool = gemm.module, gemm.module.get_default_memory_pool()
    x, w, expected = *gemm.to((X, W)), fastconv.conv2d(X, W, **options)
    room = expected.nbytes + (2 * 3 * 7 * 8 * 4 if options else 0) + 1024  # tables of the padding
    plan = select.plan_for(
        fastconv.plan("conv2d", X.shape, W.shape, backend="gpu").choice.problem, backend=find_backend("gpu")
    )
    assert plan.algorithm.name == "implicit_gemm"
    assert plan.workspace_bytes > 1024
    fastconv.conv2d(x, w, algorithm="reference", **options)
    for step in range(3):
        used = pool.used_bytes()
        with _free(gemm, room if step < 2 else 1 << 30), warnings.catch_warnings():
            warnings.simplefilter("error")
            cp.system.last_launch.clear()
            result = fastconv.conv2d(x, w, **options)
            assert ("reference_forward" in cp.system.last_launch) is (step < 2)
            tables = 1024 if options and step == 0 else 0
            assert 0 <= pool.used_bytes() - used - expected.nbytes <= tables
        assert_equal(gemm.host(result), expected)
        del result


def test_out_of_memory_all_the_same(gemm: ArrayModule) -> None:
    """CuPy's error, and nothing is left behind: there is no room for the result, or the algorithm is asked for."""
    pool, x, w = gemm.module.get_default_memory_pool(), *gemm.to((X, W))
    size = fastconv.conv2d(X, W).nbytes
    planned = fastconv.plan("conv2d", X.shape, W.shape, algorithm="implicit_gemm", backend="gpu")
    calls: list[tuple[int, Callable[[], object]]] = [
        (size - 16, lambda: fastconv.conv2d(x, w)),
        (size + 64, lambda: fastconv.conv2d(x, w, algorithm="implicit_gemm")),
        (size + 64, lambda: planned(x, w)),
        (size + 64, lambda: _deterministic(lambda: fastconv.conv2d(x, w))),
    ]
    for _ in range(2):
        for free, call in calls:
            error = None
            with _free(gemm, free):
                used = pool.used_bytes()
                try:
                    call()
                except gemm.module.cuda.memory.OutOfMemoryError as raised:
                    error = str(raised)
                assert pool.used_bytes() == used
            assert error is not None
            assert error.startswith("Out of memory")


def _deterministic(call: Callable[[], object]) -> None:
    fastconv.set_deterministic(True)
    try:
        call()
    finally:
        fastconv.set_deterministic(False)


def test_out_of_memory_in_a_capture(gemm: ArrayModule) -> None:
    """What a graph would have needed is not kept; the stream goes on recording."""
    cp, pool = gemm.module, gemm.module.get_default_memory_pool()
    x, w, expected = *gemm.to((X, W)), fastconv.conv2d(X, W)
    fastconv.conv2d(x, w)
    used = pool.used_bytes()
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with _free(gemm, expected.nbytes + 64), pytest.raises(cp.cuda.memory.OutOfMemoryError):
            fastconv.conv2d(x, w)
        gc.collect()
        assert pool.used_bytes() == used
        result = fastconv.conv2d(x, w)
        stream.end_capture().launch()
    assert_equal(gemm.host(result), expected)


def test_the_tuner_passes_over_what_has_no_memory(gemm: ArrayModule, cache_folder: Any) -> None:
    problem = fastconv.ConvProblem.parse("forward 2x3x5x6 4x3x3x3 float32")
    sizes = X.nbytes + W.nbytes + fastconv.conv2d(X, W).nbytes
    flush = 2 * (4 << 20)
    with _free(gemm, sizes + flush + 64):
        found = tune.tune_problem(problem, 1, backend=find_backend("gpu"))
    assert found.algorithm == "reference"
    assert {t.outcome for t in found.timings if t.algorithm == "implicit_gemm"} == {"out of memory"}


# -- the limit of scratch memory
def test_the_limit_holds_however_arrays_lie(gemm: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """An algorithm that needs more for arrays with gaps gives way to one that needs nothing."""
    (algorithm,) = [one for one in find_backend("gpu").algorithms if one.name == "implicit_gemm"]
    assert isinstance(algorithm, GpuAlgorithm)
    monkeypatch.setattr(type(algorithm), "workspace", lambda *how: 0)
    fastconv.set_workspace_limit(64)
    try:
        gemm.module.system.last_launch.clear()
        x, w = gemm.to((X, W))
        assert_equal(gemm.host(fastconv.conv2d(x, w)), fastconv.conv2d(X, W))
        assert list(gemm.module.system.last_launch) == ["reference_forward"]
    finally:
        fastconv.set_workspace_limit(None)
