"""The GPU's tuner: how it times, what it compiles, measures, stores and chooses."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from array_modules import ArrayModule, forget_gpu
from fastconv import ConvProblem, _timing
from fastconv._backend import find_backend
from fastconv._choose import calibration, select, tune, tuning_cache
from fastconv._choose.sample import on_host, sample
from fastconv._choose.tuning_record import Timing, TuningRecord
from fastconv._gpu import calibration as of_the_gpu
from fastconv._gpu import compile, timing
from fastconv._gpu.algorithm import GpuAlgorithm
from fastconv._gpu.algorithms.reference.algorithm import Reference
from fastconv._gpu.backend import algorithms
from gpu_tuning import Overrunning, small_gpus

pytestmark = pytest.mark.usefixtures("cache_folder")

TEXT = "forward 1x2x6x6 3x2x3x3 p1 float32"
PROBLEM = ConvProblem.parse(TEXT)
X, W = np.ones((1, 2, 6, 6), np.float32), np.ones((3, 2, 3, 3), np.float32)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArrayModule]:
    with small_gpus(monkeypatch) as module:
        yield module


def _spied(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, log: list[Any], entry: Callable[..., Any]) -> None:
    plain = getattr(place, name)

    @functools.wraps(plain)
    def spy(self: Any, *how: Any, **more: Any) -> Any:
        log.append(entry(*how))
        return plain(self, *how, **more)

    monkeypatch.setattr(place, name, spy)


# -- time
def test_a_sample_is_taken_between_events_after_a_flush(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    cp, log = gpu.module, list[Any]()
    _spied(monkeypatch, cp.cuda.MemoryPointer, "memset_async", log, lambda value, size, *_: ("flush", size))
    _spied(monkeypatch, cp.cuda.Event, "record", log, lambda *_: "event")
    _spied(monkeypatch, cp.cuda.Graph, "launch", log, lambda *_: "graph")
    flush = "flush", 2 * (4 << 20)
    assert timing.seconds_of(lambda: log.append("call"), 1) > 0
    assert log == ["call", flush, "event", "call", "event"]
    log.clear()
    assert timing.repeats_of(19e-6) == 20
    assert timing.repeats_of(21e-6) == 1
    array = cp.zeros(3)
    timing.seconds_of(lambda: array.fill(1), 20)
    assert log == [flush, "event", "graph", "event"]


def test_the_time_is_that_of_one_execution(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.module.cuda, "get_elapsed_time", lambda begin, end: 6.0)
    assert timing.seconds_of(int, 1) == 6e-3
    assert timing.seconds_of(int, 20) == pytest.approx(0.3e-3)


def test_nothing_is_measured_while_a_stream_is_captured(gpu: ArrayModule) -> None:
    with gpu.module.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match=r"^GPU: a measurement while the stream is captured"):
            timing.seconds_of(int, 1)
        with pytest.raises(RuntimeError, match=r"while the stream is captured"):
            fastconv.autotune(TEXT, backend="gpu")
        stream.end_capture()


def test_a_call_that_fails_ends_its_capture(gpu: ArrayModule) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        if len(calls) > 2:
            raise KeyError

    with pytest.raises(KeyError):
        timing.seconds_of(call, 20)
    assert fastconv.conv2d(*gpu.to((X, W))).get()[0, 0, 0, 0] == 18


def test_calibration(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time of the emulation, of which nothing is known but that it passes."""
    monkeypatch.setattr(of_the_gpu, "BLOCKS_PER_MULTIPROCESSOR", 1)
    monkeypatch.setattr(of_the_gpu, "HOST_CALLS", 3)
    monkeypatch.setattr(_timing, "ROUNDS", 1)
    backend = find_backend("gpu")
    machine = calibration.measure_machine(backend)
    assert set(machine.multiply_adds_per_second) == {"float32", "float64"}
    tuning_cache.current(backend).store_machine(machine)
    tuning_cache.reload()
    assert select.machine(backend) == backend.machine_here(machine)
    assert select.machine(backend).bytes_per_second == machine.bytes_per_second
    assert select.machine() != machine
    fastconv.set_deterministic(True)
    assert select.machine(backend) == backend.default_machine()
    fastconv.set_deterministic(False)
    with gpu.module.cuda.Device(1):
        assert select.machine(backend) == backend.machine_here(None)


# -- samples and scratch memory
@pytest.mark.parametrize(
    "text",
    [
        "forward 2x4x5x7 6x2x3x3 g2 float32 channels_last DHWIO +bias+add",
        "backward_weight 1x2x5x4 3x2x2x2 int8",
        "backward_input 1x2x5 3x2x2 complex64",
    ],
)
def test_samples_lie_as_the_cpus(gpu: ArrayModule, text: str) -> None:
    problem, backend = ConvProblem.parse(text), find_backend("gpu")
    there, here = sample(problem, 3, backend=backend), sample(problem, 3)
    for role, array in vars(on_host(there, backend)).items():
        expected = getattr(here, role)
        np.testing.assert_array_equal(array, expected)
        if expected is not None:
            found = getattr(there, role)
            assert (found.strides, found.dtype) == (expected.strides, expected.dtype)


