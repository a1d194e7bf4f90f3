"""Problems that are alike: they differ in large sizes, by little, and share a choice where it is a clear one.

So the first call for a signal of yet another length, or an image of yet another size, estimates nothing. One problem of
all those that are alike is estimated, the one whose sizes are round; which that is follows from any of them, so that
choices do not depend on what was computed before.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from typing import NamedTuple, cast

from .._algorithm import Algorithm, Params
from .._problem import FIELDS, ConvProblem, Sizes

EXACT_SIZE = 128
"""Sizes up to this are those of images in networks, where whole vectors and tiles count: none is like another."""
LEADING_BITS = 4
"""Of a larger size; those that agree in them differ by an eighth at most."""
LEAST_OUTPUT = 64
"""Of an axis whose size is rounded: fewer pixels would differ by more than their source."""
CLEAR = 1.1
"""A choice is clear where all others are estimated to take so many times as long ..."""
SHORT_SECONDS = 1e-5
"""... or where what is best takes so little time that ten calls would not gain what estimating another one costs."""
KEPT = 1024

Estimate = tuple[Algorithm, Params, float]


class Choice(NamedTuple):
    """What is best for the problem of round sizes, and what was considered; no algorithm where that is not clear."""

    algorithm: Algorithm | None
    params: Params
    considered: tuple[tuple[str, float], ...]


_settings = operator.attrgetter(*(name for name in FIELDS if name not in ("batch", "input_size")))
_choices: dict[Hashable, Choice] = {}


def choice(
    problem: ConvProblem, situation: Hashable, estimates: Callable[[ConvProblem, float], list[Estimate]]
) -> Choice | None:
    """The choice for the problem and all that are alike; None: it has to be estimated on its own.

    ``estimates(like, margin)`` are those of a problem, cheapest first, with all that may be within ``margin`` of it;
    ``situation`` is what they depend on beside it.
    """
    batch, sizes = _rounded(problem.batch), cast(Sizes, tuple(map(_rounded, problem.input_size)))
    if sizes == problem.input_size and batch == problem.batch:
        return None
    key = batch, sizes, _settings(problem), situation
    found = _choices.get(key)
    if found is None:
        if len(_choices) >= KEPT:
            _choices.clear()
        found = _choices[key] = _clear_choice(problem.replace(batch=batch, input_size=sizes), problem, estimates)
    return None if found.algorithm is None else found


def forget() -> None:
    """Estimate anew."""
    _choices.clear()


def _clear_choice(
    like: ConvProblem, problem: ConvProblem, estimates: Callable[[ConvProblem, float], list[Estimate]]
) -> Choice:
    rounded = [axis for axis in range(3) if like.input_size[axis] != problem.input_size[axis]]
    if like.is_empty or any(like.output_size[axis] < LEAST_OUTPUT for axis in rounded):
        return Choice(None, {}, ())
    ranked = estimates(like, CLEAR)
    best, params, least = ranked[0]
    others = [seconds for algorithm, _, seconds in ranked if algorithm is not best]
    is_clear = least <= SHORT_SECONDS or min(others, default=least * CLEAR) >= least * CLEAR
    return Choice(best if is_clear else None, params, tuple((one.name, seconds) for one, _, seconds in ranked))


def _rounded(size: int) -> int:
    """The size with all but its leading bits cleared."""
    cleared = size.bit_length() - LEADING_BITS
    return size if size <= EXACT_SIZE else size >> cleared << cleared
