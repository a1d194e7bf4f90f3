"""``cupy.cuda.stream``: streams run what they are given at once, or record it while they are captured."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterable

from ..system import require_device, system
from . import runtime
from .graph import Graph, Node
from .memory import BaseMemory


class _Capture:
    """What the streams of one capture have recorded."""

    def __init__(self, origin: Stream) -> None:
        self.origin = origin
        self.streams: list[Stream] = [origin]
        self.work: list[Node] = []
        self.invalid = False


class _Thread(threading.local):
    def __init__(self) -> None:
        self.current: dict[int, Stream] = {}
        """The current stream of each device."""


_thread = _Thread()
_pointers = itertools.count(0x1000, 0x10)
_captures: list[_Capture] = []


class Stream:
    """A stream of the current device; as a context manager, current inside."""

    null: Stream
    ptds: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        self.ptr = 0 if null else 2 if ptds else next(_pointers)
        self.is_non_blocking, self.priority = non_blocking, priority
        self.device_id = -1 if null or ptds else runtime.getDevice()
        self._capture: _Capture | None = None
        self._outer: list[tuple[int, Stream]] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return hash(self.ptr)

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def __enter__(self) -> Stream:
        self._outer.append((runtime.getDevice(), get_current_stream()))
        return self.use()

    def __exit__(self, *_: object) -> None:
        device, stream = self._outer.pop()
        _thread.current[device] = stream

    def use(self) -> Stream:
        """Make it the current stream of this thread and device."""
        device = runtime.getDevice()
        if self.device_id not in (-1, device):
            raise runtime.CUDARuntimeError(400)
        _thread.current[device] = self
        return self

    @property
    def done(self) -> bool:
        """Whether all its work is done."""
        forbid_synchronization(self)
        return True

    def synchronize(self) -> None:
        """Wait for its work: an error while it is captured."""
        require_device()
        forbid_synchronization(self)

    def record(self, event: Event | None = None) -> Event:
        """Let the event happen after the work so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let what comes wait for it; of a stream that is captured: be captured with it."""
        capture = event._capture
        if capture in _captures and self._capture is None and capture is not None:
            self._capture = capture
            capture.streams.append(self)

    def begin_capture(self, mode: int | None = None) -> None:
        """Record what comes."""
        require_device()
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._capture is not None:
            raise runtime.CUDARuntimeError(401)
        self._capture = _Capture(self)
        _captures.append(self._capture)

    def end_capture(self) -> Graph:
        """What was recorded; CUDARuntimeError if something that is not permitted was tried."""
        capture = self._capture
        if capture is None or capture.origin is not self:
            raise runtime.CUDARuntimeError(401)
        _captures.remove(capture)
        for stream in capture.streams:
            stream._capture = None
        if capture.invalid:
            raise runtime.CUDARuntimeError(901)
        return Graph._of(capture.work)

    def is_capturing(self) -> bool:
        """Whether what it is given is recorded."""
        return self._capture is not None


Stream.null = Stream(null=True)
Stream.ptds = Stream(ptds=True)


class Event:
    """A moment in a stream's work."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        require_device()
        self.time: float | None = None
        self._timed = not disable_timing
        self._capture: _Capture | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Let it happen after the work so far of the stream, or of the current one."""
        stream = get_current_stream() if stream is None else stream
        self._capture = stream._capture

        def happen() -> None:
            self.time = time.perf_counter()

        submit(happen, [], stream)

    @property
    def done(self) -> bool:
        """Whether it has happened."""
        return self._capture is None

    def synchronize(self) -> None:
        """Wait until it has happened: an error if it is captured."""
        require_device()
        if self._capture in _captures and self._capture is not None:
            self._capture.invalid = True
            raise runtime.CUDARuntimeError(900)
        system.counts["synchronization"] += 1


def get_current_stream(device_id: int = -1) -> Stream:
    """The current stream of this thread and of the device, or of the current one."""
    device = runtime.getDevice() if device_id < 0 else device_id
    return _thread.current.get(device, Stream.null)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Milliseconds between two events."""
    if start_event.time is None or end_event.time is None or not (start_event._timed and end_event._timed):
        raise runtime.CUDARuntimeError(400)
    return (end_event.time - start_event.time) * 1e3


def submit(work: Callable[[], object], memories: Iterable[BaseMemory], stream: object = None) -> None:
    """Run ``work`` in the order of the stream, or of the current one: at once, or whenever its graph is launched.

    A graph does not keep the memory that its work touches; it fails if that has been freed.
    """
    require_device()
    chosen = stream if isinstance(stream, Stream) else get_current_stream()
    if chosen.device_id not in (-1, runtime.getDevice()):
        raise runtime.CUDARuntimeError(400)
    if chosen._capture is None:
        blocking = [c for c in _captures if not c.origin.is_non_blocking and c.origin.device_id == runtime.getDevice()]
        if chosen.ptr == 0 and blocking:
            for capture in blocking:
                capture.invalid = True
            raise runtime.CUDARuntimeError(906)
        work()
        return
    references = [weakref.ref(memory) for memory in memories]
    chosen._capture.work.append(Node(work, references))


def forbid_synchronization(stream: Stream | None, what: str = "synchronization") -> None:
    """Count that the host waits for a stream, or for the device: an error while it is captured."""
    captures = _captures if stream is None else [stream._capture] if stream._capture else []
    for capture in captures:
        capture.invalid = True
        raise runtime.CUDARuntimeError(900)
    system.counts[what] += 1
