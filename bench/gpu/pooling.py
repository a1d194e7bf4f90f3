"""Pooling beside torch's: what is bound by memory alone. ``pooling`` among the words of ``python -m bench gpu``."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastconv
from fastconv._problem import numpy_dtype

from ..layers import LAYOUTS
from .arrays import Noise
from .clock import Clock
from .contestants import Call, Contestant, Torch

WORD = "pooling"
WINDOWS = (
    ("max", (8, 64, 112, 112), 3, 2, 1), ("max", (8, 256, 56, 56), 2, 2, 0), ("max", (8, 192, 28, 28), 3, 1, 1),
    ("avg", (8, 256, 56, 56), 2, 2, 0), ("avg", (8, 192, 28, 28), 3, 1, 1), ("avg", (32, 2048, 7, 7), 7, 7, 0),
)  # fmt: skip
"""Kind, shape of x, kernel, stride, padding: of ResNet, VGG, Inception, DenseNet, and whole maps."""
LEVELS = {"highest": "float32", "bfloat16": "bfloat16", "float16": "float16"}
"""Those that differ for pooling, and their dtypes."""


@dataclass(frozen=True)
class Pooling:
    """A pooling of (N, C, H, W), or its gradient."""

    kind: str
    shape: tuple[int, int, int, int]
    kernel: int
    stride: int
    padding: int
    dtype: str
    layout: str
    is_gradient: bool

    def __str__(self) -> str:
        words = [f"{self.kind}_pool2d{'_backward' if self.is_gradient else ''}", "x".join(map(str, self.shape)),
                 f"k{self.kernel} s{self.stride} p{self.padding}", self.dtype,
                 *(["channels_last"] if self.layout == "NHWC" else [])]  # fmt: skip
        return " ".join(words)

    @property
    def result_shape(self) -> tuple[int, int, int, int]:
        """(N, C, outputs of H, outputs of W)."""
        n, c, *sizes = self.shape
        h, w = ((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in sizes)
        return n, c, h, w

    @property
    def bytes(self) -> int:
        """What has to be read and written once; the maxima's gradient has to look for their places in x."""
        arrays = [self.shape, self.result_shape]
        if self.is_gradient and self.kind == "max":
            arrays.append(self.shape)
        return sum(map(math.prod, arrays)) * numpy_dtype(self.dtype).itemsize


@dataclass(frozen=True)
class PoolLayer:
    """A named pooling; one pass of it."""

    name: str
    pass_name: str
    problem: Pooling


@dataclass(frozen=True)
class PoolWork:
    """One pooling to be measured."""

    level: str
    layer: PoolLayer


@dataclass(frozen=True)
class PoolCase:
    """A pooling with its arrays, in the order of axes that the layout has."""

    problem: Pooling
    x: Any
    y: Any
    """The result, or its gradient."""


def works(levels: list[str], layouts: list[str], passes: list[str]) -> Iterator[PoolWork]:
    """All combinations; pooling has no weights."""
    for pass_name in passes:
        for level in levels:
            for layout in layouts if pass_name != "weight" and level in LEVELS else ():
                assert layout in LAYOUTS
                for window in WINDOWS:
                    problem = Pooling(*window, LEVELS[level], layout, pass_name == "input")
                    name = str(problem).partition(f" {problem.dtype}")[0].replace("_backward", "")
                    yield PoolWork(level, PoolLayer(name, pass_name, problem))


def case(noise: Noise, problem: Pooling) -> PoolCase:
    """Random arrays for it."""
    arrays = []
    for n, c, h, w in (problem.shape, problem.result_shape):
        shape = (n, h, w, c) if problem.layout == "NHWC" else (n, c, h, w)
        arrays.append(noise.array(math.prod(shape), numpy_dtype(problem.dtype)).reshape(shape))
    return PoolCase(problem, *arrays)


class PoolCheck:
    """The last image's result against that on the CPU."""

    def __init__(self, cp: Any, case: PoolCase) -> None:
        self._cp = cp
        x, y = (array[-1:].get().astype(np.float64) for array in (case.x, case.y))
        self._exact = cp.asarray(np.asarray(_computed(case.problem, x, y)))

    def error(self, result: Any) -> float:
        """Largest error over the largest exact value."""
        cp = self._cp
        difference = cp.abs(result[-1:].astype(cp.float64) - self._exact).max()
        return float(difference) / max(float(cp.abs(self._exact).max()), 1e-300)


def _computed(problem: Pooling, x: Any, y: Any, out: Any = None) -> Any:
    window = problem.kernel, problem.stride, problem.padding
    function = getattr(fastconv, f"{problem.kind}_pool2d{'_backward' if problem.is_gradient else ''}")
    if problem.is_gradient:
        return function(y, x, *window, layout=problem.layout)
    return function(x, *window, layout=problem.layout, out=out)


class PoolFastconv(Contestant):
    """fastconv's function, into an array that is there where it takes one."""

    name = "fastconv"

    def call(self, case: Any) -> Call:
        result = None if case.problem.is_gradient else self.clock.cp.empty_like(case.y)
        return functools.partial(_computed, case.problem, case.x, case.y, result)

    def array(self, case: Any, result: Any) -> Any:
        return result


class PoolTorch(Torch):
    """torch's function on tensors of the same memory, or converted before."""

    def refusal(self, case: Any) -> str:
        return ""

    def call(self, case: Any) -> Call:
        torch, problem = self._torch, case.problem
        memory_format = torch.channels_last if self._channels_last else torch.contiguous_format
        with self._on_stream():
            axes = (0, 3, 1, 2) if problem.layout == "NHWC" else (0, 1, 2, 3)
            x, dy = (
                self._tensor(a).permute(axes).contiguous(memory_format=memory_format) for a in (case.x, case.y)
            )  # fmt: skip
            k, s, p = ([value, value] for value in (problem.kernel, problem.stride, problem.padding))
            pool = getattr(torch.nn.functional, f"{problem.kind}_pool2d")
            indices = pool(x, k, s, p, return_indices=True)[1] if problem.kind == "max" else None
        aten = torch.ops.aten
        if not problem.is_gradient:
            compute = functools.partial(pool, x, k, s, p)
        elif problem.kind == "max":
            backward = aten.max_pool2d_with_indices_backward
            compute = functools.partial(backward, dy, x, k, s, p, [1, 1], False, indices)
        else:
            compute = functools.partial(aten.avg_pool2d_backward, dy, x, k, s, p, False, True, None)

        def call() -> Any:
            with torch.inference_mode(), self._on_stream():
                return compute()

        return call

    def array(self, case: Any, result: Any) -> Any:
        with self._on_stream():
            result = result.permute(0, 2, 3, 1) if case.problem.layout == "NHWC" else result
            return self.clock.cp.asarray(result.float())


def contestants(clock: Clock, torch: Any) -> list[Contestant]:
    """All that there are; the first is what the others are compared with."""
    rivals = [] if torch is None else [PoolTorch(clock, torch, last) for last in (False, True)]
    return [PoolFastconv(clock), *rivals]
