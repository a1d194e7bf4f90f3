"""A Subject called in every way that must give the same, and what is wrong with it."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastconv._backend import algorithm_names
from fastconv._choose import select
from fastconv._cpu.engine import workspace

from . import device
from .case import Case
from .closeness import algorithm_of, wrong
from .composed import Causal, Integer, Separable
from .convolutions import Plain
from .memory import GUARD, Placed, overlapping, place
from .pools import Blocks, Pool
from .subject import Expected, How, Results, Subject
from .values import with_special

THREADS = (1, 2, 3)
SLOW = {"reference": 100_000}
"""Multiply-adds above which an algorithm is called only once."""
LARGE = 500_000
"""Multiply-adds above which an algorithm is called in few ways."""
FILL = 77
GUARD_BYTES = 2**15
"""So many bytes behind the scratch memory must not change."""


@dataclass
class Outcome:
    """What a case led to: its failures, each a kind, an algorithm and words, and what was exercised."""

    failures: list[tuple[str, str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def subject_of(case: Case) -> Subject:
    """The case made ready."""
    kinds = {"separable": Separable, "causal": Causal, "integer": Integer, "pool": Pool, "fold": Blocks}
    made: Any = next((kind for word, kind in kinds.items() if word in case.function), Plain)
    subject: Subject = made(case).subject()
    return subject


def check(case: Case, announce: Callable[[str], None] = lambda algorithm: None) -> Outcome:
    """Make the calls of ``case`` and compare; ``announce`` is told of every algorithm before it is tried."""
    # Small problems run on as many threads as they are told to.
    select.MULTIPLY_ADDS_PER_THREAD = 1  # type: ignore[misc]
    outcome = Outcome()
    outcome.counts[f"isa {device.level()}"] += 1
    subject = subject_of(case)
    # Unwatched, small ones come from the stack, and large ones are kept for the next call.
    none: list[int] = []
    watched = _guarded_workspace() if case.seed % 4 else contextlib.nullcontext(none)
    with warnings.catch_warnings(), watched as overrun:
        warnings.simplefilter("ignore", RuntimeWarning)
        checker = _Checker(subject, outcome)
        if subject.refused is not None:
            checker.check_refusal()
        else:
            for algorithm in _algorithms(subject):
                announce(algorithm)
                try:
                    checker.check_algorithm(algorithm)
                except Exception as error:
                    outcome.failures.append(raised(error, algorithm))
                if overrun:
                    # The cause of whatever else was found.
                    words = f"wrote beyond {overrun[0]} bytes of scratch memory"
                    outcome.failures.insert(0, ("overrun", algorithm, words))
                    overrun.clear()
                # Freed memory is looked at by the allocator, which shows writes farther beyond its end.
                workspace.drop()
    return outcome


@contextlib.contextmanager
def _guarded_workspace() -> Iterator[list[int]]:
    """Scratch memory with a guard zone behind it; the sizes of those beyond whose end something was written."""
    overrun: list[int] = []
    taken: dict[int, tuple[int, np.ndarray]] = {}

    def take(size_bytes: int) -> np.ndarray:
        memory = workspace.aligned(size_bytes + GUARD_BYTES)
        memory[...] = GUARD
        inside = memory[:size_bytes]
        taken[id(inside)] = size_bytes, memory
        return inside

    def give_back(inside: np.ndarray) -> None:
        size_bytes, memory = taken.pop(id(inside))
        if not (memory[size_bytes:] == GUARD).all() and size_bytes not in overrun:
            overrun.append(size_bytes)

    with workspace.watched(take, give_back):
        yield overrun


def raised(error: Exception, algorithm: str) -> tuple[str, str, str]:
    """An exception that there should not be, as a failure: its kind is the type and the place."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} {where.filename.rsplit('/', 1)[-1]}:{where.lineno}", algorithm, str(error)


def _algorithms(subject: Subject) -> list[str]:
    if not subject.algorithms:
        return ["auto"]
    return [subject.case.algorithm] if subject.case.algorithm else ["auto", *algorithm_names(device.backend())]


