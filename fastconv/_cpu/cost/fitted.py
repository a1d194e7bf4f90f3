"""Algorithms whose estimates are fitted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from ..._algorithm import Algorithm, Machine, Params
from ..._problem import ConvProblem
from . import model

MANY_ITEMS = 32
"""Items that most algorithms cut a problem into at least, if it has them."""


class Fitted(Algorithm):
    """An algorithm that counts, beside what all have in common, what is its own."""

    max_candidates: int | None = None
    """Parameters that are tried, at most."""
    packing: frozenset[str] = frozenset()
    """What is counted that packed weights save."""

    def loop(self, problem: ConvProblem, params: Params) -> str:
        """What has coefficients of its own: the algorithm, with parameters that make it another loop."""
        return self.name

    def counts(self, problem: ConvProblem, params: Params) -> Mapping[str, float]:
        """What the algorithm's time is made of, beside ``counts.general``; see there for names and units."""
        return {}

    def items(self, problem: ConvProblem, params: Params) -> int:
        """What threads can share, in parts; about as many as are worth telling apart."""
        return MANY_ITEMS

    def cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        """The fitted estimate."""
        known = _ranked(self, problem) if machine is model.machine() else ()
        alone = next((seconds for one, seconds in known if seconds is not None and one == params), None)
        if alone is None:
            alone = self._alone(problem, params, machine)
        return alone if threads == 1 else _shared(alone, min(threads, self.items(problem, params)), machine)

    def packed_cost(self, problem: ConvProblem, params: Params, threads: int, machine: Machine) -> float:
        counts = {name: of for name, of in self.counts(problem, params).items() if name not in self.packing}
        alone = model.seconds(self.loop(problem, params), problem, counts, machine)
        return alone if threads == 1 else _shared(alone, min(threads, self.items(problem, params)), machine)

    def _alone(self, problem: ConvProblem, params: Params, machine: Machine) -> float:
        return model.seconds(self.loop(problem, params), problem, self.counts(problem, params), machine)

    def least_seconds(self, problem: ConvProblem, threads: int, machine: Machine) -> float:
        alone = model.least_seconds(self.name, problem, machine)
        return alone if threads == 1 else _shared(alone, threads, machine)

    def choices(self, problem: ConvProblem) -> Sequence[Params]:
        """Parameters that estimates decide among, in any order."""
        return [{}]

    def contending(self, choices: Sequence[Params], seconds: Callable[[Params], float]) -> Sequence[Params]:
        """Those of the choices that can be the cheapest, found with few estimates; the others come last."""
        return choices

    def variations(self, problem: ConvProblem) -> Sequence[Params]:
        """More parameters for the tuner to try."""
        return []

    def is_able(self, problem: ConvProblem, params: Params) -> bool:
        """Whether it is sensible to compute the problem so; not asked before the choice is the cheapest."""
        return True

    def parameters(self, problem: ConvProblem) -> list[Params]:
        """The choices, the lowest estimate on one thread first, then variations."""
        ranked = [params for params, _ in _ranked(self, problem)]
        able = [dict(one) for one in ranked if self.is_able(problem, one)]
        found: list[Params] = [*(able or map(dict, ranked))][: self.max_candidates]
        return found + [dict(one) for one in self.variations(problem) if dict(one) not in found]

    def fitting(self, problem: ConvProblem, limit_bytes: int) -> Params | None:
        for params, _ in _ranked(self, problem):
            if self.is_able(problem, params) and self.workspace(problem, params, 1) <= limit_bytes:
                return dict(params)
        return None

    def fitting_like(self, problem: ConvProblem, params: Params, limit_bytes: int) -> Params | None:
        if params not in self.choices(problem) or not self.is_able(problem, params):
            return self.fitting(problem, limit_bytes)
        return params if self.workspace(problem, params, 1) <= limit_bytes else self.fitting(problem, limit_bytes)


def _shared(seconds: float, threads: int, machine: Machine) -> float:
    """The time on several threads of what takes so long on one."""
    return machine.call_seconds + seconds / max(threads, 1)


@functools.lru_cache(maxsize=1024)
def _ranked(algorithm: Fitted, problem: ConvProblem) -> Sequence[tuple[Params, float | None]]:
    """The choices, the best first, and what was estimated of them to find it."""
    # By the machine of the fit: defaults must not depend on measurements of another one.
    choices = algorithm.choices(problem)
    if len(choices) == 1:
        return [(choices[0], None)]
    known: dict[int, float] = {}

    def seconds(params: Params) -> float:
        if id(params) not in known:
            known[id(params)] = algorithm._alone(problem, params, model.machine())
        return known[id(params)]

    best = sorted(algorithm.contending(choices, seconds), key=seconds)
    return [(params, known.get(id(params))) for params in (*best, *(one for one in choices if one not in best))]
