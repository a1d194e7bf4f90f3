"""A stand-in for cuDNN 9: its graph interface, for graphs of one convolution, computed by NumPy.

Descriptors are checked as the library checks them: kinds, types and numbers of values, sizes that fit each other. It
ranks four engines. Those that round factors or add in any order say so in their notes, and compute what shows it.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from .cuda import runtime
from .cuda.cublas import _tf32 as tf32
from .cuda.linked import INT, LONG, POINTER, library
from .cuda.memory import POISON, holds
from .cuda.stream import get_current_stream, submit

BAD_PARAM, NOT_SUPPORTED = 2000, 3000
CONVOLUTION, ENGINE, CONFIGURATION, HEURISTICS, PLAN, GRAPH, PACK, TENSOR = 1, 2, 3, 4, 5, 15, 16, 17
FORWARD, BACKWARD_FILTER, BACKWARD_DATA = 10, 11, 12
ELEMENTS = {0: POINTER, 1: INT, 3: ctypes.c_int64, 4: ctypes.c_float, 6: POINTER, 7: INT, 8: INT, 11: INT, 15: POINTER}
"""By cudnnBackendAttributeType_t."""
REQUIRED = {
    CONVOLUTION: {100: 1, 101: 7, 102: 3, 103: 3, 104: 3, 105: 3, 106: 3},
    FORWARD: {700: 4, 701: 4, 702: 15, 703: 15, 704: 15, 705: 15},
    BACKWARD_DATA: {706: 4, 707: 4, 708: 15, 709: 15, 710: 15, 711: 15},
    BACKWARD_FILTER: {712: 4, 713: 4, 714: 15, 715: 15, 716: 15, 717: 15},
    GRAPH: {800: 0, 801: 15},
    HEURISTICS: {200: 8, 201: 15},
    PLAN: {400: 0, 401: 15},
    PACK: {1000: 3, 1001: 6, 1003: 6},
    TENSOR: {900: 3, 901: 1, 902: 3, 903: 3, 906: 3},
}
"""By kind, its attributes and their types."""
OPERANDS = {FORWARD: (704, 703, 705, 702), BACKWARD_DATA: (710, 709, 711, 708), BACKWARD_FILTER: (716, 715, 717, 714)}
"""Attributes of input, weight, output and the convolution's own descriptor."""
TENSOR_CORE, NONDETERMINISTIC, WINOGRAD = 0, 4, 5
ENGINES = {3: ("unordered", "winograd", "tensor cores"), 2: ("plain",)}
"""By heuristic mode, the best first."""
NOTES = {"unordered": (NONDETERMINISTIC,), "winograd": (WINOGRAD,), "tensor cores": (TENSOR_CORE,), "plain": ()}
WORKSPACE_BYTES = {"unordered": 0, "winograd": 0, "tensor cores": 1000, "plain": 96}
DTYPES = {0: np.dtype(np.float32), 2: np.dtype(np.float16)}
RESULT = {FORWARD: 2, BACKWARD_DATA: 0, BACKWARD_FILTER: 1}


@dataclass
class _Descriptor:
    kind: int
    values: dict[int, list[Any]] = field(default_factory=dict)
    is_final: bool = False
    engine: str = ""
    """Of an engine or a configuration."""

    def one(self, attribute: int) -> Any:
        return self.values[attribute][0]


_handles: dict[int, dict[str, int]] = {}
_descriptors: dict[int, _Descriptor] = {}
_numbers = itertools.count(4096)


def living() -> int:
    """How many descriptors there are."""
    return len(_descriptors)


def _create_handle(address: int) -> int:
    number = next(_numbers)
    _handles[number] = {"device": runtime.getDevice(), "stream": -1}
    ctypes.c_void_p.from_address(address).value = number
    return 0


def _set_stream(handle: int, stream: int) -> int:
    _handles[handle]["stream"] = stream
    return 0


def _create(kind: int, address: int) -> int:
    number = next(_numbers)
    _descriptors[number] = _Descriptor(kind)
    ctypes.c_void_p.from_address(address).value = number
    return 0


def _destroy(number: int) -> int:
    return 0 if _descriptors.pop(number, None) else BAD_PARAM


def _set(number: int, attribute: int, kind: int, count: int, address: int) -> int:
    descriptor = _descriptors[number]
    if descriptor.is_final or REQUIRED[descriptor.kind].get(attribute) != kind or count < 1:
        return BAD_PARAM
    values = list((ELEMENTS[kind] * count).from_address(address))
    if kind == 15:
        values = [_descriptors[value] for value in values]
        if not all(value.is_final for value in values):
            return BAD_PARAM
    descriptor.values[attribute] = values
    return 0


