"""Runs the launches of a GPU algorithm on CuPy, or its stand-in, as a backend would: arrays by their roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fastconv import ConvProblem
from fastconv._gpu.launches import Launch, Placement
from fastconv._problem import RESULT
from operands import integer_operands, numpy_dtype

POISON = 0x7F
"""Bytes of memory that no kernel has written; as floats they are large."""


def on_device(cp: Any, array: np.ndarray) -> Any:
    """A copy; bfloat16 as its bits."""
    return cp.asarray(array.view(np.uint16) if array.dtype == numpy_dtype("bfloat16") else array)


def on_host(array: Any, dtype: np.dtype) -> np.ndarray:
    """The array with the dtype that its bits mean."""
    return array.get().view(dtype)


@cache
def _function(cp: Any, name: str, text: str) -> Any:
    return cp.RawModule(code=text).get_function(name)


def start(cp: Any, launches: Sequence[Launch], arrays: Mapping[str, Any],
          edit: Callable[[str], str] = lambda text: text) -> None:  # fmt: skip
    """Run the launches in their order on arrays with the strides that they were made for."""
    size = max((launch.workspace_bytes for launch in launches), default=0)
    given = dict(arrays, workspace=cp.full((size,), POISON, np.uint8) if size else None)
    for launch in launches:
        kernel = _function(cp, launch.kernel, edit(launch.source))
        arguments = tuple(given[x] if isinstance(x, str) else x for x in launch.arguments)
        kernel(launch.grid, launch.block, arguments, shared_mem=launch.shared_bytes)


def placement_of(array: Any, itemsize: int) -> Placement:
    """How a canonical 5-D array lies."""
    return Placement(tuple(stride // itemsize for stride in array.strides), array.data.ptr & -array.data.ptr)


def placed(cp: Any, problem: ConvProblem, operands: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Operands, and a poisoned result, on the device, in the problem's layout, as canonical views."""
    dtype, result = numpy_dtype(problem.dtype), RESULT[problem.direction]
    arrays = {}
    for role, values in {**operands, result: np.full(problem.result_shape, 113)}.items():
        order = tuple(range(values.ndim))
        if problem.layout == "channels_last" and role in ("input", "output", "add"):
            order = (0, 2, 3, 4, 1)
        elif role == "weight":
            order = {"OIDHW": order, "DHWIO": (2, 3, 4, 1, 0), "ODHWI": (0, 2, 3, 4, 1)}[problem.weight_layout]
        flat = on_device(cp, np.ascontiguousarray(values.transpose(order)).astype(dtype))
        arrays[role] = flat.transpose(np.argsort(order).tolist())
    return arrays


def computed(cp: Any, algorithm: Any, problem: ConvProblem, operands: Mapping[str, np.ndarray] | None = None,
             params: Mapping[str, Any] | None = None,
             edit: Callable[[str], str] = lambda text: text) -> np.ndarray:  # fmt: skip
    """The result of a problem on its operands; small integers where none are given."""
    arrays = placed(cp, problem, integer_operands(problem) if operands is None else operands)
    itemsize = numpy_dtype(problem.dtype).itemsize
    placements = {role: placement_of(array, itemsize) for role, array in arrays.items() if array.ndim == 5}
    chosen = algorithm.parameters(problem)[0] if params is None else params
    start(cp, algorithm.launches(problem, chosen, placements), arrays, edit)
    return on_host(cp.ascontiguousarray(arrays[RESULT[problem.direction]]), numpy_dtype(problem.dtype))


@dataclass(frozen=True)
class Traffic:
    """32-byte sectors of global memory that launches moved."""

    loaded: int
    """Into the multiprocessors, where the first-level cache forgets nothing while a block runs."""
    stored: int
    """By every store instruction: first-level caches do not put stores together."""
    memory: int
    """That blocks touched at least once: what the second-level cache does not hold."""


def traffic(cp: Any, launches: Sequence[Launch]) -> Traffic:
    """What the last run of these launches moved, on the stand-in."""
    counts = [cp.system.last_launch[launch.kernel] for launch in launches]
    accesses = [
        x for one in counts for x in one.accesses() if "global" in x.text.split(" ")[-2 if x.text[0] == "@" else 0]
    ]
    loads = [x for x in accesses if ".ld" in x.text or x.text.startswith("ld")]
    stores = [x for x in accesses if x not in loads]
    return Traffic(
        sum(x.touched for x in loads), sum(x.moved for x in stores), sum(x.touched for x in accesses)
    )  # fmt: skip
