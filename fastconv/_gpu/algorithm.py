"""What an algorithm of the GPU is: launches of kernels, made once for all arrays that lie alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from .._algorithm import Algorithm, Params
from .._problem import DATA_AXES, RESULT, WEIGHT_AXES, ConvProblem, numpy_dtype
from . import device
from .launch import Step
from .layout import Layout


@dataclass(frozen=True)
class Operation:
    """A problem with all that kernels have to know of its arrays, the result among them."""

    problem: ConvProblem
    layouts: Mapping[str, Layout]
    """By role; the bias is contiguous. The result of 16-bit problems may be one of float32."""
    conjugated: str | None = None
    """The operand whose conjugate is multiplied by."""
    input_zero: int = 0
    """Subtracted from the elements of an 8-bit input."""
    filter_zeros: Any = None
    """Subtracted from 8-bit weights: an int16 for every filter, on the device; None: nothing is."""
    is_packed: bool = False
    """Whether there is an array "packed", what ``pack`` has made of the weight."""

    @classmethod
    def contiguous(cls, problem: ConvProblem) -> Operation:
        """On new arrays of the problem's layouts."""
        dtype = np.dtype(np.int8) if problem.dtype == "int8" else numpy_dtype(problem.dtype)
        data = DATA_AXES[problem.layout]
        result = RESULT[problem.direction]
        layouts = {
            "input": Layout.packed(dtype, problem.input_shape, data),
            "weight": Layout.packed(dtype, problem.weight_shape, WEIGHT_AXES[problem.weight_layout]),
            "output": Layout.packed(dtype, problem.output_shape, data),
        }
        if problem.epilogue.add:
            layouts["add"] = layouts[result]
        if problem.dtype == "int8":
            layouts[result] = replace(layouts[result], dtype=np.dtype(np.int32))
        return cls(problem, layouts)

    @property
    def is_uniform(self) -> bool:
        """Whether the arrays are all of the problem's own type, and multiplied as they are."""
        return self._is_plain and len({layout.dtype for layout in self.layouts.values()}) == 1

    @property
    def is_of_sums(self) -> bool:
        """The same, but that the result of 16-bit operands is of float32; where weights are packed there is none."""
        result = RESULT[self.problem.direction]
        if result not in self.layouts or not self.problem.dtype.endswith("16"):
            return False
        others = {layout.dtype for role, layout in self.layouts.items() if role != result}
        is_wide = self.layouts[result].dtype == np.float32
        return self._is_plain and is_wide and others == {numpy_dtype(self.problem.dtype)}

    @property
    def is_of_bytes(self) -> bool:
        """Whether the operands of an int8 problem are bytes, with or without zero points."""
        result = RESULT[self.problem.direction]
        others = [layout.dtype for role, layout in self.layouts.items() if role != result]
        is_wide = self.layouts[result].dtype == np.int32 and self.problem.dtype == "int8"
        return is_wide and all(dtype.kind in "iu" and dtype.itemsize == 1 for dtype in others)

    @property
    def _is_plain(self) -> bool:
        return self.conjugated is None and not self.input_zero and self.filter_zeros is None


MAX_PLACE = 2**30


def places_fit(problem: ConvProblem) -> bool:
    """Whether places on every axis, those in the padding too, fit in 32 bits."""
    axes = zip(problem.input_size, problem.output_size, problem.kernel_size, problem.stride, problem.dilation,
               problem.padding, strict=True)  # fmt: skip
    return all(
        max(size, outputs, step, distance) < MAX_PLACE
        and outputs * step + taps * distance + max(map(abs, pads)) < MAX_PLACE
        for size, outputs, taps, step, distance, pads in axes
    )


class GpuAlgorithm(Algorithm):
    """An algorithm of the GPU: launches whose arguments name arrays by their roles, and places in the workspace."""

    capability: ClassVar[tuple[int, int]] = (7, 5)
    """The least of a device that its kernels are compiled for; on lesser ones it is not chosen."""

    def runs_on(self, capability: tuple[int, int]) -> bool:
        """Whether its kernels are for devices of that compute capability."""
        return self.capability <= capability

    def is_usable(self) -> bool:
        """Whether the current device, or the default one where there is none, has what the kernels need."""
        if device.is_set_aside(self.name):
            return False
        return device.missing() is not None or self.runs_on(device.current().capability)

    def computes(self, operation: Operation) -> bool:
        """Whether there are launches for arrays of these types; the last algorithm computes the others."""
        return operation.is_uniform

    def launches(self, operation: Operation, params: Params) -> tuple[Step, ...]:
        """What computes the result, epilogue included; there is at least one element of it."""
        raise NotImplementedError
