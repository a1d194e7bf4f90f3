"""Non-negative least squares: the coefficients of the cost models from measured times.

Every row is divided by its time, so that relative errors count, and weighted by how near the fastest of its problem it
is: what is never chosen need not be known well. Rounds of reweighting make an estimate half as large as the time as bad
as one twice as large. What the rows of one loop in one direction say little about stays near what those of the loop in
both directions say, and these near what all loops of the algorithm say. Last, ``decide`` moves all coefficients
together, by little, to where they choose best.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from fastconv import ConvProblem
from fastconv._algorithm import Machine
from fastconv._backend import find_algorithm
from fastconv._cpu.cost.counts import GENERAL, general
from fastconv._cpu.cost.fitted import Fitted
from fastconv._cpu.cost.model import Units

from .decide import Block, decided
from .table import Measured

MIN_ESTIMATE = 0.02
ROUNDS, TOLERATED = 5, 1.0
"""Rounds of reweighting, and the relative error from which on a row counts less."""
NEARNESS = 0.5
"""Rows weigh as this power of the fastest time over theirs."""
USUAL_ROWS = 0.1
"""What is usual weighs as so many rows of each count, in which it takes the largest share that it takes of any time."""
OUTLIERS = 0.005
"""Share of the rows that are faster than the bound of their algorithm."""
MIN_SHARE = 0.002
"""Coefficients whose counts nowhere make up this share of the time are left out."""

FALLBACK = "reference"
"""What computes any problem, slower than all others."""

Loop = tuple[str, str]
"""Name and direction."""
Coefficients = dict[str, float]


@dataclass(frozen=True)
class Fit:
    """The coefficients of one loop, and how far off they are."""

    coefficients: Coefficients
    rows: int
    deviation: float
    """Root mean square of the logarithm of estimate over time, of what is within 1.7 times of the fastest."""


def fitted(rows: Sequence[Measured], machine: Machine) -> dict[Loop, Fit]:
    """The fit of every loop that was measured."""
    best: dict[tuple[ConvProblem, int], float] = defaultdict(lambda: math.inf)
    for row in rows:
        best[row.problem, row.threads] = min(best[row.problem, row.threads], row.seconds)
    seconds = np.array([row.seconds for row in rows])
    nearness = np.array([best[row.problem, row.threads] for row in rows]) / seconds
    blocks = _blocks(rows, seconds, nearness, machine)
    numbers: dict[tuple[ConvProblem, int], int] = {}
    problems = np.array([numbers.setdefault((row.problem, row.threads), len(numbers)) for row in rows])
    decided(blocks, problems, seconds, nearness)
    return {block.loop: _fit(block, nearness[block.rows]) for block in sorted(blocks, key=lambda block: block.loop)}


def algorithm_of(row: Measured) -> Fitted:
    """The algorithm that was measured."""
    found = find_algorithm(row.algorithm)
    assert isinstance(found, Fitted)
    return found


def counts_of(row: Measured, machine: Machine) -> Mapping[str, float]:
    """All counts of a row, in seconds."""
    units = Units.of(machine, row.problem.dtype)
    found = dict(zip(GENERAL, general(row.problem).tolist(), strict=True))
    found.update(algorithm_of(row).counts(row.problem, row.params))
    return {name: count * units.per(name) for name, count in found.items() if count}


def bounds(rows: Iterable[Measured], machine: Machine) -> dict[Loop, Coefficients]:
    """By algorithm and direction, weights of the general counts alone: what all but OUTLIERS of the rows exceed."""
    by_loop: dict[Loop, list[Measured]] = defaultdict(list)
    for row in rows:
        by_loop[row.algorithm, row.problem.direction].append(row)
    return {loop: _bound(found, machine) for loop, found in sorted(by_loop.items())}


def _bound(rows: Sequence[Measured], machine: Machine) -> Coefficients:
    units = [Units.of(machine, row.problem.dtype) for row in rows]
    seconds = np.array([row.seconds for row in rows])
    per = np.array([[unit.per(name) for name in GENERAL] for unit in units])
    matrix = np.array([general(row.problem) for row in rows]) * per / seconds[:, None]
    found = _balanced(matrix, np.ones(len(rows)))
    kept = (matrix * found).max(axis=0) >= MIN_SHARE
    share = float(np.quantile(1 / np.maximum((matrix * kept) @ found, 1e-9), OUTLIERS))
    share *= max(1 - 2 / math.sqrt(len(rows)), 0.5)  # the fewer rows, the less is known of others
    pairs = zip(GENERAL, found, kept, strict=True)
    return {name: float(f"{min(share, 1) * weight:.4g}") for name, weight, keep in pairs if keep}


def _fit(block: Block, nearness: np.ndarray) -> Fit:
    found = block.coefficients
    kept = (block.matrix * found).max(axis=0) >= MIN_SHARE
    estimate = np.maximum((block.matrix * kept) @ found, 1e-9)
    near = nearness > 0.6
    deviation = float(np.sqrt(np.mean(np.log(estimate[near]) ** 2))) if near.any() else math.nan
    pairs = zip(block.names, found, kept, strict=True)
    return Fit({name: float(f"{weight:.4g}") for name, weight, keep in pairs if keep}, len(block.rows), deviation)


def _blocks(rows: Sequence[Measured], seconds: np.ndarray, nearness: np.ndarray, machine: Machine) -> list[Block]:
    """Every loop in each direction, with coefficients that estimate its times."""
    families: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        families[row.algorithm, row.problem.direction == "backward_weight"].append(place)
    blocks: list[Block] = []
    for places in families.values():
        counts = [counts_of(rows[place], machine) for place in places]
        names = sorted({name for found in counts for name in found})
        matrix = np.array([[found.get(name, 0.0) for name in names] for found in counts]) / seconds[places, None]
        weights, scale = nearness[places] ** NEARNESS, matrix.max(axis=0)
        loops = [
            (algorithm_of(rows[i]).loop(rows[i].problem, rows[i].params), rows[i].problem.direction) for i in places
        ]
        of_all = _balanced(matrix, weights)
        for name in dict.fromkeys(name for name, _ in loops):
            is_loop = np.array([loop[0] == name for loop in loops])
            of_loop = _balanced(matrix[is_loop], weights[is_loop], of_all, scale)
            for direction in dict.fromkeys(direction for loop, direction in loops if loop == name):
                chosen = np.array([loop == (name, direction) for loop in loops])
                found = _balanced(matrix[chosen], weights[chosen], of_loop, scale)
                here = np.array(places)[chosen]
                block = Block((name, direction), here, tuple(names), matrix[chosen], scale, found)
                block.is_fixed = name == FALLBACK
                blocks.append(block)
    return blocks


def _balanced(
    matrix: np.ndarray, weights: np.ndarray, usual: np.ndarray | None = None, scale: np.ndarray | None = None
) -> np.ndarray:
    """Coefficients that make few estimates, of times that are 1, far too low or too high, and are near ``usual``."""
    extra = np.zeros((0, matrix.shape[1])) if scale is None else np.diag(math.sqrt(USUAL_ROWS) * scale)
    wanted = np.zeros(0) if usual is None else extra @ usual
    found = _solved(matrix, weights, extra, wanted)
    for _ in range(ROUNDS):
        # (estimate - time) / sqrt(estimate * time) is about the logarithm of their quotient, from both sides.
        estimate = np.maximum(matrix @ found, MIN_ESTIMATE)
        odd = np.maximum(np.abs(np.log(estimate)) / TOLERATED, 1)
        found = _solved(matrix, weights / np.sqrt(estimate * odd), extra, wanted)
    return found


def _solved(matrix: np.ndarray, weights: np.ndarray, extra: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    of_rows = np.vstack([matrix * weights[:, None], extra])
    orthogonal, triangle = np.linalg.qr(of_rows)  # far fewer rows of the same sums of squares
    solution: np.ndarray = nnls(triangle, orthogonal.T @ np.concatenate([weights, wanted]), maxiter=10000)[0]
    return solution
