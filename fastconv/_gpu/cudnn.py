"""Convolutions by cuDNN 9, as steps among launches; the one module that calls it.

The library is asked by its graph interface: descriptors are made of named values and of other descriptors. It ranks
ways to compute a convolution, each an engine with its settings; of these are left those that keep fastconv's promises:
the same bits on every run, sums in float32, elements that are not mixed, and TF32 only where it is asked for.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .._errors import UnusableAlgorithmError, unusable
from . import cupy
from .cudnn_names import (
    ATTRIBUTES,
    CROSS_CORRELATION,
    DATA_TYPES,
    HEUR_MODE_A,
    HEUR_MODE_FALLBACK,
    KINDS,
    MAX_NOTES,
    NOTES,
    TYPES,
)
from .launch import Arrays, Workspace
from .linked import INT, LONG, POINTER, Prototypes, are_available, check
from .linked import functions as linked

FUNCTIONS: Prototypes = {
    "cudnnCreate": (POINTER,),
    "cudnnSetStream": (POINTER, POINTER),
    "cudnnBackendCreateDescriptor": (INT, POINTER),
    "cudnnBackendDestroyDescriptor": (POINTER,),
    "cudnnBackendSetAttribute": (POINTER, INT, INT, LONG, POINTER),
    "cudnnBackendGetAttribute": (POINTER, INT, INT, LONG, POINTER, POINTER),
    "cudnnBackendFinalize": (POINTER,),
    "cudnnBackendExecute": (POINTER, POINTER, POINTER),
}
BROKEN_PROMISES = (
    "DOWN_CONVERT_INPUTS",
    "REDUCED_PRECISION_REDUCTION",
    "NONDETERMINISTIC",
    "FFT",
    "WINOGRAD",
    "WINOGRAD_TILE_4x4",
    "WINOGRAD_TILE_6x6",
    "WINOGRAD_TILE_13x13",
)
"""What an engine may say of its numerics that keeps it from being taken."""
OPERATIONS = {
    "forward": ("FORWARD", "FORWARD", ("X", "W", "Y")),
    "backward_input": ("BACKWARD_DATA", "BWD_DATA", ("DX", "W", "DY")),
    "backward_weight": ("BACKWARD_FILTER", "BWD_FILTER", ("X", "DW", "DY")),
}
"""By direction: the operation's name as a descriptor and in its attributes, and those of input, weight and output."""


def is_available() -> bool:
    """Whether the library is installed."""
    return are_available("cudnn", FUNCTIONS)


class Descriptor:
    """A descriptor of the library; what it is made of lives as long as it does."""

    def __init__(self, kind: str, prefix: str = "", **values: Any) -> None:
        """Finalized with these values of attributes, whose names begin with ``prefix`` or the kind; without any, one
        that the library fills.

        Raises
        ------
        UnusableAlgorithmError
            If the library does not take it.
        """
        self.functions, self.prefix, self._values, made = linked("cudnn", FUNCTIONS), prefix or kind, values, POINTER()
        self._take(self.functions["cudnnBackendCreateDescriptor"](KINDS[kind], ctypes.addressof(made)), "create")
        self.address = made.value
        for name, value in values.items():
            number, kind_of_value, element = self._attribute(name)
            given = [value] if not isinstance(value, Sequence) else value
            listed = (element * len(given))(*(one.address if isinstance(one, Descriptor) else one for one in given))
            status = self.functions["cudnnBackendSetAttribute"](
                self.address, number, kind_of_value, len(given), ctypes.addressof(listed)
            )
            self._take(status, name)
        if values:
            self._take(self.functions["cudnnBackendFinalize"](self.address), "finalize")

    def __del__(self) -> None:
        if getattr(self, "address", None):
            self.functions["cudnnBackendDestroyDescriptor"](self.address)

    def read(self, name: str, most: int = 1, into: Sequence[Descriptor] = ()) -> list[Any]:
        """Up to so many elements of an attribute; descriptors are read into others."""
        number, kind_of_value, element = self._attribute(name)
        found, count = (element * most)(*(one.address for one in into)), ctypes.c_int64()
        status = self.functions["cudnnBackendGetAttribute"](
            self.address, number, kind_of_value, most, ctypes.addressof(count), ctypes.addressof(found)
        )
        self._take(status, name)
        return list(found[: min(count.value, most)])

    def count(self, name: str) -> int:
        """The elements of an attribute."""
        number, kind_of_value, _ = self._attribute(name)
        count = ctypes.c_int64()
        get = self.functions["cudnnBackendGetAttribute"]
        self._take(get(self.address, number, kind_of_value, 0, ctypes.addressof(count), None), name)
        return count.value

    def _attribute(self, name: str) -> tuple[int, int, Any]:
        number, kind = ATTRIBUTES[f"{self.prefix}_{name.upper()}"]
        return number, *TYPES[kind]

    def _take(self, status: int, what: str) -> None:
        if status:
            raise unusable(f"cuDNN does not take {what} of {self.prefix} (status {status})")


