"""Prepares a planned call: which arrays kernels take where they lie, and what carries the others in and out.

An algorithm computes real numbers of one or two types. Half floats are widened, complex numbers are taken apart into
real channels, integers become float64, padding by an array's own elements becomes part of a copy: each by passes of
``elementwise/carry.h`` between the array and scratch memory, on either side of the kernel.

A complex product (a + bi)(c + di) is that of real channels: x becomes [a, b] in every group, w becomes
[[c, -d], [d, c]]. The transpose of that real map multiplies by conj(w), so backward_input is given conj(w) to multiply
by w; the weight gradient is put together from the four blocks of products of parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._algorithm import Operands, Resources
from .._border import Border
from .._problem import RESULT, ConvProblem
from . import border as borders
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
    problem: ConvProblem
    """Of the algorithm's dtypes."""
    frame: Any
    border: Border | None
    scratch_bytes: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.problem.dtype)

    def canonical(self, role: str, array: Any) -> np.ndarray:
        """The view of a user's array, which may be a packed weight, that algorithms take."""
        if role == "bias":
            return array  # type: ignore[no-any-return]
        array = np.asarray(array if isinstance(array, np.ndarray) else array.weight)
        view: np.ndarray = self.frame.weights(array) if role == "weight" else self.frame.data(array)
        return view

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
            compute_again(self.problem, given, resources, images)
        else:
            plan.algorithm.execute(self.problem, plan.params, given, resources)

    def fold(self, padded: np.ndarray, result: np.ndarray) -> None:
        """Add what belongs to padding to the elements that it repeats."""
        assert self.border is not None
        borders.add_back(self.border, padded, self.frame.data(np.asarray(result)))


class _Passes:
    """The passes of one call, as they are found."""

    def __init__(self, problem: ConvProblem, target: ConvProblem) -> None:
        self.problem, self.target = problem, target
        self.size = np.dtype(target.dtype).itemsize
        self.part_size = self.size // 2 if target.dtype.startswith("complex") else self.size
        self.scratch: dict[str, tuple[int, tuple[int, ...], Steps]] = {}
        self.bytes = 0
        self.before: list[Carry] = []
        self.after: list[Carry] = []

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
    """What computes calls like ``call``; None where they have to be computed another way each time."""
    problem, target = plan.problem, plan.target
    if problem.is_empty or target.dtype == "int8":
        return None
    passes = _Passes(problem, target)
    role = RESULT[problem.direction]
    is_folded = call.border is not None and problem.direction == "backward_input"
    if is_folded and target.dtype != problem.dtype and problem.dtype.startswith("complex"):
        return None
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    for name, shape in shapes.items():
        index = call.border.indices if name == "input" and call.border is not None else NO_INDEX
        _operand(passes, call, name, shape, index, is_folded)
    axes = dict(call.frame.axes)
    if target.dtype != problem.dtype:
        length = problem.in_channels if problem.direction == "backward_input" else problem.out_channels
        for name, shape in (("bias", (1, length, 1, 1, 1)), ("add", problem.result_shape)):
            if getattr(call, name) is None:
                continue
            if problem.dtype.startswith("complex"):
                passes.add_to_result(name, problem.result_shape if name == "bias" else shape)
            elif name == "bias":
                passes.bias(_widened(problem.dtype), length)
            else:
                passes.real(name, DATA, shape, _widened(problem.dtype))
    if passes.bytes > plan.limit_bytes:
        return None
    return ConvolutionCall(
        plan,
        plan.kernel,
        role,
        axes,
        call.result_shape,
        _result_dtype(problem, call),
        np.dtype(target.dtype).itemsize,
        passes.bytes,
        passes.scratch,
        tuple(passes.before),
        tuple(passes.after),
        is_folded and not passes.after,
        plan.algorithm.reads_padding and problem.direction == "backward_input",
        Views(plan, target, call.frame, call.border, passes.bytes),
    )


def _operand(
    passes: _Passes, call: Any, name: str, shape: tuple[int, ...], index: tuple[Any, ...], is_folded: bool
) -> None:
    problem, target = passes.problem, passes.target
    is_result = name == RESULT[problem.direction]
    split = WEIGHT if name == "weight" else DATA
    conjugated = call.conjugated == name
    if is_result and is_folded:
        at, steps = passes.reserve(name, shape)
        if target.dtype == problem.dtype in ("float32", "float64") and _is_short(call.border):
            passes.fold(call.border, shape, at, steps)
    elif target.dtype == problem.dtype:
        if problem.dtype.startswith("complex"):
            if conjugated or index is not NO_INDEX:
                passes.whole_complex(name, split, shape, conjugated, index)
        elif index is not NO_INDEX:
            passes.real(name, split, shape, _copied(passes.size), index)
    elif problem.dtype == "int8":
        _integers(passes, call, name, split, shape, is_result, index)
    elif not problem.dtype.startswith("complex"):
        passes.real(name, split, shape, _narrowed(problem.dtype) if is_result else _widened(problem.dtype), index)
    elif name == "weight":
        # Forward multiplies by the weight, its transpose by the conjugate.
        passes.split_weight(shape, conjugated != (problem.direction == "backward_input"))
    else:
        passes.split_data(name, shape, conjugated, index)


def _integers(
    passes: _Passes, call: Any, name: str, split: int, shape: tuple[int, ...], is_result: bool, index: Any
) -> None:
    if is_result:
        passes.real(name, split, shape, "FLOAT64_TO_INT32")
        return
    passes.real(name, split, shape, f"{getattr(call, name).dtype.name.upper()}_TO_FLOAT64", index)
    zeros = call.subtracted.get(name)
    if zeros is not None and zeros.any():
        at, _, steps = passes.scratch[name]
        groups = passes.problem.groups
        within = shape[split] // groups
        sizes = passes.sizes(shape, split)
        strides = zeros.strides
        six = (*steps[:split], steps[split] * within, *steps[split:])
        of_zeros = (*strides[:split], strides[split] * within, *strides[split:])
        constant = np.lib.stride_tricks.as_strided(zeros, sizes, of_zeros)
        passes.before.append(Carry(CARRIES["SUBTRACT_INT16"], sizes, split, source=constant, result=(None, at, six)))


def _result_dtype(problem: ConvProblem, call: Any) -> np.dtype:
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
