"""Plan: a problem bound to the algorithm, parameters and threads that compute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from ._algorithm import Algorithm, Params
from ._late import late
from ._once import once
from ._problem import ConvProblem


class Immutable:
    """What does not change is its own copy."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True)
class Plan(Immutable):
    """A bound choice; immutable, so that threads may share it."""

    problem: ConvProblem
    algorithm: Algorithm
    params: Params
    threads: int
    workspace_bytes: int
    reason: str
    """Who chose: "forced", "tuned", "bundled table" or "cost model"."""
    limit_bytes: int = 2**30
    """Scratch memory that may be used, copies included."""
    candidates: tuple[tuple[str, float], ...] = field(default=(), compare=False)
    """Algorithms that were considered with their estimated, or measured, seconds, best first."""
    lowered: ConvProblem | None = field(default=None, compare=False)
    """The problem that the algorithm computes in place of ``problem``, if that is another one."""
    backend: str = "cpu"
    """The name of the one whose algorithm it is."""

    @property
    def target(self) -> ConvProblem:
        """The problem that the algorithm computes."""
        return self.lowered or self.problem

    @once
    def kernel(self) -> object | None:
        """The algorithm's compiled kernel for the problem that it computes, if it has one."""
        return None if self.problem.is_empty else self.algorithm.bind(self.target, self.params)

    def __reduce__(self) -> tuple[Callable[..., Plan], tuple[object, ...]]:
        """Pickled as a choice, to be bound where it arrives: kernels and workspace depend on the machine."""
        choice = self.algorithm.name, dict(self.params), self.threads, self.reason, self.candidates, self.backend
        return late("fastconv._choose.select").carried_plan, (self.problem, *choice)

    def __str__(self) -> str:
        settings = "".join(f" {name}={value}" for name, value in self.params.items())
        return f"{self.problem}: {self.algorithm.name}{settings}, {self.threads} threads ({self.reason})"

    def describe(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "problem": str(self.problem),
            "algorithm": self.algorithm.name,
            "params": dict(self.params),
            "threads": self.threads,
            "workspace_bytes": self.workspace_bytes,
            "reason": self.reason,
        }
