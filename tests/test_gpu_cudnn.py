"""cuDNN as a candidate: on the stand-in for it, which arrays it is given, its engines, workspace, capture, refusals."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

import emulated_cupy
import fastconv
from array_modules import ArrayModule, array_module, assert_equal
from emulated_cupy import cudnn as library
from fastconv import ConvProblem
from fastconv._backend import find_backend
from fastconv._choose import select
from fastconv._gpu import cudnn, cupy
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.cudnn import ALGORITHMS
from fastconv._gpu.algorithms.cudnn.steps import graph_of
from gpu_launches import layout_of
from gpu_steps import computed, device_arrays, expected, run
from gpu_tuning import small_gpus
from operands import integer_operands

CUDNN, TF32 = ALGORITHMS


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy, "library", lambda name: library.path())


@pytest.fixture
def gpu() -> Any:
    with array_module("emulated") as module:
        yield module


def check(text: str) -> list[str]:
    """The names of the steps that computed it exactly."""
    problem, operands = (made := ConvProblem.parse(text)), integer_operands(made)
    with emulated_cupy.installed():
        assert CUDNN.supports(problem), text
    found, names = computed(CUDNN, problem, operands, {"plan": 0})
    np.testing.assert_array_equal(found, expected(problem, operands), text)
    return names


STEPS = {
    "forward 2x6x7x9 4x3x3x2 s2x1 p1x0 d1x2 g2": ["convolution"],
    "forward 2x4x7x9 6x4x3x3 p1 channels_last ODHWI float16": ["convolution"],
    "forward 2x4x7x9 6x4x3x3 p1 channels_last": ["cast", "convolution"],
    "forward 2x4x7x9 6x4x1x1 channels_last": ["convolution"],
    "forward 2x4x9 8x1x4 s2 p0:2 g4": ["convolution"],
    "forward 2x3x4x5x6 4x3x2x3x1 p1x0x1 bfloat16": ["convolution"],
    "forward 2x4x7x9 6x4x3x3 p1 +bias+add+leaky_relu=0.5": ["convolution", "gemm_fold"],
    "forward 2x4x7x9 6x4x3x3 channels_last ODHWI +bias": ["convolution", "gemm_fold"],
    "backward_input 2x6x7x9 4x3x3x2 s2 p1:0x0:2 g2": ["convolution"],
    "backward_input 2x3x4x5x6 4x3x2x3x2 s2 p1 channels_last float16": ["cast", "convolution"],
    "backward_input 2x6x8 4x6x3 s3 +bias+relu": ["convolution", "gemm_fold"],
    "backward_weight 2x6x7x9 4x3x3x2 s2 p1 g2 bfloat16": ["convolution"],
    "backward_weight 2x4x7x9 6x4x3x3 p1 channels_last": ["convolution", "cast"],
    "backward_weight 3x3x5x4 3x1x2x2 s1x3 p1 g3 float16 channels_last DHWIO": ["convolution", "cast"],
    "backward_weight 2x3x4x5x6 4x3x2x3x2 d2x1x1": ["convolution"],
}


@pytest.mark.parametrize("text", STEPS)
def test_what_is_done_beside_the_convolution(text: str) -> None:
    assert check(text) == STEPS[text]


UNSUPPORTED = (
    "forward 2x4x7x9 6x4x3x3 p1 float16 +bias",  # no sums of float32 of 16-bit operands
    "forward 2x4x7x9 6x4x3x3 p-1",
)


@pytest.mark.parametrize("text", UNSUPPORTED)
def test_what_it_is_not_asked_for(text: str) -> None:
    with emulated_cupy.installed():
        assert not CUDNN.supports(ConvProblem.parse(text))


def test_arrays_with_gaps_are_for_others(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 2x4x7x9 6x4x3x3 p1")
    arrays = device_arrays(problem, integer_operands(problem))
    layouts = {role: layout_of(array, array.dtype) for role, array in arrays.items()}
    assert CUDNN.computes(Operation(problem, layouts))
    gaps = gpu.module.zeros((2, 4, 1, 7, 10), np.float32)[..., :9]
    for role, array in (("input", gaps), ("input", arrays["input"][::-1])):
        assert not CUDNN.computes(Operation(problem, {**layouts, role: layout_of(array, array.dtype)}))
    scattered = gpu.module.zeros((6, 3, 3, 8), np.float32)[..., ::2].transpose(0, 3, 1, 2)[:, :, None]
    weight = {"weight": layout_of(scattered, scattered.dtype)}
    assert CUDNN.computes(Operation(problem, {**layouts, **weight}))


def test_it_is_told_how_arrays_are_aligned(gpu: ArrayModule) -> None:
    """The stand-in holds addresses to it."""
    x, w = made()
    shifted = gpu.module.zeros((x.size + 1,), np.float32)[1:].reshape(x.shape)
    shifted[...] = gpu.to(x)
    assert_equal(gpu.host(call(shifted, gpu.to(w))), fastconv.conv2d(x, w, padding=1, activation="relu"))


def test_promises(gpu: ArrayModule) -> None:
    """Whatever the library ranks first: no engine that mixes elements or adds in any order; TF32 where asked for."""
    problem = ConvProblem.parse("forward 1x1x1x1 1x1x1x1")
    x, found = np.full((1,) * 5, 1 + 2**-20, np.float32), []
    for algorithm in ALGORITHMS:
        arrays = device_arrays(problem, {"input": x, "weight": np.ones_like(x)})
        run(algorithm, problem, arrays, {"plan": 0})
        found.append(arrays["output"].get().item())
    assert found == [x.item(), 1]
    assert [len(algorithm.parameters(problem)) for algorithm in ALGORITHMS] == [1, 2]
    assert [algorithm.error_bound(problem).elementwise is None for algorithm in ALGORITHMS] == [False, True]


def test_nan_and_infinities(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 2x4x6x5 6x2x3x3 s2 p1 g2")
    operands = {role: array * 1.0 for role, array in integer_operands(problem).items()}
    operands["input"].flat[[7, 90]] = np.nan, np.inf
    found, _ = computed(CUDNN, problem, operands, {"plan": 0})
    np.testing.assert_array_equal(found, expected(problem, operands))


# -- calls
def made(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 4, 5, 6), (6, 4, 3, 3)))
    return x, w


def call(x: Any, w: Any) -> Any:
    return fastconv.conv2d(x, w, padding=1, activation="relu", algorithm="cudnn")


def test_it_is_never_chosen_by_its_estimate(gpu: ArrayModule) -> None:
    problem = ConvProblem.parse("forward 2x4x7x9 6x4x3x3 p1")
    found = [one[0].name for one in select.candidates(problem, 1, all_params=True, backend=find_backend("gpu"))]
    assert "cudnn" in found
    plan = fastconv.plan("conv2d", (2, 4, 7, 9), (6, 4, 3, 3), padding=1, backend="gpu")
    assert "cudnn" not in [plan.choice.algorithm.name, *(name for name, _ in plan.choice.candidates)]


@pytest.mark.usefixtures("cache_folder")
def test_the_tuner_measures_it(monkeypatch: pytest.MonkeyPatch) -> None:
    text, backend = "forward 1x2x6x6 3x2x3x3 p1 medium", find_backend("gpu")
    with small_gpus(monkeypatch):
        monkeypatch.setattr(backend, "algorithms", (*ALGORITHMS, backend.algorithms[-1]))
        fastconv.autotune(text, backend="gpu")
        record = select.tuned_record(ConvProblem.parse(text), 1, backend)
        assert record is not None
        measured = {timing.algorithm for timing in record.timings if timing.seconds is not None}
        assert measured == {"cudnn", "cudnn_tf32", "reference"}


def test_calls_are_captured_and_run_in_threads(gpu: ArrayModule) -> None:
    """Every thread has a handle of its own, and plans made with it."""
    cp, (x, w) = gpu.module, made()
    there, want = gpu.to((x, w)), fastconv.conv2d(x, w, padding=1, activation="relu")
    call(*there)
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        result = call(*there)
        graph = stream.end_capture()
    assert np.isnan(result.get()).all()
    select.forget_plans()
    cudnn.handles.forget()
    gc.collect()
    graph.launch(stream)
    assert_equal(gpu.host(result), want)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(gpu.host(call(*there))))
    thread.start()
    thread.join()
    assert_equal(found[0], want)


def test_descriptors_are_given_back(gpu: ArrayModule) -> None:
    there = gpu.to(made())
    for _ in range(3):
        before = library.living()
        call(*there)
    assert library.living() == before


def test_a_refusal_while_it_is_computed(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = cudnn.linked
    for status, kind, words in ((3007, RuntimeError, "not for this device"), (5000, RuntimeError, "failed with")):
        refused = {"cudnnBackendExecute": lambda *given, status=status: status}
        monkeypatch.setattr(cudnn, "linked", lambda *given, refused=refused: {**linked(*given), **refused})
        cudnn.handles.forget()
        with pytest.raises(kind, match=f"cudnnBackendExecute .*{words}.*{status}"):
            call(*gpu.to(made()))


@pytest.mark.parametrize("function", ["cudnnCreate", "cudnnBackendFinalize"])
def test_a_library_that_does_not_work(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """One of another driver, or that knows nothing of the device: it is as if there were none."""
    linked = cudnn.linked
    monkeypatch.setattr(cudnn, "linked", lambda *given: {**linked(*given), function: lambda *given: 1001})
    cudnn.handles.forget()
    assert not CUDNN.supports(ConvProblem.parse("forward 2x4x7x9 6x4x3x3 p1"))
    with pytest.raises(ValueError, match="cudnn"):
        call(*gpu.to(made()))


def test_where_it_is_not_installed(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cupy, "library", lambda name: None)
    assert not any(algorithm.is_available() for algorithm in ALGORITHMS)
    with pytest.raises(ValueError, match="one that supports"):
        call(*gpu.to(made()))


def test_a_graph_has_as_many_axes_as_it_needs(gpu: ArrayModule) -> None:
    for text, axes in (("2x4x9 6x4x4", 2), ("2x4x7x9 6x4x3x3", 2), ("2x4x3x7x9 6x4x1x3x3", 3)):
        graph = graph_of(Operation.contiguous(ConvProblem.parse(f"forward {text}")), False)
        assert graph is not None
        assert len(graph.stride) == len(graph.input.sizes) - 2 == axes
