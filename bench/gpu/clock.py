"""Times on the device: events on one stream, L2 flushed before each sample, short calls many in a graph."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..timing import Entrant

SHORT_SECONDS = 20e-6
"""Calls under this are measured many in a graph: the host could not start them as fast as they end."""
CALLS_OF_GRAPH = 20
FLUSHES = 4.0
"""Bytes written before a sample, in sizes of L2: two would empty it, the others are the host's time to start a call."""
MIN_SAMPLES = 5


class Clock:
    """The seconds that work takes on a stream of its own; nothing that it reads is in L2 before."""

    def __init__(self, cp: Any) -> None:
        self.cp = cp
        self.stream = cp.cuda.Stream(non_blocking=True)
        here = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
        self._buffer = cp.empty(max(16, int(FLUSHES * here["l2CacheSize"])), cp.uint8)
        self._start, self._stop = cp.cuda.Event(), cp.cuda.Event()
        self._written = 0

    def flush(self) -> None:
        """Drive everything out of L2. The host goes on, so that the work is in the queue when this is done."""
        self._written = (self._written + 1) % 251
        self._buffer.data.memset_async(self._written, self._buffer.nbytes, self.stream)

    def seconds(self, run: Callable[[], object]) -> float:
        """Of one run on the stream."""
        with self.stream:
            self.flush()
            self._start.record(self.stream)
            run()
            self._stop.record(self.stream)
            self._stop.synchronize()
        return float(self.cp.cuda.get_elapsed_time(self._start, self._stop)) * 1e-3

    def median(self, run: Callable[[], object], samples: int) -> float:
        """The median of so many runs, after one that is not looked at."""
        self.run(run)
        return statistics.median(self.seconds(run) for _ in range(samples))

    def run(self, call: Callable[[], Any]) -> Any:
        """What the call returns, computed to the end."""
        with self.stream:
            result = call()
            self.stream.synchronize()
        return result

    def graph(self, calls: Sequence[Callable[[], object]]) -> Callable[[], None]:
        """One launch of all of them; each has been called before, and their arrays live as long as it does."""
        with self.stream:
            self.stream.begin_capture()
            try:
                for call in calls:
                    call()
            finally:
                graph = self.stream.end_capture()
            graph.upload(self.stream)
        kept = tuple(calls)

        def launch() -> None:
            assert kept
            graph.launch(self.stream)

        return launch


@dataclass
class DeviceEntrant(Entrant):
    """One contestant and the seconds that the device took for one call; a run may be several of them."""

    clock: Clock | None = None

    @property
    def min_samples(self) -> int:
        return MIN_SAMPLES

    def begin(self) -> None:
        """Nothing: it is known how many calls a run is."""

    def sample(self, settle_seconds: float = 0.0) -> None:
        assert self.clock is not None
        self.samples.append(self.clock.seconds(self.run) / self.repeats)
