"""Case: one problem with its arrays, as a user of any library would hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv import ConvProblem
from fastconv._algorithm import Operands
from fastconv._choose.sample import sample


@dataclass(frozen=True)
class Case:
    """What a contestant computes: a problem, normal data from a fixed seed in the problem's layout, threads.

    ``x`` (N, C, *sizes), ``w`` (K, C / groups, *kernel) and ``dy`` (N, K, *sizes) are views with as many sizes as the
    problem has axes, laid out in memory as the problem says; weights are contiguous. The one that is the result is
    there too, and holds nothing.
    """

    problem: ConvProblem
    threads: int
    operands: Operands
    rank: int

    @classmethod
    def of(cls, problem: ConvProblem, threads: int) -> Case:
        return cls(problem, threads, sample(problem), rank_of(problem))

    @property
    def x(self) -> np.ndarray:
        return self._without_leading_axes(self.operands.input)

    @property
    def w(self) -> np.ndarray:
        return self._without_leading_axes(self.operands.weight)

    @property
    def dy(self) -> np.ndarray:
        return self._without_leading_axes(self.operands.output)

    @property
    def bias(self) -> np.ndarray | None:
        return self.operands.bias

    @property
    def has_relu(self) -> bool:
        return self.problem.epilogue.activation == "relu"

    @property
    def is_channels_last(self) -> bool:
        return self.problem.layout == "channels_last"

    @property
    def stride(self) -> tuple[int, ...]:
        return self.problem.stride[3 - self.rank :]

    @property
    def dilation(self) -> tuple[int, ...]:
        return self.problem.dilation[3 - self.rank :]

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        return self.problem.padding[3 - self.rank :]

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.problem.kernel_size[3 - self.rank :]

    @property
    def is_evenly_padded(self) -> bool:
        return all(before == after for before, after in self.padding)

    def _without_leading_axes(self, array: np.ndarray) -> np.ndarray:
        return array[(slice(None), slice(None)) + (0,) * (3 - self.rank)]


def rank_of(problem: ConvProblem) -> int:
    """Spatial axes of the problem's text, which leaves out leading ones that do nothing; 2 for a single pixel."""
    rank = str(problem).split()[1].count("x") - 1
    return 2 if problem.input_size == (1, 1, 1) else rank
