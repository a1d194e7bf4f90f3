"""What ``with fastconv.tuning("measure"):`` adds to a choice: a problem that is not known yet is tuned before it is
computed."""

from __future__ import annotations

import os
import threading
import warnings

from .. import _config
from .._backend import Backend
from .._problem import ConvProblem, Epilogue
from .sample import array_bytes
from .select import tuned_record
from .tune import tune

ARRAYS_IN_USE = 3
"""The tuner has the arrays of a problem twice, to time and to check; the call that waits for it has them, too."""

_measuring = threading.RLock()
"""Threads that measured at once would disturb each other; of two that see one problem, the second finds it known."""


def _after_fork_in_child() -> None:
    """Make a new lock: a thread that held the old one when the process was forked is not there to release it."""
    global _measuring
    _measuring = threading.RLock()


_here = threading.local()
"""``is_measuring``: a signal handler that computes while its thread measures does not begin to measure as well."""

os.register_at_fork(after_in_child=_after_fork_in_child)


def tune_unless_known(problem: ConvProblem, threads: int, effort: str, backend: Backend) -> None:
    """Measure and store the choice that ``problem`` goes by, unless that was done, at this effort or a higher one.

    What cannot be tuned is left to the cost model, with a warning.
    """
    if getattr(_here, "is_measuring", False):
        return
    with _measuring:
        record = tuned_record(problem, threads, backend)
        measured = problem.replace(epilogue=Epilogue()) if record is None else record.problem
        try:
            memory_bytes = min(_config.memory_bytes(), backend.memory_bytes())
            if ARRAYS_IN_USE * array_bytes(measured) > memory_bytes:
                raise MemoryError(f"{measured}: its arrays are too large to be there {ARRAYS_IN_USE} times")
            _here.is_measuring = True
            for _ in tune([measured], threads, effort, backend=backend):
                pass
        except (MemoryError, ArithmeticError) as error:
            text = f"fastconv: not tuned, and computed by the cost model's choice: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        finally:
            _here.is_measuring = False
