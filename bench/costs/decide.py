"""Coefficients that choose well: moved from where estimates are best to where the time of what they choose is least.

An estimate 10 % off does no harm unless another algorithm is as near. The expected regret of a problem is

    sum over candidates of  share * log(time / least time),   shares ~ estimate ^ (-1 / SHARPNESS)

which is smooth in the coefficients: of candidates with nearly the same estimate each is chosen at times. It is made
small, together with the errors of the estimates, so that these stay estimates of seconds, and with how far coefficients
are from where they began, which keeps them from learning single problems by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

SHARPNESS = 0.08
"""Estimates that differ by this share are told apart, in part."""
ERRORS, MOVES = 0.3, 0.02
"""How much errors of estimates and moves of coefficients weigh beside regret."""
MAX_LOG = 1.0
"""Regrets and errors larger than this (the logarithm of 2.7) count no more than in proportion."""
MAX_ITERATIONS = 150
LEAST = 1e-3


@dataclass
class Block:
    """The rows of one loop in one direction."""

    loop: tuple[str, str]
    rows: np.ndarray
    """Their places among all."""
    names: tuple[str, ...]
    matrix: np.ndarray
    """A line for each row: counts in shares of its time, were all coefficients 1."""
    scale: np.ndarray
    """The largest share of each count."""
    coefficients: np.ndarray
    is_fixed: bool = False
    """Whether the coefficients stay as they are: of what is hardly ever chosen, choices say nothing."""


def decided(blocks: Sequence[Block], problems: np.ndarray, seconds: np.ndarray, nearness: np.ndarray) -> None:
    """Move the coefficients of all blocks; ``problems`` are the numbers of the rows' problems, ``nearness`` their least
    times over their times."""
    scales = np.concatenate([block.scale for block in blocks])
    safe = np.where(scales > 0, scales, 1.0)
    start = np.concatenate([block.coefficients for block in blocks]) * safe
    ends = np.cumsum([len(block.scale) for block in blocks])
    parts = [slice(end - len(block.scale), end) for block, end in zip(blocks, ends, strict=True)]
    scaled = [block.matrix / safe[part] for block, part in zip(blocks, parts, strict=True)]
    lost = np.minimum(-np.log(nearness), MAX_LOG)
    logs, weights, count = np.log(seconds), nearness / nearness.sum(), problems.max() + 1

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        estimate = np.empty(len(seconds))  # over the time
        for block, matrix, part in zip(blocks, scaled, parts, strict=True):
            estimate[block.rows] = matrix @ values[part]
        errors = np.log(np.maximum(estimate, LEAST))
        shares = _shares(-(errors + logs) / SHARPNESS, problems, count)
        regrets = np.bincount(problems, shares * lost, count)
        slopes = -shares * (lost - regrets[problems]) / SHARPNESS / count
        capped = np.minimum(np.abs(errors), MAX_LOG)
        slopes += ERRORS * 2 * weights * np.sign(errors) * capped
        slopes *= (estimate > LEAST) / np.maximum(estimate, LEAST)
        moves = values - start
        gradient = 2 * MOVES * moves / len(blocks)
        for block, matrix, part in zip(blocks, scaled, parts, strict=True):
            gradient[part] += slopes[block.rows] @ matrix
        of_errors = float(weights @ (capped * (2 * np.abs(errors) - capped)))
        total = float(regrets.mean()) + ERRORS * of_errors + MOVES * float(moves @ moves) / len(blocks)
        return total, gradient

    is_fixed = np.concatenate([np.full(len(block.scale), block.is_fixed) for block in blocks])
    limits = [
        (value, value) if fixed else (0.0, None if scale > 0 else 0.0)
        for value, scale, fixed in zip(start, scales, is_fixed, strict=True)
    ]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": MAX_ITERATIONS})
    for block, part in zip(blocks, parts, strict=True):
        block.coefficients = found.x[part] / safe[part]


def _shares(scores: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """exp(score), in shares of each group's sum."""
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, groups, scores)
    powers = np.exp(scores - highest[groups])
    return powers / np.bincount(groups, powers, count)[groups]
