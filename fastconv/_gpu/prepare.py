"""Prepares a planned call: the launches that compute it, for all arrays that lie like its own.

Kernels read and write arrays where they lie, whatever their strides. Padding that is not zeros is a copy first, or for
the input's gradient a padded result that is folded. Scratch memory comes from CuPy's pool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._algorithm import ROLES
from .._arrays import is_cupys
from .._errors import UnusableAlgorithmError
from .._plan import Plan
from .._problem import RESULT
from . import complex_numbers, cupy, memory
from .algorithm import GpuAlgorithm, Operation
from .elementwise import algorithm as elementwise
from .launch import Arrays, Launch, Step
from .layout import MAX_ALIGNMENT, Layout, alignment_of, packed_strides, writable_in_place
from .registry import ALGORITHMS

PADDED = "padded"
"""The role of an input, or of its gradient, with its padding in scratch memory."""
MAX_RESULTS = 16
"""Launches are kept for so many different strides of ``out``."""


def prepare(plan: Plan, call: Any) -> PreparedConvolution:
    """What computes calls like ``call`` by the plan, its kernels loaded."""
    made = PreparedConvolution(plan, call)
    made.bind()
    return made


def operands_of(call: Any) -> dict[str, Any]:
    """A call's arrays by their roles."""
    return {role: array for role in ROLES if (array := getattr(call, role)) is not None}


class PreparedConvolution:
    """A plan and how the arrays of a call lie; immutable but for what is remembered of ``out``."""

    def __init__(self, plan: Plan, call: Any) -> None:
        problem, arrays = plan.problem, operands_of(call)
        self._plan, self._border, self._axes = plan, call.border, dict(call.frame.axes)
        self._role, self._shape, self._dtype = RESULT[problem.direction], call.result_shape, result_dtype(call)
        self._lies = {role: (array.strides, alignment_of(array)) for role, array in arrays.items()}
        self._conjugated = call.conjugated
        self._zeros = _zero_points(call)
        self._layouts = {
            role: Layout.of(array.dtype, array.strides, self._axes[role], alignment_of(array))
            for role, array in arrays.items()
            if role != "bias"
        }
        self._by_result: dict[object, _Bound] = {}
        self._takes_packed = call.packed is not None

    def bind(self) -> None:
        """Load what computes a new result."""
        self._bound(packed_strides(self._shape, self._dtype.itemsize), MAX_ALIGNMENT, self._takes_packed)

    def sources(self, result: Any, is_packed: bool) -> list[str]:
        """The texts of the kernels that compute a result which lies like this one."""
        layout = Layout.of(result.dtype, result.strides, self._axes[self._role], alignment_of(result))
        steps = self._steps(layout, is_packed)
        own = [step.step if isinstance(step, _OnPadded) else step for step in steps]
        return [step.source for step in own if isinstance(step, Launch)]

    def at(self, places: Mapping[str, int]) -> Callable[[tuple[Any, ...], Any], Any]:
        """``compute(arrays, out)`` for the arguments of a function, its operands at ``places`` among them; None where
        the arrays do not lie like those that it was prepared for, or where something else has to be tried, as for a
        first call."""
        takes_packed = self._takes_packed

        def compute(arrays: tuple[Any, ...], out: Any) -> Any:
            given, packed = {}, None
            for role, place in places.items():
                array = arrays[place]
                if not is_cupys(array):
                    array, packed = array.weight, array.packed if takes_packed else None
                if (array.strides, alignment_of(array)) != self._lies[role]:
                    return None
                given[role] = array
            if out is not None and not self._is_result(out):
                return None
            try:
                return self.run(given, out, packed)
            except (UnusableAlgorithmError, MemoryError):
                return None

        return compute

    def is_for(self, operands: Arrays) -> bool:
        """Whether the arrays lie like those that it was prepared for."""
        return {role: (array.strides, alignment_of(array)) for role, array in operands.items()} == self._lies

    def run(self, operands: Arrays, out: Any, packed: object = None) -> Any:
        """The result, in ``out`` if it is given."""
        fits = out is not None and writable_in_place(out, *operands.values())
        result = out if fits else memory.empty(self._shape, self._dtype)
        if result.size:
            try:
                execute = self.repeated(operands, result, packed)
            except MemoryError:
                memory.let_go(result)
                raise
            execute()
        if out is None or fits:
            return result
        out[...] = result
        return out

    def repeated(
        self, operands: Arrays, result: Any, packed: object = None, take: Callable[..., Any] = memory.empty
    ) -> Callable[[], None]:
        """What computes the result in its place again and again, in scratch memory that ``take(shape, dtype)`` has
        given."""
        bound = self._bound(result.strides, alignment_of(result), packed is not None)
        arrays = {**operands, **self._scratch(bound.workspace_bytes, take), self._role: result}
        if packed is not None:
            arrays["packed"] = packed
        bias = arrays.get("bias")
        if bias is not None and not bias.flags.c_contiguous:
            arrays["bias"] = memory.copy(bias)
        steps = bound.steps

        def execute() -> None:
            for step in steps:
                step(arrays)

        return execute

    def _is_result(self, out: Any) -> bool:
        return (
            is_cupys(out)
            and (out.shape, out.dtype) == (self._shape, self._dtype)
            and out.data.device_id == cupy.current_device()
        )

    def _scratch(self, workspace_bytes: int, take: Callable[..., Any]) -> dict[str, Any]:
        made = {}
        try:
            if self._border is not None:
                made[PADDED] = take(self._plan.problem.input_shape, self._padded.dtype)
            if workspace_bytes:
                made["workspace"] = take((workspace_bytes,), np.dtype(np.uint8))
        except MemoryError:
            memory.let_go(*made.values())
            raise
        return made

    @property
    def _padded(self) -> Layout:
        """That of the input with its padding; a gradient of 16-bit floats is summed up in float32."""
        is_sum = self._role == "input" and self._dtype.itemsize == 2
        return Layout.packed(np.dtype(np.float32) if is_sum else self._dtype, self._plan.problem.input_shape)

    def _bound(self, strides: tuple[int, ...], alignment: int, is_packed: bool) -> _Bound:
        """All steps, for a result that lies so; none where it has no elements."""
        key = strides, alignment, is_packed
        found = self._by_result.get(key)
        if found is None:
            if len(self._by_result) >= MAX_RESULTS:
                self._by_result.clear()
            result = Layout.of(self._dtype, strides, self._axes[self._role], alignment)
            found = _Bound.of(self._steps(result, is_packed) if math.prod(self._shape) else ())
            self._by_result[key] = found
        return found

    def _steps(self, result: Layout, is_packed: bool) -> tuple[Step, ...]:
        plan, border, problem = self._plan, self._border, self._plan.problem
        layouts = {**self._layouts, self._role: result}
        before: tuple[Launch, ...] = ()
        after: tuple[Launch, ...] = ()
        if border is not None:
            padded, inside = self._padded, layouts["input"]
            layouts["input"] = padded
            if self._role == "input":
                shape = (*problem.input_shape[:2], *border.sizes)
                after = elementwise.fold_padding(border, shape, padded, inside, (PADDED, "input"))
            else:
                before = elementwise.pad(border, problem.input_shape, inside, padded, ("input", PADDED))
        operation = Operation(problem, layouts, self._conjugated, *self._zeros, is_packed)
        own = _own_steps(plan, operation)
        if border is not None:
            own = tuple(_OnPadded(step) for step in own)
        return (*before, *own, *after)


