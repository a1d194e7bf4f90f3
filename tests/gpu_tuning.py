"""Devices and algorithms that tests of the GPU's tuner take little time with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from array_modules import ArrayModule, array_module, forget_gpu
from fastconv._backend import find_backend
from fastconv._choose import tune
from fastconv._gpu.algorithms.reference.algorithm import Reference
from fastconv._gpu.backend import algorithms


@contextmanager
def small_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[ArrayModule]:
    """A small device, since the second-level cache is written to before each sample; and another one.

    Times are those of the emulation: candidates are few, and run as often as they have to be, and no more.
    """
    few = [one for one in algorithms if one.name in ("implicit_gemm", "depthwise_nchw", "reference")]
    monkeypatch.setattr(find_backend("gpu"), "algorithms", tuple(few))
    monkeypatch.setitem(tune.EFFORTS, "measure", replace(tune.EFFORTS["measure"], rounds=1, max_seconds=0.0))
    with array_module("emulated", devices=("T4", "RTX3090")) as module:
        forget_gpu()
        yield module
        forget_gpu()


class Overrunning(Reference):
    """Right, but it asks for less scratch memory than it writes to."""

    name = "overrunning"

    def launches(self, operation: Any, params: Any) -> Any:
        class Step:
            workspace_bytes = 100

            def bind(self) -> Any:
                def step(arrays: Any) -> None:
                    memory = arrays["workspace"]
                    (memory.data + 100).memset_async(0, 1)

                return step

        return (*super().launches(operation, params), Step())
