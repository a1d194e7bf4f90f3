"""Child processes that check cases: with a poisoned heap, a time limit, and a new process after each crash."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import fastconv

from .case import Case

ROOT = Path(__file__).parents[2]
CASES_PER_PROCESS = 300
TIMEOUT_SECONDS = 300.0
AT = "at "
"""Before the name of the algorithm that a child is about to try, on its stderr."""
MALLOC_DEBUG = "libc_malloc_debug.so.0"


class Failure(NamedTuple):
    """One thing that is wrong."""

    kind: str
    algorithm: str
    words: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.algorithm}): {self.words}"

    @property
    def is_end(self) -> bool:
        """Whether the process ended by it."""
        return self.kind.startswith(("crash", "hang"))


@dataclass
class Answer:
    """What a case led to, seen from outside of the process."""

    failures: list[Failure] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def environment(isa: str | None = None, seed: int = 0) -> dict[str, str]:
    """A poisoned heap, checked where the C library can; this process's fastconv; no tuned choices of the user's."""
    # The working directory is not looked at: a checkout has the sources of fastconv, which may not be built.
    folders = [os.environ.get("PYTHONPATH"), str(Path(fastconv.__file__).parent.parent), str(ROOT)]
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
        "PYTHONSAFEPATH": "1",
        "MALLOC_PERTURB_": str(seed % 255 + 1),
        "OPENBLAS_NUM_THREADS": "1",
        "FASTCONV_CACHE_DIR": str(Path(tempfile.gettempdir()) / f"fastconv-fuzz-{os.getpid()}"),
    }
    # A sanitizer that was preloaded checks more.
    if "LD_PRELOAD" not in os.environ and _has_malloc_debug():
        found |= {"LD_PRELOAD": MALLOC_DEBUG, "MALLOC_CHECK_": "3"}
    return found | ({"FASTCONV_MAX_ISA": isa} if isa else {})


def _has_malloc_debug() -> bool:
    run = subprocess.run(
        [sys.executable, "-c", ""], env={**os.environ, "LD_PRELOAD": MALLOC_DEBUG}, capture_output=True, text=True
    )
    return "cannot be preloaded" not in run.stderr and run.returncode == 0


class Worker:
    """One child process, replaced when it has served long enough or died."""

    def __init__(self, environment: dict[str, str], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.environment, self._timeout_seconds = environment, timeout_seconds
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the worker is there
        self.history: list[Case] = []
        """What this process was given, the last case included."""

    def ask(self, case: Case) -> Answer:
        """Check one case; a crash or hang is a failure."""
        if self._process is None or len(self.history) >= CASES_PER_PROCESS:
            self._process = self._started()
        self.history.append(case)
        assert self._process.stdin is not None
        try:
            print(case, file=self._process.stdin, flush=True)
            line = self._read_line(self._process)
        except BrokenPipeError:
            line = ""
        if line:
            told = json.loads(line)
            return Answer([Failure(*failure) for failure in told["failures"]], Counter(told["counts"]))
        return Answer([self._end(self._process, hung=line is None)])

    def _started(self) -> subprocess.Popen[str]:
        self.close()
        self._errors.seek(0)
        self._errors.truncate()
        return subprocess.Popen(
            [sys.executable, "-m", "bench.fuzz.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self.environment,
            cwd=ROOT,
            text=True,
        )

    def _read_line(self, process: subprocess.Popen[str]) -> str | None:
        """A line; empty where the process ended, None where it took too long."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            # In two halves: time in which all processes were stopped ends one of them.
            if not any(selector.select(self._timeout_seconds / 2) for _ in range(2)):
                return None
        return process.stdout.readline()

    def _end(self, process: subprocess.Popen[str], hung: bool) -> Failure:
        """How the process ended, and at which algorithm."""
        if hung:
            process.kill()
        code = process.wait()
        self._process = None
        self._errors.seek(0)
        told = self._errors.read().strip().splitlines()
        at = [line for line in told if line.startswith(AT)]
        algorithm = at[-1].removeprefix(AT) if at else ""
        if hung:
            return Failure("hang", algorithm, f"no answer for {self._timeout_seconds:.0f} s")
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        words = " | ".join(line for line in told if not line.startswith(AT))[:600]
        return Failure(f"crash {name}", algorithm, words)

    def close(self) -> None:
        """End the process; the next case goes to a new one."""
        self.history = []
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None


def ask_all(worker: Worker, cases: Iterable[Case]) -> Answer:
    """The answer to the last of several cases in one new process, or to the first that ends it."""
    worker.close()
    answer = Answer()
    for case in cases:
        answer = worker.ask(case)
        if any(failure.is_end for failure in answer.failures):
            break
    return answer