def _own_steps(plan: Plan, operation: Operation) -> tuple[Step, ...]:
    """Those of the plan's algorithm; of the one that computes every operation for sums over nothing, for types that the
    plan's does not take, or where arrays that lie so make it need more scratch memory than the limit allows."""
    algorithm, problem = plan.algorithm, operation.problem
    assert isinstance(algorithm, GpuAlgorithm)
    steps: tuple[Step, ...] = ()
    if not problem.is_empty:
        if problem.dtype not in algorithm.dtypes:
            steps = complex_numbers.launches(algorithm, operation, plan.params)
        elif algorithm.computes(operation):
            steps = algorithm.launches(operation, plan.params)
        else:
            return _steps_of_another(plan, operation)
    limit = max(plan.limit_bytes, plan.workspace_bytes)
    if steps and (plan.reason == "forced" or _workspace_bytes(steps) <= limit):
        return steps
    return ALGORITHMS[-1].launches(operation, {})


def _steps_of_another(plan: Plan, operation: Operation) -> tuple[Step, ...]:
    """Those of the cheapest other algorithm that was considered, and computes arrays that lie so; where none was, of
    the first one of the registry that every precision level admits."""
    problem, order = plan.problem, [label.split(" ")[0] for label, _ in plan.candidates]
    ranked = sorted(ALGORITHMS[:-1], key=lambda one: order.index(one.name) if one.name in order else len(order))
    unpacked = replace(operation, is_packed=False)
    for other in ranked:
        is_open = other.is_proven and other is not plan.algorithm and problem.dtype in other.dtypes
        if not (is_open and other.is_usable() and other.supports(problem) and other.computes(unpacked)):
            continue
        if other.name not in order and other.error_bound(problem).elementwise is None:
            continue
        params = other.fitting(problem, plan.limit_bytes)
        steps = other.launches(unpacked, params) if params is not None else ()
        if steps and _workspace_bytes(steps) <= plan.limit_bytes:
            return steps
    return ALGORITHMS[-1].launches(unpacked, {})


def _workspace_bytes(steps: tuple[Step, ...]) -> int:
    return max((step.workspace_bytes for step in steps), default=0)


@dataclass(frozen=True)
class _Bound:
    """Steps on a device."""

    steps: tuple[Callable[[Arrays], None], ...]
    workspace_bytes: int

    @classmethod
    def of(cls, steps: tuple[Step, ...]) -> _Bound:
        return cls(tuple(step.bind() for step in steps), _workspace_bytes(steps))


@dataclass(frozen=True)
class _OnPadded:
    """A step with the padded input, or its gradient, in the place of the input."""

    step: Step

    @property
    def workspace_bytes(self) -> int:
        return self.step.workspace_bytes

    def bind(self) -> Callable[[Arrays], None]:
        start = self.step.bind()
        return lambda arrays: start({**arrays, "input": arrays[PADDED]})


def _zero_points(call: Any) -> tuple[int, Any]:
    """That of the input and those of the filters, on the device where there are any."""
    zeros = {role: array for role, array in call.subtracted.items() if array.size and array.any()}
    of_input = int(zeros["input"].flat[0]) if "input" in zeros else 0
    if "weight" not in zeros:
        return of_input, None
    return of_input, memory.upload(np.ascontiguousarray(zeros["weight"][:, 0, 0, 0, 0]))


def result_dtype(call: Any) -> np.dtype:
    """That of the call's operands; int32 for int8 problems."""
    if call.problem.dtype == "int8":
        return np.dtype(np.int32)
    given = call.input if call.input is not None else call.output
    dtype: np.dtype = given.dtype
    return dtype
