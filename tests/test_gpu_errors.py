"""Bad input on CuPy arrays: refused with the same words as on NumPy's, and nothing is launched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from array_modules import ArrayModule, array_module
from test_errors import complaint_about
from wrong_calls import TARGETS, Target, wrong_calls

ARRAYS = ("x", "w", "w_depthwise", "w_pointwise", "bias", "add", "dy", "state", "dstate", "out")
OF_TWO_AXES = [t for t in TARGETS if t.rank == 2 or t.name.startswith("causal") if not t.name.startswith("plan")]


@pytest.fixture
def gpu() -> Iterator[ArrayModule]:
    with array_module("emulated") as module:
        yield module


def _there(gpu: ArrayModule, argument: str, value: Any) -> Any:
    """An array as CuPy's, if it can be one; all else as it is."""
    is_array = type(value) is np.ndarray or isinstance(value, np.generic)
    if argument not in ARRAYS or not is_array:
        return value
    return gpu.module.asarray(value)


@pytest.mark.parametrize("target", OF_TWO_AXES, ids=lambda target: target.name)
def test_one_wrong_argument(gpu: ArrayModule, target: Target) -> None:
    right = {name: _there(gpu, name, value) for name, value in target.arguments.items()}
    out = None if target.out_shape is None else gpu.module.full(target.out_shape, 77, target.out_dtype)
    complaints, count = [], 0
    for argument, value, exception in wrong_calls(target):
        if isinstance(value, np.ndarray) and (value.dtype.kind not in "biufc" or not value.flags.writeable):
            continue  # CuPy has no such arrays
        call = {**right, argument: _there(gpu, argument, value)}
        if out is not None and argument != "out":
            call["out"] = out
        complaint = complaint_about(target, call, argument, exception)
        if complaint is not None:
            complaints.append(f"{argument}={str(value)[:60]!r}: {complaint}")
        count += 1
    assert not complaints, "\n".join([f"{target.name}: {len(complaints)} of {count}", *complaints])
    assert gpu.module.system.counts["launch"] == 0
    assert out is None or (out.get() == 77).all()
