"""The public functions on CuPy arrays: results are NumPy's, repeated calls wait for nothing, wrong calls say why."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastconv
from array_modules import DEVICE, ArrayModule, array_module, assert_equal, forget_gpu
from gpu_cases import BIAS, CASES, W2, X2, Case, integers
from subprocesses import output_of, python


@pytest.fixture(params=["emulated", DEVICE])
def gpu(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


@pytest.fixture
def emulated() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


NUMPY = ArrayModule("numpy", np)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results_are_numpys(gpu: ArrayModule, case: Case) -> None:
    expected = case(NUMPY)
    for _ in range(2):
        assert_equal(gpu.host(case(gpu)), expected, case.ulps)


def _count(result: Any) -> int:
    """Arrays of a result."""
    return sum(map(_count, result)) if isinstance(result, tuple) else int(result is not None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_repeated_call_waits_for_nothing(emulated: ArrayModule, case: Case) -> None:
    """A result may have scratch memory."""
    arguments, options, counts = emulated.to(case.arguments), emulated.to(case.options), emulated.module.system.counts
    kept = case.function(*arguments, **options)
    counts.clear()
    results = [kept, case.function(*arguments, **options)]
    assert counts["host_copy"] == counts["synchronization"] == counts["module"] == 0
    assert counts["allocation"] <= 2 * _count(results[1]) + case.scratch


# -- results in the place that they were asked for
OUTS = {
    "plain": lambda module, shape: module.empty(shape, np.float32),
    "reversed": lambda module, shape: module.empty(shape, np.float32)[:, ::-1, :, ::-1],
    "gaps": lambda module, shape: module.empty((*shape[:3], 2 * shape[3]), np.float32)[..., ::2],
    "channels_last": lambda module, shape: module.empty((2, 4, 4, 6), np.float32).transpose(0, 3, 1, 2),
}


@pytest.mark.parametrize("name", OUTS)
def test_out(gpu: ArrayModule, name: str) -> None:
    expected = fastconv.conv2d(X2, W2, BIAS, groups=2)
    x, w, bias = gpu.to((X2, W2, BIAS))
    for _ in range(2):
        out = OUTS[name](gpu.module, expected.shape)
        assert fastconv.conv2d(x, w, bias, groups=2, out=out) is out
        assert_equal(gpu.host(out), expected)


def test_out_that_overlaps(gpu: ArrayModule) -> None:
    x, w = integers(1, 2, 6, 5), integers(2, 1, 3, 3)
    expected = fastconv.depthwise_conv2d(x, w, padding=1)
    for _ in range(2):
        image, filters = gpu.to((x, w))
        assert fastconv.depthwise_conv2d(image, filters, padding=1, out=image) is image
        assert_equal(gpu.host(image), expected)
        rows = gpu.module.zeros((1, 2, 7, 5), np.float32)
        rows[:, :, 1:] = gpu.to(x)
        fastconv.depthwise_conv2d(rows[:, :, 1:], filters, padding=1, out=rows[:, :, :-1])
        assert_equal(gpu.host(rows[:, :, :-1]), expected)
        wide = gpu.module.zeros((1, 2, 6, 1), np.float32)
        flat = gpu.module.lib.stride_tricks.as_strided(wide, (1, 2, 6, 5), (48, 24, 4, 0))
        fastconv.depthwise_conv2d(gpu.to(x), filters, padding=1, out=flat)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "unfold"])
def test_out_of_others(gpu: ArrayModule, name: str) -> None:
    function = getattr(fastconv, name)
    expected = function(X2, 2)
    out = gpu.module.zeros((*expected.shape[:-1], 2 * expected.shape[-1]), np.float32)[..., ::-2]
    assert function(gpu.to(X2), 2, out=out) is out
    assert_equal(gpu.host(out), expected, 1)


# -- plans
@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
def test_plan(gpu: ArrayModule, direction: str) -> None:
    x, w, dy, bias = gpu.to((X2, W2, integers(2, 6, 4, 4), BIAS))
    planned = fastconv.plan("conv2d", X2.shape, W2.shape, groups=2, direction=direction, backend="gpu")
    expected = fastconv.conv2d_backward(integers(2, 6, 4, 4), X2, W2, groups=2)
    for _ in range(2):
        if direction == "backward_weight":
            assert_equal(gpu.host(planned(x, dy)), expected[1])
        elif direction == "backward_input":
            assert_equal(gpu.host(planned(dy, planned.pack(w))), expected[0])
        else:
            packed = planned.pack(w)
            w[...] = 0  # a snapshot
            result = planned(x, packed, bias)
            assert_equal(gpu.host(result), fastconv.conv2d(X2, W2, BIAS, groups=2))
            w[...] = gpu.to(W2)


def test_a_plan_is_for_one_kind_of_arrays(gpu: ArrayModule) -> None:
    x, w = gpu.to((X2, W2))
    with pytest.raises(TypeError, match=r"^x: got a NumPy array; allowed: a CuPy array, as planned"):
        fastconv.plan("conv2d", X2.shape, W2.shape, groups=2, backend="gpu")(X2, w)
    with pytest.raises(TypeError, match=r"^w: got a CuPy array on device 0; allowed: a NumPy array, as planned"):
        fastconv.plan("conv2d", X2.shape, W2.shape, groups=2)(X2, w)
    with pytest.raises(TypeError, match=r"^out: got a NumPy array; allowed: a CuPy array on device 0"):
        fastconv.plan("conv2d", X2.shape, W2.shape, groups=2, backend="gpu")(x, w, out=np.empty((2, 6, 4, 4), "f4"))


# -- what is refused
MIXED = {
    "w": lambda x, w, b, g: fastconv.conv2d(g(x), w, groups=2),
    "w list": lambda x, w, b, g: fastconv.conv2d(g(x), w.tolist(), groups=2),
    "w on the GPU": lambda x, w, b, g: fastconv.conv2d(x, g(w), groups=2),
    "bias": lambda x, w, b, g: fastconv.conv2d(g(x), g(w), b, groups=2),
    "add": lambda x, w, b, g: fastconv.conv2d(g(x), g(w), groups=2, add=np.ones((2, 6, 4, 4), "f4")),
    "out": lambda x, w, b, g: fastconv.conv2d(g(x), g(w), groups=2, out=np.ones((2, 6, 4, 4), "f4")),
    "out on the GPU": lambda x, w, b, g: fastconv.conv2d(x, w, groups=2, out=g(np.ones((2, 6, 4, 4), "f4"))),
    "dy": lambda x, w, b, g: fastconv.conv2d_backward(np.ones((2, 6, 4, 4), "f4"), g(x), g(w), groups=2),
    "w_pointwise": lambda x, w, b, g: fastconv.separable_conv2d(g(x), g(w[:4, :1]), np.ones((2, 4, 1, 1), "f4")),
    "state": lambda x, w, b, g: fastconv.causal_conv1d(g(x[0]), g(w[:, 0, :, 0]), state=np.ones((4, 6, 2), "f4")),
    "x": lambda x, w, b, g: fastconv.max_pool2d_backward(g(x[..., :2, :2]), x, 3, 3),
    "indices": lambda x, w, b, g: fastconv.max_pool2d_backward(
        g(x[:, :, :2, :1]), g(x), 3, indices=np.ones((2, 4, 2, 1), int)
    ),
    "x_zero_point": lambda x, w, b, g: fastconv.conv2d_integer(g(x.astype("i1")), g(w.astype("i1")), g(b), groups=2),
    "stride": lambda x, w, b, g: fastconv.conv2d(x, w, stride=g(np.array([1, 1])), groups=2),
    "kernel_size": lambda x, w, b, g: fastconv.max_pool2d(g(x), g(np.array(2))),
}


@pytest.mark.parametrize("name", MIXED)
def test_mixed_arrays(gpu: ArrayModule, name: str) -> None:
    argument = name.split(" ")[0]
    with pytest.raises(TypeError, match=rf"^{argument}: got .*; allowed: "):
        MIXED[name](X2, W2, BIAS, gpu.to)


def test_arrays_of_other_libraries() -> None:
    class Other:
        __cuda_array_interface__ = {"shape": (2, 3), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012

    with pytest.raises(TypeError, match=r"^x: got a GPU array \(Other\); allowed: a NumPy or a CuPy array; "):
        fastconv.conv2d(Other(), W2)


def test_elements_that_are_not_aligned(emulated: ArrayModule) -> None:
    """No kernel of CuPy's could read them either."""
    cp = emulated.module
    memory = cp.zeros(2 * 4 * 6 * 5 * 8, np.uint8)
    for offset, step in ((2, 4), (0, 6)):
        odd = cp.ndarray(X2.shape, np.float32, memory.data + offset, (4 * 30 * step, 30 * step, 5 * step, step))
        with pytest.raises(ValueError, match=r"^x: got strides .* at address 0x.*; allowed: elements that are aligned"):
            fastconv.conv2d(odd, emulated.to(W2), groups=2)
        with pytest.raises(ValueError, match=r"^out: got strides "):
            fastconv.conv2d(emulated.to(X2), emulated.to(integers(4, 4, 1, 1)), out=odd)


