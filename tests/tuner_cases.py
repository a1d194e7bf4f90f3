"""What the tests of the tuner share: algorithms that take the time that the test says, on a clock of their own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from fastconv import _timing
from fastconv._algorithm import Algorithm, ErrorBound, definition_bound
from fastconv._choose import tune
from fastconv._cpu import backend
from fastconv._cpu.algorithms.reference.algorithm import Reference
from fastconv._problem import RESULT
from tuning_cases import reread

MILLISECOND = 1e-3


class Clock:
    """The tuner's ``time``, which passes only while algorithms execute."""

    strftime, gmtime = staticmethod(time.strftime), staticmethod(time.gmtime)

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass(kw_only=True, eq=False)
class Timed(Reference):
    """The definition, taking ``seconds`` on the clock and claiming ``estimate``."""

    name: str
    clock: Clock
    seconds: float
    estimate: float | None = None
    packed_seconds: float | None = None
    wrong: bool = False
    all_params: tuple[dict, ...] = ({},)
    bound: ErrorBound | None = None
    workspace_bytes: int = 0
    raises: type[BaseException] | None = None
    executions: list = field(default_factory=list)

    fitting = Algorithm.fitting

    def parameters(self, problem):
        return list(self.all_params)

    def cost(self, problem, params, threads, machine):
        return self.seconds if self.estimate is None else self.estimate

    def workspace(self, problem, params, threads):
        return self.workspace_bytes

    def error_bound(self, problem):
        return self.bound or definition_bound(problem)

    def pack(self, problem, params, weight, threads):
        return None if self.packed_seconds is None else "packed"

    def execute(self, problem, params, operands, resources):
        self.executions.append((dict(params), operands.packed))
        if self.raises is not None:
            raise self.raises
        self.clock.now += self.packed_seconds if operands.packed else self.seconds / params.get("speed", 1)
        super().execute(problem, params, operands, resources)
        if self.wrong:
            getattr(operands, RESULT[problem.direction])[...] *= 2


@pytest.fixture
def clock(monkeypatch):
    """The clock that the tuner reads."""
    made = Clock()
    for module in (tune, _timing):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def algorithms(monkeypatch, clock):
    """Put algorithms of these names and seconds in the registry, before the definition; returns them by name."""

    def install(*described: dict) -> dict[str, Timed]:
        made = {entry["name"]: Timed(clock=clock, **entry) for entry in described}
        # Takes no time, since it also computes the exact values; is never a candidate, by its estimate.
        last = Timed(name="reference", clock=clock, seconds=0.0, estimate=1e6)
        monkeypatch.setattr(backend, "algorithms", (*made.values(), last))
        reread()
        return {**made, "reference": last}

    return install