def _finalize(number: int) -> int:
    descriptor = _descriptors[number]
    if descriptor.is_final or set(REQUIRED[descriptor.kind]) != set(descriptor.values):
        return BAD_PARAM
    if not _is_right(descriptor):
        return BAD_PARAM
    descriptor.is_final = True
    if descriptor.kind == HEURISTICS and not _is_supported(descriptor.one(201).one(801)):
        return NOT_SUPPORTED
    return 0


def _is_right(of: _Descriptor) -> bool:
    """Whether the values fit each other."""
    if of.kind == TENSOR:
        return len(of.values[902]) == len(of.values[903]) >= 4 and min(of.values[902]) > 0 and of.one(900) > 0
    if of.kind == CONVOLUTION:
        return all(len(of.values[name]) == of.one(106) for name in range(102, 106)) and min(of.values[105]) >= 0
    if of.kind in OPERANDS:
        source, weight, output, convolution = (of.one(name) for name in OPERANDS[of.kind])
        x, w, y = (tensor.values[902] for tensor in (source, weight, output))
        d, s, after, before = (convolution.values[name] for name in (102, 103, 104, 105))
        made = [(x[i + 2] + before[i] + after[i] - d[i] * (w[i + 2] - 1) - 1) // s[i] + 1 for i in range(len(s))]
        return y == [x[0], w[0], *made] and x[1] % w[1] == 0 and w[0] % (x[1] // w[1]) == 0
    return of.kind != PACK or len(of.values[1000]) == len(of.values[1001])


def _is_supported(operation: _Descriptor) -> bool:
    """One type of all arrays; no gaps, channels first in all or last in all; reversals are not for the library."""
    tensors = [operation.one(name) for name in OPERANDS[operation.kind][:3]]
    if len({tensor.one(901) for tensor in tensors}) != 1 or operation.one(OPERANDS[operation.kind][3]).one(101) != 1:
        return False
    return any(all(tensor.values[903] == _packed(tensor.values[902], last) for tensor in tensors) for last in (0, 1))


def _packed(sizes: list[int], channels_last: int) -> list[int]:
    order = [0, *range(2, len(sizes)), 1] if channels_last else list(range(len(sizes)))
    strides, step = [0] * len(sizes), 1
    for axis in reversed(order):
        strides[axis], step = step, step * sizes[axis]
    return strides


def _get(number: int, attribute: int, kind: int, most: int, count: int, address: int) -> int:
    descriptor = _descriptors[number]
    found: list[Any]
    if (descriptor.kind, attribute, kind) == (HEURISTICS, 202, 15):
        found = list(ENGINES[descriptor.one(200)])
    elif (descriptor.kind, attribute, kind) == (CONFIGURATION, 300, 15):
        found = [descriptor.engine]
    elif (descriptor.kind, attribute, kind) == (ENGINE, 1303, 11):
        found = list(NOTES[descriptor.engine])
    elif (descriptor.kind, attribute, kind) == (PLAN, 402, 3):
        found = [WORKSPACE_BYTES[descriptor.one(401).engine]]
    else:
        return BAD_PARAM
    ctypes.c_int64.from_address(count).value = len(found)
    if address:
        into = (ELEMENTS[kind] * most).from_address(address)
        for i, value in enumerate(found[:most]):
            if kind == 15:
                filled = _descriptors[into[i]]
                filled.engine, filled.is_final, filled.values = value, True, {201: descriptor.values.get(201, [])}
            else:
                into[i] = value
    return 0


def _array(tensor: _Descriptor, address: int) -> np.ndarray:
    sizes, strides = tensor.values[902], tensor.values[903]
    dtype = _dtype(tensor.one(901))
    size = (sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True)) + 1) * dtype.itemsize
    if not holds(runtime.getDevice(), address, size) or address % tensor.one(900):
        raise runtime.CUDARuntimeError(700)
    buffer: Any = (ctypes.c_char * size).from_address(address)
    return np.ndarray(sizes, dtype, buffer, 0, [stride * dtype.itemsize for stride in strides])


def _dtype(number: int) -> np.dtype:
    if number == 9:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return DTYPES[number]