# -- devices, streams, threads
def test_two_devices(emulated: ArrayModule) -> None:
    cp = emulated.module
    x, w = emulated.to((X2, W2))
    with cp.cuda.Device(1):
        there = emulated.to((X2, W2))
    expected = fastconv.conv2d(X2, W2, groups=2)
    for _ in range(2):
        result = fastconv.conv2d(*there, groups=2)
        assert result.device.id == 1
        assert cp.cuda.Device().id == 0
        with cp.cuda.Device(1):
            assert_equal(result.get(), expected)
            assert_equal(fastconv.conv2d(*there, groups=2).get(), expected)
        assert_equal(fastconv.conv2d(x, w, groups=2).get(), expected)
    pooled = fastconv.max_pool2d(there[0], 2)
    assert pooled.device.id == 1
    with pytest.raises(TypeError, match=r"^w: got a CuPy array on device 1; allowed: a CuPy array on device 0"):
        fastconv.conv2d(x, there[1], groups=2)
    with cp.cuda.Device(1), pytest.raises(TypeError, match=r"^out: got a CuPy array on device 1"):
        fastconv.conv2d(x, w, groups=2, out=cp.empty((2, 6, 4, 4), np.float32))


def test_the_current_stream_is_taken(emulated: ArrayModule) -> None:
    x, w = emulated.to((X2, W2))
    stream = emulated.module.cuda.Stream(non_blocking=True)
    fastconv.conv2d(x, w, groups=2)
    with stream:
        stream.begin_capture()
        result = fastconv.conv2d(x, w, groups=2)
        graph = stream.end_capture()
    assert np.isnan(result.get()).all()  # nothing ran
    graph.launch(stream)
    assert_equal(result.get(), fastconv.conv2d(X2, W2, groups=2))