@dataclass(frozen=True)
class Tensor:
    """An array of channels first, (N, C, [D,] H, W), as the library is told of it; strides are in elements."""

    dtype: str
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    alignment: int
    """Of its address, in bytes."""

    def described(self, number: int) -> Descriptor:
        """Under a number by which its address is given."""
        return Descriptor("TENSOR", data_type=DATA_TYPES[self.dtype], dimensions=self.sizes, strides=self.strides,
                          unique_id=number, byte_alignment=self.alignment)  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """One convolution, in one of the three directions; sums are of float32."""

    direction: str
    input: Tensor
    weight: Tensor
    output: Tensor
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    tf32: bool = False

    def plan(self, rank: int) -> _Plan | None:
        """The one of that rank that keeps the promises, for the current device and thread; the best has rank 0."""
        return handles.current().plans(self).at(rank)

    def described(self, target: Target) -> Descriptor:
        """As the library is asked about it."""
        before, after = zip(*self.padding, strict=True)
        convolution = Descriptor(
            "CONVOLUTION", comp_type=DATA_TYPES["float32"], conv_mode=CROSS_CORRELATION, dilations=self.dilation,
            filter_strides=self.stride, pre_paddings=before, post_paddings=after, spatial_dims=len(self.stride),
        )  # fmt: skip
        kind, prefix, names = OPERATIONS[self.direction]
        tensors = {
            name: one.described(number) for number, (name, one) in enumerate(zip(names, self.tensors, strict=True))
        }
        operation = Descriptor(
            f"OPERATION_CONVOLUTION_{kind}", f"OPERATION_CONVOLUTION_{prefix}", alpha=1.0, beta=0.0,
            conv_desc=convolution, **tensors,
        )  # fmt: skip
        return Descriptor("OPERATIONGRAPH", ops=operation, **target.of_graph)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Input, weight and output."""
        return self.input, self.weight, self.output

    @cached_property
    def forbidden(self) -> frozenset[int]:
        """Numbers of notes on numerics that break a promise."""
        strict = self.input.dtype == "float32" and not self.tf32
        return frozenset(NOTES[name] for name in (*BROKEN_PROMISES, *(["TENSOR_CORE"] if strict else [])))


@dataclass(frozen=True)
class Target:
    """What descriptors are told of the device that they are for."""

    of_graph: Mapping[str, Any]
    of_heuristics: Mapping[str, Any]
    of_plan: Mapping[str, Any]


class _Plan:
    """A way to compute a graph, ready to be started by the thread that has made it."""

    def __init__(self, configuration: Descriptor, target: Target) -> None:
        self.descriptor = Descriptor("EXECUTION_PLAN", engine_config=configuration, **target.of_plan)
        (self.workspace_bytes,) = self.descriptor.read("workspace_size")

    def start(self, handle: int, places: Sequence[int], scratch: int) -> None:
        """On the handle's stream, on arrays at these addresses."""
        if cupy.is_capturing():
            _recorded.append(self)
        given = Descriptor(
            "VARIANT_PACK", unique_ids=tuple(range(len(places))), data_pointers=places, workspace=scratch
        )
        execute = self.descriptor.functions["cudnnBackendExecute"]
        check(execute(handle, self.descriptor.address, given.address), "cudnnBackendExecute")


_recorded: list[_Plan] = []
"""Graphs do not keep plans, whose code they run."""


