"""One row of the results: every contestant on one problem, checked, then timed in turn."""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Sequence
from typing import Any

from fastconv._gpu import memory

from ..timing import contest, ratio
from . import pooling
from .arrays import Noise
from .ceilings import Ceilings
from .check import WRONG, Check
from .clock import CALLS_OF_GRAPH, SHORT_SECONDS, Clock, DeviceEntrant
from .contestants import Call, Contestant, Torch

Cell = dict[str, Any]
WARM_UP_CALLS = 2
MAX_POOL_BYTES = 40 << 30
"""CuPy's pool may keep so much from row to row; torch has one of its own beside it."""


class NotTimedError(Exception):
    """Why a contestant has no time."""


class Bench:
    """What is measured with, for all rows of a run."""

    def __init__(self, clock: Clock, noise: Noise, everyone: Sequence[Contestant], seconds: float) -> None:
        self.clock, self.noise, self.everyone, self.seconds = clock, noise, everyone, seconds

    @functools.cached_property
    def ceilings(self) -> Ceilings:
        """Measured when the first row needs them."""
        return Ceilings(self.clock, self.noise)

    def row(self, work: Any, kernels: bool = False) -> dict[str, Any]:
        """Times, errors and notes. Whatever a contestant does wrong is the reason in its cell.

        All of it is on the clock's stream, which waits for no other one.
        """
        self._make_room()
        with self.clock.stream:
            return self._row(work, kernels)

    def _make_room(self) -> None:
        """The graphs of the row before are gone, and their memory can go, too."""
        gc.collect()
        memory.forget_recorded()
        pool = self.clock.cp.get_default_memory_pool()
        if pool.total_bytes() > MAX_POOL_BYTES:
            pool.free_all_blocks()

    def case(self, problem: Any) -> Any:
        """New operands for a problem."""
        return self.noise.case(problem)

    def check(self, case: Any) -> Any:
        """What tells errors of a case's results."""
        return Check(self.clock.cp, case)

    def limits(self, problem: Any) -> tuple[float, dict[str, Any]]:
        """The least seconds that a problem takes here, and what they are made of."""
        found = self.ceilings
        return found.seconds(problem), {
            "flops_per_second": found.flops_per_second(problem),
            "bytes_per_second": found.bytes_per_second,
            "limit": "memory" if found.is_bound_by_memory(problem) else "products",
        }

    def _row(self, work: Any, kernels: bool) -> dict[str, Any]:
        case = self.case(work.layer.problem)
        check = self.check(case)
        cells: dict[str, Cell] = {}
        calls: dict[str, Call] = {}
        seconds: dict[str, float] = {}
        for one in self.everyone:
            cell = cells[one.name] = {}
            try:
                call = self._checked(one, case, check, WRONG[work.level], cell)
                seconds[one.name] = self.clock.seconds(call)
                calls[one.name] = call
                if kernels and isinstance(one, Torch):
                    cell["kernels"] = one.kernels(call)
            except NotTimedError as reason:
                cell["reason"] = str(reason)
            except Exception as failure:  # of libraries that may do anything
                cell["reason"] = f"{type(failure).__name__}: {failure}".splitlines()[0][:200]
        is_short = min(seconds.values(), default=1.0) < SHORT_SECONDS
        entrants = self._entrants(case, calls, cells, is_short)
        if entrants:
            contest(list(entrants.values()), self.seconds)
        return self._described(work, cells, entrants, is_short)

    def _checked(self, one: Contestant, case: Any, check: Any, allowed: float, cell: Cell) -> Call:
        reason = one.refusal(case)
        if reason:
            raise NotTimedError(reason)
        call = one.call(case)
        result = self.clock.run(call)
        computed = one.array(case, result)
        if note := one.note(case):
            cell["note"] = note
        if computed is not None:
            cell["error"] = error = check.error(computed)
            if not error <= allowed:
                raise NotTimedError(f"wrong: error {error:.1e}")
        for _ in range(WARM_UP_CALLS):
            self.clock.run(call)
        return call

    def _entrants(
        self, case: Any, calls: dict[str, Call], cells: dict[str, Cell], is_short: bool
    ) -> dict[str, DeviceEntrant]:
        """Short calls many in a graph, each on operands of its own that are not in L2."""
        if not is_short:
            return {name: DeviceEntrant(call, clock=self.clock) for name, call in calls.items()}
        cases = [case, *(self.case(case.problem) for _ in range(CALLS_OF_GRAPH - 1))]
        entrants = {}
        for one in self.everyone:
            if one.name not in calls:
                continue
            try:
                together = [calls[one.name], *(one.call(other) for other in cases[1:])]
                for call in together[1:]:
                    self.clock.run(call)
                run = one.graph(together)
                self.clock.run(run)
            except Exception as failure:  # of libraries that may do anything
                cells[one.name]["reason"] = f"no graph: {type(failure).__name__}: {failure}".splitlines()[0][:200]
            else:
                entrants[one.name] = DeviceEntrant(run, repeats=CALLS_OF_GRAPH, clock=self.clock)
        return entrants

    def _described(
        self, work: Any, cells: dict[str, Cell], entrants: dict[str, DeviceEntrant], is_short: bool
    ) -> dict[str, Any]:
        problem, base = work.layer.problem, entrants.get(self.everyone[0].name)
        for name, entrant in entrants.items():
            cells[name] |= {"seconds": entrant.seconds, "samples": entrant.rounds}
            if base is not None:
                cells[name]["ratio"] = ratio(entrant, base)
        rivals = [one.name for one in self.everyone if one.is_rival and "ratio" in cells[one.name]]
        least, roofline = self.limits(problem)
        return {
            "layer": work.layer.name,
            "pass": work.layer.pass_name,
            "level": work.level,
            "problem": str(problem),
            "threads": 1,
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "best": min(rivals, key=lambda name: cells[name]["ratio"], default=None),
            "graph": is_short,
            "roofline": {**roofline, "share": None if base is None else least / base.seconds},
            "contestants": cells,
        }


class PoolBench(Bench):
    """The same for pooling, with the ceilings of another bench."""

    def __init__(self, other: Bench, everyone: Sequence[Contestant]) -> None:
        super().__init__(other.clock, other.noise, everyone, other.seconds)
        self._other = other

    def case(self, problem: Any) -> Any:
        return pooling.case(self.noise, problem)

    def check(self, case: Any) -> Any:
        return pooling.PoolCheck(self.clock.cp, case)

    def limits(self, problem: Any) -> tuple[float, dict[str, Any]]:
        rate = self._other.ceilings.bytes_per_second
        return problem.bytes / rate, {"bytes_per_second": rate, "limit": "memory"}