CAPTURED = ("conv2d", "conv2d reflect", "conv2d_backward reflect", "conv2d_backward", "causal_conv1d state",
            "separable_conv2d_backward", "conv2d_integer", "max_pool2d indices", "max_pool2d_backward",
            "avg_pool2d_backward float16", "fold", "conv_transpose2d")  # fmt: skip


@pytest.mark.parametrize("case", [case for case in CASES if case.name in CAPTURED], ids=lambda case: case.name)
def test_calls_are_captured(emulated: ArrayModule, case: Case) -> None:
    """A graph computes from what its arrays hold when it is launched."""
    cp = emulated.module
    stream = cp.cuda.Stream(non_blocking=True)
    arguments, options = emulated.to(case.arguments), emulated.to(case.options)
    arrays = [value for value in (*arguments, *options.values()) if isinstance(value, cp.ndarray)]
    kept = [array.copy() for array in arrays]
    case.function(*arguments, **options)
    with stream:
        stream.begin_capture()
        results = case.function(*arguments, **options)
        graph = stream.end_capture()
    for array in arrays:
        array[...] = 0
    graph.launch(stream)
    zeros = emulated.host(results)
    for array, values in zip(arrays, kept, strict=True):
        array[...] = values
    graph.launch(stream)
    expected = case(NUMPY)
    assert_equal(emulated.host(results), expected, case.ulps)
    some = zeros[0] if isinstance(zeros, tuple) else zeros
    assert (some != (expected[0] if isinstance(expected, tuple) else expected)).any()


@pytest.mark.parametrize("options", [{}, {"padding": 1, "padding_mode": "reflect"}])
def test_what_has_to_be_loaded_is_not_captured(emulated: ArrayModule, options: dict[str, Any]) -> None:
    forget_gpu()
    stream = emulated.module.cuda.Stream(non_blocking=True)
    x, w = emulated.to((X2, W2))
    with stream:
        stream.begin_capture()
        with pytest.raises(RuntimeError, match=r"^GPU: a .* while the stream is captured; needed: a call"):
            fastconv.conv2d(x, w, groups=2, **options)
        stream.end_capture()
    assert_equal(fastconv.conv2d(x, w, groups=2, **options).get(), fastconv.conv2d(X2, W2, groups=2, **options))


def test_threads(emulated: ArrayModule) -> None:
    """Each has a device and a stream of its own."""
    cp, results = emulated.module, {}

    def compute(number: int) -> None:
        with cp.cuda.Device(number % 2), cp.cuda.Stream():
            for step in range(3):
                x, w = emulated.to((X2 + number, W2))
                results[number, step] = fastconv.conv2d(x, w, groups=2).get()

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12
    for (number, _), result in results.items():
        assert_equal(result, fastconv.conv2d(X2 + number, W2, groups=2))


