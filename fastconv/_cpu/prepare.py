"""Prepares a planned call: which arrays kernels take where they lie, and what carries the others in and out.

An algorithm computes real numbers of one or two types. Half floats are widened, complex numbers are taken apart into
real channels, integers become float64, padding by an array's own elements becomes part of a copy: each by passes of
``elementwise/carry.h`` between the array and scratch memory, on either side of the kernel.

A complex product (a + bi)(c + di) is that of real channels: x becomes [a, b] in every group, w becomes
[[c, -d], [d, c]]. The transpose of that real map multiplies by conj(w), so backward_input is given conj(w) to multiply
by w; the weight gradient is put together from the four blocks of products of parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._algorithm import Operands, Resources
from .._border import Border
from .._problem import RESULT, ConvProblem
from . import border as borders
from . import lowering
from .elementwise.loops import CARRIES
from .engine.convolution_call import Carry, ConvolutionCall
from .nonfinite import compute_again

DATA, WEIGHT = 1, 0
"""The canonical axis that is two in a carry: the channels of data, the filters of a weight."""
Steps = tuple[int, ...]
MAX_REPEATS = 16
NO_INDEX = (None, None, None)
"""Elements in their order, without padding."""


@dataclass(frozen=True)
class Views:
    """What a prepared call needs where its algorithm computes in NumPy."""

    plan: Any
    axes: Mapping[str, tuple[int, ...]]
    border: Border | None
    scratch_bytes: int

    @property
    def dtype(self) -> np.dtype:
        """That of scratch memory."""
        return _scratch_dtype(self.plan.target)

    def canonical(self, role: str, array: Any) -> np.ndarray:
        """The view of a user's array, which may be a packed weight, that algorithms take."""
        return canonical(self.axes, role, array if isinstance(array, np.ndarray) else array.weight)

    def compute(
        self,
        operands: dict[str, np.ndarray],
        packed: object,
        workspace: np.ndarray,
        again: bool,
        images: Sequence[int] | None,
    ) -> None:
        """By the plan's algorithm; ``again``: the images, or all, that its kernel has spoiled."""
        plan = self.plan
        resources = Resources(plan.threads, workspace[: plan.workspace_bytes], plan.limit_bytes - self.scratch_bytes)
        given = Operands(**operands, packed=packed)
        if again:
            compute_again(plan.target, given, resources, images)
        else:
            plan.algorithm.execute(plan.target, plan.params, given, resources)

    def fold(self, padded: np.ndarray, result: np.ndarray) -> None:
        """Add what belongs to padding to the elements that it repeats."""
        assert self.border is not None
        view = self.canonical(RESULT[self.plan.problem.direction], result)
        if view.dtype.kind == "c" and padded.dtype.kind == "f":
            # In every group first the real parts, then the imaginary ones.
            groups, channels = self.plan.problem.groups, view.shape[1]
            halves = padded.reshape(len(padded), groups, 2, channels // groups, *padded.shape[2:])
            for part, half in ((view.real, halves[:, :, 0]), (view.imag, halves[:, :, 1])):
                borders.add_back(self.border, half.reshape(len(padded), channels, *padded.shape[2:]), part)
            return
        borders.add_back(self.border, padded, view)


def canonical(axes: Mapping[str, tuple[int, ...]], role: str, array: np.ndarray) -> np.ndarray:
    """The 5-D view, channels first, of an array whose own axes these are; a bias has one axis."""
    if role == "bias":
        return array
    own = axes[role]
    # A subclass may have operations of its own: a matrix stays 2-D.
    view = np.asarray(array).transpose([axis for axis in own if axis >= 0])
    result: np.ndarray = view[tuple(None if axis < 0 else slice(None) for axis in own)]
    return result


class Passes:
    """The passes of one call, as they are found. ``is_wide``: the result is of the target's dtype."""

    def __init__(self, problem: ConvProblem, target: ConvProblem, is_wide: bool) -> None:
        self.problem, self.target, self.is_wide = problem, target, is_wide
        self.size = _scratch_dtype(target).itemsize
        self.part_size = self.size // 2 if target.dtype.startswith("complex") else self.size
        self.scratch: dict[str, tuple[int, tuple[int, ...], Steps]] = {}
        self.bytes = 0
        self.before: list[Carry] = []
        self.after: list[Carry] = []
        self.is_folded_by_views = False
        """Whether the result is made in NumPy of a padded one in scratch memory."""

    def reserve(self, role: str, shape: tuple[int, ...]) -> tuple[int, Steps]:
        """Scratch memory for an operand, and its steps in bytes; those of five axes whatever it has."""
        steps, reach = [], self.size
        for length in reversed(shape):
            steps.append(reach)
            reach *= length
        steps.reverse()
        at = self.bytes
        self.scratch[role] = at, shape, (*steps, *(0,) * (5 - len(shape)))
        self.bytes += -(-reach // 64) * 64
        return at, tuple(steps)

    @property
    def scratch_bytes(self) -> dict[str, int]:
        """Bytes of scratch memory by role."""
        return {role: self.size * math.prod(shape) for role, (_, shape, _) in self.scratch.items()}

    def sizes(self, shape: Sequence[int], split: int) -> tuple[int, ...]:
        """The six axes of a carry over an array of that canonical shape."""
        groups = self.problem.groups
        return (*shape[:split], groups, shape[split] // groups, *shape[split + 1 :])

    def carry(self, name: str, is_result: bool, role: str, user_at: int, at: int, steps: Steps, **more: Any) -> Carry:
        """A pass from the user's array of a role to scratch memory, or to it where it is the result."""
        array, scratch = (role, user_at), (None, at, steps)
        source, result = (scratch, array) if is_result else (array, scratch)
        made = Carry(CARRIES[name], source=source, result=result, **more)
        (self.after if is_result else self.before).append(made)
        return made

    def real(self, role: str, split: int, shape: tuple[int, ...], name: str, index: Any = NO_INDEX) -> None:
        """A real operand, or a complex one as the algorithm takes it, by one pass."""
        at, steps = self.reserve(role, shape)
        six = (*steps[:split], steps[split] * (shape[split] // self.problem.groups), *steps[split:])
        is_result = role == RESULT[self.problem.direction]
        self.carry(name, is_result, role, 0, at, six, size=self.sizes(shape, split), split=split, index=index)

    def whole_complex(self, role: str, split: int, shape: tuple[int, ...], conjugated: bool, index: Any) -> None:
        """A complex operand that stays one: copied with its imaginary part negated, if need be."""
        at, steps = self.reserve(role, shape)
        six = (*steps[:split], steps[split] * (shape[split] // self.problem.groups), *steps[split:])
        for part in (0, 1):
            name = _negated(self.part_size) if part and conjugated else _copied(self.part_size)
            self.carry(
                name,
                False,
                role,
                part * self.part_size,
                at + part * self.part_size,
                six,
                size=self.sizes(shape, split),
                split=split,
                index=index,
            )

    def bias(self, name: str, length: int) -> None:
        at, _ = self.reserve("bias", (length,))
        sizes = self.sizes((1, length, 1, 1, 1), DATA)
        six = (0, self.size * sizes[2], self.size, 0, 0, 0)
        self.carry(name, False, "bias", 0, at, six, size=sizes, split=DATA)

    def split_data(self, role: str, shape: tuple[int, ...], conjugated: bool, index: Any = NO_INDEX) -> None:
        """Complex data as real channels."""
        is_result = role == RESULT[self.problem.direction]
        at, steps = self.reserve(role, (shape[0], 2 * shape[1], *shape[2:]))
        sizes = self.sizes(shape, DATA)
        six = (steps[0], steps[1] * 2 * sizes[2], *steps[1:])
        for part in (0, 1):
            name = _negated(self.size) if part and conjugated else _copied(self.size)
            part_at = at + part * sizes[2] * steps[1]
            self.carry(name, is_result, role, part * self.size, part_at, six, size=sizes, split=DATA, index=index)

    def split_weight(self, shape: tuple[int, ...], conjugated: bool) -> None:
        """Complex weights as blocks of real ones; for a weight gradient the other way."""
        is_result = self.problem.direction == "backward_weight"
        filters, channels = shape[:2]
        at, steps = self.reserve("weight", (2 * filters, 2 * channels, *shape[2:]))
        sizes = self.sizes(shape, WEIGHT)
        six = (steps[0] * 2 * sizes[1], *steps)
        copied, negated = _copied(self.size), _negated(self.size)
        imaginary = (negated, copied) if conjugated else (copied, negated)
        blocks = (
            ((0, 0, 0, copied), (1, 1, 0, _subtracted(self.size)), (1, 0, 1, copied), (0, 1, 1, _added(self.size)))
            if is_result
            else ((0, 0, 0, copied), (1, 1, 0, copied), (1, 0, 1, imaginary[0]), (0, 1, 1, imaginary[1]))
        )
        for row, column, part, name in blocks:
            block = at + row * sizes[1] * steps[0] + column * channels * steps[1]
            self.carry(name, is_result, "weight", part * self.size, block, six, size=sizes, split=WEIGHT)

    def fold(self, border: Border, shape: tuple[int, ...], at: int, steps: Steps) -> None:
        """Add the elements of a padded gradient to those that they repeat."""
        role, groups = RESULT[self.problem.direction], self.problem.groups
        inside = self.sizes((*shape[:2], *border.sizes), DATA)
        zeros = np.lib.stride_tricks.as_strided(np.zeros(1, self.target.dtype), inside, (0,) * 6)
        self.after.append(Carry(CARRIES[_copied(self.size)], inside, DATA, source=zeros, result=(role, 0)))
        six = (steps[0], steps[1] * (shape[1] // groups), *steps[1:])
        sizes = self.sizes(shape, DATA)
        self.after.append(
            Carry(CARRIES[_added(self.size)], sizes, DATA, (None, at, six), (role, 0), border.indices, False)
        )

    def add_to_result(self, role: str, shape: tuple[int, ...]) -> None:
        """Add the parts of a complex bias or residual to those of the result."""
        result = RESULT[self.problem.direction]
        for at in (0, self.size):
            self.after.append(
                Carry(CARRIES[_added(self.size)], self.sizes(shape, DATA), DATA, source=(role, at), result=(result, at))
            )


def _is_short(border: Border) -> bool:
    """Whether few elements are repeats of the same one, so that the order in which they are added does not matter."""
    return all(index is None or np.bincount(index).max() <= MAX_REPEATS for index in border.indices)


def prepare(plan: Any, call: Any) -> ConvolutionCall | None:
    """What computes calls like ``call``; None where they have to be computed another way each time: problems without
    elements, and copies that take more memory than a call may."""
    if plan.problem.is_empty:
        return None
    passes = passes_of(plan.problem, plan.target, call)
    return None if passes.bytes > plan.limit_bytes else prepared(plan, call, passes)


def passes_of(problem: ConvProblem, target: ConvProblem, call: Any, is_wide: bool = False) -> Passes:
    """The passes of calls like ``call``."""
    passes = Passes(problem, target, is_wide)
    is_folded = call.border is not None and problem.direction == "backward_input"
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    for name, shape in shapes.items():
        index = call.border.indices if name == "input" and call.border is not None else NO_INDEX
        _operand(passes, call, name, shape, index, is_folded)
    if target.dtype == problem.dtype:
        return passes
    length = problem.in_channels if problem.direction == "backward_input" else problem.out_channels
    for name, shape in (("bias", (1, length, 1, 1, 1)), ("add", problem.result_shape)):
        if getattr(call, name) is None:
            continue
        if problem.dtype in lowering.REAL_OF:
            passes.add_to_result(name, problem.result_shape if name == "bias" else shape)
        elif name == "bias":
            passes.bias(_widened(problem.dtype), length)
        else:
            passes.real(name, DATA, shape, _widened(problem.dtype))
    return passes


def prepared(plan: Any, call: Any, passes: Passes) -> ConvolutionCall:
    """What computes calls like ``call`` with these passes."""
    problem = plan.problem
    axes = call.frame.axes
    return ConvolutionCall(
        plan,
        plan.kernel,
        RESULT[problem.direction],
        axes,
        call.result_shape,
        np.dtype(plan.target.dtype) if passes.is_wide else result_dtype(problem, call),
        np.dtype(plan.target.dtype).itemsize,
        passes.bytes,
        passes.scratch,
        tuple(passes.before),
        tuple(passes.after),
        passes.is_folded_by_views,
        plan.algorithm.reads_padding and _reads_beyond(problem),
        Views(plan, axes, call.border, passes.bytes),
    )


def _reads_beyond(problem: ConvProblem) -> bool:
    """Whether weights may be multiplied by zeros beside the output gradient, which the definition does not have."""
    is_point = problem.kernel_size == (1, 1, 1) and problem.padding == ((0, 0),) * 3
    return problem.direction == "backward_input" and not is_point


def _operand(
    passes: Passes, call: Any, name: str, shape: tuple[int, ...], index: tuple[Any, ...], is_folded: bool
) -> None:
    problem, target = passes.problem, passes.target
    is_result = name == RESULT[problem.direction]
    split = WEIGHT if name == "weight" else DATA
    conjugated = call.conjugated == name
    if problem.dtype == "int8":
        _integers(passes, call, name, split, shape, is_result, index)
    elif is_result and is_folded:
        at, steps = passes.reserve(name, target.input_shape)
        if target.dtype == problem.dtype in ("float32", "float64") and _is_short(call.border):
            passes.fold(call.border, shape, at, steps)
        else:
            passes.is_folded_by_views = True
    elif target.dtype == problem.dtype:
        if problem.dtype.startswith("complex"):
            if conjugated or index is not NO_INDEX:
                passes.whole_complex(name, split, shape, conjugated, index)
        elif index is not NO_INDEX:
            passes.real(name, split, shape, _copied(passes.size), index)
    elif is_result and passes.is_wide:
        return
    elif not problem.dtype.startswith("complex"):
        passes.real(name, split, shape, _narrowed(problem.dtype) if is_result else _widened(problem.dtype), index)
    elif name == "weight":
        # Forward multiplies by the weight, its transpose by the conjugate.
        passes.split_weight(shape, conjugated != (problem.direction == "backward_input"))
    else:
        passes.split_data(name, shape, conjugated, index)


def _integers(
    passes: Passes, call: Any, name: str, split: int, shape: tuple[int, ...], is_result: bool, index: tuple[Any, ...]
) -> None:
    """8-bit operands less their zero points, in int16 or the float64 that an algorithm takes in its place."""
    is_float = passes.target.dtype == "float64"
    if is_result:
        if is_float:
            passes.real(name, split, shape, "FLOAT64_TO_INT32")
        return
    zeros = call.subtracted.get(name)
    dtype = getattr(call, name).dtype.name.upper()
    if dtype == "INT16" and zeros is None and index is NO_INDEX and not is_float:
        return
    passes.real(name, split, shape, f"{dtype}_TO_{'FLOAT64' if is_float else 'INT16'}", index)
    if zeros is not None and zeros.any():
        at, _, steps = passes.scratch[name]
        groups = passes.problem.groups
        within = shape[split] // groups
        sizes = passes.sizes(shape, split)
        strides = zeros.strides
        six = (*steps[:split], steps[split] * within, *steps[split:])
        of_zeros = (*strides[:split], strides[split] * within, *strides[split:])
        constant = np.lib.stride_tricks.as_strided(zeros, sizes, of_zeros)
        carry = CARRIES["SUBTRACT_INT16_FROM_FLOAT64" if is_float else "SUBTRACT_INT16"]
        passes.before.append(Carry(carry, sizes, split, source=constant, result=(None, at, six)))


def _scratch_dtype(target: ConvProblem) -> np.dtype:
    """The dtype of what is carried for a problem."""
    return np.dtype(np.int16 if target.dtype == "int8" else target.dtype)


def result_dtype(problem: ConvProblem, call: Any) -> np.dtype:
    """That of the call's operands; int32 for int8 problems."""
    if problem.dtype == "int8":
        return np.dtype(np.int32)
    given = call.input if call.input is not None else call.output
    dtype: np.dtype = given.dtype.newbyteorder("=")
    return dtype


def _widened(dtype: str) -> str:
    return f"{dtype.upper()}_TO_FLOAT32"


def _narrowed(dtype: str) -> str:
    return f"FLOAT32_TO_{dtype.upper()}"


def _copied(itemsize: int) -> str:
    return f"COPY_{itemsize}"


def _negated(itemsize: int) -> str:
    return f"NEGATE_FLOAT{8 * itemsize}"


def _added(itemsize: int) -> str:
    return f"ADD_FLOAT{8 * itemsize}"


def _subtracted(itemsize: int) -> str:
    return f"SUBTRACT_FLOAT{8 * itemsize}"