def _execute(handle: int, plan: int, pack: int) -> int:
    here, chosen, given = _handles[handle], _descriptors[plan], _descriptors[pack]
    if here["device"] != runtime.getDevice() or here["stream"] != get_current_stream().ptr or chosen.one(400) != handle:
        return BAD_PARAM
    engine, operation = chosen.one(401).engine, chosen.one(401).one(201).one(801)
    convolution = operation.one(OPERANDS[operation.kind][3])
    tensors = [operation.one(name) for name in OPERANDS[operation.kind][:3]]
    places = dict(zip(given.values[1000], given.values[1001], strict=True))
    addresses = [places[tensor.one(906)] for tensor in tensors]
    scratch, size = given.one(1003) or 0, WORKSPACE_BYTES[engine]

    def compute() -> None:
        if plan not in _descriptors:  # a graph that is launched after its plan is gone
            raise runtime.CUDARuntimeError(700)
        if size and not holds(runtime.getDevice(), scratch, size):
            raise runtime.CUDARuntimeError(700)
        arrays = [_array(*pair) for pair in zip(tensors, addresses, strict=True)]
        ctypes.memset(scratch, POISON, size)
        rounded = [array.astype(np.float32) for array in arrays]
        if engine == "tensor cores":
            rounded = [tf32(array) for array in rounded]
        with np.errstate(all="ignore"):
            result = _convolve(operation.kind, *rounded, *(convolution.values[name] for name in (102, 103, 105, 104)))
            arrays[RESULT[operation.kind]][...] = result if engine in ("plain", "tensor cores") else np.nan

    submit(compute, [])
    return 0


def _convolve(kind: int, x: np.ndarray, w: np.ndarray, y: np.ndarray, dilation: list[int], stride: list[int],
              before: list[int], after: list[int]) -> np.ndarray:  # fmt: skip
    """The array that is the result, of the two others."""
    groups, axes = x.shape[1] // w.shape[1], range(len(stride))
    padded = np.pad(
        x if kind != BACKWARD_DATA else np.zeros_like(x), [(0, 0), (0, 0), *zip(before, after, strict=True)]
    )
    source = padded.reshape(len(x), groups, -1, *padded.shape[2:])
    filters, outputs = (a.reshape(*shape, *a.shape[2:]) for a, shape in (
        (w, (groups, -1, w.shape[1])), (y, (len(x), groups, w.shape[0] // groups))))  # fmt: skip
    if kind != BACKWARD_DATA:
        outputs, filters = (np.zeros_like(outputs), filters) if kind == FORWARD else (outputs, np.zeros_like(filters))
    for tap in itertools.product(*map(range, w.shape[2:])):
        ends = [tap[i] * dilation[i] + (y.shape[i + 2] - 1) * stride[i] + 1 for i in axes]
        seen = (..., *(slice(tap[i] * dilation[i], ends[i], stride[i]) for i in axes))
        here = (..., *tap)
        if kind == FORWARD:
            outputs += np.einsum("gkc,ngc...->ngk...", filters[here], source[seen])
        elif kind == BACKWARD_DATA:
            source[seen] += np.einsum("gkc,ngk...->ngc...", filters[here], outputs)
        else:
            filters[here] = np.einsum("ngkp,ngcp->gkc", outputs.reshape(*outputs.shape[:3], -1),
                                      source[seen].reshape(*source.shape[:3], -1))  # fmt: skip
    if kind == BACKWARD_DATA:
        inside = (..., *(slice(before[i], before[i] + x.shape[i + 2]) for i in axes))
        return padded[inside]
    return outputs.reshape(y.shape) if kind == FORWARD else filters.reshape(w.shape)


_FUNCTIONS: dict[str, tuple[Callable[..., int], tuple[Any, ...]]] = {
    "cudnnCreate": (_create_handle, (POINTER,)),
    "cudnnSetStream": (_set_stream, (POINTER, POINTER)),
    "cudnnBackendCreateDescriptor": (_create, (INT, POINTER)),
    "cudnnBackendDestroyDescriptor": (_destroy, (POINTER,)),
    "cudnnBackendSetAttribute": (_set, (POINTER, INT, INT, LONG, POINTER)),
    "cudnnBackendGetAttribute": (_get, (POINTER, INT, INT, LONG, POINTER, POINTER)),
    "cudnnBackendFinalize": (_finalize, (POINTER,)),
    "cudnnBackendExecute": (_execute, (POINTER, POINTER, POINTER)),
}
path = cache(lambda: library(_FUNCTIONS))
"""Of the library."""
