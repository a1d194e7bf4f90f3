"""The time of executions on a device, by events: warm, but with nothing of theirs in the second-level cache."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import cupy, device, memory

SHORT_SECONDS = 20e-6
"""What takes less would be measured with the time that it takes to start it."""
LAUNCHES = 20
"""Of a graph of short executions, which the device starts itself."""


def repeats_of(seconds: float) -> int:
    """How often what takes so long is executed for one sample."""
    return LAUNCHES if seconds < SHORT_SECONDS else 1


def seconds_of(call: Callable[[], object], repeats: int) -> float:
    """Seconds of one execution on the current stream, the mean of so many in a row, after a warming one.

    Twice as much as the second-level cache holds is written first, which also gives the host time to be ahead: what is
    between the events has been submitted when the first one happens.
    """
    cupy.forbid_capture("a measurement")
    call()
    cuda = cupy.module().cuda
    stream, begin, end = cuda.get_current_stream(), cuda.Event(), cuda.Event()
    execute = _graph(call, repeats).launch if repeats > 1 else call
    flushed = memory.empty((2 * device.current().l2_bytes,), np.dtype(np.uint8))
    flushed.data.memset_async(0, flushed.nbytes, stream)
    begin.record(stream)
    execute()
    end.record(stream)
    end.synchronize()
    milliseconds: float = cuda.get_elapsed_time(begin, end)
    return milliseconds / 1e3 / repeats


def _graph(call: Callable[[], object], repeats: int) -> Any:
    """So many executions, one after the other, as one launch on the current stream."""
    stream = cupy.module().cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            for _ in range(repeats):
                call()
        except BaseException:
            with contextlib.suppress(Exception):
                stream.end_capture()
            raise
        graph = stream.end_capture()
    graph.upload()
    return graph
