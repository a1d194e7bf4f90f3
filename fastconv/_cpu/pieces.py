"""A call cut into pieces whose copies fit into the scratch memory that a call may use.

Most calls read and write the user's arrays where they lie. Copies are made of arrays whose dtype, byte order or strides
an algorithm does not take, of conjugates, of padding that is not zeros and of results that cannot be written in place.
Where all of them together are more than is allowed, the call is computed piece by piece, each a problem of its own:
groups, channels of the result, images, and slabs of an axis. Elements of a result do not depend on each other. Those of
a weight gradient are sums over images and pixels: they are the sums of the pieces' sums, in the order of the pieces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from .._arrays import is_native, writable_in_place
from .._border import Border
from .._problem import RESULT, ConvProblem
from .prepare import passes_of

Axis = str | int
"""What is cut: "groups", "channels" (of the result), "images", or one of the axes 0, 1, 2 (D, H, W)."""
SHAPES = {"input": "input_shape", "output": "output_shape", "weight": "weight_shape", "add": "result_shape"}
"""By role, the problem's property."""

WEIGHT_SHARE = 0.75
"""Of what copies may take; the rest is left to slabs of data, all of which a cut weight is multiplied by again."""


class Canonical:
    """The frame of arrays that are canonical views."""

    axes: Mapping[str, tuple[int, ...]] = dict.fromkeys(("input", "weight", "output", "add"), (0, 1, 2, 3, 4))