# -- what is missing
def test_out_of_memory(emulated: ArrayModule) -> None:
    cp = emulated.module
    x, w = emulated.to((X2, W2))
    used = cp.get_default_memory_pool().used_bytes()
    with cp.pretend(memory_limit=used + 2**16), pytest.raises(cp.cuda.memory.OutOfMemoryError, match="Out of memory"):
        fastconv.conv2d(x, w, groups=2, padding=200)
    assert cp.get_default_memory_pool().used_bytes() == used
    assert_equal(fastconv.conv2d(x, w, groups=2).get(), fastconv.conv2d(X2, W2, groups=2))


@pytest.mark.parametrize(
    ("absent", "message"), [("driver", "there is no NVIDIA driver"), ("device", "there is no CUDA")]
)
def test_without_a_device(emulated: ArrayModule, absent: str, message: str) -> None:
    x, w = emulated.to((X2, W2))
    with emulated.module.pretend(absent=absent):
        for _ in range(2):
            with pytest.raises(RuntimeError, match=rf"^GPU: {message}.*; needed: "):
                fastconv.conv2d(x, w, groups=2)
        with pytest.raises(RuntimeError, match=rf"^GPU: {message}"):
            fastconv.plan("conv2d", X2.shape, W2.shape, groups=2, backend="gpu")
        assert fastconv.conv2d(X2, W2, groups=2).shape == (2, 6, 4, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_no_gpu() -> None:
    code = """
import os, sys
import numpy as np
import emulated_cupy as cp
import fastconv
with cp.installed():
    x, w = cp.ones((1, 2, 5, 5), np.float32), cp.ones((3, 2, 3, 3), np.float32)
    if len(sys.argv) > 1:
        fastconv.conv2d(x, w)
    child = os.fork()
    if child == 0:
        try:
            fastconv.conv2d(x, w)
        except RuntimeError as error:
            assert str(error).startswith("GPU: this process was forked from one that had used CUDA"), error
            assert fastconv.conv2d(np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3))).sum() == 486
            os._exit(7)
        os._exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert output_of(code) == "7\n"
    run = python("-c", code, "after a call")
    assert run.stdout == "7\n", run.stderr


def test_importing_fastconv_does_not_import_cupy() -> None:
    """Nor does computing on NumPy arrays."""
    code = """
import sys
import numpy as np, fastconv
fastconv.conv2d(np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)), padding=1, padding_mode="reflect")
fastconv.max_pool2d(np.ones((1, 2, 5, 5)), 2)
print([name for name in sys.modules if name.startswith(("cupy", "fastconv._gpu."))])
"""
    assert output_of(code) == "[]\n"


def test_without_cupy() -> None:
    code = """
import sys
sys.modules["cupy"] = None
import fastconv
try:
    fastconv.plan("conv2d", (1, 2, 5, 5), (3, 2, 3, 3), backend="gpu")
except RuntimeError as error:
    print(error)
"""
    assert output_of(code).startswith("GPU: CuPy is not installed; needed: pip install ")


# -- what repeated calls are not kept for
def test_repeated_pooling_into_other_places(gpu: ArrayModule) -> None:
    """Results of any strides, over the input, with other axes, of other arrays than the first call's."""
    cp = gpu.module
    for layout, function, axes in (("NCHW", "max_pool2d", (0, 1, 2, 3)), ("NHWC", "avg_pool2d", (0, 2, 3, 1))):
        host = integers(2, 4, 6, 6).transpose(axes)
        pool = getattr(fastconv, function)
        expected = pool(np.ascontiguousarray(host), 3, 1, 1, layout=layout)
        x = gpu.to(np.ascontiguousarray(host))
        other = gpu.to(np.ascontiguousarray(host[::-1]))[::-1]
        for source in (x, x, other, other):
            assert_equal(gpu.host(pool(source, 3, 1, 1, layout=layout)), expected, 1)
            out = cp.zeros((*expected.shape[:3], 2 * expected.shape[3]), np.float32)[..., ::-2]
            assert pool(source, 3, 1, 1, layout=layout, out=out) is out
            assert_equal(gpu.host(out), expected, 1)
        place = gpu.to(np.ascontiguousarray(host))
        for _ in range(2):
            place[...] = x
            assert pool(place, 3, 1, 1, layout=layout, out=place) is place
            assert_equal(gpu.host(place), expected, 1)
        with pytest.raises(ValueError, match=r"^out: "):
            pool(x, 3, 1, 1, layout=layout, out=cp.zeros((2, 3), np.float32))


def test_repeated_sums_of_other_strides(gpu: ArrayModule) -> None:
    dy = integers(3, 4, 5, 6)
    for _ in range(2):
        for values in (dy, dy[::-1], np.ascontiguousarray(dy[:, ::-1])[:, ::-1]):
            assert_equal(gpu.host(fastconv.grad.conv2d_bias(gpu.to(values))), dy.sum((0, 2, 3)))
