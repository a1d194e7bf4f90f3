"""A finding made smaller, greedily, while it fails in the same way; and the one line that repeats it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from fastconv._backend import algorithm_names

from . import device
from .case import Case
from .check import subject_of
from .workers import ROOT, Failure, Worker, ask_all

GEOMETRY = ("size", "kernel", "stride", "dilation")
COUNTS = ("batch", "channels", "filters", "groups", "points")
TRIES = 4
VERIFY_SEEDS = (0, 1, 2)
VERIFY_TIMEOUT_SECONDS = 120


@dataclass
class Finding:
    """A failure, the smallest case found for it, and the line that repeats it."""

    failure: Failure
    case: Case
    line: str

    def __str__(self) -> str:
        return f"{self.failure}\n    {self.line}"


def shrink(worker: Worker, history: Sequence[Case], failure: Failure, seconds: float) -> Finding:
    """The smallest case for a failure of the last case of ``history``, which its process was given one by one."""
    end = time.monotonic() + seconds
    case = history[-1]
    # What depends on addresses may need luck.
    if not any(_fails(worker, case, failure.kind) for _ in range(TRIES)):
        return _shrunk_history(worker, list(history), failure, end)
    shrinking = True
    while shrinking and time.monotonic() < end:
        shrinking = False
        for smaller in _smaller(case, failure):
            if time.monotonic() > end:
                break
            found = _fails(worker, smaller, failure.kind)
            if found is not None:
                case, failure, shrinking = smaller, found, True
                break
    return Finding(failure, case, _verify_line(worker, case, failure) or replay_line(worker, [case]))


def replay_line(worker: Worker, cases: Sequence[Case]) -> str:
    """The command that makes the calls of cases again."""
    text = str(cases[0]) if len(cases) == 1 else json.dumps([json.loads(str(case)) for case in cases])
    return f"{_isa(worker)}python -m bench fuzz{device.option()} --replay {shlex.quote(text)}"


def _fails(worker: Worker, case: Case, kind: str) -> Failure | None:
    """The failure of this kind, if the case has one."""
    return next((failure for failure in worker.ask(case).failures if failure.kind == kind), None)


def _shrunk_history(worker: Worker, history: list[Case], failure: Failure, end: float) -> Finding:
    """What only fails after other cases: the fewest of them."""

    def fails(cases: Sequence[Case]) -> bool:
        return failure.kind in {found.kind for found in ask_all(worker, cases).failures}

    if fails(history):
        step = len(history) // 2
        while step and time.monotonic() < end:
            for start in range(0, len(history) - 1, step):
                fewer = [*history[:start], *history[min(start + step, len(history) - 1) :]]
                if len(fewer) < len(history) and fails(fewer):
                    history = fewer
                    break
            else:
                step //= 2
    else:
        failure = Failure(failure.kind, failure.algorithm, f"{failure.words} (seen once, not repeated)")
    worker.close()
    return Finding(failure, history[-1], replay_line(worker, history))


def _smaller(case: Case, failure: Failure) -> Iterator[Case]:
    """Simpler cases, the boldest changes first."""
    if case.algorithm is None and failure.algorithm in algorithm_names(device.backend()):
        yield case.replace(algorithm=failure.algorithm)
    for field in fields(case):
        value, plain = getattr(case, field.name), field.default
        if field.name == "bias" and case.activation is not None:
            continue  # its halves keep sums off the kinks of the activation
        if plain is not MISSING and value != plain and field.name not in (*COUNTS, "algorithm", "output_size", "dtype"):
            yield case.replace(**{field.name: plain})
    if case.dtype != "float32" and "integer" not in case.function:
        yield case.replace(dtype="float32")
    for name, _ in case.memory:
        yield case.replace(memory=tuple(entry for entry in case.memory if entry[0] != name))
    if "*" in case.function and case.rank > 1:
        for axis in range(case.rank):
            yield _without_axis(case, axis)
    for name in COUNTS:
        for number in _fewer(getattr(case, name), 1):
            yield case.replace(**{name: number})
    for name in GEOMETRY:
        for sizes in _fewer_of(getattr(case, name), 1):
            yield case.replace(**{name: sizes})
    if case.output_size is not None:
        for sizes in _fewer_of(tuple(size or 1 for size in case.output_size), 1):
            yield case.replace(output_size=sizes)
    if isinstance(case.padding, str):
        yield case.replace(padding=((0, 0),) * case.rank)
    else:
        flat = [number for pair in case.padding for number in pair]
        for numbers in _fewer_of(tuple(flat), 0):
            yield case.replace(padding=tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def _without_axis(case: Case, axis: int) -> Case:
    def rest(values: Any) -> Any:
        return (*values[:axis], *values[axis + 1 :]) if isinstance(values, tuple) else values

    names = (*GEOMETRY, "padding", "output_padding", "output_size")
    return case.replace(**{name: rest(getattr(case, name)) for name in names})


def _fewer(number: int, least: int) -> Iterator[int]:
    """Numbers between ``least`` and ``number``, the smallest first."""
    tried = {number}
    for smaller in (least, number // 4, number // 2, number * 3 // 4, number - 8, number - 1):
        if number < least and smaller == least:
            smaller = least
        elif not least <= smaller < number:
            continue
        if smaller not in tried:
            tried.add(smaller)
            yield smaller


def _fewer_of(numbers: tuple[int, ...], least: int) -> Iterator[tuple[int, ...]]:
    for position, number in enumerate(numbers):
        for smaller in _fewer(number, least):
            yield (*numbers[:position], smaller, *numbers[position + 1 :])


def _isa(worker: Worker) -> str:
    isa = worker.environment.get("FASTCONV_MAX_ISA")
    return f"FASTCONV_MAX_ISA={isa} " if isa else ""


def _verify_line(worker: Worker, case: Case, failure: Failure) -> str | None:
    """The line for ``fastconv verify``, if it finds the failure, too."""
    if (
        device.is_device()
        or failure.algorithm not in ("auto", *algorithm_names())
        or not (failure.kind in ("wrong", "overrun") or failure.is_end)
    ):
        return None
    try:
        problems = subject_of(case.replace(data="integers")).plain
    except Exception:  # a case that cannot even be made ready is repeated as it is
        return None
    for problem in problems:
        for seed in VERIFY_SEEDS:
            words = ["verify", str(problem), "--seed", str(seed), "--threads", "1"]
            if failure.algorithm != "auto":
                words += ["--algorithm", failure.algorithm]
            try:
                run = subprocess.run(
                    [sys.executable, "-m", "fastconv", *words],
                    env=worker.environment,
                    cwd=ROOT,
                    capture_output=True,
                    timeout=VERIFY_TIMEOUT_SECONDS,
                )
            except subprocess.TimeoutExpired:
                continue
            if run.returncode not in (0, 2):
                return f"{_isa(worker)}fastconv {shlex.join(words)}"
    return None
