"""Runs the launches of a GPU algorithm on CuPy, or its stand-in, as a backend would: arrays by their roles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.compile import DEFAULT_SHARED_BYTES, options
from fastconv._gpu.launch import Derived, Launch, Workspace
from fastconv._gpu.layout import Layout, alignment_of
from fastconv._problem import DATA_AXES, RESULT, WEIGHT_AXES, numpy_dtype

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
    return cp.RawModule(code=text, options=options(text)).get_function(name)


def start(cp: Any, launches: Sequence[Launch], arrays: Mapping[str, Any],
          edit: Callable[[str], str] = lambda text: text) -> None:  # fmt: skip
    """Run the launches in their order on arrays with the strides that they were made for."""
    size = max((launch.workspace_bytes for launch in launches), default=0)
    given = dict(arrays, workspace=cp.full((size,), POISON, np.uint8) if size else None)
    for launch in launches:
        kernel = _function(cp, launch.kernel, edit(launch.source))
        if launch.shared_bytes > DEFAULT_SHARED_BYTES:
            kernel.max_dynamic_shared_size_bytes = launch.shared_bytes
        arguments = [
            given.get(x, 0) if isinstance(x, str)
            else given["workspace"][x.offset_bytes :] if isinstance(x, Workspace) and size
            else 0 if isinstance(x, Workspace) else x.of(given) if isinstance(x, Derived) else x
            for x in launch.arguments
        ]  # fmt: skip
        kernel(launch.grid, launch.block, tuple(arguments), shared_mem=launch.shared_bytes)


def layout_of(array: Any, dtype: np.dtype) -> Layout:
    """How a canonical 5-D array lies."""
    return Layout.of(dtype, array.strides, range(5), alignment_of(array))


def placed(cp: Any, problem: ConvProblem, operands: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Operands, and a poisoned result, on the device, in the problem's layout, as canonical views."""
    dtype, result = numpy_dtype(problem.dtype), RESULT[problem.direction]
    arrays = {}
    for role, values in {**operands, result: np.full(problem.result_shape, 113)}.items():
        order: tuple[int, ...] = (0,)
        if role != "bias":
            order = WEIGHT_AXES[problem.weight_layout] if role == "weight" else DATA_AXES[problem.layout]
        flat = on_device(cp, np.ascontiguousarray(values.transpose(order)).astype(dtype))
        arrays[role] = flat.transpose(np.argsort(order).tolist())
    return arrays


def computed(cp: Any, algorithm: Any, problem: ConvProblem, operands: Mapping[str, np.ndarray],
             params: Mapping[str, Any] | None = None,
             edit: Callable[[str], str] = lambda text: text) -> np.ndarray:  # fmt: skip
    """The result of a problem on its operands."""
    arrays = placed(cp, problem, operands)
    dtype = numpy_dtype(problem.dtype)
    layouts = {role: layout_of(array, dtype) for role, array in arrays.items() if array.ndim == 5}
    chosen = algorithm.parameters(problem)[0] if params is None else params
    start(cp, algorithm.launches(Operation(problem, layouts), chosen), arrays, edit)
    return on_host(cp.ascontiguousarray(arrays[RESULT[problem.direction]]), dtype)


def summed_up(cp: Any, problem: ConvProblem, operands: Mapping[str, np.ndarray],
              launches_of: Callable[[Operation], Sequence[Launch]]) -> np.ndarray:  # fmt: skip
    """The input gradient of a problem of 16-bit floats in float32, to be summed up further."""
    arrays, dtype = placed(cp, problem, operands), numpy_dtype(problem.dtype)
    arrays["input"] = cp.full(problem.input_shape, 113, np.float32)
    layouts = {role: layout_of(array, dtype) for role, array in arrays.items()}
    layouts["input"] = layout_of(arrays["input"], np.dtype(np.float32))
    start(cp, launches_of(Operation(problem, layouts)), arrays)
    found: np.ndarray = arrays["input"].get()
    return found


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
