"""A problem on a chip: what the cost model would choose there, every launch of it predicted, and the ceilings."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastconv import ConvProblem
from fastconv._algorithm import Algorithm
from fastconv._backend import find_backend
from fastconv._choose import select
from fastconv._gpu.algorithm import GpuAlgorithm, Operation
from fastconv._gpu.launch import Launch
from fastconv._problem import RESULT

from .chips import Chip
from .launches import Prediction, predict
from .library import predict_step
from .stand_in import emulated_cupy, ptx
from .trace import TraceError

PROFILES = {"sm_80": "A100", "sm_86": "RTX3090", "sm_89": "RTX4090", "sm_90": "H200"}
"""Of the stand-in, by architecture."""


class UnpredictableError(RuntimeError):
    """A step that is no launch, product or transform, or one that the machine for PTX stopped."""


@dataclass(frozen=True)
class Planned:
    """A problem and how it would be computed on a chip."""

    problem: ConvProblem
    chip: Chip
    algorithm: str
    params: Mapping[str, Any]
    cost_seconds: float
    """By the algorithm's own cost model, of a machine like an H200."""
    steps: tuple[Prediction, ...]
    fewest_bytes: int
    """Of the arrays, each once."""

    @property
    def seconds(self) -> float:
        """Of all launches."""
        return sum(step.seconds for step in self.steps)

    @property
    def flops(self) -> int:
        """Of the definition."""
        return 2 * self.problem.multiply_adds

    @property
    def memory_floor(self) -> float:
        """Seconds that copying the arrays once would take."""
        return self.fewest_bytes / self.chip.copy_bytes_per_second

    @property
    def product_floor(self) -> float:
        """Seconds of the definition's products at the peak of the units that the precision allows."""
        return self.flops / peak(self.chip, self.problem)

    @property
    def is_memory_bound(self) -> bool:
        """Whether its bytes take longer than its products, at the peaks."""
        return self.memory_floor > self.product_floor

    @property
    def share(self) -> float:
        """Of the roofline."""
        return max(self.memory_floor, self.product_floor) / self.seconds

    @property
    def sectors(self) -> float:
        """Sectors that multiprocessors and L2 exchange, by the fewest that there could be."""
        return sum(step.sector_bytes for step in self.steps) / max(self.fewest_bytes, 1)

    def limit(self) -> str:
        """What limits the longest step."""
        return max(self.steps, key=lambda step: step.seconds).limit()


def peak(chip: Chip, problem: ConvProblem) -> float:
    """FLOP/s of the units that compute a problem's type at its precision; mma.sync is what tensor units do."""
    if problem.dtype in ("float16", "bfloat16"):
        return chip.tensor_peak()
    if problem.dtype == "int8":
        return chip.tensor_peak("IMMA")
    if problem.dtype == "float64":
        return chip.float32_peak() * chip.fma_cycles / chip.double_cycles
    return chip.tensor_peak() / 2 if problem.precision == "medium" else chip.float32_peak()


@contextlib.contextmanager
def on(chip: Chip) -> Iterator[None]:
    """Inside, the stand-in's device is like the chip."""
    from fastconv._gpu import device

    with emulated_cupy.pretend(devices=(PROFILES[chip.architecture],)), emulated_cupy.installed():
        device.forget()
        yield
    device.forget()


@functools.cache
def planned(chip: Chip, problem: ConvProblem, algorithm: str | None = None) -> Planned:
    """By the cost model's choice, or by an algorithm with its default parameters."""
    with on(chip):
        found = select.candidates(problem, 1, backend=find_backend("gpu"))
        chosen, params, cost = next(
            one for one in found if (one[0].is_proven if algorithm is None else one[0].name == algorithm)
        )
        return with_params(chip, problem, chosen, params, cost)


def with_params(chip: Chip, problem: ConvProblem, chosen: Algorithm, params: Mapping[str, Any],
                cost: float = math.nan) -> Planned:  # fmt: skip
    """By an algorithm and parameters."""
    assert isinstance(chosen, GpuAlgorithm)
    operation = Operation.contiguous(problem)
    sizes = {"bias": problem.out_channels * 8}
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    for role, layout in operation.layouts.items():
        sizes[role] = math.prod(shapes.get(role, problem.result_shape)) * layout.dtype.itemsize
    launches = chosen.launches(operation, params)
    sizes["workspace"] = max(launch.workspace_bytes for launch in launches)
    steps, held = [], set[str]()
    for launch in launches:
        try:
            steps.append(predict(chip, launch, sizes, frozenset(held)) if isinstance(launch, Launch)
                         else predict_step(chip, launch))  # fmt: skip
        except (TraceError, ptx.UnknownInstructionError, AttributeError) as why:
            raise UnpredictableError(f"{chosen.name}: {why}") from why
        # Small arrays stay in L2 for the launches that follow; a result is written to memory once in the end.
        held |= {role for role, size in sizes.items() if size <= chip.l2_bytes / 2}
        held -= {RESULT[problem.direction]}
    fewest = sum(sizes[role] for role in operation.layouts)
    return Planned(problem, chip, chosen.name, params, cost, tuple(steps), fewest)
