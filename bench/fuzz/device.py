"""The backend that is called, and the way of arrays to a device and back: CuPy's, or its stand-in's without one."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastconv._backend import Backend, find_backend

from .fitting import LIMITS, Limits
from .memory import Placed
from .subject import Arrays, How, Results

VARIABLE = "FASTCONV_FUZZ_BACKEND"
"""The environment variable by which processes that check know the backend's name."""
PLAIN_ON_DEVICES = ("misaligned", "swapped", "read_only", "page_end", "page_start")
"""Words for places that a device's arrays do not have."""
LIMITS_ON_DEVICES = Limits(elements=30_000, multiply_adds=20_000)
"""The machine that stands in for a device takes about a second for a million products."""


def backend() -> Backend:
    """The backend that is called."""
    return find_backend(os.environ.get(VARIABLE, "cpu"))


def is_device() -> bool:
    """Whether it computes on a device's arrays."""
    return os.environ.get(VARIABLE, "cpu") != "cpu"


def level() -> str:
    """What computes, in the words of coverage."""
    if is_device():
        _module()
    return backend().level()


def limits() -> Limits:
    """What a problem may be."""
    return LIMITS_ON_DEVICES if is_device() else LIMITS


def option() -> str:
    """What a command line needs to call it."""
    return f" --backend {backend().name}" if is_device() else ""


def place_of(word: str) -> str:
    """The word for a place that there is."""
    return "plain" if is_device() and word in PLAIN_ON_DEVICES else word


_pretending = contextlib.ExitStack()
"""What ends with the process."""


@functools.cache
def _module() -> Any:
    """CuPy where there is a device, else the stand-in, for as long as the process lives."""
    with contextlib.suppress(ImportError):
        import cupy

        if cupy.cuda.is_available():
            return cupy
    sys.path.append(str(Path(__file__).parents[2] / "tests"))
    import emulated_cupy

    _pretending.enter_context(emulated_cupy.installed())
    return emulated_cupy


def call(
    function: Callable[[Arrays, How], Results], arrays: Mapping[str, Placed], how: How, around: Placed | None
) -> Results:
    """The results of a call on a device, in the host's memory: arrays, and ``how.out`` with what is around it."""
    module = _module()
    memories = [*(one.memory for one in arrays.values()), *([around.memory] if around else [])]
    sent = {id(memory): module.asarray(memory) for memory in memories}

    def there(array: np.ndarray) -> Any:
        memory = next(memory for memory in memories if np.may_share_memory(memory, array) or not array.size)
        offset = array.ctypes.data - memory.ctypes.data if array.size else 0
        return module.ndarray(array.shape, array.dtype, sent[id(memory)].data + offset, array.strides)

    out = None if how.out is None else there(how.out)
    given = {name: there(one.array) for name, one in arrays.items()}
    results = function(given, How(how.algorithm, how.threads, out, how.packed))
    _bring_back(memories, sent)
    return tuple(_on_host(module, result, out, how.out) for result in results)


def _bring_back(memories: Iterable[np.ndarray], sent: Mapping[int, Any]) -> None:
    for memory in memories:
        found = sent[id(memory)].get()
        if memory.flags.writeable and not np.array_equal(found, memory):
            memory[...] = found


def _on_host(module: Any, result: Any, out: Any, own: np.ndarray | None) -> np.ndarray | None:
    if result is None or result is out:
        return own if result is not None else None
    if not isinstance(result, module.ndarray):
        raise TypeError(f"a result is {type(result).__name__}, not the device's")
    found: np.ndarray = result.get()
    return found
