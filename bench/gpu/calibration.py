"""``python -m bench gpu --calibrate-model``: the constants of bench/gpu_model, measured on the device at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import fastconv
from fastconv._gpu.source import HERE

from ..gpu_model import chips
from .clock import CALLS_OF_GRAPH, Clock

FMA_LATENCY = 4
"""Cycles from one sum to the next that needs it, since sm_70: what the clock's rate is worked out by."""
SCHEDULERS = 4
CHAINS = 8
"""As in calibration.cu."""
CHAIN_STEPS = 1 << 20
STEPS = 1 << 14
L2_STEPS = 64
CHASE_STEPS = 1 << 12
COPIED_BYTES = 1 << 30
FFMA_THREADS, HMMA_THREADS, LOAD_THREADS = 1024, 512, 1024
LOADED_BYTES = 1 << 20
"""By every block, from L2."""
CHASED_STRIDE = (1 << 16) + 512
"""Elements from one load to the next: 260 KB, so that no two are of one line or row."""
SAMPLES = 7
HOST_CALLS = 500
PROBE = 'extern "C" __global__ void probe() { asm volatile("wgmma.fence.sync.aligned;"); }'


class Calibration:
    """Each constant once; all on one clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock, cp = clock, clock.cp
        self._properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
        self.multiprocessors = int(self._properties["multiProcessorCount"])
        self.capability = self._properties["major"], self._properties["minor"]
        text = (HERE / "csrc/device.cuh").read_text() + Path(__file__).with_suffix(".cu").read_text()
        self._module = cp.RawModule(code=text)
        self._out = cp.zeros(FFMA_THREADS, cp.float32)

    @cached_property
    def ghz(self) -> float:
        """The clock's rate while a chain of sums runs."""
        seconds = self._seconds("ffma_chain", 1, 32, np.float32(0.999), np.int32(CHAIN_STEPS))
        return CHAIN_STEPS * FMA_LATENCY / seconds * 1e-9

    @cached_property
    def launch_seconds(self) -> float:
        """From one empty kernel to the next in a stream's queue."""
        kernel = self._module.get_function("nothing")

        def launches() -> None:
            for _ in range(CALLS_OF_GRAPH):
                kernel((1,), (32,), ())

        return self._median(launches) / CALLS_OF_GRAPH

    @cached_property
    def graph_launch_seconds(self) -> float:
        """The same in a graph."""
        kernel = self._module.get_function("nothing")
        run = self._clock.graph([lambda: kernel((1,), (32,), ())] * CALLS_OF_GRAPH)
        return self._median(run) / CALLS_OF_GRAPH

    @cached_property
    def host_launch_seconds(self) -> float:
        """What Python takes to start an empty kernel by CuPy."""
        kernel = self._module.get_function("nothing")
        return self._host_seconds(lambda: kernel((1,), (32,), ()))

    @cached_property
    def host_call_seconds(self) -> float:
        """What Python takes to start a repeated conv2d of next to nothing."""
        x, w = (self._clock.cp.ones(shape, np.float32) for shape in ((1, 3, 8, 8), (4, 3, 3, 3)))
        return self._host_seconds(lambda: fastconv.conv2d(x, w, padding=1))

    def _host_seconds(self, call: Callable[[], object]) -> float:
        """Of one call, while the device keeps up: its queue holds about a thousand launches."""
        self._clock.run(call)
        start = time.perf_counter()
        for _ in range(HOST_CALLS):
            call()
        seconds = time.perf_counter() - start
        self._clock.stream.synchronize()
        return seconds / HOST_CALLS

    @cached_property
    def ffma_seconds(self) -> float:
        """Of the kernel ffma with a block on every multiprocessor."""
        return self._seconds("ffma", self.multiprocessors, FFMA_THREADS, np.float32(0.999), np.int32(STEPS))

    @property
    def fma_cycles(self) -> float:
        """Between two FFMA of a scheduler."""
        return self._interval(self.ffma_seconds, FFMA_THREADS)

    @property
    def float32_flops_per_second(self) -> float:
        """What sums and products reach without tensor cores."""
        return 2 * self.multiprocessors * FFMA_THREADS * CHAINS * STEPS / self.ffma_seconds

    @cached_property
    def mma_cycles(self) -> float | None:
        """Between two HMMA.16816.F32 of a scheduler; None where there is none."""
        if self.capability < (8, 0):
            return None
        seconds = self._seconds("hmma", self.multiprocessors, HMMA_THREADS, np.float32(0.5), np.int32(STEPS))
        return self._interval(seconds, HMMA_THREADS)

    @cached_property
    def l2_bytes_per_cycle(self) -> float:
        """Into one multiprocessor, while all of them read the same."""
        loads, elements = self._clock.cp.ones(LOADED_BYTES // 4, np.float32), np.int32(LOADED_BYTES // 16)
        seconds = self._seconds("read_l2", self.multiprocessors, LOAD_THREADS, loads, elements, np.int32(L2_STEPS))
        return LOADED_BYTES * L2_STEPS / (seconds * self.ghz * 1e9)

    @cached_property
    def memory_latency(self) -> float:
        """Cycles until a load from memory is there; L2 has been flushed."""
        cp, steps = self._clock.cp, CHASE_STEPS
        places = np.arange(steps + 1) * CHASED_STRIDE
        following = cp.zeros(places[-1] + 1, cp.int32)
        following[cp.asarray(places[:-1])] = cp.asarray(places[1:].astype(np.int32))
        return self._seconds("chase", 1, 1, following, np.int32(steps)) * self.ghz * 1e9 / steps

    @cached_property
    def copy_bytes_per_second(self) -> float:
        """Read and written, by the copy engine or by a kernel, whichever is faster."""
        cp, stream = self._clock.cp, self._clock.stream
        source, target = (cp.zeros(COPIED_BYTES // 4, cp.float32) for _ in range(2))

        def by_copying() -> None:
            target.data.copy_from_device_async(source.data, source.nbytes, stream)

        def by_a_kernel() -> None:
            cp.multiply(source, 1, out=target)

        return 2 * source.nbytes / min(self._median(run) for run in (by_copying, by_a_kernel))

    def takes_all_features(self) -> bool | None:
        """Whether a module can ask for "sm_90a", as kernels of wgmma have to; None on other devices."""
        if self.capability != (9, 0):
            return None
        module = self._clock.cp.RawModule(code=PROBE, options=("-arch=sm_90a",))
        module.get_function("probe")((1,), (128,), ())
        self._clock.cp.cuda.get_current_stream().synchronize()
        return True

    def _interval(self, seconds: float, threads: int) -> float:
        """Cycles between two of a scheduler's instructions of a kernel of CHAINS x STEPS of them."""
        return seconds * self.ghz * 1e9 / (STEPS * CHAINS * threads / 32 / SCHEDULERS)

    def _seconds(self, name: str, blocks: int, threads: int, *arguments: Any) -> float:
        kernel = self._module.get_function(name)
        return self._median(lambda: kernel((blocks,), (threads,), (self._out, *arguments)))

    def _median(self, run: Callable[[], object]) -> float:
        return self._clock.median(run, SAMPLES)


def report(clock: Clock) -> str:
    """Measured values beside those that the model has for the chip of that name."""
    with clock.stream:
        found = Calibration(clock)
        name = clock.cp.cuda.runtime.getDeviceProperties(clock.cp.cuda.Device().id)["name"].decode()
        chip = next((chip for chip in chips.CHIPS.values() if chip.name in name.replace(" ", "")), None)
        rows = [
            ("GHz", "ghz", found.ghz),
            ("seconds of a launch", "launch_seconds", found.launch_seconds),
            ("the same in a graph", None, found.graph_launch_seconds),
            ("Python's of a launch", None, found.host_launch_seconds),
            ("Python's of a conv2d", None, found.host_call_seconds),
            ("bytes per second of copies", "copy_bytes_per_second", found.copy_bytes_per_second),
            ("cycles of FFMA", "fma_cycles", found.fma_cycles),
            ("FLOP/s of FFMA", None, found.float32_flops_per_second),
            ("cycles of HMMA.16816.F32", "mma_cycles", found.mma_cycles),
            ("bytes per cycle from L2", "l2_bytes_per_cycle", found.l2_bytes_per_cycle),
            ("cycles of a load", None, found.memory_latency),
        ]
        lines = [f"{name}, {found.multiprocessors} multiprocessors", f"{'':28} {'model':>12} {'measured':>12}"]
        for text, field, measured in rows:
            assumed = getattr(chip, field) if chip and field else chips.MEMORY_LATENCY if "load" in text else None
            lines.append(f"{text:28} {_shown(assumed):>12} {_shown(measured):>12}")
        lines.append(f'code for "sm_90a" runs: {found.takes_all_features()}')
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