@pytest.mark.parametrize(("algorithm", "expected"), [(Overrunning(), False), (algorithms[0], True)])
def test_writes_behind_the_scratch_memory_are_seen(gpu: ArrayModule, algorithm: GpuAlgorithm, expected: bool) -> None:
    backend = find_backend("gpu")
    params = algorithm.parameters(PROBLEM)[0]
    plan = select.bind(PROBLEM, algorithm, params, 1, "forced", backend=backend)
    operands = sample(PROBLEM, backend=backend)
    assert backend.stays_inside(plan, operands) is expected
    assert np.isfinite(backend.to_host(operands.output)).all()


# -- what is compiled and measured
def test_kernels_are_compiled_side_by_side(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for the other; on the device of the thread that asked; and once."""
    both, plain, devices = threading.Barrier(2), gpu.module.RawModule.compile, []

    def compiled(self: Any, log_stream: Any = None) -> None:
        both.wait(60)
        devices.append(gpu.module.cuda.runtime.getDevice())
        plain(self, log_stream)

    monkeypatch.setattr(gpu.module.RawModule, "compile", compiled)
    monkeypatch.setattr(compile.os, "cpu_count", lambda: 2)
    texts = [f'extern "C" __global__ void kernel(int *x) {{ *x = {i}; }}' for i in range(2)]
    with gpu.module.cuda.Device(1):
        compile.load([*texts, *texts])
        assert devices == [1, 1]
        compile.load(texts)
        result = gpu.module.zeros(1, np.int32)
        compile.function(texts[1], "kernel")((1,), (1,), (result,))
        assert result.get()[0] == 1
        assert len(devices) == 2


def test_candidates_are_compiled_before_anything_is_timed(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    _spied(monkeypatch, gpu.module.RawModule, "compile", log, lambda *_: "compiled")
    plain = timing.seconds_of
    monkeypatch.setattr(timing, "seconds_of", lambda *how: (log.append("timed"), plain(*how))[1])
    record = tune.tune_problem(PROBLEM, 1, backend=find_backend("gpu"))
    # The weights' own kernel, of candidates on packed weights, may still come.
    before = log[: log.index("timed")]
    texts = {t.label() for t in record.timings if t.seconds is not None and not t.packed}
    assert 2 <= len(before)
    assert len(before) >= len(texts) - 1


class Pretended(Reference):
    """The definition under another name, with parameters, for what the cost model says."""

    def __init__(self, name: str, *estimates: float, fails: type[Exception] | None = None) -> None:
        self.name, self.estimates, self.fails, self.runs = name, estimates, fails, list[int]()  # type: ignore[misc]

    def parameters(self, problem: ConvProblem) -> list[Any]:
        return [{"number": number} for number in range(len(self.estimates))]

    def cost(self, problem: ConvProblem, params: Any, threads: int, machine: Any) -> float:
        return self.estimates[params["number"]] * 1e-3

    def launches(self, operation: Any, params: Any) -> Any:
        self.runs.append(params["number"])
        if self.fails is not None:
            raise self.fails
        return super().launches(operation, {})


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def install(*made: Pretended) -> Any:
        backend = find_backend("gpu")
        monkeypatch.setattr(backend, "algorithms", (*made, Reference()))
        select.forget_plans()
        return backend

    return install


def test_at_most_eight_candidates_are_measured(
    gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch, pretended: Callable[..., Any]
) -> None:
    """Of every algorithm the cheapest parameters, then the cheapest of all; none without hope."""
    monkeypatch.setattr(Reference, "cost", lambda *how: 1.0)
    many, far = Pretended("a", *(1 + 0.01 * i for i in range(12))), Pretended("far", 60)
    backend = pretended(many, *(Pretended(name, 3, 1.5) for name in "bcd"), far)
    record = tune.tune_problem(PROBLEM, 1, seconds=0.0, backend=backend)
    skipped = {t.label() for t in record.timings if t.outcome == "skipped"}
    measured = {t.label() for t in record.timings} - skipped
    assert measured == {f"a number={i}" for i in range(5)} | {f"{name} number=1" for name in "bcd"}
    assert len(measured) == backend.max_candidates == 8
    assert skipped == {"far number=0", "reference"}
    assert not far.runs
    assert len(tune.tune_problem(PROBLEM, 1, "exhaustive", 0.0, backend).timings) == 12 + 6 + 2


def test_what_does_not_compile_is_passed_over(gpu: ArrayModule) -> None:
    with gpu.module.pretend(needs={"pack_weights": 80}):
        record = tune.tune_problem(PROBLEM, 1, backend=find_backend("gpu"))
    assert record.algorithm == "reference"
    assert {t.outcome for t in record.timings if t.algorithm == "implicit_gemm"} == {"does not compile"}
    assert TuningRecord.from_json(TEXT, 1, json.loads(json.dumps(record.to_json()))) == record


# -- what is stored and chosen
def _record(algorithm: str = "reference", params: Any = None, problem: ConvProblem = PROBLEM) -> TuningRecord:
    timing = Timing(algorithm, params or {}, False, 1e-3, 2e-3, 9, "measured")
    return TuningRecord(problem, 1, "measure", algorithm, params or {}, 2e-3, "implicit_gemm", "2026-01-01T00:00:00Z",
                        (timing,), "gpu")  # fmt: skip


def test_choices_are_of_one_device(gpu: ArrayModule, cache_folder: Any) -> None:
    backend = find_backend("gpu")
    big = ConvProblem.parse("forward 8x64x28x28 64x64x3x3 p1 float32")
    assert select.plan_for(big, backend=backend).reason == "cost model"
    tuning_cache.current(backend).store([_record(problem=big)])
    tuning_cache.current().store([])
    names = sorted(file.name for file in cache_folder.glob("*.json"))
    assert [re.sub("[0-9a-f]{16}", "#", name) for name in names] == ["cpu-#.json", "gpu-#.json"]
    forget_gpu()
    chosen = select.plan_for(big, backend=backend)
    assert (chosen.algorithm.name, chosen.reason) == ("reference", "tuned")
    fused = big.replace(epilogue=fastconv._problem.Epilogue(bias=True))
    assert select.plan_for(fused, backend=backend).reason == "tuned"
    with gpu.module.cuda.Device(1):
        assert select.plan_for(big, backend=backend).reason == "cost model"
    assert select.plan_for(big, threads=1).reason == "cost model"
    fastconv.set_deterministic(True)
    assert select.plan_for(big, backend=backend).reason == "cost model"
    fastconv.set_deterministic(False)
    with gpu.module.pretend(devices=("RTX3090",)):
        forget_gpu()
        assert select.plan_for(big, backend=backend).reason == "cost model"
    forget_gpu()


def test_devices_of_one_kind_share_their_choices(gpu: ArrayModule) -> None:
    backend = find_backend("gpu")
    with gpu.module.pretend(devices=("T4", "RTX3090", "T4")):
        forget_gpu()
        caches = []
        for number in range(3):
            with gpu.module.cuda.Device(number):
                caches.append(tuning_cache.current(backend))
        assert caches[0] is caches[2]
        assert caches[0] is not caches[1]


def test_another_driver_is_another_machine(gpu: ArrayModule, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = find_backend("gpu")
    tuning_cache.current(backend).store([_record()])
    for name in ("driverGetVersion", "runtimeGetVersion"):
        with monkeypatch.context() as patched:
            patched.setattr(gpu.module.cuda.runtime, name, lambda: 14000)
            tuning_cache.reload()
            assert tuning_cache.current(backend).content.records() == []
    tuning_cache.reload()
    assert tuning_cache.current(backend).content.records() == [_record()]


def test_a_plan_is_measured_and_stored(gpu: ArrayModule) -> None:
    planned = fastconv.plan("conv2d", X.shape, W.shape, padding=1, backend="gpu", effort="measure")
    assert planned.choice.reason == "tuned"
    assert planned(*gpu.to((X, W))).get()[0, 0, 2, 2] == 18
    assert fastconv.plan("conv2d", X.shape, W.shape, padding=1).choice.reason == "cost model"
    (record,) = tuning_cache.current(find_backend("gpu")).content.records()
    assert (record.key, record.backend, record.algorithm) == ((TEXT, 1), "gpu", planned.choice.algorithm.name)
    assert f"measured at {record.measured_at}" in str(fastconv.explain(TEXT, backend="gpu"))


def test_choices_travel(gpu: ArrayModule, tmp_path: Any) -> None:
    file = tmp_path / "exported.json"
    tuning_cache.current(find_backend("gpu")).store([_record()])
    assert fastconv.export_tuning(file, backend="gpu") == 1
    assert fastconv.forget_tuning(backend="gpu") == 1
    assert fastconv.import_tuning(file, backend="gpu") == 1
    with pytest.raises(ValueError, match="of another machine"):
        fastconv.import_tuning(file)
    with gpu.module.cuda.Device(1), pytest.raises(ValueError, match="gpu 'Tesla T4' there, 'NVIDIA GeForce RTX 3090'"):
        fastconv.import_tuning(file, backend="gpu")
    with pytest.raises(ValueError, match=r"^backend: got 'tpu'; allowed: cpu, gpu"):
        fastconv.explain(TEXT, backend="tpu")
