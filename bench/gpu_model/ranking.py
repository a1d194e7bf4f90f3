"""Whether the cost model ranks candidates as the model of the machine code does."""

from __future__ import annotations

from fastconv import ConvProblem
from fastconv._backend import find_backend
from fastconv._choose import select

from .chips import Chip
from .plans import Planned, UnpredictableError, on, with_params

DISAGREEMENT = 1.15
"""Predictions that differ by less do not tell which is faster."""
CANDIDATES = 6
"""So many of the cheapest are predicted."""


def ranked(chip: Chip, problem: ConvProblem) -> list[Planned]:
    """The cheapest candidates by the cost model, which come in its order, predicted."""
    made = []
    with on(chip):
        found = select.candidates(problem, 1, all_params=True, backend=find_backend("gpu"))
        for algorithm, params, cost in [one for one in found if one[0].is_proven][:CANDIDATES]:
            try:
                made.append(with_params(chip, problem, algorithm, params, cost))
            except UnpredictableError:
                continue
    if not made:
        raise UnpredictableError(f"no candidate of {problem}")
    return made