class _Checker:
    def __init__(self, subject: Subject, outcome: Outcome) -> None:
        self.subject, self.outcome, self.case = subject, outcome, subject.case
        self.rng = np.random.default_rng([self.case.seed, 1])
        self.work = max((problem.multiply_adds for problem in subject.plain), default=0)
        self.placed = self._place(subject.arrays)
        special = subject.arrays
        if self.case.data == "special":
            names = [name for name in special if name != "indices"]
            spoilt = names[int(self.rng.integers(len(names)))]
            special = {**special, spoilt: with_special(self.rng, special[spoilt])}
        self.again = self._place(special)
        self.expected: list[Expected | None] = []
        self.expected_again: list[Expected | None] = []
        if subject.refused is None:
            self.expected = list(subject.expect(self._arrays(self.placed)))
            same = self.case.data != "special" and not any(word == "broadcast" for _, word in self.case.memory)
            self.expected_again = self.expected if same else list(subject.expect(self._arrays(self.again)))
            self.same_values = same

    def _place(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Placed]:
        """Every time with the same strides, at other addresses: bits may depend on strides."""
        rng = np.random.default_rng(self.case.seed)
        return {name: place(array, device.place_of(self.case.place_of(name)), rng) for name, array in arrays.items()}

    @staticmethod
    def _arrays(placed: Mapping[str, Placed]) -> dict[str, np.ndarray]:
        return {name: one.array for name, one in placed.items()}

    def fail(self, kind: str, words: str, how: How) -> None:
        """Note a failure."""
        self.outcome.failures.append((kind, how.algorithm, f"{how.threads} threads: {words}"))

    def check_refusal(self) -> None:
        """The call must raise ValueError."""
        how = How()
        self.outcome.counts[f"refusal {self.case.name}"] += 1
        try:
            self._called(how, self.placed)
        except ValueError:
            return
        self.fail("accepted", f"no ValueError, although {self.subject.refused}", how)

    def check_algorithm(self, algorithm: str) -> None:
        """All the ways of calling one algorithm."""
        how = How(algorithm)
        try:
            first = self._call(how, self.placed)
        except ValueError as error:
            if algorithm == "auto" or not str(error).startswith("algorithm: "):
                raise
            return
        self._count(algorithm)
        before = len(self.outcome.failures)
        self._compare(first, self.expected, how)
        if len(self.outcome.failures) > before or self.work > SLOW.get(algorithm, 2**62):
            return
        self._check_repeats(algorithm, first, THREADS[1:] if self.work <= LARGE else THREADS[2:])
        if self.subject.packs:
            self._check_packed(algorithm, first)
        if self.case.out is not None and self.subject.result_shape is not None:
            self._check_out(algorithm, first)
        for name, one in (*self.placed.items(), *self.again.items()):
            if not one.is_unchanged():
                self.fail("input modified", name, how)

    def _check_repeats(self, algorithm: str, first: Results, numbers: Sequence[int]) -> None:
        """The call again, on other arrays like these, and on other numbers of threads."""
        how = How(algorithm)
        second = self._call(how, self.again)
        self._compare(second, self.expected_again, how)
        if self.same_values:
            self._same(second, first, how, "repeat", "on other arrays of the same values")
        self._same(self._call(how, self.placed), first, how, "repeat", "when called again")
        for threads in numbers if self.subject.threads and not device.is_device() else ():
            how = How(algorithm, threads)
            calls = [(self.placed, first, self.expected), (self.again, second, self.expected_again)]
            for placed, results, expected in calls[: 2 if threads == 2 else 1]:
                found = self._call(how, placed)
                if algorithm == "auto" and self.subject.algorithms:
                    # Another number of threads may choose another algorithm.
                    self._compare(found, expected, how)
                else:
                    self._same(found, results, how, "threads", "than on 1 thread")

    def _check_packed(self, algorithm: str, first: Results) -> None:
        for threads in self._numbers_of_threads(algorithm):
            how = How(algorithm, threads, packed=True)
            for _ in range(2):
                results = self._call(how, self.placed)
                self._compare(results, self.expected, how)
                # What is packed is a copy in plain order: one in another order is another call.
                if self.case.place_of("w") == "plain":
                    self._same(results, first, how, "packed", "with a packed weight")

    def _check_out(self, algorithm: str, first: Results) -> None:
        assert self.subject.result_shape is not None
        filled = np.full(self.subject.result_shape, FILL).astype(self.subject.dtype)
        for threads in self._numbers_of_threads(algorithm):
            placed, out, surroundings = self._out(filled)
            how = How(algorithm, threads, out)
            for _ in range(2):
                if surroundings is None:
                    next(iter(placed.values())).restore()
                results = self._call(how, placed, surroundings)
                if results[0] is not out:
                    self.fail("out", "the result is another array than out", how)
                first_expected = next(iter(self.expected), None)
                used = None if first_expected is None else algorithm_of(first_expected, how)
                if used is not None and used.name == "split_bf16":
                    # Its blocks depend on how the result lies in memory.
                    self._compare(results, self.expected, how)
                else:
                    self._same(results, first, how, "out", f"in out ({self.case.out})")
                if surroundings is not None and not surroundings.surroundings_are_unchanged():
                    self.fail("guard", f"memory around out ({self.case.out}) was written", how)

    def _numbers_of_threads(self, algorithm: str) -> tuple[int, ...]:
        """Two where the bits have to be those of one."""
        may_differ = self.subject.threads and not device.is_device()
        return (1, 2) if may_differ and not (algorithm == "auto" and self.subject.algorithms) else (1,)

    def _out(self, filled: np.ndarray) -> tuple[dict[str, Placed], np.ndarray, Placed | None]:
        """The arguments, ``out``, and what to look at for writes outside of it."""
        assert self.case.out is not None
        name, array = next(iter(self.placed.items()))
        if self.case.out != "overlap":
            placed = place(filled, device.place_of(self.case.out), self.rng)
            return self.placed, placed.array, placed
        if array.array.dtype != filled.dtype:
            placed = place(filled, "plain", self.rng)
            return self.placed, placed.array, placed
        one, out = overlapping(filled.shape, array, self.rng)
        return {**self.placed, name: one}, out, None

    def _call(self, how: How, placed: Mapping[str, Placed], around: Placed | None = None) -> Results:
        self.outcome.counts["calls"] += 1
        return self._called(how, placed, around)

    def _called(self, how: How, placed: Mapping[str, Placed], around: Placed | None = None) -> Results:
        """The results; ``around`` is what ``out`` lies in, if that is not one of the arguments."""
        if device.is_device():
            return device.call(self.subject.call, placed, how, around)
        return self.subject.call(self._arrays(placed), how)

    def _compare(self, results: Results, expected: list[Expected | None], how: How) -> None:
        if len(results) != len(expected):
            self.fail("wrong", f"{len(results)} results instead of {len(expected)}", how)
            return
        for number, (result, value) in enumerate(zip(results, expected, strict=True)):
            if result is None or value is None:
                if result is not None or value is not None:
                    self.fail("wrong", f"result {number} is there or missing against needs", how)
                continue
            words = wrong(result, value, self.case, how)
            if words:
                self.fail("wrong", words if len(results) == 1 else f"result {number}: {words}", how)

    def _same(self, results: Results, others: Results, how: How, kind: str, words: str) -> None:
        """Whether the bits are the same."""
        for result, other in zip(results, others, strict=True):
            if result is None or other is None:
                continue
            if not same_bits(result, other):
                count = int(np.count_nonzero(np.asarray(result != other)))
                self.fail(kind, f"{count} of {result.size} elements have other bits {words}", how)

    def _count(self, algorithm: str) -> None:
        name = self.case.name if not self.case.function.startswith("plan.") else self.case.function.split(".")[0]
        for direction in self.subject.directions:
            self.outcome.counts[f"function {name}"] += 1
            self.outcome.counts[f"direction {direction}"] += 1
            if self.subject.algorithms:
                self.outcome.counts[f"algorithm {algorithm} {direction}"] += 1


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether all elements have the same bits, NaN any of theirs."""
    native = [array.astype(array.dtype.newbyteorder("=")) for array in (one, other)]
    if native[0].shape != native[1].shape or native[0].dtype != native[1].dtype:
        return False
    if native[0].tobytes() == native[1].tobytes():
        return True
    with np.errstate(all="ignore"):
        nan = [array != array for array in native]
        if not np.array_equal(nan[0], nan[1]) or not nan[0].any():
            return False
        return native[0][~nan[0]].tobytes() == native[1][~nan[1]].tobytes()
