"""A run of the fuzzer: cases checked side by side, and what fails shrunk as soon as it is found."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from . import coverage, device
from .case import Case
from .generate import generate
from .shrink import Finding, shrink
from .workers import Answer, Failure, Worker, environment

MAX_ALIKE = 3
"""Failures of one kind, function and algorithm that are shrunk; further ones are only counted."""


@dataclass
class Campaign:
    """What to check, and for how long."""

    seed: int
    seconds: float
    min_problems: int = 0
    """So many are checked, however long it takes."""
    max_findings: int = 1000
    shrink_seconds: float = 120.0
    """For each finding."""
    jobs: int = 1
    functions: Sequence[str] = ()
    isa: str | None = None


@dataclass
class Report:
    """What was found and exercised."""

    seed: int
    seconds: float = 0.0
    problems: int = 0
    findings: list[Finding] = field(default_factory=list)
    alike: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Failures by kind, function and algorithm, those that were not shrunk included."""
    counts: Counter[str] = field(default_factory=Counter)
    """What was exercised, in the words of ``check``."""

    def __str__(self) -> str:
        rate = self.problems / max(self.seconds, 1e-9)
        head = f"{self.problems} problems, {self.counts['calls']} calls in {self.seconds:.0f} s: {rate:.1f} problems/s"
        lines = [f"{count} x {' '.join(filter(None, key))}" for key, count in self.alike.items()]
        return "\n".join(
            [coverage.table(self.counts), *lines, f"{head}, {len(self.findings)} findings; seed {self.seed}"]
        )


def fuzz(campaign: Campaign, say: Callable[[str], None] = print) -> Report:
    """Check the cases of a seed; every finding is said as soon as it is there."""
    running = _Running(campaign, say)
    threads = [threading.Thread(target=running.work) for _ in range(campaign.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if running.broken:
        raise running.broken[0]
    running.report.seconds = running.elapsed
    return running.report


class _Running:
    """What the threads of a campaign share, each of which feeds a process."""

    def __init__(self, campaign: Campaign, say: Callable[[str], None]) -> None:
        self.campaign, self._say = campaign, say
        self.report = Report(campaign.seed)
        self.broken: list[BaseException] = []
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._environment = environment(campaign.isa, campaign.seed)
        self._given = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def _cases(self) -> Iterator[tuple[int, Case]]:
        c = self.campaign
        while not self.broken and len(self.report.findings) < c.max_findings:
            with self._lock:
                if self.elapsed > c.seconds and self._given >= c.min_problems:
                    return
                number = self._given
                self._given += 1
            yield number, generate(c.seed, number, c.functions, device.limits())

    def work(self) -> None:
        """Check cases until there are no more."""
        worker, shrinker = Worker(self._environment), Worker(self._environment)
        try:
            for number, case in self._cases():
                failure = self._note(case, worker.ask(case))
                if failure is not None:
                    found = shrink(shrinker, worker.history, failure, self.campaign.shrink_seconds)
                    with self._lock:
                        self.report.findings.append(found)
                        self._say(f"[{self.elapsed:.0f} s, problem {number}] {found}")
        except BaseException as error:
            self.broken.append(error)
        finally:
            worker.close()
            shrinker.close()

    def _note(self, case: Case, answer: Answer) -> Failure | None:
        """Count; a failure that is unlike enough to those before."""
        new = None
        with self._lock:
            self.report.problems += 1
            self.report.counts += answer.counts
            for failure in answer.failures:
                key = failure.kind, case.function, failure.algorithm
                self.report.alike[key] += 1
                if new is None and self.report.alike[key] <= MAX_ALIKE:
                    new = failure
        return new
