"""What a real device does that the stand-in cannot: work that overlaps, arrays of more than 2^32 elements, its pace.

The bodies run on the stand-in as well, on small arrays, so that none of them runs for the first time where there is a
device. Under ``compute-sanitizer`` they are run as CONTRIBUTING says.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastconv
from array_modules import DEVICE, ArrayModule, array_module, assert_equal, forget_gpu
from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._backend import find_backend
from fastconv._choose.select import plan_for
from fastconv._gpu import compile, memory
from fastconv._gpu.registry import ALGORITHMS
from fastconv._problem import RESULT
from gpu_cases import integers
from operands import exact_case, place, result_dtype, shapes
from problems import describe


@pytest.fixture(params=["emulated", DEVICE])
def gpu(request: pytest.FixtureRequest) -> Iterator[ArrayModule]:
    with array_module(request.param) as module:
        yield module


def test_what_runs_on_a_device_is_marked(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        arrays = [params[fixture] for fixture in ("gpu", "cp") if fixture in params]
        assert bool(item.get_closest_marker("gpu")) == (DEVICE in arrays), item.nodeid


# -- arrays of more than 2^32 elements
def _rows(gpu: ArrayModule, bytes_needed: float) -> int:
    """So many rows of 2^16 elements that an array has more than 2^32 of them; 12 on the stand-in."""
    if gpu.name != DEVICE:
        return 12
    free = gpu.module.cuda.Device().mem_info[0]
    if free < bytes_needed:
        pytest.skip(f"{free / 1e9:.0f} GB are free of the {bytes_needed / 1e9:.0f} GB that this needs")
    return 2**16 + 2


def _columns(gpu: ArrayModule) -> int:
    return 2**16 if gpu.name == DEVICE else 8


def _with_corners(gpu: ArrayModule, shape: tuple[int, ...], dtype: Any) -> tuple[Any, np.ndarray]:
    """Zeros, but for integers in the first three rows and columns and in the last ones; and these corners."""
    made = gpu.module.zeros(shape, dtype)
    corner = integers(*shape[:-2], 3, 3, dtype=dtype)
    for end in (slice(0, 3), slice(-3, None)):
        made[..., end, end] = gpu.to(corner)
    return made, corner


def _total(gpu: ArrayModule, array: Any) -> int:
    """The sum of the elements' magnitudes, in pieces that fit beside the array."""
    step = max(1, array.shape[-2] // 64)
    parts = range(0, array.shape[-2], step)
    return sum(int(gpu.module.abs(array[..., i : i + step, :].astype(np.float32)).sum()) for i in parts)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("channels", [1, 2])
def test_large_images(gpu: ArrayModule, dtype: str, channels: int) -> None:
    """One image of more than 2^32 elements: its first and its last pixels, and nothing between."""
    itemsize = np.dtype(dtype).itemsize
    rows, columns = _rows(gpu, 2.5 * itemsize * 2**32) // channels + channels, _columns(gpu)
    x, corner = _with_corners(gpu, (1, channels, rows, columns), dtype)
    weights = integers(channels, channels, 3, 3, dtype=dtype)
    y = fastconv.conv2d(x, gpu.to(weights), padding=1)
    padded = np.pad(corner, ((0, 0), (0, 0), (1, 2), (1, 2)))
    expected = fastconv.conv2d(padded, weights)  # of the top left corner: zeros follow
    assert_equal(gpu.host(y[..., :4, :4].copy()), expected[..., :4, :4])
    at_end = fastconv.conv2d(np.pad(corner, ((0, 0), (0, 0), (2, 1), (2, 1))), weights)
    assert_equal(gpu.host(y[..., -4:, -4:].copy()), at_end[..., -4:, -4:])
    assert _total(gpu, y) == np.abs(expected.astype(int)).sum() + np.abs(at_end.astype(int)).sum()
    del x
    dx = fastconv.grad.conv2d_input(y.shape, gpu.to(weights), y, padding=1)
    dy = np.pad(expected, ((0, 0), (0, 0), (0, 2), (0, 2)))
    of_corner = fastconv.grad.conv2d_input(dy.shape, weights, dy, padding=1)
    assert_equal(gpu.host(dx[..., :3, :3].copy()), of_corner[..., :3, :3])


def test_large_batches(gpu: ArrayModule) -> None:
    """More than 2^32 elements in images that are small: places inside of one fit in 32 bits, those of images do not."""
    images = _rows(gpu, 4 * 2 * 2**32)
    shape = (images, 4, 64, _columns(gpu) // 256 or 8)
    x = gpu.module.zeros(shape, np.float16)
    kept = integers(3, *shape[1:], dtype=np.float16)
    kept[:, :, 8:] = 0  # sums of squares stay in float16's range
    places = (0, images // 2, images - 1)
    for image, values in zip(places, kept, strict=True):
        x[image] = gpu.to(values)
    depthwise, dense = integers(4, 1, 3, 3, dtype=np.float16), integers(4, 4, 1, 1, dtype=np.float16)
    for weights, groups, padding in ((depthwise, 4, 1), (dense, 1, 0)):
        y = fastconv.conv2d(x, gpu.to(weights), groups=groups, padding=padding)
        expected = fastconv.conv2d(kept, weights, groups=groups, padding=padding)
        for image, values in zip(places, expected, strict=True):
            assert_equal(gpu.host(y[image]), values)
        dw = fastconv.grad.conv2d_weight(x, weights.shape, y, groups=groups, padding=padding)
        # sums of squares of integers: exact in float32, rounded once
        assert_equal(
            gpu.host(dw), fastconv.grad.conv2d_weight(kept, weights.shape, expected, groups=groups, padding=padding), 2
        )
        del y
    pooled = fastconv.max_pool2d(x, 2)
    for image, values in zip(places, fastconv.max_pool2d(kept, 2), strict=True):
        assert_equal(gpu.host(pooled[image]), values)


def test_large_unfolding(gpu: ArrayModule) -> None:
    """The result has more than 2^32 elements, x has not."""
    size = math.isqrt(_rows(gpu, 3 * 2**32) * 2**16 // 9) + 64 if gpu.name == DEVICE else 16
    x, _ = _with_corners(gpu, (1, 1, size, size), np.int8)
    columns = fastconv.unfold(x, 3, padding=1)
    assert columns.size > 2**32 or gpu.name != DEVICE
    whole = columns.reshape(9, size, size)
    assert_equal(gpu.host(whole[4].copy()), gpu.host(x[0, 0]))
    assert_equal(gpu.host(whole[8, :-1, :-1].copy()), gpu.host(x[0, 0, 1:, 1:].copy()))


# -- the same bits, however warps and streams run
REPEATED = [
    "{} 4x16x9x11 24x16x3x3 p1",
    "{} 2x8x12x12 8x4x5x5 s2 p2 g2 channels_last",
    "{} 3x16x14x14 16x1x3x3 p1 g16",
    "{} 2x8x8x8 16x8x1x1 float16",
    "{} 2x8x8x8 16x8x3x3 bfloat16 channels_last",
    "{} 2x4x33 6x4x5 float64",
]


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("text", REPEATED)
def test_the_same_bits_on_every_run(gpu: ArrayModule, text: str, direction: str) -> None:
    problem, backend = ConvProblem.parse(text.format(direction)), find_backend("gpu")
    if gpu.name != DEVICE:
        problem = problem.replace(batch=1)
    role, rng = RESULT[direction], np.random.default_rng(0)
    operands, _ = exact_case(problem)
    given = {
        name: gpu.to(rng.standard_normal(array.shape).astype(array.dtype))
        for name, array in operands.items()
        if name != role
    }
    runs = 40 if gpu.name == DEVICE else 2
    for algorithm in ALGORITHMS:
        if problem.dtype not in algorithm.dtypes or not algorithm.supports(problem):
            continue
        plan, first = plan_for(problem, algorithm.name, backend=backend), None
        for run in range(runs):
            if gpu.name != DEVICE:
                gpu.module.system.seed = 7 * run
            result = gpu.to(place(problem, role, np.full(shapes(problem)[role], 77), result_dtype(problem.dtype)))
            backend.execute(plan, Operands(**given, **{role: result}))
            bits = gpu.host(result).tobytes()
            first = bits if first is None else first
            assert bits == first, f"{describe(problem)}: {algorithm.name}, run {run}"
    if gpu.name != DEVICE:
        gpu.module.system.seed = 0


# -- streams, graphs, threads, devices
def _layers(gpu: ArrayModule) -> list[Callable[[Any], Any]]:
    """A small network, each layer long enough on a device that the next could start too early."""
    filters = gpu.to([integers(8, 8, 3, 3, most=1), integers(8, 1, 3, 3, most=1), integers(8, 8, 1, 1, most=1)])
    return [
        lambda x: fastconv.conv2d(x, filters[0], padding=1, activation="relu"),
        lambda x: fastconv.depthwise_conv2d(x, filters[1], padding=1, padding_mode="reflect", activation="relu6"),
        lambda x: fastconv.conv2d(x, filters[2], activation="relu6"),
        lambda x: fastconv.max_pool2d(x, 3, 1, padding=1),
    ]


def _through(layers: list[Callable[[Any], Any]], x: Any, times: int) -> Any:
    for _ in range(times):
        for layer in layers:
            x = layer(x)
    return x


def _size(gpu: ArrayModule) -> tuple[int, ...]:
    return (8, 8, 96, 96) if gpu.name == DEVICE else (1, 8, 5, 6)


def test_two_streams_at_a_time(gpu: ArrayModule) -> None:
    """Scratch memory of calls on one stream is not that of calls on another, and each waits for its own."""
    cp, times = gpu.module, 20 if gpu.name == DEVICE else 1
    inputs = [integers(*_size(gpu), seed=seed, most=2) for seed in range(2)]
    layers = _layers(gpu)
    alone = [gpu.host(_through(layers, gpu.to(x), times)) for x in inputs]
    assert (alone[0] != alone[1]).any()
    streams = [cp.cuda.Stream(non_blocking=True) for _ in inputs]
    values = gpu.to(inputs)
    cp.cuda.Device().synchronize()
    for _ in range(times):
        together = []
        for stream, x in zip(streams, values, strict=True):
            with stream:
                together.append(_through(layers, x, times))
        for stream, result, expected in zip(streams, together, alone, strict=True):
            with stream:
                assert_equal(gpu.host(result), expected)


def test_an_event_orders_two_streams(gpu: ArrayModule) -> None:
    cp, layers = gpu.module, _layers(gpu)
    first, second = (cp.cuda.Stream(non_blocking=True) for _ in range(2))
    x = gpu.to(integers(*_size(gpu), most=2))
    expected = gpu.host(_through(layers, x, 2))
    for _ in range(10 if gpu.name == DEVICE else 1):
        with first:
            half = _through(layers, x, 1)
            event = first.record()
        with second:
            second.wait_event(event)
            result = _through(layers, half, 1)
            assert_equal(gpu.host(result), expected)


def test_graphs_on_two_streams(gpu: ArrayModule) -> None:
    """Graphs recorded on one stream are launched on others, again and again, with other data."""
    cp, layers = gpu.module, _layers(gpu)
    inputs = [integers(*_size(gpu), seed=seed, most=2) for seed in range(3)]
    expected = [gpu.host(_through(layers, gpu.to(x), 1)) for x in inputs]
    assert (expected[0] != expected[1]).any()
    recorded = []
    for _ in range(2):
        stream, x = cp.cuda.Stream(non_blocking=True), gpu.to(inputs[0])
        with stream:
            stream.begin_capture()
            result = _through(layers, x, 1)
            recorded.append((stream.end_capture(), stream, x, result))
    for _ in range(10 if gpu.name == DEVICE else 1):
        for values, wanted in zip(inputs, expected, strict=True):
            for graph, stream, x, _ in recorded:
                with stream:
                    x[...] = gpu.to(values)
                    graph.launch(stream)
            for _, stream, _, result in recorded:
                with stream:
                    assert_equal(gpu.host(result), wanted)
    del recorded
    memory.forget_recorded()


def test_threads_load_kernels_at_a_time(gpu: ArrayModule) -> None:
    """Every thread has a stream of its own; all of them need the same kernels, which none has loaded."""
    forget_gpu()
    cp, times = gpu.module, 5 if gpu.name == DEVICE else 1
    inputs = [integers(*_size(gpu), seed=seed, most=2) for seed in range(4)]
    start, results, errors = threading.Barrier(len(inputs)), {}, []

    def compute(number: int) -> None:
        try:
            with cp.cuda.Device(0), cp.cuda.Stream(non_blocking=True):
                layers = _layers(gpu)
                start.wait()
                results[number] = gpu.host(_through(layers, gpu.to(inputs[number]), times))
        except BaseException as error:
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    layers = _layers(gpu)
    for number, x in enumerate(inputs):
        assert_equal(results[number], gpu.host(_through(layers, gpu.to(x), times)))


def test_all_devices(gpu: ArrayModule) -> None:
    """Each computes on its own arrays, whichever is the current one."""
    cp = gpu.module
    count = cp.cuda.runtime.getDeviceCount()
    if count < 2:
        pytest.skip("there is one device")
    x, w = integers(2, 4, 9, 8), integers(6, 4, 3, 3)
    expected = fastconv.conv2d(x, w, padding=1)
    there = []
    for number in range(count):
        with cp.cuda.Device(number):
            there.append(gpu.to((x, w)))
    for number, arrays in enumerate(there):
        for _ in range(2):
            result = fastconv.conv2d(*arrays, padding=1)
            assert result.device.id == number
            assert cp.cuda.Device().id == 0
            with cp.cuda.Device(number):
                assert_equal(gpu.host(result), expected)


# -- memory and pace
def test_memory_is_given_back(gpu: ArrayModule) -> None:
    pool, layers = gpu.module.get_default_memory_pool(), _layers(gpu)
    x = gpu.to(integers(*_size(gpu), most=2))
    used = []
    for _ in range(3):
        _through(layers, x, 2)
        used.append(pool.used_bytes())
    assert used[1] == used[2]


def test_out_of_memory_leaves_the_device_usable(gpu: ArrayModule) -> None:
    cp = gpu.module
    x, w = gpu.to((integers(1, 2, 5, 5), integers(3, 2, 3, 3)))
    expected = fastconv.conv2d(integers(1, 2, 5, 5), integers(3, 2, 3, 3))
    with pytest.raises(cp.cuda.memory.OutOfMemoryError):
        fastconv.conv2d(x, w, padding=2**19)
    assert_equal(gpu.host(fastconv.conv2d(x, w)), expected)


LAUNCH_SECONDS = 15e-6


def test_a_repeated_call_is_started_quickly(gpu: ArrayModule) -> None:
    """Of the best of several series; on the stand-in the time is that of the machine that runs the kernel."""
    x, w = gpu.to((integers(1, 3, 8, 8), integers(4, 3, 3, 3)))
    repeats, best = (500, math.inf) if gpu.name == DEVICE else (2, math.inf)
    for _ in range(10 if gpu.name == DEVICE else 1):
        begun = time.perf_counter()
        for _ in range(repeats):
            fastconv.conv2d(x, w, padding=1)
        best = min(best, (time.perf_counter() - begun) / repeats)
        gpu.module.cuda.Device().synchronize()
    assert best < LAUNCH_SECONDS or gpu.name != DEVICE


def test_a_kernel_is_one_object(gpu: ArrayModule) -> None:
    """Of a device; what one launch has set of it, others keep."""
    text = 'extern "C" __global__ void nothing() {} extern "C" __global__ void other() {}'
    kernel = compile.function(text, "nothing", 60_000)
    assert compile.function(text, "nothing") is compile.function(text, "nothing", 50_000) is kernel
    assert kernel.max_dynamic_shared_size_bytes == 60_000
    assert compile.function(text, "other") is not kernel
    assert compile.function(text, "nothing", 62_000).max_dynamic_shared_size_bytes == 62_000
    if gpu.name != DEVICE:
        with gpu.module.cuda.Device(1):
            assert compile.function(text, "nothing") is not kernel


def test_bfloat16_arrays_go_to_the_device_and_back(gpu: ArrayModule) -> None:
    values = integers(3, 4, 5, dtype=ml_dtypes.bfloat16)
    assert_equal(gpu.host(gpu.to(values)), values)
    assert_equal(gpu.host(gpu.to(values.transpose(2, 0, 1)[:, ::2])), values.transpose(2, 0, 1)[:, ::2])