@dataclass(frozen=True)
class Piece:
    """A problem and the user's arrays of it, as canonical views by their roles; a call like those of users."""

    problem: ConvProblem
    arrays: dict[str, np.ndarray]
    border: Border | None = None
    """Padding of the input, of which the array is without."""
    conjugated: str | None = None
    """The operand whose conjugate is multiplied by."""
    subtracted: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Zero points of 8-bit operands, in int16 and their shapes."""

    frame: ClassVar[Canonical] = Canonical()

    @property
    def input(self) -> np.ndarray | None:
        return self.arrays.get("input")

    @property
    def weight(self) -> np.ndarray | None:
        return self.arrays.get("weight")

    @property
    def output(self) -> np.ndarray | None:
        return self.arrays.get("output")

    @property
    def bias(self) -> np.ndarray | None:
        return self.arrays.get("bias")

    @property
    def add(self) -> np.ndarray | None:
        return self.arrays.get("add")

    @property
    def result_shape(self) -> tuple[int, ...]:
        return self.result.shape

    @property
    def role(self) -> str:
        """That of the result."""
        return RESULT[self.problem.direction]

    @property
    def result(self) -> np.ndarray:
        return self.arrays[self.role]

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        return {name: array for name, array in self.arrays.items() if name != self.role}

    def element_bytes(self, target: ConvProblem) -> dict[str, int]:
        """By role: bytes of copies for each element, where ``target`` is computed in place of the problem."""
        scratch = passes_of(self.problem, target, self).scratch_bytes
        found = {}
        for role, array in self.arrays.items():
            if role != "bias":
                carried = -(-scratch.get(role, 0) // max(self._elements(role), 1))
                found[role] = carried + self._copied_bytes(role, array)
        if self.role == "weight" and any(found.values()):
            found["weight"] += 2 * max(self.result.itemsize, 4)  # a sum of pieces, and the next one
        return {role: size for role, size in found.items() if size}

    def _copied_bytes(self, role: str, array: np.ndarray) -> int:
        """Bytes for each element beside those in scratch memory."""
        if role != self.role:
            return 0 if is_native(array) else array.itemsize
        if role == "input" and self.border is not None:
            return max(array.itemsize, 4)  # sums of what belongs to the same element
        return 0 if writable_in_place(array) else array.itemsize

    def _elements(self, role: str) -> int:
        elements: int = math.prod(getattr(self.problem, SHAPES[role]))
        return elements

    def copy_bytes(self, element_bytes: dict[str, int]) -> int:
        """Bytes of all copies."""
        return sum(size * self._elements(role) for role, size in element_bytes.items())

    def length(self, axis: Axis) -> int:
        """How many parts an axis can be cut into."""
        p = self.problem
        if axis == "groups":
            return p.groups
        if axis == "images":
            return p.batch
        if axis == "channels":
            own = p.in_channels if p.direction == "backward_input" else p.out_channels
            return own if p.groups == 1 else 1
        assert isinstance(axis, int)
        if p.direction != "backward_input":
            return p.output_size[axis]
        # The adjoint of padding adds up elements from anywhere in an image.
        return p.input_size[axis] if self.border is None else 1

    def cut(self, axis: Axis, begin: int, end: int) -> Piece:
        """The piece from ``begin`` to ``end`` of an axis."""
        if axis == "images":
            own = (slice(begin, end),)
            return self._indexed(self.problem.replace(batch=end - begin), {"input": own, "output": own, "add": own})
        if axis == "groups":
            return self._cut_groups(begin, end)
        if axis == "channels":
            return self._cut_channels(begin, end)
        assert isinstance(axis, int)
        return self._cut_slab(axis, begin, end)

    def _cut_groups(self, begin: int, end: int) -> Piece:
        p, count = self.problem, end - begin
        channels, filters = p.in_channels // p.groups, p.out_channels // p.groups
        inside, outside = slice(begin * channels, end * channels), slice(begin * filters, end * filters)
        smaller = p.replace(groups=count, in_channels=count * channels, out_channels=count * filters)
        return self._with_channels(smaller, inside, outside, (outside, slice(None)))

    def _cut_channels(self, begin: int, end: int) -> Piece:
        own, all_of = slice(begin, end), slice(None)
        if self.problem.direction == "backward_input":
            smaller = self.problem.replace(in_channels=end - begin)
            return self._with_channels(smaller, own, all_of, (all_of, own))
        return self._with_channels(self.problem.replace(out_channels=end - begin), all_of, own, (own, all_of))

    def _with_channels(self, problem: ConvProblem, inside: slice, outside: slice, weight: tuple[slice, slice]) -> Piece:
        own = inside if problem.direction == "backward_input" else outside
        places = {"input": (slice(None), inside), "output": (slice(None), outside), "weight": weight}
        return self._indexed(problem, places | {"add": (slice(None), own), "bias": (own,)})

    def _indexed(self, problem: ConvProblem, places: Mapping[str, tuple[slice, ...]]) -> Piece:
        """The piece of these places of its arrays; of all where none are named."""
        arrays, subtracted = (
            {role: array[places[role]] if role in places else array for role, array in group.items()}
            for group in (self.arrays, self.subtracted)
        )
        return replace(self, problem=problem, arrays=arrays, subtracted=subtracted)

    def _cut_slab(self, axis: int, begin: int, end: int) -> Piece:
        """Elements of the result's axis (pixels, for a weight gradient), with those of the other array that they see.

        Output o sees input i through tap t where i = o*stride + t*dilation - before.
        """
        p = self.problem
        stride, before, reach = p.stride[axis], p.padding[axis][0], p.dilation[axis] * (p.kernel_size[axis] - 1)
        outputs, inputs = slice(begin, end), slice(begin, end)
        if p.direction == "backward_input":
            first, last = -((reach - begin - before) // stride), (end - 1 + before) // stride
            outputs = _clamped(first, last + 1, p.output_size[axis])
        else:
            inputs = _clamped(begin * stride - before, (end - 1) * stride - before + reach + 1, p.input_size[axis])
        count, size = outputs.stop - outputs.start, inputs.stop - inputs.start
        first = inputs.start + before - outputs.start * stride
        last = (count - 1) * stride + reach + 1 - size - first
        padding, sizes = list(p.padding), list(p.input_size)
        padding[axis], sizes[axis] = (first, last), size
        smaller = p.replace(input_size=tuple(sizes), padding=tuple(padding))
        assert smaller.output_size[axis] == count
        own = inputs if p.direction == "backward_input" else outputs
        slabs = {"input": inputs, "output": outputs, "add": own}
        piece = self
        if self.border is not None and self.border.indices[axis] is not None:
            piece = replace(self, border=self.border.cut(axis, inputs.start, inputs.stop))
            del slabs["input"]
        return piece._indexed(smaller, {role: (slice(None),) * (2 + axis) + (slab,) for role, slab in slabs.items()})


def summed_pieces(
    call: Piece, element_bytes: dict[str, int], room_bytes: int, sums_in_parts: bool
) -> Iterator[list[Piece]]:
    """Pieces with copies of at most ``room_bytes``, as far as a call can be cut; those of a list add up to one result.

    With ``sums_in_parts`` weight gradients may be sums of several pieces; results of other directions never are.
    """
    weight_bytes = {role: size for role, size in element_bytes.items() if role == "weight"}
    data: Sequence[Axis] = ("images", 0, 1, 2)
    for part in _cut(call, ("groups", "channels"), weight_bytes, room_bytes * WEIGHT_SHARE):
        if call.problem.direction != "backward_weight":
            for piece in _cut(part, (*data, "groups", "channels"), element_bytes, room_bytes):
                yield [piece]
        elif sums_in_parts:
            yield list(_cut(part, data, element_bytes, room_bytes))
        else:
            yield [part]


def _cut(piece: Piece, axes: Sequence[Axis], element_bytes: dict[str, int], room_bytes: float) -> Iterator[Piece]:
    """Halves of halves, along the first axis that can be cut."""
    axis = next((axis for axis in axes if piece.length(axis) > 1), None)
    if axis is None or piece.copy_bytes(element_bytes) <= room_bytes:
        yield piece
        return
    length = piece.length(axis)
    for begin, end in ((0, length // 2), (length // 2, length)):
        yield from _cut(piece.cut(axis, begin, end), axes, element_bytes, room_bytes)


def _clamped(begin: int, end: int, size: int) -> slice:
    """The part of a range inside ``size`` elements, of at least one."""
    begin = min(max(begin, 0), size - 1)
    return slice(begin, min(max(end, begin + 1), size))