def plans(graph: Graph, target: Target) -> Iterator[_Plan]:
    """Those that keep the promises, in the library's order."""
    with suppress(UnusableAlgorithmError):
        whole = graph.described(target)
        for mode in (HEUR_MODE_A, HEUR_MODE_FALLBACK):
            for configuration in _configurations(whole, mode, target):
                engine = Descriptor("ENGINE")
                configuration.read("engine", into=[engine])
                if graph.forbidden.isdisjoint(engine.read("numerical_note", MAX_NOTES)):
                    with suppress(UnusableAlgorithmError):
                        yield _Plan(configuration, target)


def _configurations(graph: Descriptor, mode: int, target: Target) -> list[Descriptor]:
    try:
        ranked = Descriptor("ENGINEHEUR", operation_graph=graph, mode=mode, **target.of_heuristics)
    except UnusableAlgorithmError:
        return []
    found = [Descriptor("ENGINECFG") for _ in range(ranked.count("results"))]
    return found[: len(ranked.read("results", len(found), found))]


class _Plans:
    """A graph's, made as they are asked for."""

    def __init__(self, rest: Iterator[_Plan]) -> None:
        self._found, self._rest = list[_Plan](), rest

    def at(self, rank: int) -> _Plan | None:
        while len(self._found) <= rank:
            more = next(self._rest, None)
            if more is None:
                return None
            self._found.append(more)
        return self._found[rank]


class _Handle:
    """A thread's, of a device; its stream is set before every call."""

    def __init__(self) -> None:
        cupy.forbid_capture("a handle of cuDNN that has to be made")
        made = POINTER()
        status = linked("cudnn", FUNCTIONS)["cudnnCreate"](ctypes.addressof(made))
        if status:
            raise unusable(f"cuDNN does not work with this device or driver (status {status})")
        self.address = made.value or 0
        self._target = Target({"handle": self.address}, {}, {"handle": self.address})
        self._plans: dict[Graph, _Plans] = {}

    def plans(self, graph: Graph) -> _Plans:
        found = self._plans.get(graph)
        if found is None:
            cupy.forbid_capture("a plan of cuDNN that has to be made")
            found = self._plans[graph] = _Plans(plans(graph, self._target))
        return found


class _Handles(threading.local):
    """A thread's handles, one for each device and library."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], _Handle] = {}

    def current(self) -> _Handle:
        """That of the current device."""
        key = cupy.current_device(), id(linked("cudnn", FUNCTIONS))  # which are kept
        handle = self._found.get(key)
        if handle is None:
            handle = self._found[key] = _Handle()
        return handle

    def forget(self) -> None:
        """Make those of this thread anew."""
        self._found.clear()


handles = _Handles()


@dataclass(frozen=True)
class Convolution:
    """A graph computed by the plan of that rank."""

    graph: Graph
    rank: int
    places: tuple[str | Workspace, ...]
    """Of input, weight and output."""
    scratch: Workspace
    """From here on, scratch memory is cuDNN's."""

    @property
    def workspace_bytes(self) -> int:
        """With what the plan needs."""
        return self.scratch.offset_bytes + self._plan().workspace_bytes

    def bind(self) -> Callable[[Arrays], None]:
        """What computes it on the current device and stream."""
        set_stream = linked("cudnn", FUNCTIONS)["cudnnSetStream"]
        stream_of, made = cupy.module().cuda.get_current_stream, {handles.current().address: self._plan()}

        def start(arrays: Arrays) -> None:
            handle = handles.current().address
            plan = made.get(handle)
            if plan is None:  # another thread's first call
                plan = made[handle] = self._plan()
            check(set_stream(handle, stream_of().ptr), "cudnnSetStream")
            workspace = int(arrays["workspace"].data.ptr) if "workspace" in arrays else 0
            plan.start(handle, [_address(place, arrays, workspace) for place in self.places],
                       workspace + self.scratch.offset_bytes if plan.workspace_bytes else 0)  # fmt: skip

        return start

    def _plan(self) -> _Plan:
        found = self.graph.plan(self.rank) or self.graph.plan(0)
        if found is None:
            raise unusable("cuDNN does not compute this convolution with the same bits on every run")
        return found


def _address(place: str | Workspace, arrays: Arrays, workspace: int) -> int:
    return workspace + place.offset_bytes if isinstance(place, Workspace) else int(arrays[place].data.ptr)
