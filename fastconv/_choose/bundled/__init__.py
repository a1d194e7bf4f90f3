"""Measured choices that come with the library: the last resort before the cost model.

A file for each backend and level of instructions, ``cpu-x86-64-v3.json`` or ``gpu-sm_90.json``, used where the level is
the very same; in it the choice of a problem for a number of threads. ``python -m bench bundle`` writes it, from what
``fastconv cache export`` wrote on the machine that measured. A choice is a hint, as all stored ones are.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path

from ..._algorithm import Algorithm, Params
from ..._backend import Backend
from ..._problem import ConvProblem, Epilogue
from ..select import usable_params
from ..tuning_cache import Fingerprint, Key, warn_once
from ..tuning_record import TuningRecord, is_choice

FOLDER = Path(__file__).parent
FORMAT = 1

Choices = dict[Key, tuple[str, Params]]
"""Names and parameters of algorithms by the problem's text and the number of threads."""


def choice(problem: ConvProblem, threads: int, backend: Backend) -> tuple[Algorithm, Params] | None:
    """The bundled choice for a problem, or for the same without its epilogue, if there is one that applies here."""
    choices = _choices(backend.name, backend.level())
    if not choices:
        return None
    found = choices.get((str(problem), threads))
    if found is None and problem.epilogue:
        found = choices.get((str(problem.replace(epilogue=Epilogue())), threads))
    return None if found is None else usable_params(*found, problem, backend)


def file_name(backend: str, level: str) -> str:
    """Name of the file of a backend at one level of its instructions."""
    return f"{backend}-{level}.json"


@functools.cache
def _choices(backend: str, level: str) -> Choices:
    """What a file holds, nothing without one; a damaged one is warned of."""
    path = FOLDER / file_name(backend, level)
    try:
        return parse(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as reason:
        warn_once(path, f"is damaged ({reason}); bundled choices are not used")
        return {}


def parse(text: str) -> Choices:
    """The choices in a file's text; ValueError where the text is not of that form. What is no choice is left out."""
    match json.loads(text):
        case {"format": 1, "choices": dict(by_problem)}:
            pass
        case _:
            raise ValueError(f"not a table of choices of format {FORMAT}")
    found: Choices = {}
    for problem, by_threads in by_problem.items():
        for threads, entry in by_threads.items() if isinstance(by_threads, dict) else ():
            match entry:
                case [name, params] if threads.isdecimal() and len(threads) < 10 and is_choice(name, params):
                    found[problem, int(threads)] = name, params
    return found


def render(records: Iterable[TuningRecord], fingerprint: Fingerprint) -> str:
    """The text of a file with the choices of records, a problem on each line; ``fingerprint`` says where they were
    measured."""
    by_problem: dict[str, dict[str, list[object]]] = {}
    for record in sorted(records, key=lambda record: record.key):
        by_problem.setdefault(str(record.problem), {})[str(record.threads)] = [record.algorithm, dict(record.params)]
    head = json.dumps({"format": FORMAT, "measured_on": fingerprint})
    lines = ",\n".join(f"{json.dumps(problem)}: {json.dumps(entry)}" for problem, entry in by_problem.items())
    return f'{head[:-1]}, "choices": {{\n{lines}\n}}}}\n'
