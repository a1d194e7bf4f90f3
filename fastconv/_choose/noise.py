"""How restless the machine is while candidates are timed, and how large a gain has to be for that not to explain it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from .tuning_record import TuningRecord

LEAST_GAIN, MOST_GAIN = 1.03, 1.10
"""How many times faster than the cost model's choice a candidate has to be to take its place: on a quiet machine, and
at most, however restless it is."""
MEDIAN_ERROR = 1.2533
"""Standard error of the median of n normal samples, times the root of n over their standard deviation."""
MAD_TO_DEVIATION = 1.4826
"""Standard deviation of normal samples over the median of their distances from the median."""
RESTLESS = 0.1
"""Noise above which choices are worth being measured again: gains of MOST_GAIN are lost in it."""
LEAST_SAMPLES = 5
"""Fewer samples of a candidate say nothing about the noise."""


def noise(groups: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation of one sample over their median, by a measure that slow moments do not reach.

    The median over candidates, of whose samples each group is; None where there are too few.
    """
    found = [_spread(samples) for samples in groups if len(samples) >= LEAST_SAMPLES]
    return statistics.median(found) if found else None


def _spread(samples: Sequence[float]) -> float:
    median = statistics.median(samples)
    return MAD_TO_DEVIATION * statistics.median(abs(one - median) for one in samples) / median if median > 0 else 0.0


def needed_gain(noise: float | None, samples: int) -> float:
    """Twice the standard error of the ratio of two medians of so many samples, above 1 and within bounds."""
    if noise is None:
        return LEAST_GAIN
    error = noise * MEDIAN_ERROR * math.sqrt(2 / samples)
    return min(max(LEAST_GAIN, 1 + 2 * error), MOST_GAIN)


def noise_text(records: Iterable[TuningRecord]) -> str:
    """What is known of it, in words; nothing where nothing was measured."""
    found = [record.noise for record in records if record.noise is not None]
    if not found:
        return ""
    middle = statistics.median(found)
    text = f"noise of the machine: {middle:.1%} a sample, {max(found):.1%} on one problem at most"
    return f"{text}; on a quieter one, --remeasure finds better choices" if middle > RESTLESS else text
