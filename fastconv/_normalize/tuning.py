"""The arguments of the tuning functions and of the command line: problems, suites, passes, files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _fingerprint, _tuning_cache, _tuning_file, suites
from .._errors import bad_type, bad_value, unfit
from .._problem import DTYPES, LAYOUTS, ConvProblem
from .._tuning_record import EFFORTS
from ..suites.layers import PASSES, problem_of_pass

PROBLEM_EXAMPLE = "forward 8x64x56x56 128x64x3x3 s2 p1 float32"


@dataclass(frozen=True)
class Job:
    """A problem to be tuned, and where it comes from."""

    problem: ConvProblem
    suite: str | None = None
    layer: str = ""
    pass_name: str | None = None
    count: int = 1
    """How often the layer occurs in its suite."""


def jobs(
    problems: Any,
    passes: Any = None,
    batch: int | None = None,
    dtype: str | None = None,
    layout: str | None = None,
) -> list[Job]:
    """Suite names, problem texts and ConvProblems, one or several, to jobs.

    ``passes`` None: the forward pass of suites, and problems as they are. Batch, dtype and layout change all problems.
    """
    items = [problems] if isinstance(problems, (str, ConvProblem)) else problems
    if not _is_listed(items):
        raise bad_type("problems", problems, "suite names, problem texts or ConvProblems")
    changes: dict[str, object] = {"batch": batch, "dtype": dtype, "layout": layout}
    changes = {name: value for name, value in changes.items() if value is not None}
    if dtype is not None and dtype not in DTYPES:
        raise bad_value("dtype", dtype, ", ".join(DTYPES))
    if layout is not None and layout not in LAYOUTS:
        raise bad_value("layout", layout, ", ".join(LAYOUTS))
    if batch is not None and batch < 1:
        raise bad_value("batch", batch, "1 or more")
    wanted = None if passes is None else pass_names(passes)
    found = [job for item in items for job in _jobs_of(item, wanted)]
    return [Job(job.problem.replace(**changes), job.suite, job.layer, job.pass_name, job.count) for job in found]


def _jobs_of(item: Any, passes: Sequence[str] | None) -> list[Job]:
    if isinstance(item, str) and item in suites.NAMES:
        return [
            Job(problem_of_pass(layer.problem, name), item, layer.name, name, layer.count)
            for name in passes or ("forward",)
            for layer in suites.suite(item).layers
        ]
    parsed = problem(item)
    if passes is None:
        return [Job(parsed)]
    return [Job(problem_of_pass(parsed, name), pass_name=name) for name in passes]


def problem(value: Any) -> ConvProblem:
    """A ConvProblem or the text of one, as a ConvProblem with something to compute."""
    if not isinstance(value, (str, ConvProblem)):
        raise bad_type("problem", value, f"a ConvProblem or its text, as in {PROBLEM_EXAMPLE!r}")
    if isinstance(value, str) and len(value.split()) < 3:
        raise bad_value("problem", value, f"{', '.join(suites.NAMES)}, or a text as {PROBLEM_EXAMPLE!r}")
    parsed = ConvProblem.parse(value) if isinstance(value, str) else value
    if min(parsed.output_size) < 1:
        raise unfit("problem", f"{parsed}, whose kernel is larger than its padded input", "an output of 1 or more")
    return parsed


def pass_names(value: Any) -> list[str]:
    """Names of passes, from words or one text with commas."""
    allowed = f"one or more of {', '.join(PASSES)}"
    items = value.split(",") if isinstance(value, str) else value
    if not _is_listed(items):
        raise bad_type("passes", value, allowed)
    names = [name.strip() if isinstance(name, str) else name for name in items]
    if not names or not all(isinstance(name, str) and name in PASSES for name in names):
        raise bad_value("passes", value, allowed)
    return list(dict.fromkeys(names))


def _is_listed(value: Any) -> bool:
    """Whether ``value`` has items; NumPy's arrays without axes only look like it."""
    return isinstance(value, Iterable) and getattr(value, "shape", None) != ()


def effort_name(value: Any) -> str:
    """The name of an effort."""
    if not isinstance(value, str) or value not in EFFORTS:
        raise bad_value("effort", value, ", ".join(EFFORTS))
    return str(value)


def time_limit_seconds(value: Any) -> float | None:
    """A positive number of seconds, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad_type("time_limit", value, "a number of seconds, or None")
    if not 0 < value <= sys.float_info.max:
        raise bad_value("time_limit", value, "a positive number of seconds, or None")
    return float(value)


def file_path(path: Any) -> Path:
    """``path`` as the path of a file."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise bad_type("path", path, "the path of a file")
    if not text or "\0" in text:
        raise bad_value("path", path, "the path of a file")
    return Path(text)


def tuning_file(path: Any, any_machine: bool = False) -> _tuning_cache.Content:
    """The content of an exported file, of this machine unless ``any_machine``."""
    file = file_path(path)
    try:
        text = _tuning_file.read(file)
        if text is None:
            raise ValueError("no such file")
        content = _tuning_cache.parse(text)
    except (ValueError, _tuning_file.RefusedError) as reason:
        raise unfit("path", f"{os.fspath(path)!r}: {reason}", "a file that export_tuning wrote") from None
    here = _fingerprint.fingerprint()
    if not any_machine and content.fingerprint != here:
        names = sorted(here.keys() | content.fingerprint.keys())
        there = content.fingerprint
        differing = [f"{n} {there.get(n)!r} there, {here.get(n)!r} here" for n in names if there.get(n) != here.get(n)]
        raise unfit("path", f"{os.fspath(path)!r} of another machine: {'; '.join(differing)}", "a file of this machine")
    return content
