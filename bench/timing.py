"""Contestants timed in turn, so that a slow moment of the machine meets all of them."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SAMPLE_SECONDS = 2e-3
"""Short calls are repeated to this length for one sample, after one call that warms the caches up again."""
MAX_REPEATS = 1000
MIN_SAMPLES = 3
LONG_SECONDS = 1.0
"""A call as long as this may do with a single sample, where there is no time for more."""
MAX_SAMPLES = 101

SETTLE_SECONDS = 0.02
"""See ``settling``."""


@dataclass
class Entrant:
    """One contestant and its samples, in seconds of one call; NaN for the rounds it sat out."""

    run: Callable[[], Any]
    first_seconds: float = 0.0
    """Time of a run that came before all samples."""
    repeats: int = 1
    samples: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(sample for sample in self.samples if not math.isnan(sample))

    @property
    def spent_seconds(self) -> float:
        """The length of its samples, about."""
        return sum(sample * self.repeats for sample in self.samples if not math.isnan(sample))

    @property
    def rounds(self) -> int:
        """How many samples there are."""
        return sum(not math.isnan(sample) for sample in self.samples)

    @property
    def min_samples(self) -> int:
        """It gets these whatever they take."""
        return 1 if self.first_seconds > LONG_SECONDS else MIN_SAMPLES

    def begin(self) -> None:
        """Find out how often the call has to be repeated; it has run before."""
        if self.first_seconds > LONG_SECONDS:
            return
        start = time.perf_counter()
        self.run()
        seconds = max(time.perf_counter() - start, 1e-9)
        self.repeats = max(1, min(MAX_REPEATS, math.ceil(SAMPLE_SECONDS / seconds)))

    def sample(self, settle_seconds: float = 0.0) -> None:
        """One more sample, ``settle_seconds`` after the one before."""
        if settle_seconds:
            time.sleep(settle_seconds)
        if self.repeats > 1 or settle_seconds:
            self.run()
        start = time.perf_counter()
        for _ in range(self.repeats):
            self.run()
        self.samples.append((time.perf_counter() - start) / self.repeats)


def settling(threads: int) -> float:
    """Seconds to leave between samples on so many threads: those of the libraries that wait busily for more work would
    hold a core of whoever comes next."""
    return SETTLE_SECONDS if threads > 1 else 0.0


def contest(entrants: list[Entrant], seconds: float, settle_seconds: float = 0.0) -> None:
    """Sample all in rounds, every other one backwards, for about ``seconds``, in equal shares of it.

    Who has used up its share sits out, but for the first, which all others are compared with.
    """
    share = seconds / len(entrants)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for entrant in entrants:
            entrant.begin()
        for number in range(MAX_SAMPLES):
            active = [e for e in entrants if e.rounds < e.min_samples or e.spent_seconds < share]
            if not active:
                return
            if entrants[0] not in active:
                active.insert(0, entrants[0])
            for entrant in active if number % 2 == 0 else active[::-1]:
                entrant.sample(settle_seconds)
            for entrant in entrants:
                if entrant not in active:
                    entrant.samples.append(math.nan)
    finally:
        if was_enabled:
            gc.enable()


def ratio(entrant: Entrant, base: Entrant) -> float:
    """The median, over the rounds that both were in, of how many times the base's time the entrant took."""
    pairs = zip(entrant.samples, base.samples, strict=True)
    return statistics.median(a / b for a, b in pairs if not math.isnan(a) and not math.isnan(b))
